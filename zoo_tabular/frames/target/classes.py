"""The values of a target as classes: their names, their order, what cannot be one. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.kinds import holds_dates, holds_numbers


def class_names(levels: Iterable[Any]) -> list[str]:
    """Names of the classes that the values of a target stand for."""
    plain = [float(level) if isinstance(level, Decimal) else level for level in levels]
    return [str(int(level) if isinstance(level, float) and level.is_integer() else level) for level in plain]


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
    if not declared:
        _refuse_measurements(pd.Series(list(levels)), rows)
    if len(levels) < 2:
        told = f"only one class, {levels[0]!r}" if len(levels) else "no values"
        raise ValueError(f"the target has {told}: there is nothing to learn")
    if len(levels) > max(1000, rows // 2):
        raise ValueError(
            f"the target has {len(levels)} classes in {rows} rows; pass is_reg=True to predict numbers"
        )


def class_place(value: Any, classes: Sequence[str]) -> int | None:
    """The place of a class that is given by its value, as in the target, or by its name; None for no class.

    Example:
        >>> class_place(5.0, ["4.5", "5"]), class_place("4.5", ["4.5", "5"]), class_place(6, ["4.5", "5"])
        (1, 0, None)
        >>> class_place(True, ["False", "True"]), class_place(1, ["False", "True"])
        (1, 1)
    """
    value = value.item() if isinstance(value, np.generic) else value
    names = class_names([value])
    if isinstance(value, bool | int | float) and value in (0, 1):  # in Python 1 equals True
        names += [str(int(value)), str(bool(value))]
    return next((classes.index(name) for name in names if name in classes), None)


def is_number(name: str) -> bool:
    """Whether the name of a class is that of a number."""
    try:
        return bool(np.isfinite(float(name)))
    except ValueError:
        return False


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
