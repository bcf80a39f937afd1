"""The median of a stream of numbers in little memory. No torch here."""

from __future__ import annotations

import numpy as np

DISTINCT = 1 << 16  # medians are exact up to so many distinct values
SKETCH = 1 << 16  # values that a level of the sketch of a median holds


class MedianSketch:
    """The median of a stream of numbers in little memory.

    Up to `distinct` different values are counted, then the median is exact. Beyond that, sorted buffers are
    thinned to every other value, which then counts twice as much, level by level (Munro & Paterson 1980;
    Manku, Rajagopalan & Lindsay 1998). With the default sizes the rank of the result is off by less than
    0.02 % of the rows, whatever their order, up to a billion rows.

    Args:
        distinct: so many different values are counted exactly.
        size: values that are thinned at a time, and half of what a level holds.

    Attributes:
        rank_error: the result's rank is off by at most so many rows.

    Example:
        >>> sketch = MedianSketch()
        >>> sketch.add(np.array([3.0, 1.0])); sketch.add(np.array([2.0]))
        >>> sketch.median(), sketch.rank_error
        (2.0, 0)
    """

    def __init__(self, distinct: int = DISTINCT, size: int = SKETCH) -> None:
        self.distinct, self.size = distinct, size
        self.rank_error = 0
        self._values, self._counts = np.empty(0), np.empty(0, dtype="int64")
        self._exact = True
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0
        self._levels: list[np.ndarray] = []
        self._odd = 0

    def add(self, values: np.ndarray) -> None:
        """Takes in values, none of them NaN."""
        if len(values):
            self._waiting.append(values)
            self._n_waiting += len(values)
            if self._n_waiting >= 2 * self.size:
                self._settle()

    def median(self) -> float:
        """The median so far, 0 if there are no values."""
        self._settle()
        if self._exact:
            values, counts = self._values, self._counts
        else:
            values = np.concatenate(self._levels)
            counts = np.repeat([1 << level for level in range(len(self._levels))], [*map(len, self._levels)])
            order = np.argsort(values, kind="stable")
            values, counts = values[order], counts[order]
        if not len(values):
            return 0.0
        ends = np.cumsum(counts)
        n = int(ends[-1])
        low, high = np.searchsorted(ends, [(n - 1) // 2, n // 2], side="right")
        return float(np.mean(values[[low, high]]))

    def _settle(self) -> None:
        """Values that wait are counted, or become part of the lowest level."""
        if not self._waiting:
            return
        values = np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        if self._exact:
            values, counts = np.unique(values, return_counts=True)
            if len(self._values):
                both = np.concatenate([self._values, values])
                values, place = np.unique(both, return_inverse=True)
                counts = np.bincount(place, np.concatenate([self._counts, counts])).astype("int64")
            self._values, self._counts = values, counts
            if len(values) > self.distinct:
                self._begin_levels()
            return
        self._put(0, values)

    def _begin_levels(self) -> None:
        """From counted values to levels: level k takes those whose count has the binary digit k."""
        self._exact = False
        for level in range(int(self._counts.max()).bit_length()):
            self._put(level, self._values[(self._counts >> level) & 1 == 1])
        self._values, self._counts = np.empty(0), np.empty(0, dtype="int64")

    def _put(self, level: int, values: np.ndarray) -> None:
        while len(self._levels) <= level:
            self._levels.append(np.empty(0))
        held = np.concatenate([self._levels[level], values])
        if len(held) < 2 * self.size:
            self._levels[level] = held
            return
        held.sort()
        last = len(held) - len(held) % 2
        self._levels[level] = held[last:]
        self._odd ^= 1  # the upper and the lower one of each pair in turn, so that errors cancel
        self.rank_error += 1 << level
        self._put(level + 1, held[:last][self._odd :: 2])
