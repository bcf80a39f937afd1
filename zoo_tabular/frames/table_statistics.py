"""Everything that is learned about a table that is read piece by piece. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd

from zoo.data.columns.arrow_values import arrow_floats
from zoo.data.columns.category_column import CategoryColumn
from zoo.data.columns.floats import to_floats
from zoo.data.columns.number_column import NumberColumn
from zoo.data.columns.statistics import CategoryStatistics, NumberStatistics
from zoo_tabular.frames.frame_checks import check_columns, check_frame


class TableStatistics:
    """Everything that a `TableProcessor` learns, piece by piece.

    Args:
        choose: the names of the category and of the number columns, told from a frame without rows or from
            the first piece.
        where: for error messages.

    Attributes:
        rows: how many rows were taken in.
    """

    def __init__(self, choose: Callable[[pd.DataFrame], tuple[list[str], list[str]]], where: str) -> None:
        self.choose, self.where = choose, where
        self.rows = 0
        self.categories: list[CategoryStatistics] = []
        self.numbers: list[NumberStatistics] = []

    def add(self, frame: Any) -> None:
        """Takes in a data frame, an Arrow table or a record batch.

        Raises:
            ValueError: for absent columns, or numbers that are none.
        """
        if hasattr(getattr(frame, "schema", None), "empty_table"):  # of Arrow
            head = check_frame(frame.schema.empty_table(), self.where)
        else:
            head = frame = check_frame(frame, self.where)
        if not self.rows:
            cats, conts = self.choose(head)
            self.categories = [CategoryStatistics(name) for name in cats]
            self.numbers = [NumberStatistics(name) for name in conts]
        else:
            check_columns(head, [one.name for one in [*self.categories, *self.numbers]], self.where)
        self.rows += len(frame)
        # sorting and counting happen outside the interpreter's lock
        with ThreadPoolExecutor(2, "zoo-statistics") as threads:
            jobs = [threads.submit(one.add, _column(frame, one.name)) for one in self.categories]
            jobs += [threads.submit(_add_numbers, one, _column(frame, one.name)) for one in self.numbers]
        for job in jobs:
            job.result()

    def columns(
        self, min_count: int, max_levels: int | None, scale: bool
    ) -> tuple[list[CategoryColumn], list[NumberColumn]]:
        """What was learned about the category and the number columns. Ends the collection.

        Raises:
            ValueError: if there were no rows.
        """
        if not self.rows:
            raise ValueError(f"{self.where}: there are no rows")
        categories = [one.column(min_count, max_levels) for one in self.categories]
        return categories, [one.column(scale) for one in self.numbers]


def _column(frame: Any, name: str) -> Any:
    column = frame[name] if isinstance(frame, pd.DataFrame) else frame.column(name)
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column


def _add_numbers(statistics: NumberStatistics, values: Any) -> None:
    found = to_floats(values) if isinstance(values, pd.Series) else arrow_floats(values, statistics.name)
    statistics.add(found)
