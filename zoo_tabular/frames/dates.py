"""Date columns become the parts that trees and embeddings can use. No torch here."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import some
from zoo_tabular.frames.frame_checks import check_columns, check_frame, fresh, same_values

_NUMBERS = ("Year", "Month", "Week", "Day", "Dayofweek", "Dayofyear")
_FLAGS = (
    "Is_month_end", "Is_month_start", "Is_quarter_end", "Is_quarter_start", "Is_year_end", "Is_year_start",
)  # fmt: skip
_TIMES = ("Hour", "Minute", "Second")
_ACCESSORS = {"Dayofweek": "day_of_week", "Dayofyear": "day_of_year"}  # spelled so since pandas 1.1
_NAT = np.iinfo(np.int64).min


def as_datetimes(df: pd.DataFrame, col: str, where: str) -> pd.Series:
    """The column as datetimes of any resolution and time zone; text and Python dates are parsed.

    Raises:
        ValueError: when the column is absent or holds text that is no date.
        TypeError: when the column holds plain numbers, whose unit only the caller knows.
    """
    check_columns(df, [col], where)
    values = df[col]
    if isinstance(values.dtype, pd.ArrowDtype) and values.dtype.kind == "M":
        zone = getattr(values.dtype.pyarrow_dtype, "tz", None)  # date32 has none
        values = (
            values.astype("datetime64[us]") if zone is None else values.astype(pd.DatetimeTZDtype("us", zone))
        )
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    if isinstance(values.dtype, pd.PeriodDtype):
        return values.dt.to_timestamp()  # type: ignore[attr-defined]
    if values.isna().all():
        return pd.Series(pd.NaT, index=values.index, name=values.name, dtype="datetime64[us]")
    if pd.api.types.is_numeric_dtype(values.dtype):
        raise TypeError(
            f"{where}: column {col!r} holds numbers ({values.dtype}), not dates: "
            f"convert it first with pd.to_datetime(df[{col!r}], format=... or unit=...)"
        )
    try:
        with warnings.catch_warnings():  # pandas 2 only warns of mixed offsets, and gives no dates then
            warnings.simplefilter("error", FutureWarning)
            return pd.to_datetime(values)
    except (ValueError, TypeError, OverflowError, FutureWarning) as error:
        raise ValueError(f"{where}: column {col!r}: {_unreadable(values, col)}") from error


def _unreadable(values: pd.Series, col: str) -> str:
    """Why a column could not be read as dates, in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixed = pd.to_datetime(values, errors="coerce", format="mixed", utc=True)
        bad = values[(mixed.isna() & values.notna()).to_numpy()]
        if len(bad):
            return f"cannot read {some(map(repr, bad.unique()), 3)} as a date"
        present = values.dropna()
        zones = [pd.Timestamp(value).utcoffset() for value in present]
        other = [value for value, zone in zip(present, zones, strict=True) if zone != zones[0]]
        if other:
            return (
                f"{other[0]!r} has another offset from UTC than {present.iloc[0]!r}: "
                f"convert it first with pd.to_datetime(df[{col!r}], utc=True)"
            )
        alike = pd.to_datetime(values, errors="coerce")
    late = values[(alike.isna() & values.notna()).to_numpy()]
    return (
        f"{(late if len(late) else present).iloc[0]!r} is not written like {present.iloc[0]!r}: "
        f"convert it first with pd.to_datetime(df[{col!r}], format=...), such as '%d/%m/%Y' or 'mixed'"
    )


