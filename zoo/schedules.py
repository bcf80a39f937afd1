"""Learning-rate schedules: pure functions of the step.

A schedule maps the number of optimizer steps already taken, `t`, to a multiplier of each group's base rate
(and, where it has an opinion, to a momentum). Nothing here remembers anything, so resuming a run needs only
the step.
"""

from __future__ import annotations

import bisect
import hashlib
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol


class Schedule(Protocol):
    """What the loop needs of a schedule."""

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        ...

    def lr(self, t: int) -> float | Sequence[float]:
        """Multiplier of the base rate (or one a layer group) at step `t` (0 <= t < n_steps)."""
        ...

    def momentum(self, t: int) -> float | None:
        """Momentum at step `t`, or `None` to leave the optimizer's own."""
        ...

    def cycle_ends(self) -> Sequence[int]:
        """Step counts at which a cycle is complete, ascending."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same rate at every step.

    Example:
        >>> Constant(10).lr(3)
        1.0
    """

    n_steps: int

    def lr(self, t: int) -> float:
        return 1.0

    def momentum(self, t: int) -> float | None:
        return None

    def cycle_ends(self) -> Sequence[int]:
        return ()


@dataclass(frozen=True)
class CosineRestarts:
    """Cosine annealing with warm restarts (SGDR, Loshchilov & Hutter 2017).

    Inside a cycle of `n` steps the multiplier is `(1 + cos(pi * i / n)) / 2` for `i = 0 .. n - 1`: it starts
    at the given rate, heads for 0, and jumps back when the next cycle begins.

    Args:
        cycle_steps: the number of steps of each cycle, in order.

    Example:
        >>> [round(CosineRestarts((2, 4)).lr(t), 3) for t in range(6)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146]
    """

    cycle_steps: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.cycle_steps or min(self.cycle_steps) < 1:
            raise ValueError(f"every cycle needs at least one step, got {self.cycle_steps}")

    @property
    def n_steps(self) -> int:
        return self._ends[-1]

    def lr(self, t: int) -> float:
        ends = self.cycle_ends()
        cycle = min(bisect.bisect_right(ends, t), len(ends) - 1)
        length = self.cycle_steps[cycle]
        return (1 + math.cos(math.pi * (t - (ends[cycle] - length)) / length)) / 2

    def momentum(self, t: int) -> float | None:
        return None

    def cycle_ends(self) -> Sequence[int]:
        return self._ends

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.cycle_steps))


def cycle_lengths(n_cycle: int, cycle_len: int, cycle_mult: int) -> list[int]:
    """Epochs of each cycle.

    Example:
        >>> cycle_lengths(3, 1, 2)
        [1, 2, 4]
    """
    return [cycle_len * cycle_mult**i for i in range(n_cycle)]


@dataclass(frozen=True)
class OneCycle:
    """Warm-up to the maximum, then annealing to almost nothing (the 1cycle policy, Smith & Topin 2018).

    The rate climbs on a half cosine from `max / div_factor` to the maximum during the first `pct_start` of
    the run, then falls on a half cosine to `max / final_div`. Momentum mirrors it: from `moms[0]` down to
    `moms[1]`, back to `moms[2]`.

    Example:
        >>> cycle = OneCycle(5, pct_start=0.5, div_factor=10)
        >>> [round(cycle.lr(t), 2) for t in range(5)]
        [0.1, 0.55, 1.0, 0.5, 0.0]
    """

    n_steps: int
    pct_start: float = 0.25
    div_factor: float = 25.0
    final_div: float = 1e5
    moms: tuple[float, float, float] | None = (0.95, 0.85, 0.95)

    def __post_init__(self) -> None:
        for name, value in (("pct_start", self.pct_start), ("div_factor", self.div_factor)):
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{name} is a number, got {value!r}")
        if self.moms is not None and (len(self.moms) != 3 or not all(0 <= mom < 1 for mom in self.moms)):
            raise ValueError(f"moms are two or three momenta of at least 0 and below 1, got {self.moms}")
        if not 0 < self.pct_start < 1:
            raise ValueError(
                f"pct_start is the warm-up's share of the run, between 0 and 1, got {self.pct_start}"
            )
        if not (self.div_factor >= 1 and self.final_div >= 1):
            raise ValueError(
                "div_factor and final_div divide the maximal rate and must be at least 1, got "
                f"{self.div_factor} and {self.final_div}"
            )

    @property
    def peak(self) -> int:
        """The step at which the rate is largest."""
        return round(self.pct_start * (self.n_steps - 1))

    def lr(self, t: int) -> float:
        return self._blend(t, 1 / self.div_factor, 1.0, 1 / self.final_div)

    def momentum(self, t: int) -> float | None:
        return None if self.moms is None else self._blend(t, *self.moms)

    def cycle_ends(self) -> Sequence[int]:
        return (self.n_steps,)

    def _blend(self, t: int, start: float, middle: float, end: float) -> float:
        if t < self.peak:
            return _cosine(start, middle, t / self.peak)
        return _cosine(middle, end, (t - self.peak) / max(1, self.n_steps - 1 - self.peak))


def three_momenta(moms: Any) -> Any:
    """Momenta at the start, at the peak and at the end; the last is the first where two are given.

    Example:
        >>> three_momenta((0.95, 0.85))
        (0.95, 0.85, 0.95)
    """
    return moms if moms is None or len(moms) == 3 else (*moms, *moms[:1])


