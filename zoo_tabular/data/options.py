"""How the rows of a table become batches, the same for every source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from zoo.keywords import completed
from zoo_tabular.frames.date_columns import date_column, with_parts
from zoo_tabular.frames.frame_checks import check_columns, name_list
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.model.category_dropout import CategoryDropout

PREDICT_ROWS = 4096


class TableOptions(TypedDict, total=False):
    """What every constructor of `ColumnarModelData` takes.

    Args:
        cont_flds: number columns; None takes every other column, which then must hold numbers or
            true/false.
        date_flds: date columns: their parts, as `add_datepart` makes and names them, may stand among
            `cat_flds` and `cont_flds`, and are made again of the dates of new rows.
        is_reg: numbers are predicted; False means classes, whatever the type of `y`, in the order of
            their values, or that of ordered categories.
        is_multi: several 0/1 columns of `y` may hold at once (multi-label).
        min_count: category levels with fewer training rows share the code "rare".
        max_levels: keep at most this many levels of a category, the most frequent.
        cat_dropout: share of training rows in which one category is replaced by "unknown".
        shuffle: draw a new order of the training rows every epoch.
        seed: of that order.
    """

    cont_flds: Sequence[str] | None
    date_flds: Sequence[str]
    is_reg: bool
    is_multi: bool
    min_count: int
    max_levels: int | None
    cat_dropout: float
    shuffle: bool
    seed: int | None


TABLE_DEFAULTS: dict[str, Any] = {
    "cont_flds": None,
    "date_flds": (),
    "is_reg": True,
    "is_multi": False,
    "min_count": 1,
    "max_levels": None,
    "cat_dropout": 0.02,
    "shuffle": True,
    "seed": None,
}


class TablePlan:
    """How rows become features, a target and batches: what the options say, with their defaults.

    Args:
        where: the constructor that the user called, for error messages.
        cat_flds: category columns.
        bs: rows per batch.
        target_transform: see `ColumnarModelData.from_data_frame`.
        options: some of `TableOptions`.

    Raises:
        TypeError: for options that do not exist.
        ValueError: for batches without rows.
    """

    def __init__(
        self,
        where: str,
        cat_flds: Sequence[str],
        bs: int,
        target_transform: str | Sequence[str] | None,
        options: Mapping[str, Any],
    ) -> None:
        if not isinstance(bs, int | np.integer) or bs < 1:
            raise ValueError(f"bs is the number of rows per batch and must be at least 1, got {bs!r}")
        self.where, self.cat_flds, self.bs, self.target_transform = where, cat_flds, bs, target_transform
        self.options = completed(TableOptions, TABLE_DEFAULTS, options, where)
        self.cont_flds: Sequence[str] | None = self.options["cont_flds"]
        self.date_flds = name_list(self.options["date_flds"], f"{where}: date_flds")
        self.is_reg: bool = self.options["is_reg"]
        self.is_multi: bool = self.options["is_multi"]

    def with_dates(self, df: pd.DataFrame) -> pd.DataFrame:
        """The frame with the parts of its date columns beside them."""
        check_columns(df, self.date_flds, f"{self.where}: date_flds")
        return with_parts(df, [date_column(df, name, self.where) for name in self.date_flds])

    def processor(self, cats: list[str], conts: list[str]) -> TableProcessor:
        """A processor to fit on the training rows."""
        kept = {name: self.options[name] for name in ("min_count", "max_levels")}
        return TableProcessor(cats, conts, **kept, na_columns="seen", scale=True, date_names=self.date_flds)

    def training(self, rows: int, processor: TableProcessor) -> dict[str, Any]:
        """Arguments of a loader of so many training rows."""
        return {
            "bs": self.bs,
            "shuffle": self.options["shuffle"],
            "seed": self.options["seed"],
            "drop_last": rows > self.bs and rows % self.bs == 1,  # batch norm cannot learn from a single row
            "batch_transform": CategoryDropout(self.options["cat_dropout"], processor),
        }
