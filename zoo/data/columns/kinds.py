"""What kind of values a column holds. No torch here."""

from __future__ import annotations

import datetime
import numbers
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

NUMBERS = (numbers.Real, np.bool_, Decimal)

DATES = (datetime.date, np.datetime64)


def is_missing(value: Any) -> bool:
    """Whether a single value counts as missing: None, NaN, NaT or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and value != value) or (
        value is pd.NaT
        or (isinstance(value, Decimal) and value.is_nan())
        or (isinstance(value, np.datetime64) and bool(np.isnat(value)))
    )  # fmt: skip


def object_kind(values: pd.Series) -> str:
    """What an object column holds, gaps aside: only "dates" (or durations), only "numbers" (also true/false,
    Decimals and numpy's), numbers of which some are "complex", or else "text", as for other columns."""
    if not pd.api.types.is_object_dtype(values.dtype):
        return "text"
    if pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
        return "text"
    kinds = {type(value) for value in values[values.notna().to_numpy()]}
    dates = (*DATES, datetime.timedelta, np.timedelta64)
    for kind, types in (("dates", dates), ("numbers", NUMBERS), ("complex", (*NUMBERS, numbers.Complex))):
        if kinds and all(issubclass(one, types) for one in kinds):
            return kind
    return "text"


def is_text(values: pd.Series) -> bool:
    """Whether a column holds text or mixed Python objects rather than numbers, dates or categories."""
    return bool(
        pd.api.types.is_object_dtype(values.dtype) or pd.api.types.is_string_dtype(values.dtype)
    ) and (not isinstance(values.dtype, pd.CategoricalDtype))


def is_flag(values: pd.Series) -> bool:
    """Whether a column holds true/false, of any type, with or without gaps; categories are none."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_object_dtype(values.dtype):
        return pd.api.types.infer_dtype(values, skipna=True) == "boolean"
    return bool(pd.api.types.is_bool_dtype(values.dtype))


def holds_numbers(values: pd.Series) -> bool:
    """Whether a column holds numbers or true/false, also as objects: Decimals, and true/false with gaps."""
    if pd.api.types.is_object_dtype(values.dtype):
        return pd.api.types.infer_dtype(values, skipna=True) in ("decimal", "boolean")
    return bool(pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype))


def holds_dates(values: pd.Series) -> bool:
    """Whether a column holds dates or durations, also as objects; categories are none."""
    if pd.api.types.is_object_dtype(values.dtype):
        kind = pd.api.types.infer_dtype(values, skipna=True)
        return kind in ("date", "datetime", "datetime64", "timedelta", "timedelta64")
    kind = values.dtype
    return pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_timedelta64_dtype(kind)
