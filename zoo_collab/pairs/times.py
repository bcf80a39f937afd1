"""When rows were made: dates and numbers that grow with time."""

from __future__ import annotations

import datetime
import numbers
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.csv_file import check_columns
from zoo_collab.pairs.checks import plain

_UNITS = (("seconds", 1e11), ("milliseconds", 1e14), ("microseconds", 1e17), ("nanoseconds", np.inf))


def checked_times(df: pd.DataFrame, column: str, where: str) -> np.ndarray:
    """When each rating was given, as numbers that grow with time."""
    check_columns(df, [column], where)
    missing = df[column].isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{where}: column {column!r} has no time in row {plain(df.index[int(missing.argmax())])!r}"
            f" ({int(missing.sum())} such rows); drop them or fill them in"
        )
    return as_times(df[column], f"{where}: column {column!r}")


def are_dates(values: pd.Series) -> bool:
    """Whether times are dates, of pandas or of Python; others are numbers, or no times at all."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return are_dates(pd.Series(values.cat.categories))
    if values.dtype.kind == "O":
        return pd.api.types.infer_dtype(values) in ("date", "datetime", "datetime64")
    return values.dtype.kind == "M"


def as_times(values: pd.Series, what: str) -> np.ndarray:
    """Dates as microseconds since 1970 (UTC), numbers as they are."""
    if values.dtype.kind == "O" or isinstance(values.dtype, pd.StringDtype):
        values = pd.Series(values.tolist())  # dates in a list
        if values.dtype.kind == "O" and are_dates(values):
            values = pd.to_datetime(values, utc=True)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if values.dtype.kind == "M":
        return values.to_numpy().astype("datetime64[us]").astype(np.int64)
    if values.dtype.kind not in "iuf" or not np.isfinite(values.to_numpy(dtype=np.float64)).all():
        raise ValueError(
            f"{what} holds {values.iloc[0]!r}, which is neither a date nor a number that grows with time: "
            "convert it with pd.to_datetime"
        )
    return values.to_numpy()


def time_meant(value: Any, times: np.ndarray, dated: bool, what: str, column: Any) -> Any:
    """A single time as `times` hold it.

    Args:
        value: a date (text such as "2020-12-31", of Python or of pandas) where times are dates, else a
            number.
        times: those of the table.
        dated: whether they are dates.
        what: says in errors where the value was given, as a call without its closing bracket.
        column: of the times, for errors.

    Raises:
        ValueError: for a date among numbers or the other way round, and for what is neither; it tells what
            the times are like and what to give.

    Example:
        >>> int(time_meant("1970-01-02", np.array([0, 10**12]), True, "by_time(after", "when"))
        86400000000
    """
    date = _date(value)
    if dated:
        if date is not None:
            return _microseconds(date)
        first, middle, last = (pd.Timestamp(int(t), unit="us") for t in _spread(times))
        raise ValueError(
            f"{what}={value!r}): the times in column {column!r} are dates, from {first} to {last}: give a "
            f"date, such as {middle.date().isoformat()!r}"
        )
    number = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    if number and np.isfinite(float(value)):
        return value
    first, middle, last = (t.item() for t in _spread(times))
    if date is None:
        meant = f"give such a number, {what.split('(')[-1]}={middle}"
    else:
        unit = next(place for place, (_, most) in enumerate(_UNITS) if abs(last) < most)
        since = _microseconds(date) * 10 ** (3 * unit) // 10**6
        meant = f"if they are {_UNITS[unit][0]} since 1970, {what.split('(')[-1]}={since}"
    raise ValueError(
        f"{what}={value!r}): the times in column {column!r} are numbers, from {first} to {last}, not dates; "
        f"{meant}"
    )


def _date(value: Any) -> pd.Timestamp | None:
    """A point in time (UTC), if it is one; of texts those in ISO form."""
    if not isinstance(value, str | datetime.date | np.datetime64):
        return None
    try:
        found = pd.to_datetime(value, utc=True, format="ISO8601" if isinstance(value, str) else None)
    except ValueError:
        return None
    return found if isinstance(found, pd.Timestamp) else None


def _microseconds(date: pd.Timestamp) -> int:
    """Since 1970, of a date in UTC."""
    return int(date.tz_localize(None).to_datetime64().astype("datetime64[us]").astype(np.int64))


def _spread(times: np.ndarray) -> tuple[Any, Any, Any]:
    """The first, one in the middle, and the last."""
    return times.min(), np.partition(times, len(times) // 2)[len(times) // 2], times.max()
