"""Rows of a table between the user's terms and those of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.check.check_data import plain_name
from zoo.data.check.report import DataReport
from zoo.data.loaders.batches import split_batch
from zoo.data.model_data import ModelData
from zoo.errors import some
from zoo_tabular.data.check_table import check_table
from zoo_tabular.data.options import PREDICT_ROWS
from zoo_tabular.frames.decoding import frame_of_codes, restored_numbers
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.raw_rows import frame_of_items
from zoo_tabular.frames.target.transforms import TargetTransform


class TableRows(ModelData):
    """The part of `ColumnarModelData` that reads raw rows, answers in the user's units, shows and checks."""

    processor: TableProcessor
    target: TargetTransform
    row_labels: dict[str, tuple[np.ndarray, pd.Index]]

    def check(self) -> DataReport:
        """Look at the table before training, see `zoo.check_data`; nothing is changed.

        Besides what is looked at in all data: columns that hardly change, that have a value of their own in
        every row, that are mostly missing, or otherwise in validation, values that training never shows,
        numbers stored as text, rare levels, other distributions in validation, single columns that tell the
        target, validation rows among training rows in time.
        """
        return check_table(cast(Any, self))

    def card_rows(self) -> Iterator[tuple[str, str]]:
        """What a model card tells of the inputs."""
        for date in self.processor.dates_:
            yield f"date {date.name!r}", f"read as {', '.join(date.parts)}"
        for column in self.processor.categories_:
            told = some(map(str, column.levels), 8)
            yield f"category {column.name!r}", f"{len(column.levels):,} levels: {told}"
        for column in self.processor.numbers_:
            gaps = ", with gaps" if column.missing_seen else ""
            told = f"mean {column.mean:.4g}, deviation {column.std:.4g}, median {column.median:.4g}{gaps}"
            yield f"number {column.name!r}", told
        if self.task == "regression" and self.target.name != "none":
            yield "target", f"learned on the scale {self.target.name!r}"

    def row_name(self, split: str, row: int) -> str:
        """How a row of "train" or "valid" is called: by its position in the user's frame, and its index."""
        if split not in self.row_labels:
            return plain_name(split, row)
        positions, labels = self.row_labels[split]
        place = int(positions[row])
        label = labels[row : row + 1].tolist()[0]
        return f"{split} row {place}" + ("" if label == place else f" (index {label!r})")

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Rows as batches of (codes, numbers).

        Args:
            items: a frame, a dict, a series, a list of dicts, or an array with the columns in the order of
                `processor.feature_names_in_`. Other columns, such as the target, are not looked at.
        """
        if isinstance(items, Mapping):
            items = [items]
        if isinstance(items, list | tuple) and len(items) == 1 and isinstance(items[0], Mapping):
            yield self.row_inputs(items[0])
            return
        codes, numbers = self.processor.transform_arrays(
            frame_of_items(items, self.processor.feature_names_in_, self.processor.dates_)
        )
        for start in range(0, len(codes), PREDICT_ROWS):
            yield tuple(torch.from_numpy(part[start : start + PREDICT_ROWS]) for part in (codes, numbers))

    def row_inputs(self, row: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """One row given as a dict as a batch of one."""
        codes, numbers = self.processor.transform_row(row)
        return torch.tensor([codes], dtype=torch.int64), torch.tensor([numbers], dtype=torch.float32)

    def invert_target(self, values: np.ndarray) -> np.ndarray:
        """Model outputs or targets in the user's unit; shape (rows,) for a single target."""
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        return self.target.inverse(values)

    def model_target(self, values: np.ndarray) -> np.ndarray:
        """Targets or predictions in the user's unit on the scale that the model learns on."""
        return self.target.forward(values)

    def denorm(self, x: Tensor) -> Tensor:
        """Numbers of a batch, shape (rows, number columns), in the units of their columns; codes as they
        are.
        """
        if not x.is_floating_point():
            return x
        return torch.from_numpy(restored_numbers(self.processor, x.detach().cpu().numpy())).to(x)

    def show_batch(self, n: int = 9, *, train: bool = True) -> pd.DataFrame:
        """The first rows of a batch with their columns and target in the user's terms; arguments as of
        `ModelData.show_batch`.
        """
        (codes, numbers, *_), target = split_batch(self.one_batch(train, "cpu"))
        frame = frame_of_codes(self.processor, codes[:n].numpy(), numbers[:n].numpy())
        return frame.assign(**self._target_columns(target, n))
