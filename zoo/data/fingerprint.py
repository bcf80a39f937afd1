"""Whether values, frames and functions are still what they were in an earlier run."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch

_PLAIN = (bool, int, float, complex, str, bytes, type(None), Path, np.generic)


def fingerprint(value: Any) -> str:
    """A digest of what a value holds, the same in every process.

    Arrays, tensors and frames count by their content, mappings and sequences by their members. A function
    counts by its code, its defaults and the constants, arrays and functions of its own module that it looks
    up; lists and dicts around it may change from run to run and do not count. Of any other object only the
    class counts.

    Returns:
        The version of Python, whose code objects differ, and 32 hex digits.

    Example:
        >>> fingerprint({"lr": 0.1}) == fingerprint({"lr": 0.1})
        True
        >>> fingerprint(lambda: 1) == fingerprint(lambda: 2)
        False
    """
    found = hashlib.sha256()
    for part in _parts(value, set()):
        found.update(part if isinstance(part, bytes) else repr(part).encode("utf8", "backslashreplace"))
        found.update(b"\0")
    return f"{sys.version_info[0]}.{sys.version_info[1]}:{found.hexdigest()[:32]}"


def is_same(one: str, other: str) -> bool:
    """Whether two fingerprints are equal, or of two versions of Python and so can't be compared."""
    return one == other or one.split(":")[0] != other.split(":")[0]


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    yield type(value).__qualname__
    if isinstance(value, _PLAIN):
        yield value
    elif isinstance(value, torch.Tensor):
        dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        yield str(value.dtype), tuple(value.shape)
        yield (
            dense.cpu().resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    elif isinstance(value, np.ndarray):
        yield str(value.dtype), value.shape
        yield repr(value.tolist()) if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
    elif hasattr(value, "to_numpy") and hasattr(value, "columns"):
        for name in value.columns:
            yield name
            yield from _parts(value[name].to_numpy(), seen)
    elif hasattr(value, "to_numpy"):
        yield from _parts(value.to_numpy(), seen)
    elif id(value) in seen:
        return
    else:
        yield from _members(value, seen | {id(value)})


def _members(value: Any, seen: set[int]) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _parts(key, seen)
            yield from _parts(member, seen)
    elif isinstance(value, Set):
        yield sorted(fingerprint(member) for member in value)
    elif isinstance(value, list | tuple | range):
        for member in value:
            yield from _parts(member, seen)
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), seen)
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__func__, seen)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"


def _function(function: types.FunctionType, seen: set[int]) -> Iterator[Any]:
    yield from _code(function.__code__)
    yield from _parts(function.__defaults__, seen)
    yield from _parts(function.__kwdefaults__, seen)
    around = inspect.getclosurevars(function)
    for name, value in sorted({**around.globals, **around.nonlocals}.items()):
        yield name
        if isinstance(value, types.FunctionType) and value.__module__ != function.__module__:
            yield f"{value.__module__}.{value.__qualname__}"
        elif not isinstance(value, Mapping | Set | list | tuple | types.ModuleType):
            yield from _parts(value, seen)


def _code(code: types.CodeType) -> Iterator[Any]:
    yield code.co_code
    yield code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:
            yield sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
