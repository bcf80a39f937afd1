"""The values of a target as classes: their names, their order, what cannot be one. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.classes import check_enough
from zoo.data.columns.kinds import holds_dates, holds_numbers


def sort_classes(levels: Sequence[Any]) -> list[Any]:
    """The values of a target in the order of its classes, unless they are categories that have an order."""
    return list(pd.factorize(pd.Series(levels), sort=True)[1])


def check_classes(levels: Sequence[Any], rows: int, declared: bool = False) -> None:
    """Raise for values of a target that are no classes, for a single one, and for too many.

    Args:
        levels: the values, each once.
        rows: how many rows have them.
        declared: they are categories already, so that dates and measurements are meant (Parquet files keep no
            categories but those of text).
    """
    if not declared and not any(isinstance(level, str) for level in levels):
        _refuse_measurements(pd.Series(list(levels)), rows)
    check_enough(levels, "the target has")
    if len(levels) > max(1000, rows // 2):
        raise ValueError(
            f"the target has {len(levels)} classes in {rows} rows; pass is_reg=True to predict numbers"
        )


def _refuse_measurements(levels: pd.Series, rows: int) -> None:
    """Raise for dates, and for fractions of which most are different: those are no names of classes."""
    if holds_dates(levels):
        kind = pd.api.types.infer_dtype(levels, skipna=True)
        raise ValueError(
            f"the target holds dates ({kind}), not classes: make classes of them, such as months"
        )
    if len(levels) <= max(20, rows // 20) or not holds_numbers(levels):
        return
    values = levels.to_numpy(dtype="float64")
    if (values != np.round(values)).any():
        raise ValueError(
            f"the target holds {len(levels)} different numbers with fractions in {rows} rows, which "
            "look like measurements, not classes: pass is_reg=True to predict numbers, or turn them into text"
        )
