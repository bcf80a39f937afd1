"""Ratings tables from CSV files; an unreadable file is one error that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

_MISSING = ["", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None"]


def _is_text(dtype: Any) -> bool:
    return pd.api.types.is_string_dtype(pd.api.types.pandas_dtype(dtype))


def read_ratings(file: Path, columns: Sequence[str], dtype: Mapping[str, Any], sep: str) -> pd.DataFrame:
    """The table of a CSV file.

    Args:
        file: its path.
        columns: user, item and rating column; the first two keep NA and the like where they are read as text.
        dtype: types of columns.
        sep: what separates the fields.

    Raises:
        ValueError: for an empty or ragged file, or one with two columns of a name; it names the file.
    """
    missing = {column: [""] if _is_text(dtype.get(column, "int")) else _MISSING for column in columns}
    try:
        # the first two rows alone: a longer second row is an error here and would pass as an index below
        head = pd.read_csv(file, sep=sep, header=None, nrows=2, dtype=str, keep_default_na=False)
        df = pd.read_csv(file, sep=sep, dtype=dict(dtype), na_values=missing, keep_default_na=False)
    except ValueError as error:
        raise ValueError(
            f"{file}: cannot be read as a CSV file separated by {sep!r}: {str(error).strip()}"
        ) from error
    for column in columns:
        if (times := head.iloc[0].tolist().count(column)) > 1:
            raise ValueError(f"{file} has {times} columns {column!r}; rename all but one")
    return df
