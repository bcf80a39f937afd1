"""Published weights of classifiers, downloaded or from a file, for bodies cut from them."""

from __future__ import annotations

import importlib.util
import os
import re
import urllib.error
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.errors import did_you_mean, some
from zoo.vision.models.architectures import OWN, TIMM, import_timm
from zoo.vision.models.bodies import AUXILIARY_NAMES, HEAD_NAMES
from zoo.vision.models.channels import adapt_first_weight, first_conv


def read_state_dict(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Weights of a ``.pth``, ``.pt`` or ``.safetensors`` file. Nothing in the file is ever executed.

    Raises:
        FileNotFoundError: no such file.
        IsADirectoryError: it is a folder.
        ValueError: the file holds something other than named tensors.
    """
    file = Path(path)
    if file.is_dir():
        kinds = (".pth", ".pt", ".safetensors")
        held = sorted(p.name for p in file.iterdir() if p.suffix in kinds)
        what = f"such as {some(held, 3)} in it" if held else f"and there is none ({', '.join(kinds)}) in it"
        raise IsADirectoryError(f"weights={os.fspath(path)!r} is a folder: give a file of weights, {what}")
    if not file.is_file():
        near = sorted(p.name for p in file.parent.iterdir()) if file.parent.is_dir() else []
        raise FileNotFoundError(f"weights file {file} does not exist{did_you_mean(file.name, near)}")
    try:
        if file.suffix == ".safetensors":
            loaded: Any = load_file(file)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about unusual pickle protocols; refused below
                loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as err:  # damaged bytes make the readers raise almost anything
        # Torch's own text is left out: it recommends to load the file without protection.
        raise ValueError(
            f"{file} is not a file of plain weights (a state dict of tensors): it is damaged, of another "
            "format or holds other objects; it was not loaded and nothing in it was executed"
        ) from (err if isinstance(err, OSError | SafetensorError) else None)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ValueError(f"{file} does not hold a state dict (names and tensors)")
    return {str(k).removeprefix("module."): v for k, v in loaded.items()}


def published_weights(name: str) -> dict[str, Tensor]:
    """The default weights of an architecture, from a download cache, the network or an installed package.

    Args:
        name: as `arch_name` writes it.

    Raises:
        OSError: they could not be had; the message tells how to go on without the network.
    """
    if name in OWN:
        return read_state_dict(_packaged_file(name))
    if name.startswith(TIMM):
        return _timm_weights(name)
    entry = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (urllib.error.URLError, OSError) as err:
        raise OSError(
            f"could not download the weights of {name} from {entry.url} ({err}). Offline: pass "
            f"weights='path/to/file.pth' "
            "(a state dict of the torchvision model), or weights=None to start from random weights"
        ) from err


def _packaged_file(name: str) -> Path:
    """The file of weights that a package on the index carries."""
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for file in (file for place in places for file in sorted(Path(place).glob("models/*.pth"))):
        return file
    raise OSError(
        f"the weights of {name} come in a package of their own, which is not installed: pip install "
        f"{package}; or pass weights='path/to/file.pth', or weights=None to start from random weights"
    )


def _timm_weights(name: str) -> dict[str, Tensor]:
    bare = name.removeprefix(TIMM)
    timm = import_timm(bare)
    try:
        return dict(timm.create_model(bare, pretrained=True).state_dict())
    except Exception as err:  # its hub client raises errors of many packages
        raise OSError(
            f"could not download the weights of {name} ({type(err).__name__}: {err}). Offline: pass "
            "weights='path/to/file.safetensors' (timm's state dict), or weights=None "
            "to start from random weights"
        ) from err


def load_body_weights(body: nn.Sequential, state: Mapping[str, Tensor], c_in: int, origin: str) -> None:
    """Copy a classifier's (or only its body's) weights into a body.

    Args:
        body: from `build_body`.
        state: torchvision's names; weights of the classifier part are left out. Names relative to
            ``features`` are accepted too. A body with `adapt_state` translates what it knows of others'
            names and shapes first.
        c_in: channels of the pictures.
        origin: named in errors.

    Raises:
        ValueError: a weight is missing, has another shape, or is unknown; nothing is copied then.
    """
    wanted = body.state_dict()
    adapt = getattr(body, "adapt_state", dict)
    given = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)", r"\1\2", k): v for k, v in adapt(state).items()
    }
    if (
        type(body) is nn.Sequential
        and wanted.keys().isdisjoint(given)
        and len(list(body.children())) in (1, 2)
    ):
        prefix = next(iter(body.named_children()))[0]
        given = {f"{prefix}.{k}": v for k, v in given.items()}
    if c_in != 3:
        key = first_conv(body)[0] + ".weight"
        if key in given and given[key].shape[1] == 3:
            given[key] = adapt_first_weight(given[key], c_in)
    head = tuple(f"{name}." for name in HEAD_NAMES | AUXILIARY_NAMES)
    missing = [k for k in wanted if k not in given and not k.endswith("num_batches_tracked")]
    unknown = [k for k in given if k not in wanted and not k.startswith(head)]
    misshapen = [
        f"{k} (file {tuple(given[k].shape)}, model {tuple(v.shape)})"
        for k, v in wanted.items()
        if k in given and given[k].shape != v.shape
    ]
    problems = [
        f"{len(names)} {what}: {some(names, 3)}"
        for names, what in ((missing, "missing"), (misshapen, "of another shape"), (unknown, "unknown"))
        if names
    ]
    if problems:
        raise ValueError(f"{origin} does not fit this architecture's body: {'; '.join(problems)}")
    body.load_state_dict({k: given.get(k, v) for k, v in wanted.items()})
