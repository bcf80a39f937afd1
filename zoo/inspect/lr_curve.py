"""What the learning-rate range test saw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LRFinderResult:
    """What the range test saw.

    Attributes:
        lrs: the rate of the last layer group at every step.
        losses: the smoothed loss at every step.
        steepest: the rate at which the loss falls fastest.
        valley: two thirds into the longest falling stretch.
        minimum: a tenth of the rate with the lowest loss.
        linear: whether the rates rose linearly.
        interrupted: whether Ctrl-C ended the test early.
        largest: where larger rates are known to do harm, suggestions above it are left out, and it is one.

    The suggestions look at the curve without its first tenth, where it is still noise, and are `nan` when
    fewer than four steps were taken. Nor are a steepest place and a valley told that lie before the loss has
    fallen by a twentieth of what it falls in all: what a flat curve does there is noise.
    """

    lrs: list[float]
    losses: list[float]
    linear: bool = False
    interrupted: bool = False
    largest: float = math.inf

    @property
    def steepest(self) -> float:
        lrs, losses = self._body()
        if len(lrs) <= 3:
            return math.nan
        slope = np.gradient(losses, np.log(lrs))
        return float(lrs[np.where(self._fallen(losses), slope, np.inf).argmin()])

    @property
    def minimum(self) -> float:
        lrs, losses = self._body()
        return float(lrs[losses.argmin()]) / 10 if len(lrs) > 3 else math.nan

    @property
    def valley(self) -> float:
        lrs, losses = self._body()
        if len(lrs) <= 3:
            return math.nan
        first = int(self._fallen(losses).argmax())
        best = (first, first)
        start = first
        for i in range(first + 1, len(losses)):
            if losses[i] >= losses[i - 1]:
                start = i
            if i - start > best[1] - best[0]:
                best = (start, i)
        return float(lrs[best[0] + (best[1] - best[0]) * 2 // 3])

    def suggestions(self) -> dict[str, float]:
        """The suggested rates by name: three of the curve, or those that are not above `largest`, and it."""
        found = {"steepest": self.steepest, "valley": self.valley, "minimum/10": self.minimum}
        kept = {name: lr for name, lr in found.items() if not lr > self.largest}
        return kept if len(kept) == len(found) else {**kept, "largest": self.largest}

    def plot(self, skip_start: int = 0, skip_end: int = 0) -> Figure:
        """Loss against rate with the suggestions marked.

        Args:
            skip_start: first steps left out, whose loss is noise and may set the scale.
            skip_end: last steps left out, where the loss explodes.
        """
        from zoo.inspect.plots import range_test

        lrs, losses = (shown_part(values, skip_start, skip_end) for values in (self.lrs, self.losses))
        inside = {name: lr for name, lr in self.suggestions().items() if lrs[0] <= lr <= lrs[-1]}
        return range_test(lrs, losses, inside, linear=self.linear)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={lr:.2e}" for name, lr in self.suggestions().items())
        return f"LRFinderResult({named}; {len(self.lrs)} steps)"

    @staticmethod
    def _fallen(losses: np.ndarray) -> np.ndarray:
        """Where the loss has fallen by more than noise at least once."""
        lowest = np.minimum.accumulate(losses)
        return lowest <= losses[0] - 0.05 * (losses[0] - losses.min())

    def _body(self) -> tuple[np.ndarray, np.ndarray]:
        skip = len(self.lrs) // 10
        return np.array(self.lrs[skip:]), np.array(self.losses[skip:])


def shown_part(values: list[float], skip_start: int, skip_end: int = 0) -> list[float]:
    """A curve without its ends.

    Raises:
        ValueError: for counts that are no whole numbers of at least 0, or leave nothing.

    Example:
        >>> shown_part([5.0, 2.0, 1.0, 9.0], 1, 1)
        [2.0, 1.0]
    """
    for name, count in (("skip_start", skip_start), ("skip_end", skip_end)):
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise ValueError(f"{name} must be a whole number of at least 0, got {count!r}")
    part = values[skip_start : len(values) - skip_end]
    if not part:
        raise ValueError(
            f"skip_start={skip_start}, skip_end={skip_end} leave none of {len(values)} steps to draw"
        )
    return part
