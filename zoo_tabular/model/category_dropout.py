"""Category dropout: a few training rows teach the code of unknown values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo_tabular.frames.processor import TableProcessor


class CategoryDropout:
    """Replaces one category of a few training rows by "unknown", so that this code learns what to say.

    Where training rows had no missing value in the column, half of the replacements are "missing" instead,
    for the same reason. One column a row, chosen at random, costs far less accuracy than the same share of
    all values.

    Args:
        rate: share of the rows that are changed in each batch.
        processor: tells the codes.
    """

    def __init__(self, rate: float, processor: TableProcessor) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"cat_dropout is a share of rows, at least 0 and below 1, got {rate}")
        self.rate = rate
        self.unknown = torch.tensor([column.unknown_code for column in processor.categories_])
        seen = torch.tensor([column.missing_seen for column in processor.categories_], dtype=torch.bool)
        self.other = torch.where(seen, self.unknown, torch.zeros_like(self.unknown))
        self.columns = torch.arange(len(self.unknown))
        self._reserved = np.stack([self.unknown.numpy(), self.other.numpy()])

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        codes, *rest = batch
        if not training or not self.rate or not codes.shape[1]:
            return batch
        # one draw a row tells whether (below the number of columns), which column (whole part), which code
        draw = torch.rand((codes.shape[0], 1), generator=generator, device=codes.device)
        draw *= codes.shape[1] / self.rate
        if codes.device.type == "cpu":
            return self._change_few(codes, draw.numpy()[:, 0]), *rest
        if self.unknown.device != codes.device or self.unknown.dtype != codes.dtype:
            self.unknown, self.other = self.unknown.to(codes), self.other.to(codes)
            self.columns = self.columns.to(codes.device)
        hit = self.columns == draw.floor()
        reserved = torch.where(draw.frac() < 0.5, self.other, self.unknown)
        return torch.where(hit, reserved, codes), *rest

    def _change_few(self, codes: Tensor, draw: np.ndarray) -> Tensor:
        """The same, looking at the rows that are hit alone; a GPU would have to wait for their number."""
        rows = (draw < codes.shape[1]).nonzero()[0]
        if not len(rows):
            return codes
        drawn = draw[rows]
        column = drawn.astype("int64")
        changed = codes.clone()
        changed.numpy()[rows, column] = self._reserved[(drawn - column < 0.5).view("int8"), column]
        return changed
