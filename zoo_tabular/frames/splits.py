"""Which rows to validate on: the last days, whole groups; and a warning when time leaks. No torch here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo_tabular.frames.dates import day_numbers, epoch_seconds
from zoo_tabular.frames.frame_checks import check_columns, check_frame

_EARLIEST = 10**8  # seconds since 1970 that whole numbers must reach to be times: in 1973
_UNITS = (10**9, 10**6, 10**3)  # parts of a second


class TimeLeakWarning(UserWarning):
    """Validation rows lie between training rows in time."""


def last_days_split(df: pd.DataFrame, date: str, days: int) -> np.ndarray:
    """Row numbers of the last `days` calendar days, for validation.

    Example:
        >>> df = pd.DataFrame({"Date": ["2015-07-31", "2015-07-01", "2015-07-30"]})
        >>> last_days_split(df, "Date", 2).tolist()
        [0, 2]
    """
    df = check_frame(df, "last_days_split", empty_ok=False)
    if days < 1:
        raise ValueError(f"last_days_split: days must be at least 1, got {days}")
    day = day_numbers(df, date, "last_days_split")
    rows = np.flatnonzero(day > day.max() - days)
    if len(rows) == len(df):
        raise ValueError(
            f"last_days_split: all {len(df)} rows fall into the last {days} days, none is left to train on"
        )
    return rows


def group_split(
    df: pd.DataFrame, group: str | Sequence[str], val_pct: float = 0.2, seed: int = 42
) -> np.ndarray:
    """Row numbers of randomly drawn whole groups, so that no group is on both sides.

    Args:
        df: the frame.
        group: column or columns whose values make a group.
        val_pct: share of the groups to draw, above 0 and below 1; at least one is drawn and one is left.
        seed: the same seed gives the same groups.

    Example:
        >>> df = pd.DataFrame({"Store": [1, 2, 1, 2, 3]})
        >>> rows = group_split(df, "Store", 0.4)
        >>> set(df.Store[rows]) & set(df.Store.drop(rows))
        set()
    """
    names = [group] if isinstance(group, str) else list(group)
    df = check_frame(df, "group_split", empty_ok=False)
    check_columns(df, names, "group_split")
    if not 0 < val_pct < 1:
        raise ValueError(f"group_split: val_pct is a share above 0 and below 1, got {val_pct}")
    number = df.groupby(names, dropna=False, sort=True, observed=True).ngroup().to_numpy()
    count = int(number.max()) + 1
    if count < 2:
        raise ValueError(f"group_split: there is only one group in {names}, nothing to split")
    drawn = np.random.default_rng(seed).permutation(count)[: min(max(1, int(count * val_pct)), count - 1)]
    return np.flatnonzero(np.isin(number, drawn))


def warn_if_time_leaks(df: pd.DataFrame, val_idxs: np.ndarray) -> str | None:
    """Warn when validation rows are scattered among training rows in time, judged by the first date column.
    Returns what the warning says, or None.

    Looks at datetime columns, at the `Elapsed` seconds of `add_datepart`, and at whole numbers named
    `timestamp` that count seconds, or thousandths, millionths and so on of one, since 1970. A block of days
    held out, also one in the middle, is no leak.
    """
    held = np.zeros(len(df), dtype=bool)
    held[val_idxs] = True
    if held.all() or not held.any():
        return None
    name = time_column(df)
    if name is None:
        return None
    day, known = _days(df[name])
    days = np.unique(day[held & known])
    shared = np.isin(days, day[~held & known]).mean() if len(days) else 0.0
    order = np.argsort(day[known], kind="stable")
    runs = np.count_nonzero(np.diff(held[known][order].astype("int8"))) + 1
    several = len(days) > 1 or len(np.unique(day[known])) > 1
    if several and (shared > 0.5 or (not shared and runs > 10)):
        message = (
            f"validation rows lie among training rows in time (column {name!r}): the score will look "
            "better than the forecast of coming days; hold out the last days with last_days_split"
        )
        warnings.warn(message, TimeLeakWarning, stacklevel=4)
        return message
    return None


def time_column(df: pd.DataFrame) -> str | None:
    """The first column that tells the time of the rows, by its type or by its name; None if there is none."""
    for name in df.columns:
        column = df[name]
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            return name
        if pd.api.types.is_integer_dtype(column.dtype):
            times = column.dropna()
            if name.endswith("Elapsed"):
                return name
            if named_as_time(name) and len(times) and times.median() >= _EARLIEST:
                return name
    return None


def named_as_time(name: str) -> bool:
    """Whether a column of numbers is named as one that tells the time of the rows.

    Example:
        >>> named_as_time("SaleElapsed"), named_as_time("unix_timestamp"), named_as_time("Id")
        (True, True, False)
    """
    return name.endswith("Elapsed") or name.lower().endswith("timestamp")


def _days(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Day numbers, and which rows have one."""
    known = column.notna().to_numpy()
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return epoch_seconds(column)[0] // 86_400, known
    values = column.to_numpy(dtype="float64", na_value=0.0)
    if not str(column.name).endswith("Elapsed"):
        middle = np.median(values[known])
        values = values / next((unit for unit in _UNITS if middle >= _EARLIEST * unit), 1)
    return values // 86_400, known


def split_rows(val_idxs: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on and to validate on."""
    rows = np.asarray([] if val_idxs is None else val_idxs)
    if rows.dtype == bool:
        if len(rows) != n:
            raise ValueError(f"val_idxs: a mask of {len(rows)} values for {n} rows")
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise ValueError("val_idxs: expected row numbers (whole numbers from 0) or a true/false mask")
    rows = rows.astype("int64")
    if len(rows) and (rows.min() < 0 or rows.max() >= n):
        raise ValueError(f"val_idxs: row numbers must lie in 0..{n - 1}, got {rows.min()}..{rows.max()}")
    if len(np.unique(rows)) != len(rows):
        raise ValueError("val_idxs: a row number is repeated")
    train = np.setdiff1d(np.arange(n), rows, assume_unique=True)
    if len(train) < 2:
        raise ValueError(f"val_idxs: {len(train)} of {n} rows are left to train on, at least 2 are needed")
    return train, rows
