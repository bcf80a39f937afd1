"""One form for values that mean the same, such as 1, 1.0, True and "1". No torch here."""

from __future__ import annotations

import datetime
import math
import numbers
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.floats import FLOAT32_LIMIT
from zoo.data.columns.kinds import (
    DATES,
)


def canonical(value: Any, kind: str) -> Any:
    """A category's value as it is stored, so that 1, 1.0, True and "1" meet where they mean the same.

    Args:
        value: any value that is not missing.
        kind: "number" for columns whose levels are all numbers, "date" if all are dates, else "text".
            Numbers of float32 are the shortest that float32 rounds to them.

    Returns:
        An int or float (for numbers; None if the value is no number), or a string (for dates in ISO form,
        in UTC where they have a time zone, None if the value is no date; and for text).
    """
    if kind == "date":
        return iso_date(value)
    if type(value) is np.float32 and not float(value).is_integer():
        value = float(str(value))  # 0.1, not 0.10000000149011612
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    if kind == "number" and isinstance(value, str):
        value = _spelt(value)
    if isinstance(value, numbers.Integral):  # equal values must agree: True == 1 == 1.0
        return int(value) if kind == "number" else str(int(value))
    if isinstance(value, numbers.Real | Decimal):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf if value > 0 else -math.inf  # type: ignore[operator]
        plain = int(found) if abs(found) < 2**53 and found.is_integer() else found
        return plain if kind == "number" else str(plain)
    if kind == "number":
        return None
    return iso_date(value) if isinstance(value, DATES) else str(value)


def _spelt(text: str) -> int | float | None:
    """The number that a text spells, with all digits of whole ones; None if it spells none."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def iso_date(value: Any) -> str | None:
    """A date, also one given as text, in ISO form, in UTC if it has a time zone; None for anything else."""
    if not isinstance(value, datetime.date | np.datetime64 | str):
        return None
    try:
        moment = pd.Timestamp(value)
        return (moment if moment.tzinfo is None else moment.tz_convert("UTC")).isoformat()
    except (ValueError, OverflowError):
        return None


def exact_float32(value: Any) -> np.float32 | None:
    """A fraction that float32 holds exactly, as float32, whose shortest form may be another number."""
    exact = float(value) if isinstance(value, float | np.floating) else 0.0
    if exact.is_integer() or not -FLOAT32_LIMIT < exact < FLOAT32_LIMIT:
        return None
    narrow = np.float32(exact)
    return narrow if float(narrow) == exact else None
