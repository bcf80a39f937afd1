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
        largest: no suggestion is larger, where it is known that such rates do harm.

    The suggestions look at the curve without its first tenth, where it is still noise, and are `nan` when
    fewer than four steps were taken.
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
        return min(self.largest, float(lrs[np.gradient(losses, np.log(lrs)).argmin()]))

    @property
    def minimum(self) -> float:
        lrs, losses = self._body()
        return min(self.largest, float(lrs[losses.argmin()]) / 10) if len(lrs) > 3 else math.nan

    @property
    def valley(self) -> float:
        lrs, losses = self._body()
        if len(lrs) <= 3:
            return math.nan
        best = (0, 0)
        start = 0
        for i in range(1, len(losses)):
            if losses[i] >= losses[i - 1]:
                start = i
            if i - start > best[1] - best[0]:
                best = (start, i)
        return min(self.largest, float(lrs[best[0] + (best[1] - best[0]) * 2 // 3]))

    def suggestions(self) -> dict[str, float]:
        """All three suggested rates by name."""
        return {"steepest": self.steepest, "valley": self.valley, "minimum/10": self.minimum}

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
        most = f"; none above {self.largest:g}" if self.largest < math.inf else ""
        return f"LRFinderResult({named}; {len(self.lrs)} steps{most})"

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
