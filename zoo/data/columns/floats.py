"""Columns as float64, and what float32 can hold of them. No torch here."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zoo.data.columns.kinds import (
    is_flag,
    is_text,
    object_kind,
)
from zoo.errors import some

FLOAT32_LIMIT = (2 - 2**-24) * 2.0**127  # from here on a number becomes infinite as float32


def to_floats(values: pd.Series) -> np.ndarray:
    """A column as float64 with NaN for gaps.

    Raises:
        TypeError: for dates, durations and complex numbers.
        ValueError: for text that is no number, for infinite values and whole numbers beyond float64.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.cat.remove_unused_categories()
        levels = to_floats(pd.Series(values.cat.categories, name=values.name))
        return np.append(levels, np.nan)[values.cat.codes]  # code -1, missing, reads the last entry
    if pd.api.types.is_complex_dtype(values.dtype) or object_kind(values) == "complex":
        raise TypeError(f"column {values.name!r} holds complex numbers: make two columns of them")
    if is_flag(values):
        values = values.astype("boolean")
    elif is_text(values):
        try:
            parsed = pd.to_numeric(values, errors="coerce")
        except OverflowError:
            raise ValueError(too_large(str(values.name), "a whole number")) from None
        bad = values[(parsed.isna() & values.notna()).to_numpy()]
        bad = [
            value for value in bad.unique() if not (isinstance(value, str) and value.strip().lower() == "nan")
        ]
        if bad:
            raise ValueError(
                f"column {values.name!r} is used as numbers but holds {some(map(repr, bad), 3)}: "
                "list it among the categories or clean it"
            )
        values = parsed
    if not (pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)):
        raise TypeError(not_numbers(str(values.name), str(values.dtype)))
    found = values.to_numpy(dtype="float64", na_value=np.nan)
    if np.isinf(found).any():
        raise ValueError(
            f"column {values.name!r} holds {int(np.isinf(found).sum())} infinite values: clean them first"
        )
    return found


def deviation(values: np.ndarray) -> float:
    """Standard deviation of a population: 0 where all values are the same, which rounding may hide."""
    return float(values.std()) if len(values) and values.min() < values.max() else 0.0


def check_fits(found: np.ndarray, raw: np.ndarray, name: str) -> None:
    """Raise when a number would become infinite as float32, naming it as it was before scaling."""
    fits = np.abs(found) < FLOAT32_LIMIT
    if not fits.all():
        raise ValueError(too_large(name, f"{raw[~fits][0]:g}"))


def too_large(name: str, value: str) -> str:
    return (
        f"column {name!r} holds {value}, which is too large for float32 "
        "(scaled by the training rows, where asked for): clean it first"
    )


def not_numbers(name: str, kind: str) -> str:
    return (
        f"column {name!r} is {kind}, not numbers: use add_datepart for dates, or list it among the categories"
    )
