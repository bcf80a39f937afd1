"""Convolutional bodies cut from torchvision classifiers, and their published weights."""

from __future__ import annotations

import re
import urllib.error
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.engine.modes import preserve_modes
from zoo.errors import did_you_mean, some
from zoo.inspect.hooks import Hooks

_HEAD_NAMES = frozenset({"avgpool", "classifier", "fc", "head", "heads"})
_UNSUPPORTED = {
    "inception_v3": "it has an auxiliary classifier in its middle",
    "googlenet": "it has auxiliary classifiers in its middle",
    "vit_": "it reads one fixed picture size and has no feature map",
    "maxvit_": "it reads one fixed picture size",
}


def arch_name(arch: Callable[..., Any] | str) -> str:
    """The torchvision name of an architecture given as constructor or name.

    >>> arch_name(torchvision.models.resnet34)
    'resnet34'
    """
    known = torchvision.models.list_models(module=torchvision.models)
    name = arch if isinstance(arch, str) else getattr(arch, "__name__", repr(arch))
    if name not in known:
        raise ValueError(
            f"architecture '{name}' is not one of torchvision's classifiers{did_you_mean(name, known)}; "
            f"for your own "
            "model use ConvLearner.from_model_data(model, data) and tfms_from_stats(stats, sz)"
        )
    return name


def pretraining_preset(arch: Callable[..., Any] | str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Channel means, standard deviations and interpolation an architecture's published weights expect."""
    preset = torchvision.models.get_model_weights(arch_name(arch)).DEFAULT.transforms()  # type: ignore[attr-defined]
    return tuple(preset.mean), tuple(preset.std), preset.interpolation.value


def build_body(name: str, c_in: int = 3) -> nn.Sequential:
    """The part of a classifier before its pooling, with random weights; parameter names stay torchvision's.

    Args:
        name: a torchvision architecture.
        c_in: channels of the pictures; the first convolution is adapted.
    """
    for prefix, reason in _UNSUPPORTED.items():
        if name.startswith(prefix):
            raise ValueError(
                f"architecture '{name}' cannot be cut into body and head: {reason}; "
                "try a resnet, efficientnet, convnext, regnet or mobilenet"
            )
    kept: OrderedDict[str, nn.Module] = OrderedDict()
    for child_name, child in torchvision.models.get_model(name, weights=None).named_children():
        if child_name in _HEAD_NAMES:
            break
        kept[child_name] = child
    if name.startswith("densenet"):
        kept["relu"] = nn.ReLU(inplace=True)
    body = nn.Sequential(kept)
    if c_in != 3:
        _replace_first_conv(body, c_in)
    return body


def first_conv(body: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that reads the picture."""
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ValueError(f"{type(body).__name__} has no convolution")


def adapt_first_weight(weight: Tensor, c_in: int) -> Tensor:
    """Filters for 3 channels turned into filters for `c_in` channels with the same response to grey pictures.

    One channel: the sum over the colours (a grey picture equals its RGB copy). Others: the colours repeat,
    scaled by 3 / c_in.

    Args:
        weight: out x 3 x height x width.
        c_in: channels wanted.
    """
    if c_in == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-c_in // 3)
    return weight.repeat(1, repeats, 1, 1)[:, :c_in] * (3 / c_in)


def _replace_first_conv(body: nn.Module, c_in: int) -> None:
    name, old = first_conv(body)
    new = nn.Conv2d(
        c_in,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        old.groups,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
    with torch.no_grad():
        new.weight.copy_(adapt_first_weight(old.weight, c_in))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    parent, _, leaf = name.rpartition(".")
    setattr(body.get_submodule(parent), leaf, new)


def probe(body: nn.Sequential, c_in: int, size: int = 96) -> tuple[int, int]:
    """Channels of the feature map, and the number of the first unit that works at a stride above 8.

    The units (see `body_units`) before that one form the early body, the rest the late body.
    """
    units = body_units(body)
    sides: list[int] = []

    def remember(name: str, output: Tensor) -> None:
        sides.append(min(output.shape[-2:]))

    named = {str(number): unit for number, unit in enumerate(units)}
    with Hooks(named, remember), torch.no_grad(), preserve_modes(body):
        features = body.eval()(torch.zeros(1, c_in, size, size))
    late = [i for i, side in enumerate(sides) if side * 8 < size]
    cut = late[0] if late and 0 < late[0] < len(units) else max(1, len(units) // 2)
    return features.shape[1], cut


def body_units(body: nn.Sequential) -> list[nn.Module]:
    """The steps of a body in order: its children, plain sequences opened once."""
    units: list[nn.Module] = []
    for child in body.children():
        units += list(child.children()) if type(child) is nn.Sequential else [child]
    return units


def read_state_dict(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Weights of a ``.pth``, ``.pt`` or ``.safetensors`` file. Nothing in the file is ever executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds something other than named tensors.
    """
    file = Path(path)
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
    """Torchvision's default weights, from its download cache or the network."""
    entry = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (urllib.error.URLError, OSError) as err:
        raise OSError(
            f"could not download the weights of {name} from {entry.url} ({err}). Offline: pass "
            f"weights='path/to/file.pth' "
            "(a state dict of the torchvision model), or weights=None to start from random weights"
        ) from err


def load_body_weights(body: nn.Sequential, state: Mapping[str, Tensor], c_in: int, origin: str) -> None:
    """Copy a classifier's (or only its body's) weights into a body.

    Args:
        body: from `build_body`.
        state: torchvision's names; weights of the classifier part are left out. Names relative to
            ``features`` are accepted too.
        c_in: channels of the pictures.
        origin: named in errors.

    Raises:
        ValueError: a weight is missing, has another shape, or is unknown; nothing is copied then.
    """
    wanted = body.state_dict()
    given = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)", r"\1\2", k): v for k, v in state.items()}
    if wanted.keys().isdisjoint(given) and len(list(body.children())) in (1, 2):
        prefix = next(iter(body.named_children()))[0]
        given = {f"{prefix}.{k}": v for k, v in given.items()}
    if c_in != 3:
        key = first_conv(body)[0] + ".weight"
        if key in given and given[key].shape[1] == 3:
            given[key] = adapt_first_weight(given[key], c_in)
    head = tuple(f"{name}." for name in _HEAD_NAMES)
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
