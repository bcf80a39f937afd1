"""Median, mean and deviation of a column of numbers. No torch here."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.floats import FLOAT32_LIMIT, check_fits, deviation, not_numbers, to_floats, too_large
from zoo.data.columns.kinds import (
    is_missing,
)


@dataclass
class NumberColumn:
    """Median, mean and standard deviation of one numeric column, without its gaps.

    Attributes:
        scale: whether values are brought to mean 0 and deviation 1; a column that was constant in training
            then becomes 0 throughout, since nothing can have been learned from it.
    """

    name: str
    median: float
    mean: float
    std: float
    missing_seen: bool = False
    scale: bool = False

    @classmethod
    def learn(cls, values: pd.Series, scale: bool) -> NumberColumn:
        """Collect the statistics of a column; gaps count with the median that will fill them."""
        found = to_floats(values)
        gaps = np.isnan(found)
        present = found[~gaps]
        check_fits(present, present, str(values.name))
        median = float(np.median(present)) if len(present) else 0.0
        found = np.where(gaps, median, found)
        mean, std = float(found.mean()), deviation(found)
        return cls(str(values.name), median, mean, std, bool(gaps.any()), scale)

    def encode(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Float64 values without gaps, and where the gaps were."""
        found = to_floats(values)
        gaps = np.isnan(found)
        raw = found = np.where(gaps, self.median, found)
        if self.scale:
            with np.errstate(over="ignore"):
                found = (found - self.mean) / self.std if self.std else np.zeros_like(found)
        check_fits(found, raw, self.name)
        return found, gaps

    def encode_one(self, value: Any) -> tuple[float, bool]:
        """A single value; the same as `encode` gives."""
        gap = is_missing(value)
        if gap:
            found = self.median
        else:
            if isinstance(value, datetime.date | datetime.timedelta | np.datetime64 | np.timedelta64):
                raise TypeError(not_numbers(self.name, type(value).__name__))
            try:
                found = float(value)
            except (TypeError, ValueError):
                raise ValueError(f"column {self.name!r} holds numbers, got {value!r}") from None
            except OverflowError:
                raise ValueError(too_large(self.name, "a whole number")) from None
            gap = found != found
            if found in (float("inf"), float("-inf")):
                raise ValueError(f"column {self.name!r} holds an infinite value")
            found = self.median if gap else found
        if self.scale:
            found = (found - self.mean) / self.std if self.std else 0.0
        if not -FLOAT32_LIMIT < found < FLOAT32_LIMIT:
            raise ValueError(too_large(self.name, f"{float(value):g}"))
        return found, gap
