"""Closures that an optimizer evaluates: the loss and its gradients at the weights before the step."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch


def needs_closure(opt: Any) -> bool:
    """Whether an optimizer's `step` cannot be called without a closure, as that of LBFGS."""
    return _takes_closure(type(getattr(opt, "opt", opt)))


@functools.cache
def _takes_closure(kind: type) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def evaluated(closure: Callable[[], Any]) -> Callable[[], Any]:
    """Evaluate a closure now; what is returned gives its loss again.

    Example:
        >>> again = evaluated(lambda: print("evaluated") or 0.5)
        evaluated
        >>> again(), again()
        (0.5, 0.5)
    """
    with torch.enable_grad():
        loss = closure()
    return lambda: loss


def evaluate_first(
    opt: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Have the gradients of a step's closure there before its hooks look at them.

    Args:
        opt: one that evaluates a closure once, or it is left alone.
        args: of `step`, as torch gives them to a pre-hook (`opt` itself comes first).
        kwargs: likewise.

    Returns:
        What a pre-hook returns: arguments in whose place the step goes on, or None for the same.
    """
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if closure is None or needs_closure(opt):
        return None
    if len(args) > 1:
        return (args[0], evaluated(closure), *args[2:]), kwargs
    return args, {**kwargs, "closure": evaluated(closure)}
