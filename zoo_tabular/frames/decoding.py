"""Coded rows back as a frame, in the user's terms. No torch here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zoo_tabular.frames.processor import TableProcessor

RARE, UNKNOWN = "(rare)", "(unknown)"


def frame_of_codes(processor: TableProcessor, codes: np.ndarray, numbers: np.ndarray) -> pd.DataFrame:
    """What `processor.transform_arrays` made, undone as far as that goes.

    Gaps of number columns are gaps where the column has its `_na` column, else the median that filled them.

    Args:
        processor: fitted.
        codes: shape (rows, category columns).
        numbers: shape (rows, number columns and their `_na` columns).

    Returns:
        A frame with the columns of `processor.feature_names_in_`.

    Example:
        >>> df = pd.DataFrame({"Store": ["a", "b", "a"], "km": [1.0, 2.0, 6.0]})
        >>> fitted = TableProcessor(["Store"], ["km"]).fit(df)
        >>> frame_of_codes(fitted, *fitted.transform_arrays(df)).equals(df)
        True
    """
    columns: dict[str, Any] = {}
    for i, category in enumerate(processor.categories_):
        names = [None, *category.levels, RARE, UNKNOWN]
        columns[category.name] = [names[int(code)] for code in codes[:, i]]
    restored = restored_numbers(processor, numbers)
    flags = processor.number_names_[len(processor.numbers_) :]
    for i, column in enumerate(processor.numbers_):
        values = restored[:, i].copy()
        if f"{column.name}_na" in flags:
            values[numbers[:, len(processor.numbers_) + flags.index(f"{column.name}_na")] > 0.5] = np.nan
        columns[column.name] = values
    return pd.DataFrame(columns)


def restored_numbers(processor: TableProcessor, numbers: np.ndarray) -> np.ndarray:
    """Numbers as the columns hold them, float64, scaling undone; `_na` columns stay 0 and 1.

    A column that was constant in training is 0 for the model, and its constant here.
    """
    values = np.array(numbers, dtype="float64")
    for i, column in enumerate(processor.numbers_):
        if column.scale:
            values[:, i] = values[:, i] * column.std + column.mean
    return values
