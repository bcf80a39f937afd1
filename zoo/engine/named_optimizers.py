"""Optimizers by name, so that files can tell with which one a learner trains."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import torch

from zoo.engine.make_optimizer import unwrapped
from zoo.engine.relative_adamw import RelativeAdamW
from zoo.engine.row_adamw import RowAdamW

_OURS: dict[str, type[torch.optim.Optimizer]] = {"RelativeAdamW": RelativeAdamW, "RowAdamW": RowAdamW}


def name_of_optimizer(opt_fn: Callable[..., Any]) -> dict[str, Any] | None:
    """The name and options of an optimizer of torch or of this library, in plain values.

    Args:
        opt_fn: a class, or `functools.partial`s of one.

    Returns:
        None for functions and classes of others, which are code, and for options that are no plain values.

    Example:
        >>> name_of_optimizer(functools.partial(torch.optim.SGD, momentum=0.9))
        {'name': 'SGD', 'options': {'momentum': 0.9}}
        >>> name_of_optimizer(lambda params: torch.optim.SGD(params, 0.1)) is None
        True
    """
    inner, options = unwrapped(opt_fn)
    name = getattr(inner, "__name__", "")
    if _known(name) is not inner or not all(map(_is_plain, options.values())):
        return None
    return {"name": name, "options": {key: _plain(value) for key, value in options.items()}}


def optimizer_of_name(told: Mapping[str, Any]) -> Callable[..., torch.optim.Optimizer] | None:
    """The class, or a partial of it, that `name_of_optimizer` described; None where this torch has none of
    that name.

    Example:
        >>> optimizer_of_name({"name": "SGD", "options": {}})
        <class 'torch.optim.sgd.SGD'>
    """
    kind = _known(str(told["name"]))
    if kind is None:
        return None
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in told["options"].items()}
    return functools.partial(kind, **options) if options else kind


def _known(name: str) -> type[torch.optim.Optimizer] | None:
    found = _OURS.get(name, getattr(torch.optim, name, None))
    is_optimizer = isinstance(found, type) and issubclass(found, torch.optim.Optimizer)
    return found if is_optimizer and found is not torch.optim.Optimizer else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | str | int | float | numbers.Real)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool | int)
    return float(value) if is_number else value
