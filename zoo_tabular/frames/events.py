"""Days since and until an event, and how many fell into the days around a row. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.data.columns.kinds import is_text
from zoo.errors import some
from zoo_tabular.frames.dates import day_numbers
from zoo_tabular.frames.frame_checks import check_columns, check_frame, fresh, name_list, same_values


@dataclass(frozen=True)
class _Calendar:
    """The distinct (group, day) pairs of a frame in order, and where each row falls among them."""

    group: np.ndarray  # group code of each pair
    day: np.ndarray  # day number of each pair
    start: np.ndarray  # position of the first pair of the same group
    order: np.ndarray  # row numbers sorted by (group, day)
    first: np.ndarray  # position in `order` of the first row of each pair
    pair_of_row: np.ndarray  # pair of each row of the frame

    @classmethod
    def of(cls, df: pd.DataFrame, date: str, group: str | Sequence[str] | None, where: str) -> _Calendar:
        days = day_numbers(df, date, where)
        groups = name_list(group, where)
        check_columns(df, groups, where)
        if len(groups) == 1:
            codes = pd.factorize(df[groups[0]])[0].astype("int64")
        elif groups:
            codes = df.groupby(groups, dropna=False, sort=False, observed=True).ngroup().to_numpy()
        else:
            codes = np.zeros(len(df), dtype="int64")
        order = np.lexsort((days, codes))
        code, day = codes[order], days[order]
        new = np.ones(len(df), dtype=bool)
        new[1:] = (code[1:] != code[:-1]) | (day[1:] != day[:-1])
        first = np.flatnonzero(new)
        pair_of_row = np.empty(len(df), dtype="int64")
        pair_of_row[order] = np.cumsum(new) - 1
        group_of_pair = code[first]
        begins = np.ones(len(first), dtype=bool)
        begins[1:] = group_of_pair[1:] != group_of_pair[:-1]
        start = np.maximum.accumulate(np.where(begins, np.arange(len(first)), 0)) if len(first) else first
        return cls(group_of_pair, day[first], start, order, first, pair_of_row)

    def happened(self, flags: np.ndarray) -> np.ndarray:
        """Whether the event happened on each (group, day): on any of its rows."""
        return np.logical_or.reduceat(flags[self.order], self.first) if len(self.first) else flags


def _flags(df: pd.DataFrame, name: str, where: str) -> np.ndarray:
    values = df[name]
    numbers = ("boolean", "integer", "floating", "mixed-integer-float", "empty")
    if isinstance(values.dtype, pd.CategoricalDtype) or (
        is_text(values) and pd.api.types.infer_dtype(values, skipna=True) not in numbers
    ):
        told = some(map(repr, values.dropna().unique()), 4)
        raise ValueError(
            f"{where}: event column {name!r} holds {told}; make it true/false first, "
            f"for example df[{name!r}] = df[{name!r}] != '0'"
        )
    return (
        np.where(values.isna(), 0, values.to_numpy(dtype=object)).astype(bool)
        if values.isna().any()
        else (values.to_numpy().astype(bool))
    )


def _add(out: pd.DataFrame, name: str, values: np.ndarray, where: str) -> None:
    """Add a column to the frame itself; another one of the same name is an error."""
    if name in out.columns and not same_values(out[name], pd.Series(values, index=out.index)):
        raise ValueError(
            f"{where}: column {name!r} is there already, with other values: rename or drop it first"
        )
    out[name] = values


def add_elapsed(
    df: pd.DataFrame,
    events: str | Sequence[str],
    date: str,
    group: str | Sequence[str] | None = None,
    *,
    fill: float | None = None,
) -> pd.DataFrame:
    """Add days since (`After<event>`) and until (`Before<event>`) the nearest event of the same group.

    Both are 0 on the day of an event. Rows may come in any order and days may be absent: distances are
    counted on the calendar. Several rows of one group and day share their events.

    Args:
        df: frame with the columns; it is not changed.
        events: names of true/false or number columns; missing and 0 mean no event.
        date: name of the date column.
        group: name or names of the columns that tell series apart, such as the store; None for one series.
        fill: value where a group has no event yet (or no more); None leaves them missing.

    Returns:
        A new frame: the columns of `df`, then float32 columns `AfterX` and `BeforeX` for each event X, in
            days.

    Raises:
        ValueError: for absent columns, missing dates, an event column that holds text, or when a new column
            would replace another.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"Store": [1, 1, 1], "Date": ["2015-01-01", "2015-01-03", "2015-01-08"],
        ...                    "Promo": [0, 1, 0]})
        >>> add_elapsed(df, "Promo", "Date", "Store")[["AfterPromo", "BeforePromo"]].values.tolist()
        [[nan, 2.0], [0.0, 0.0], [5.0, nan]]
    """
    where = "add_elapsed"
    df = check_frame(df, where)
    names = name_list(events, where)
    check_columns(df, names, where)
    calendar = _Calendar.of(df, date, group, where)
    position = np.arange(len(calendar.day))
    out = fresh(df)
    for name in names:
        happened = calendar.happened(_flags(df, name, where))
        last = np.maximum.accumulate(np.where(happened, position, -1)) if len(position) else position
        since = np.where(last >= calendar.start, calendar.day - calendar.day[last], np.nan)
        # the same walk from the far end: positions and group borders are mirrored
        ahead = (
            np.minimum.accumulate(np.where(happened, position, len(position))[::-1])[::-1]
            if len(position)
            else last
        )
        inside = np.minimum(ahead, max(len(position) - 1, 0))
        same = (ahead < len(position)) & (calendar.group[inside] == calendar.group)
        until = np.where(same, calendar.day[inside] - calendar.day, np.nan)
        for prefix, days in (("After", since), ("Before", until)):
            if fill is not None:
                days = np.where(np.isnan(days), fill, days)
            _add(out, prefix + name, days[calendar.pair_of_row].astype("float32"), where)
    return out


def add_event_counts(
    df: pd.DataFrame,
    events: str | Sequence[str],
    date: str,
    group: str | Sequence[str] | None = None,
    *,
    days: int = 7,
) -> pd.DataFrame:
    """Add on how many of the last (`<event>_bw`) and coming (`<event>_fw`) days an event happened in the
    group.

    A window holds `days` calendar days and includes the row's own day.

    Args:
        df: frame with the columns; it is not changed.
        events: names of true/false or number columns; missing and 0 mean no event.
        date: name of the date column.
        group: name or names of the columns that tell series apart; None for one series.
        days: length of the windows in days, at least 1.

    Returns:
        A new frame: the columns of `df`, then int32 columns `X_bw` and `X_fw` for each event X.

    Raises:
        ValueError: as `add_elapsed`, and for windows that are no whole number of days.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"Date": ["2015-01-01", "2015-01-03", "2015-01-08"], "Promo": [1, 1, 0]})
        >>> add_event_counts(df, "Promo", "Date")[["Promo_bw", "Promo_fw"]].values.tolist()
        [[1, 2], [2, 1], [1, 0]]
    """
    where = "add_event_counts"
    df = check_frame(df, where)
    if isinstance(days, bool) or not isinstance(days, int | np.integer) or days < 1:
        raise ValueError(
            f"{where}: days is the length of the window, a whole number of at least 1, got {days!r}"
        )
    days = int(days)
    names = name_list(events, where)
    check_columns(df, names, where)
    calendar = _Calendar.of(df, date, group, where)
    out = fresh(df)
    # one sorted key for (group, day): the gap between groups is wider than any window
    low = calendar.day.min() if len(calendar.day) else 0
    span = (calendar.day.max() - low if len(calendar.day) else 0) + 2 * days + 1
    key = calendar.group * span + (calendar.day - low)
    here = np.arange(len(key))
    begin = np.searchsorted(key, key - (days - 1), side="left")
    end = np.searchsorted(key, key + (days - 1), side="right")
    for name in names:
        total = np.concatenate([[0], np.cumsum(calendar.happened(_flags(df, name, where)).astype("int64"))])
        counts = {"_bw": total[here + 1] - total[begin], "_fw": total[end] - total[here]}
        for suffix, count in counts.items():
            _add(out, name + suffix, count[calendar.pair_of_row].astype("int32"), where)
    return out
