"""Nested values and tensors as JSON text and a table of tensors; what is encoded comes back as it was."""

from __future__ import annotations

import base64
import enum
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.storage.archive import check_tensor

_PLAIN = (bool, int, float, str)
_KEYS = "None, numbers, texts, truth values and tuples of them"


def encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON can hold it; tensors and arrays go to a table.

    Dicts (any mapping becomes one, in its order), lists, tuples, sets, plain and complex numbers, texts,
    bytes, paths, `torch.dtype`, `torch.device` and `torch.Size`. Numpy's scalars become plain numbers. Keys
    may be None, plain values and tuples of them. Tensors keep their layout in memory.

    Args:
        value: what to encode.
        tensors: filled with the tensors and arrays, on the CPU, by their place.

    Raises:
        TypeError: naming the place of a value that would not come back.

    Example:
        >>> table = {}
        >>> encode({"step": 3, ("a", 1): torch.ones(2)}, table)
        {'$items': [['step', 3], [{'$tuple': ['a', 1]}, {'$tensor': "/('a', 1)"}]]}
        >>> decode(_, table)
        {'step': 3, ('a', 1): tensor([1., 1.])}
    """
    try:
        return _encode(value, "", tensors)
    except RecursionError:
        raise TypeError(
            "a checkpoint cannot hold values that contain themselves or are nested this deeply"
        ) from None


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    for mark, read in _MARKS.items():
        if mark in value:
            return read(value, tensors)
    return {key: decode(item, tensors) for key, item in value.items()}


def _encode(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.generic):
        return _scalar(value, place, tensors)
    if isinstance(value, enum.Enum):
        _refuse(value, place, "keep its .value")
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, Tensor):
        return _tensor(value, place, tensors)
    if isinstance(value, np.ndarray):
        encoded = _tensor(_from_array(value, place), place, tensors)
        return {"$array": encoded.pop("$tensor"), **encoded}
    if isinstance(value, torch.Size):
        return {"$size": list(value)}
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            _refuse(value, place, "keep tuple(...) or ._asdict() of it")
        return {"$tuple": list(_items(value, place, tensors))}
    if isinstance(value, list):
        return list(_items(value, place, tensors))
    if isinstance(value, Mapping):
        return _mapping(value, place, tensors)
    if isinstance(value, set | frozenset):
        found = sorted((_key(item, place) for item in value), key=repr)
        return {"$frozenset" if isinstance(value, frozenset) else "$set": found}
    if isinstance(value, complex):
        return {"$complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, torch.dtype | torch.device):
        return {f"${type(value).__name__}": str(value)}
    return _refuse(value, place, "let state_dict() return something simpler")


def _refuse(value: Any, place: str, cure: str) -> Any:
    raise TypeError(
        f"a checkpoint holds plain values, tensors and arrays, but at {place or 'its root'} there is a "
        f"{type(value).__name__}: {cure}"
    )


def _scalar(value: np.generic, place: str, tensors: dict[str, Tensor]) -> Any:
    plain = value.item()
    if isinstance(plain, np.generic) or type(plain) not in (*_PLAIN, complex, bytes):
        _refuse(value, place, f"numpy's {value.dtype} has no plain equivalent")
    return _encode(plain, place, tensors)


def _items(values: Any, place: str, tensors: dict[str, Tensor]) -> Iterator[Any]:
    for number, item in enumerate(values):
        yield item if type(item) in _PLAIN else _encode(item, f"{place}/{number}", tensors)


def _mapping(value: Mapping, place: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item, f"{place}/{key}", tensors) for key, item in value.items()}
    pairs = [[_key(key, place), _encode(item, f"{place}/{key}", tensors)] for key, item in value.items()]
    return {"$items": pairs}


def _key(key: Any, place: str) -> Any:
    """A key of a dict, or a member of a set."""
    if isinstance(key, np.generic):
        key = key.item()
    if key is None or type(key) in _PLAIN:
        return key
    if type(key) is tuple:
        return {"$tuple": [_key(part, place) for part in key]}
    raise TypeError(
        f"a checkpoint takes {_KEYS} as keys, but at {place or 'its root'} there is the key {key!r} of type "
        f"{type(key).__name__}: use a text instead"
    )


def _tensor(value: Tensor, place: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    check_tensor(f"a checkpoint cannot hold the tensor at {place or 'its root'}: it", value)
    plain = value.detach().cpu().resolve_conj().resolve_neg()
    encoded: dict[str, Any] = {}
    if not plain.is_contiguous() and _is_dense(plain):
        encoded["stride"] = list(plain.stride())
    plain = plain.contiguous().clone()
    if plain.dtype == torch.complex128:
        encoded["complex"], plain = True, torch.view_as_real(plain)
    return {"$tensor": _keep(plain, place, tensors), **encoded}


def _from_array(value: np.ndarray, place: str) -> Tensor:
    where = f"a checkpoint cannot hold the array at {place or 'its root'}"
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{where}: it is masked; keep its .data and .mask")
    try:
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C", copy=True))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: {error}") from None


def _is_dense(tensor: Tensor) -> bool:
    """Whether it fills its memory without gaps or overlaps, only in another order of its dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _keep(tensor: Tensor, place: str, tensors: dict[str, Tensor]) -> str:
    """The name under which a tensor is kept: its place, unless another one has the same, as 1 and "1" do."""
    place = place.encode("ascii", "backslashreplace").decode()
    name, number = place, 1
    while name in tensors:
        name, number = f"{place}#{number}", number + 1
    tensors[name] = tensor
    return name


def _read_tensor(value: dict[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    tensor = tensors[value["$tensor"]]
    if value.get("complex"):
        tensor = torch.view_as_complex(tensor)
    if "stride" in value:
        laid_out = torch.empty_strided(tensor.shape, value["stride"], dtype=tensor.dtype)
        return laid_out.copy_(tensor)
    return tensor


def _read_dtype(value: dict[str, Any], _: Any) -> torch.dtype:
    found = getattr(torch, value["$dtype"].removeprefix("torch."))
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{value['$dtype']} is no format of tensors")
    return found


_MARKS: dict[str, Callable[[dict[str, Any], Mapping[str, Tensor]], Any]] = {
    "$tensor": _read_tensor,
    "$array": lambda value, tensors: _read_tensor({**value, "$tensor": value["$array"]}, tensors).numpy(),
    "$tuple": lambda value, tensors: tuple(decode(value["$tuple"], tensors)),
    "$items": lambda value, tensors: {
        decode(key, tensors): decode(item, tensors) for key, item in value["$items"]
    },
    "$size": lambda value, _: torch.Size(value["$size"]),
    "$set": lambda value, tensors: set(decode(value["$set"], tensors)),
    "$frozenset": lambda value, tensors: frozenset(decode(value["$frozenset"], tensors)),
    "$complex": lambda value, _: complex(*value["$complex"]),
    "$bytes": lambda value, _: base64.b64decode(value["$bytes"]),
    "$path": lambda value, _: Path(value["$path"]),
    "$dtype": _read_dtype,
    "$device": lambda value, _: torch.device(value["$device"]),
}
