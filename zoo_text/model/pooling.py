"""One vector of each text from the activations of its words."""

from __future__ import annotations

import torch
from torch import Tensor


class PoolState:
    """Running last, largest and mean activation of each row's real words, piece by piece."""

    def __init__(self) -> None:
        self.last: Tensor | float = 0.0
        self.top: Tensor | None = None
        self.total: Tensor | float = 0.0

    def add(self, x: Tensor, lengths: Tensor) -> None:
        """Takes in a piece of each row.

        Args:
            x: (rows, steps, features).
            lengths: (rows,), how many of these steps are real words of the row; none where it has no more, or
                not yet any. Those of its last piece are more than 0.
        """
        x = x.float()
        steps = torch.arange(x.shape[1], device=x.device)
        real = (steps < lengths[:, None])[..., None]
        top = x.masked_fill(~real, -torch.inf).amax(1)
        self.top = top if self.top is None else torch.maximum(self.top, top)
        # sums by a matrix product with the mask: rows x 2 x steps times rows x steps x features
        is_last = (steps == lengths[:, None] - 1)[..., None]
        sums = torch.cat([real, is_last], -1).to(x.dtype).transpose(1, 2) @ x
        self.total = self.total + sums[:, 0]
        self.last = torch.where(lengths[:, None] > 0, sums[:, 1], self.last)

    def pooled(self, lengths: Tensor) -> Tensor:
        """Last, max and mean side by side, (rows, 3 x features), of rows of so many words in all."""
        if self.top is None:
            raise RuntimeError("pooled() needs at least one add()")
        mean = self.total / lengths[:, None]
        return torch.cat([torch.as_tensor(self.last), self.top, torch.as_tensor(mean)], 1)
