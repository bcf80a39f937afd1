"""How the rows of a table become batches, the same for every source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.model.category_dropout import CategoryDropout

PREDICT_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How rows become batches, the same for every source; the fields are those of `from_data_frame`."""

    bs: int
    is_reg: bool
    is_multi: bool
    target_transform: str | Sequence[str] | None
    min_count: int
    max_levels: int | None
    cat_dropout: float
    shuffle: bool
    seed: int | None

    def __post_init__(self) -> None:
        if not isinstance(self.bs, int | np.integer) or self.bs < 1:
            raise ValueError(f"bs is the number of rows per batch and must be at least 1, got {self.bs!r}")

    def processor(self, cats: list[str], conts: list[str]) -> TableProcessor:
        """A processor to fit on the training rows."""
        return TableProcessor(
            cats, conts, min_count=self.min_count, max_levels=self.max_levels, na_columns="seen", scale=True
        )

    def training(self, rows: int, processor: TableProcessor) -> dict[str, Any]:
        """Arguments of a loader of so many training rows."""
        return {
            "bs": self.bs,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": rows > self.bs and rows % self.bs == 1,  # batch norm cannot learn from a single row
            "batch_transform": CategoryDropout(self.cat_dropout, processor),
        }
