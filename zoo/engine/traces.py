"""What modules, losses and callbacks keep in plain attributes, put back after a trial."""

from __future__ import annotations

import contextlib
import copy
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Restore = Callable[[], Any]
"""Puts a value back as it was, in place where it can be, and gives it."""

_OF_TORCH = frozenset(vars(nn.Module()))  # dicts of parameters, buffers and hooks, and the mode
_HELD = ("_parameters", "_buffers")
_CONTAINERS = (list, deque, dict, set)


@contextlib.contextmanager
def preserve_attributes(objects: Iterable[Any], *, on_host: bool = False) -> Iterator[None]:
    """Whatever runs inside, the attributes of these objects are afterwards what they were.

    Tensors (also those of a recurrent state, `self.h = h.detach()`), numbers, text, generators and lists,
    dicts, sets, deques and tuples of them are put back, in place where they are the same objects; attributes
    that appeared are removed. Anything else is bound as it was, its inside is left alone. Of a module its
    parameters and buffers are bound to the same tensors as before; their values are not looked at.

    Args:
        objects: modules are taken with all modules inside.
        on_host: keep the copies of tensors in the host's memory.
    """
    restores: list[Restore] = []
    for owner in _owners(objects):
        own = vars(owner)
        for name in _HELD if isinstance(owner, nn.Module) else ():
            restores.append(_bound(own[name], dict(own[name])))
        plain = {name: value for name, value in own.items() if name not in _skipped(owner)}
        kept = {name: _keep(value, on_host) for name, value in plain.items()}
        restores.append(_attributes(owner, kept))
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _owners(objects: Iterable[Any]) -> list[Any]:
    """The objects that have attributes, each once, modules with those inside."""
    found: dict[int, Any] = {}
    for one in objects:
        for owner in one.modules() if isinstance(one, nn.Module) else [one]:
            if hasattr(owner, "__dict__") and not isinstance(owner, type):
                found[id(owner)] = owner
    return list(found.values())


def _skipped(owner: Any) -> frozenset[str]:
    return _OF_TORCH if isinstance(owner, nn.Module) else frozenset()


def _bound(held: dict[str, Any], before: dict[str, Any]) -> Restore:
    def restore() -> None:
        held.clear()
        held.update(before)

    return restore


def _attributes(owner: Any, kept: dict[str, Restore]) -> Restore:
    def restore() -> None:
        own = vars(owner)
        for name in [name for name in own if name not in kept and name not in _skipped(owner)]:
            del own[name]
        for name, back in kept.items():
            own[name] = back()

    return restore


def _keep(value: Any, on_host: bool) -> Restore:
    if isinstance(value, Tensor):
        return _keep_tensor(value, on_host)
    if isinstance(value, np.ndarray):
        held = value.copy()
        return lambda: _fill_array(value, held)
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, np.random.Generator):
        numbers = copy.deepcopy(value.bit_generator.state)
        return lambda: _set(value, value.bit_generator, "state", numbers)
    if isinstance(value, np.random.RandomState):
        old = value.get_state()
        return lambda: value.set_state(old) or value
    if isinstance(value, random.Random):
        own = value.getstate()
        return lambda: value.setstate(own) or value
    if type(value) is tuple:
        parts = [_keep(part, on_host) for part in value]
        return lambda: _each(value, parts)
    if type(value) is dict:
        pairs = [(key, _keep(part, on_host)) for key, part in value.items()]
        return lambda: _refill(value, {key: back() for key, back in pairs})
    if type(value) in _CONTAINERS:
        items = [_keep(part, on_host) for part in value]
        return lambda: _refill(value, [back() for back in items])
    return lambda: value


def _keep_tensor(value: Tensor, on_host: bool) -> Restore:
    if value.is_inference() or value.layout is not torch.strided or value.is_meta:
        return lambda: value
    held = value.detach().to("cpu" if on_host else value.device, copy=True)
    version = value._version

    def restore() -> Tensor:
        if value._version != version:  # written to in place
            with torch.no_grad():
                value.copy_(held)
        return value

    return restore


def _fill_array(value: np.ndarray, held: np.ndarray) -> np.ndarray:
    if value.flags.writeable:
        value[...] = held
    return value


def _set(value: Any, owner: Any, name: str, state: Any) -> Any:
    setattr(owner, name, state)
    return value


def _each(value: tuple, parts: list[Restore]) -> tuple:
    for back in parts:
        back()
    return value


def _refill(value: Any, content: Any) -> Any:
    """The same container with what it held."""
    value.clear()
    (value.update if isinstance(value, dict | set) else value.extend)(content)
    return value
