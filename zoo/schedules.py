"""Learning-rate schedules: pure functions of the step.

A schedule maps the number of optimizer steps already taken, `t`, to a multiplier of each group's base rate
(and, where it has an opinion, to a momentum). Nothing here remembers anything, so resuming a run needs only
the step.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Protocol


class Schedule(Protocol):
    """What the loop needs of a schedule."""

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        ...

    def lr(self, t: int) -> float:
        """Multiplier of the base rate at step `t` (0 <= t < n_steps)."""
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
        if self.moms is not None and (len(self.moms) != 3 or not all(0 <= mom < 1 for mom in self.moms)):
            raise ValueError(f"moms are two or three momenta of at least 0 and below 1, got {self.moms}")
        if not 0 < self.pct_start < 1:
            raise ValueError(
                f"pct_start is the warm-up's share of the run, between 0 and 1, got {self.pct_start}"
            )
        if self.div_factor < 1 or self.final_div < 1:
            raise ValueError("div_factor and final_div divide the maximal rate and must be at least 1")

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


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