def epoch_seconds(dates: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Whole seconds since 1970-01-01 UTC as int64 (0 where missing) and the mask of missing dates."""
    missing = dates.isna().to_numpy()
    if dates.dt.tz is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    raw = dates.to_numpy()
    unit = np.datetime_data(raw.dtype)[0]
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = raw.view("int64")
    seconds = np.floor_divide(ticks, per_second)
    return np.where(missing | (ticks == _NAT), 0, seconds), missing


def day_numbers(df: pd.DataFrame, col: str, where: str) -> np.ndarray:
    """Days since 1970-01-01 on the local calendar of each row, as int64; a missing date is an error."""
    dates = as_datetimes(df, col, where)
    if dates.dt.tz is not None:
        dates = dates.dt.tz_localize(None)
    seconds, missing = epoch_seconds(dates)
    if missing.any():
        raise ValueError(f"{where}: column {col!r} has no date in {int(missing.sum())} of {len(df)} rows")
    return np.floor_divide(seconds, 86_400)


def add_datepart(df: pd.DataFrame, col: str, drop: bool = True, time: bool = False) -> pd.DataFrame:
    """Replace a date column by its calendar parts, in a new frame.

    Adds `Year, Month, Week` (ISO), `Day, Dayofweek` (Monday is 0), `Dayofyear, Is_month_end, Is_month_start,
    Is_quarter_end, Is_quarter_start, Is_year_end, Is_year_start` and `Elapsed`, whole seconds since
    1970-01-01 UTC at every datetime resolution. Each name is prefixed by the column's name without a trailing
    "Date" or "date": `Date` gives `Year`, `SaleDate` gives `SaleYear`. Parts of dates with a time zone are
    those of the local calendar. A missing date gives missing parts, in pandas' nullable integer and boolean
    columns.

    Args:
        df: frame with the column; it is not changed, whatever its index.
        col: name of a column of datetimes, or of text or Python dates to parse.
        drop: leave the date column itself out of the result.
        time: also add `Hour, Minute, Second`.

    Returns:
        A new frame with the other columns of `df` first.

    Raises:
        ValueError: for a column that is absent, text that is no date, or when a part would replace another
            column.
        TypeError: for a column of plain numbers.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"Date": pd.to_datetime(["2015-07-31"]), "Sales": [5263]})
        >>> add_datepart(df, "Date")[["Sales", "Year", "Week", "Is_month_end", "Elapsed"]].values.tolist()
        [[5263, 2015, 31, True, 1438300800]]
    """
    df = check_frame(df, "add_datepart")
    dates = as_datetimes(df, col, "add_datepart")
    prefix = re.sub("[Dd]ate$", "", str(col))
    seconds, missing = epoch_seconds(dates)
    parts: dict[str, np.ndarray] = {}
    for name in _NUMBERS + (_TIMES if time else ()):
        found = dates.dt.isocalendar() if name == "Week" else dates.dt
        part = getattr(found, _ACCESSORS.get(name, name.lower()))
        parts[name] = part.to_numpy(dtype="float64", na_value=np.nan)
    columns: dict[str, Any] = {}
    for name in _NUMBERS:
        columns[name] = _integers(parts[name], missing, "int32")
    for name in _FLAGS:
        flags = getattr(dates.dt, name.lower()).to_numpy(dtype=bool)
        columns[name] = pd.arrays.BooleanArray(flags, missing.copy()) if missing.any() else flags
    for name in _TIMES if time else ():
        columns[name] = _integers(parts[name], missing, "int32")
    columns["Elapsed"] = pd.arrays.IntegerArray(seconds, missing.copy()) if missing.any() else seconds
    out = fresh(df)
    if drop:
        out = out.drop(columns=col)
    for name, values in columns.items():
        made = prefix + name
        if made in out.columns and not same_values(out[made], pd.Series(values, index=out.index)):
            raise ValueError(
                f"add_datepart: column {made!r} is there already, with other values: rename or drop it, or "
                f"rename {col!r}, whose name without 'date' is what the new names begin with"
            )
        out[made] = values
    return out


def _integers(values: np.ndarray, missing: np.ndarray, dtype: str) -> Any:
    """Whole numbers as a numpy array, or as a nullable column where some are missing."""
    if not missing.any():
        return values.astype(dtype)
    return pd.arrays.IntegerArray(np.where(missing, 0, values).astype("int64"), missing.copy())