@dataclass(frozen=True)
class RangeTest:
    """Rates rising every step from `start` to `end` (learning-rate range test, Smith 2017).

    The multiplier is relative to a base rate of 1, so `lr(t)` is the rate itself.

    Example:
        >>> [round(RangeTest(3, 0.01, 1).lr(t), 2) for t in range(3)]
        [0.01, 0.1, 1.0]
    """

    n_steps: int
    start: float
    end: float
    linear: bool = False

    def lr(self, t: int) -> float:
        share = t / max(1, self.n_steps - 1)
        if self.linear:
            return self.start + share * (self.end - self.start)
        return self.start * (self.end / self.start) ** share

    def momentum(self, t: int) -> float | None:
        return None

    def cycle_ends(self) -> Sequence[int]:
        return ()


Ramp = Callable[[float], float]
"""The multiplier of the rate as a function of progress, which goes from 0 at a fit's first batch up to 1."""


@dataclass(frozen=True)
class Curve:
    """A schedule out of a function of progress: `lr(t) = function(t / n_steps)`.

    Raises:
        ValueError: when the function gives no number, or a negative one.

    Example:
        >>> Curve(4, lambda progress: 1 - progress).lr(1)
        0.75
    """

    n_steps: int
    function: Ramp

    def lr(self, t: int) -> float:
        share = self.function(t / self.n_steps)
        if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0 <= share < math.inf:
            raise ValueError(
                f"the schedule {_named(self.function)} must give a factor of the rate, at least 0; at "
                f"progress {t / self.n_steps:.3g} it gave {share!r}"
            )
        return float(share)

    def momentum(self, t: int) -> float | None:
        return None

    def cycle_ends(self) -> Sequence[int]:
        return ()

    def __repr__(self) -> str:
        # functions of one name may differ: their values tell two of them apart
        apart = -(-self.n_steps // 10_000)
        values = repr([self.lr(t) for t in (*range(0, self.n_steps, apart), self.n_steps - 1)])
        told = hashlib.sha256(values.encode()).hexdigest()[:12]
        return f"Curve({self.n_steps} steps, {_named(self.function)}, {told})"


@dataclass(frozen=True)
class Linear:
    """From one multiplier straight to another; a ramp for `fit(..., schedule=)`.

    Example:
        >>> Linear(1, 0)(0.25)
        0.75
    """

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return self.start + progress * (self.end - self.start)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from one multiplier to another; a ramp for `fit(..., schedule=)`.

    Example:
        >>> round(Cosine(1, 0)(0.25), 3)
        0.854
    """

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return _cosine(self.start, self.end, progress)


@dataclass(frozen=True)
class Exponential:
    """By equal factors from one multiplier to another, both above 0; a ramp for `fit(..., schedule=)`.

    Example:
        >>> round(Exponential(1, 0.01)(0.5), 3)
        0.1
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if min(self.start, self.end) <= 0:
            raise ValueError(f"Exponential: both ends must be above 0, got {self.start} and {self.end}")

    def __call__(self, progress: float) -> float:
        return self.start * (self.end / self.start) ** progress


@dataclass(frozen=True)
class Poly:
    """From one multiplier to another along a power of what is left; a ramp for `fit(..., schedule=)`.

    Example:
        >>> Poly(1, 0, power=2)(0.5)
        0.25
    """

    start: float
    end: float
    power: float = 2.0

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * (1 - progress) ** self.power


@dataclass(frozen=True)
class Steps:
    """The multiplier 1, times `factor` at each of some shares of the fit; a ramp for `fit(..., schedule=)`.

    Example:
        >>> [Steps((0.5, 0.75), factor=0.5)(progress) for progress in (0, 0.5, 0.9)]
        [1.0, 0.5, 0.25]
    """

    at: tuple[float, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        if list(self.at) != sorted(self.at) or not all(0 < share < 1 for share in self.at):
            raise ValueError(f"Steps: ascending shares of the fit between 0 and 1 are needed, got {self.at}")

    def __call__(self, progress: float) -> float:
        return math.prod([self.factor] * sum(progress >= share for share in self.at), start=1.0)


class Phases:
    """Ramps one after another; a ramp for `fit(..., schedule=)`.

    Args:
        phases: pairs of a length and a ramp (any function of progress). Lengths count in relation to each
            other, so they may be shares of the fit or epochs.

    Example:
        >>> warm_up_then_fall = Phases((1, Linear(0, 1)), (3, Cosine(1, 0)))
        >>> [round(warm_up_then_fall(i / 4), 2) for i in range(5)]
        [0.0, 1.0, 0.75, 0.25, 0.0]
    """

    def __init__(self, *phases: tuple[float, Ramp]) -> None:
        for phase in phases:
            fits = isinstance(phase, tuple | list) and len(phase) == 2 and callable(phase[1])
            if (
                not fits
                or isinstance(phase[0], bool)
                or not isinstance(phase[0], numbers.Real)
                or phase[0] <= 0
            ):
                raise ValueError(
                    f"Phases: pairs of a positive length and a function of progress are needed, got {phase!r}"
                )
        if not phases:
            raise ValueError("Phases: at least one pair of a length and a function is needed")
        self.phases = tuple((float(length), ramp) for length, ramp in phases)

    def __call__(self, progress: float) -> float:
        place = progress * sum(length for length, _ in self.phases)
        for length, ramp in self.phases[:-1]:
            if place < length:
                return ramp(place / length)
            place -= length
        length, ramp = self.phases[-1]
        return ramp(min(1.0, place / length))

    def __repr__(self) -> str:
        return f"Phases({', '.join(f'({length:g}, {_named(ramp)})' for length, ramp in self.phases)})"


def _named(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
