"""What is in a frame: one row a column. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.kinds import is_flag
from zoo_tabular.frames.frame_checks import check_frame

FIELDS = ["dtype", "count", "missing", "missing_share", "distinct", "min", "median", "max", "most_frequent",
          "most_frequent_share", "examples"]  # fmt: skip


def summarize(df: pd.DataFrame, n_examples: int = 3) -> pd.DataFrame:
    """Types, gaps, distinct values, ranges and frequent values of all columns.

    Args:
        df: any frame, also of polars or Arrow, also with repeated or unnamed columns; it is not changed.
        n_examples: how many different values to show of each column, the first that occur.

    Returns:
        One row a column of `df`, in its order and under its name, with the columns: `dtype`; `count` of
        values that are not missing; `missing` and `missing_share` of all rows; `distinct` values (missing is
        none); `min`, `median` and `max` of numbers, true/false (as 0 and 1), dates, durations and ordered
        categories (these without a median), None elsewhere; `most_frequent` value, the first seen of equals,
        and `most_frequent_share` of the values that are not missing; `examples`, a list. Values that cannot
        be hashed, such as lists, are told apart and shown by their `repr`.

    Raises:
        TypeError: for anything but a frame.

    Example:
        >>> df = pd.DataFrame({"Store": [1, 2, 2], "Kind": ["a", None, "a"]})
        >>> summarize(df)[["count", "missing", "distinct", "median", "most_frequent"]]
               count  missing  distinct median most_frequent
        Store      3        0         2    2.0             2
        Kind       2        1         1   None             a
    """
    if not isinstance(df, pd.DataFrame):
        df = check_frame(df, "summarize")
    if isinstance(n_examples, bool) or not isinstance(n_examples, int | np.integer) or n_examples < 0:
        raise ValueError(f"summarize: n_examples must be a whole number of at least 0, got {n_examples!r}")
    rows = [_column(df.iloc[:, i], int(n_examples)) for i in range(df.shape[1])]
    columns: dict[str, Any] = {field: [row[field] for row in rows] for field in FIELDS}
    objects = ("dtype", "min", "median", "max", "most_frequent", "examples")
    return pd.DataFrame(
        {
            field: pd.Series(values, index=df.columns, dtype=object)
            if field in objects
            else pd.Series(values, index=df.columns, dtype="float64" if field.endswith("share") else "int64")
            for field, values in columns.items()
        },
        index=df.columns,
    )


def _column(values: pd.Series, n_examples: int) -> dict[str, Any]:
    plain_numbers = isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf"
    varied = plain_numbers and values[:1000].nunique() > 300
    found = _by_sorting(values.to_numpy(), n_examples) if varied else _by_hashing(values, n_examples)
    count = int(found.counts.sum())
    low, middle, high = _range(values, found.levels, found.counts) if count else (None, None, None)
    return {
        "dtype": str(values.dtype),
        "count": count,
        "missing": len(values) - count,
        "missing_share": (len(values) - count) / len(values) if len(values) else 0.0,
        "distinct": len(found.counts),
        "min": low,
        "median": middle,
        "max": high,
        "most_frequent": _plain(found.top),
        "most_frequent_share": found.counts.max() / count if count else float("nan"),
        "examples": [_plain(value) for value in found.examples],
    }


@dataclass
class _Counted:
    """Distinct values that are not missing, how often each occurs, the most frequent and the first ones."""

    levels: Any
    counts: np.ndarray
    top: Any
    examples: Any


def _by_sorting(values: np.ndarray, n_examples: int) -> _Counted:
    """The fast way for columns of many different numbers."""
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
    ranked = np.sort(values)
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])[: len(ranked)])
    counts = np.diff(np.append(starts, len(ranked)))
    levels = ranked[starts]
    if not len(levels):
        return _Counted(levels, counts, None, [])
    best = levels[counts == counts.max()]
    if len(best) == len(levels):
        top = values[0]
    elif len(best) == 1:
        top = best[0]
    else:
        place = np.minimum(np.searchsorted(best, values), len(best) - 1)
        top = values[int((best[place] == values).argmax())]
    examples: Any = []
    width = 16
    while len(examples) < min(n_examples, len(levels)):
        width *= 8
        examples = pd.unique(values[:width])
    return _Counted(levels, counts, top, examples[:n_examples])


def _by_hashing(values: pd.Series, n_examples: int) -> _Counted:
    codes, levels = _factorize(values)
    counts = np.bincount(codes + 1, minlength=len(levels) + 1)[1:]
    if isinstance(values.dtype, pd.CategoricalDtype):
        shown = pd.unique(codes)
        first = shown[shown >= 0]  # in the order of the rows
    else:
        first = np.arange(len(levels))
    top = levels[first[int(counts[first].argmax())]] if len(first) else None
    seen = np.sort(first)  # categories may have levels that no row has
    return _Counted(levels[seen], counts[seen], top, [levels[i] for i in first[:n_examples]])


def _factorize(values: pd.Series) -> tuple[np.ndarray, Any]:
    """Position of each row's value among the distinct values, -1 where missing, and these values."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy().astype("int64"), values.cat.categories
    try:
        return pd.factorize(values)
    except TypeError:  # lists, dicts, arrays: no hash
        gaps = values.isna().to_numpy()
        texts = np.array([repr(value) for value in values], dtype=object)
        texts[gaps] = None
        return pd.factorize(texts)


def _range(values: pd.Series, levels: Any, counts: np.ndarray) -> tuple[Any, Any, Any]:
    """Least, middle and largest value where values have an order, else three times None.

    Sorting the distinct values and adding up their counts is all that this takes.
    """
    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return (_plain(levels[0]), None, _plain(levels[-1])) if kind.ordered else (None, None, None)
    if is_flag(values):
        sortable = np.asarray(levels).astype("int64")
    elif pd.api.types.is_complex_dtype(kind):
        return None, None, None
    elif pd.api.types.is_numeric_dtype(kind):
        sortable = np.asarray(levels)
    elif pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_timedelta64_dtype(kind):
        sortable = levels
    elif pd.api.types.is_object_dtype(kind) and pd.api.types.infer_dtype(levels, skipna=True) in (
        "integer", "floating", "mixed-integer-float", "decimal", "date",
    ):  # fmt: skip
        sortable = np.asarray(levels, dtype=object)
    else:
        return None, None, None
    order = np.argsort(sortable, kind="stable")
    upto = np.cumsum(counts[order])
    n = int(upto[-1])
    lower, upper = (
        sortable[order[int(np.searchsorted(upto, rank, side="right"))]] for rank in ((n - 1) // 2, n // 2)
    )
    return _plain(sortable[order[0]]), _middle(lower, upper), _plain(sortable[order[-1]])


def _middle(lower: Any, upper: Any) -> Any:
    if isinstance(lower, np.integer | np.floating | int | float) and not isinstance(lower, np.timedelta64):
        return float(lower) + (float(upper) - float(lower)) / 2
    lower, upper = _plain(lower), _plain(upper)
    return lower if lower == upper else lower + (upper - lower) / 2


def _plain(value: Any) -> Any:
    """Numbers as Python's own; dates and durations as pandas' own."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        return pd.Timedelta(value)
    return value.item() if isinstance(value, np.generic) else value
