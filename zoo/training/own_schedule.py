"""What `fit(..., schedule=)` takes, as a schedule of so many steps."""

from __future__ import annotations

import functools
import hashlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.optim import lr_scheduler

from zoo.engine.make_optimizer import unwrapped
from zoo.schedules import Curve, Phases, Ramp, Schedule

_NO_SCHEDULE = (
    "ReduceLROnPlateau looks at the validation, so it is no schedule: use "
    "callbacks=[zoo.callbacks.ReduceLROnPlateau()]"
)
_EVERY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)  # torch documents these as batch by batch


@dataclass(frozen=True)
class Tabulated:
    """The rates that a torch scheduler gave when it was run in advance.

    Attributes:
        name: of the scheduler.
        table: multipliers, one a layer group, at every step.
        momenta: at every step; empty where the scheduler leaves the momentum alone.
    """

    name: str
    table: tuple[tuple[float, ...], ...] = field(repr=False)
    momenta: tuple[float, ...] = field(default=(), repr=False)

    @property
    def n_steps(self) -> int:
        return len(self.table)

    def lr(self, t: int) -> Sequence[float]:
        return self.table[t]

    def momentum(self, t: int) -> float | None:
        return self.momenta[t] if self.momenta else None

    def cycle_ends(self) -> Sequence[int]:
        return ()

    def __repr__(self) -> str:
        values = hashlib.sha256(repr((self.table, self.momenta)).encode()).hexdigest()[:12]
        return f"{self.name}({self.n_steps} steps, {values})"


def own_schedule(given: Any, steps: Sequence[int], lrs: Sequence[float]) -> Schedule:
    """The schedule that a user means.

    Args:
        given: a function of progress, phases, a schedule of `zoo.schedules` (or its class, which is told the
            number of steps), or a scheduler class of torch.
        steps: batches of each epoch.
        lrs: the rate of each layer group, for schedulers that set rates themselves.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it is for another number of steps.
    """
    n_steps = sum(steps)
    inner, _ = unwrapped(given)
    if isinstance(given, lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau):
        kind = type(given).__name__
        raise TypeError(
            f"schedule= needs the optimizer of this fit, which a ready {kind} does not have: give the class "
            f"{kind}, or functools.partial({kind}, ...)"
        )
    if inner is lr_scheduler.ReduceLROnPlateau:
        raise TypeError(_NO_SCHEDULE)
    if _of_torch(inner):
        return _tabulate(given, inner, steps, lrs)
    if isinstance(given, list):
        return Curve(n_steps, Phases(*given))
    if isinstance(inner, type) and hasattr(inner, "cycle_ends"):
        return _made(given, n_steps)
    if hasattr(given, "n_steps") and hasattr(given, "lr"):
        if given.n_steps != n_steps:
            raise ValueError(
                f"this schedule is for {given.n_steps} steps, the fit has {n_steps}: give the class, such as "
                f"schedule={type(given).__name__}, or functools.partial of it"
            )
        return given
    if callable(given) and not isinstance(given, type):
        schedule = Curve(n_steps, cast(Ramp, given))
        _try_out(schedule, inner)
        return schedule
    raise TypeError(
        "schedule= takes a function of progress (from 0 to 1) that gives a factor of the rate, a list of "
        f"phases, a schedule of zoo.schedules or a scheduler class of torch, got {given!r}"
    )


def _of_torch(inner: Any) -> bool:
    """Whether it makes a torch scheduler: such a class, or a function of `optimizer`."""
    if isinstance(inner, type):
        return issubclass(inner, lr_scheduler.LRScheduler)
    if not inspect.isfunction(inner):
        return False
    return next(iter(inspect.signature(inner).parameters), "") in ("opt", "optimizer")


def _made(given: Callable[..., Schedule], n_steps: int) -> Schedule:
    try:
        return given(n_steps)
    except TypeError as error:
        raise TypeError(
            f"{getattr(given, '__name__', given)!r} cannot be made of a number of steps alone ({error}): "
            "give the schedule itself, or functools.partial of it"
        ) from error


def _try_out(schedule: Curve, inner: Any) -> None:
    """Tell before the fit what a function of progress cannot be."""
    try:
        once = [schedule.lr(t) for t in (0, schedule.n_steps // 2, schedule.n_steps - 1)]
    except ValueError:
        raise
    except Exception as error:
        raise TypeError(
            f"schedule= was called as a function of progress, {getattr(inner, '__name__', inner)}(0.0), and "
            f"failed ({type(error).__name__}: {error}); one that makes a scheduler of torch must call its "
            "argument `optimizer`"
        ) from error
    if once != [schedule.lr(t) for t in (0, schedule.n_steps // 2, schedule.n_steps - 1)]:
        raise ValueError(
            "schedule= must be a pure function of progress; this one gives another value at each call"
        )


def _inside(scheduler: Any) -> list[Any]:
    """A scheduler and those that it is made of."""
    parts = getattr(scheduler, "_schedulers", [])
    return [scheduler, *(one for part in parts for one in _inside(part))]


def _with_peak(given: Callable[..., Any], lrs: Sequence[float]) -> Callable[..., Any]:
    """A scheduler that sets rates up to `max_lr`, which are those of the fit."""
    peak = unwrapped(given)[1].get("max_lr")
    if peak is None:
        return functools.partial(given, max_lr=list(lrs))
    peaks = list(peak) if isinstance(peak, Sequence) else [peak] * len(lrs)
    if peaks != list(lrs):
        own = lrs[0] if len(set(lrs)) == 1 else list(lrs)
        raise ValueError(
            f"schedule: max_lr={peak} is not the rate of the fit, {own}: leave it out, or give fit the same"
        )
    return given


def _tabulate(given: Callable[..., Any], inner: Any, steps: Sequence[int], lrs: Sequence[float]) -> Tabulated:
    """Run a torch scheduler in advance: once an epoch, those that torch documents so after every batch."""
    groups = [{"params": [nn.Parameter(torch.zeros(()))], "lr": lr} for lr in lrs]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    n_steps = sum(steps)
    if inner is lr_scheduler.CosineAnnealingLR and "T_max" not in unwrapped(given)[1]:
        given = functools.partial(given, T_max=len(steps))
    if inner is lr_scheduler.OneCycleLR and not {"total_steps", "epochs"} & set(unwrapped(given)[1]):
        given = functools.partial(given, total_steps=n_steps)
    if inner in _EVERY_BATCH:
        given = _with_peak(given, lrs)
    scheduler = given(optimizer)
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        raise TypeError(_NO_SCHEDULE)
    name = type(scheduler).__name__
    every_batch = any(isinstance(one, _EVERY_BATCH) for one in _inside(scheduler))
    rates: list[tuple[float, ...]] = []
    momenta: list[float] = []
    ends = {sum(steps[: epoch + 1]) for epoch in range(len(steps))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of its epoch argument, and of a step beyond the last
        for done in range(1, n_steps + 1):
            rates.append(tuple(float(group["lr"]) for group in optimizer.param_groups))
            momenta.append(float(optimizer.param_groups[-1]["momentum"]))
            optimizer.step()
            if done < n_steps and (every_batch or done in ends):
                try:
                    scheduler.step()
                except ValueError as error:
                    raise ValueError(
                        f"schedule: {name} ended after {done - 1} steps, the fit has {n_steps}: leave its "
                        f"number of steps out, or give that one ({error})"
                    ) from error
    table = tuple(tuple(rate / lr if lr else 0.0 for rate, lr in zip(row, lrs, strict=True)) for row in rates)
    return Tabulated(name, table, tuple(momenta) if len(set(momenta)) > 1 else ())
