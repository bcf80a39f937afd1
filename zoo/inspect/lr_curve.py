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

    The suggestions look at the curve without its first tenth, where it is still noise, and are `nan` when
    fewer than four steps were taken.
    """

    lrs: list[float]
    losses: list[float]
    linear: bool = False
    interrupted: bool = False

    @property
    def steepest(self) -> float:
        lrs, losses = self._body()
        return float(lrs[np.gradient(losses, np.log(lrs)).argmin()]) if len(lrs) > 3 else math.nan

    @property
    def minimum(self) -> float:
        lrs, losses = self._body()
        return float(lrs[losses.argmin()]) / 10 if len(lrs) > 3 else math.nan

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
        return float(lrs[best[0] + (best[1] - best[0]) * 2 // 3])

    def suggestions(self) -> dict[str, float]:
        """All three suggested rates by name."""
        return {"steepest": self.steepest, "valley": self.valley, "minimum/10": self.minimum}

    def plot(self) -> Figure:
        """Loss against rate with the suggestions marked."""
        from zoo.inspect.plots import range_test

        marks = {name: lr for name, lr in self.suggestions().items() if lr == lr}
        return range_test(self.lrs, self.losses, marks, linear=self.linear)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={lr:.2e}" for name, lr in self.suggestions().items())
        return f"LRFinderResult({named}; {len(self.lrs)} steps)"

    def _body(self) -> tuple[np.ndarray, np.ndarray]:
        skip = len(self.lrs) // 10
        return np.array(self.lrs[skip:]), np.array(self.losses[skip:])
