"""The weights of a model on disk: what goes into the file, and how it comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from zoo.errors import some
from zoo.storage.archive import identity, parse_names, save_state
from zoo.storage.module_state import holds, make_room, matched, own_names, state_of, unmade, with_later

_UNMADE = "zoo.unmade"


def save_weights(path: Path, model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the weights of a model under the raw module's own names, atomically.

    Raises:
        TypeError: naming a value that no file of weights can hold; nothing is written then.
    """
    extra = {"zoo.kind": "weights", "zoo.model": model_name(model), _UNMADE: json.dumps(unmade(model))}
    save_state(path, state_of(model), {**extra, **metadata})


def model_name(model: nn.Module) -> str:
    """The class of the raw model."""
    while (inner := model._modules.get("_orig_mod")) is not None:
        model = inner
    wrapped = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    return type(model.module if wrapped else model).__name__


def load_weights(
    model: nn.Module,
    tensors: dict[str, Tensor],
    where: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Put tensors into a model.

    Args:
        model: changed only if all of them fit.
        tensors: by the names of `model.state_dict()`, or of that of the model inside its wrappers.
        where: the file, for the error.
        metadata: of the file, which may name the class of the model and the buffers that held nothing.

    Raises:
        ValueError: naming what is missing, too many, of another shape, or of another format that the model's
            own cannot take without loss; or two tensors that are one in the model.
    """
    described = metadata or {}
    kind, empty = described.get("zoo.model"), _empty(described, where)
    state = model.state_dict()
    names = own_names(model, list(state))
    expected = dict(zip(names, state.values(), strict=True))
    open_names = unmade(model)
    found = with_later(model, matched(tensors, [*names, *open_names]))
    gone = [name for name in names if name not in found and name in empty]
    missing = [name for name in names if name not in found and name not in gone]
    extra = [name for name in found if name not in expected and name not in open_names]
    other = [
        f"{name} ({tuple(found[name].shape)} instead of {tuple(value.shape)})"
        for name, value in expected.items()
        if name in found and _is_made(value) and found[name].shape != value.shape
    ]
    lossy = [
        f"{name} ({found[name].dtype} into {value.dtype})"
        for name, value in expected.items()
        if name in found and isinstance(value, Tensor) and not holds(value, found[name])
    ]
    untied = [] if other else _untied(expected, found)
    if missing or extra or other or lossy or untied:
        parts = [
            f"{what}: {some(names)}"
            for what, names in (
                ("missing", missing),
                ("not in the model", extra),
                ("of another shape", other),
                ("of another format, in which values would be lost", lossy),
                ("one tensor here and different ones there", untied),
            )
            if names
        ]
        this = model_name(model)
        of = f" of a {kind}" if kind and kind != this else ""
        raise ValueError(f"the weights{of} in {where} do not fit this {this}: {'; '.join(parts)}")
    make_room(model, found, gone)
    inside = list(model.state_dict())
    own_inside = own_names(model, inside)
    model.load_state_dict({name: found[own] for name, own in zip(inside, own_inside, strict=True)})


def _is_made(value: object) -> bool:
    """Whether it is a tensor that has a shape, which those of lazy modules get from what is loaded."""
    return isinstance(value, Tensor) and not is_lazy(value)


def _untied(expected: Mapping[str, object], found: Mapping[str, Tensor]) -> list[str]:
    """Pairs of names that share a tensor in the model, but not in the file."""
    first: dict[tuple, str] = {}
    pairs = []
    for name, value in expected.items():
        if name in found and isinstance(value, Tensor) and _is_made(value) and value.numel():
            other = first.setdefault(identity(value), name)
            if found[other] is not found[name] and not torch.equal(_bits(found[other]), _bits(found[name])):
                pairs.append(f"{other} and {name}")
    return pairs


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _empty(metadata: Mapping[str, str], where: str) -> list[str]:
    return parse_names(metadata.get(_UNMADE, "[]"), where)
