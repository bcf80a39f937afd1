"""Date columns whose parts are features: expanded in the same way wherever rows come from. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from zoo_tabular.frames.dates import add_datepart, as_datetimes


@dataclass(frozen=True)
class DateColumn:
    """A date column and those of its parts (see `add_datepart`) that are features.

    Attributes:
        name: of the column.
        parts: names of the parts.
        time: whether hours, minutes and seconds are parts too.
    """

    name: str
    parts: tuple[str, ...]
    time: bool = False

    def expanded(self, df: pd.DataFrame) -> pd.DataFrame:
        """The frame with the parts, where it has none of its own and has the date.

        Raises:
            ValueError: for text that is no date.
        """
        absent = [part for part in self.parts if part not in df.columns]
        if not absent or self.name not in df.columns:
            return df
        parts = add_datepart(df[[self.name]], self.name, time=self.time)
        return df.assign(**{part: parts[part] for part in absent})

    def expanded_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of one row."""
        if self.name not in row or all(part in row for part in self.parts):
            return row
        parts = add_datepart(pd.DataFrame({self.name: [row[self.name]]}), self.name, time=self.time).iloc[0]
        return {**{part: parts[part] for part in self.parts}, **row}


def date_column(df: pd.DataFrame, name: str, where: str) -> DateColumn:
    """A column of dates with all of its parts; the time of day is among them where it varies.

    Example:
        >>> found = date_column(pd.DataFrame({"Date": ["2015-07-31"]}), "Date", "")
        >>> found.parts[:3], found.time
        (('Year', 'Month', 'Week'), False)
    """
    dates = as_datetimes(df, name, where).dropna()
    time = bool(len(dates)) and bool((dates.dt.normalize() != dates).any())
    head = pd.DataFrame({name: dates.iloc[:1] if len(dates) else [pd.Timestamp(0)]})
    return DateColumn(name, tuple(add_datepart(head, name, time=time).columns), time)


def with_parts(df: pd.DataFrame, dates: Sequence[DateColumn]) -> pd.DataFrame:
    """The frame with the parts of all of these columns."""
    for column in dates:
        df = column.expanded(df)
    return df
