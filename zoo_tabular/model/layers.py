"""Two layers that make tabular networks fast: one table for all embeddings, and a cheap dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 2**16  # a dropout probability is rounded to a multiple of 1 / _LEVELS on the CPU
_SPARSE = 0.05  # up to this probability, one draw for each dropped value costs less than some for all values


class FusedEmbedding(nn.Module):
    """Looks up all category columns at once: every table lies in one vector, one gather reads them.

    The values and gradients are those of one `nn.Embedding` a column, concatenated; there is a single kernel
    forward and backward instead of one a column, which counts most when a single row is predicted.

    Args:
        sizes: (levels, width) of every column.

    Shape:
        codes (rows, columns), any integer type -> (rows, sum of widths).

    A code must lie in 0 .. levels - 1 of its column, as a `TableProcessor` makes them. The values are not
    checked, which would take longer than the lookup of a single row: a code out of that range may read, and
    train, another column's table.

    Raises:
        ValueError: for codes of another number of columns.

    Example:
        >>> table = FusedEmbedding([(3, 2), (4, 1)])
        >>> table(torch.tensor([[0, 1], [2, 3]])).shape
        torch.Size([2, 3])
    """

    column: Tensor
    width: Tensor
    base: Tensor

    def __init__(self, sizes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.sizes = [(int(levels), int(width)) for levels, width in sizes]
        self.weight = nn.Parameter(torch.empty(sum(levels * width for levels, width in self.sizes), 1))
        column, base, start = [], [], 0
        for i, (levels, width) in enumerate(self.sizes):
            column += [i] * width
            base += range(start, start + width)
            start += levels * width
        widths = [width for _, width in self.sizes]
        self.register_buffer("column", torch.tensor(column, dtype=torch.long), persistent=False)
        self.register_buffer("base", torch.tensor(base, dtype=torch.long), persistent=False)
        each = torch.tensor(widths, dtype=torch.long)[self.column]
        self.register_buffer("width", each, persistent=False)
        self.reset_parameters()

    @property
    def out_features(self) -> int:
        """Sum of the widths."""
        return len(self.base)

    def table(self, column: int) -> Tensor:
        """The table of one column as a view of the weights, shape (levels, width)."""
        start = sum(levels * width for levels, width in self.sizes[:column])
        levels, width = self.sizes[column]
        return self.weight.flatten()[start : start + levels * width].view(levels, width)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Normal values of deviation 1, as in `nn.Embedding`; smaller ones learned more slowly."""
        self.weight.normal_()

    def forward(self, codes: Tensor) -> Tensor:
        if codes.ndim != 2 or codes.shape[1] != len(self.sizes):
            raise ValueError(
                f"expected codes of shape (rows, {len(self.sizes)}), one column for each of the tables, "
                f"got {tuple(codes.shape)}"
            )
        places = codes.long().gather(1, self.column.expand(codes.shape[0], -1)) * self.width + self.base
        if (
            places.device.type == "cpu"
        ):  # the gradient is then a single pass: ten times faster than F.embedding's
            return self.weight.flatten().index_select(0, places.flatten()).view(places.shape)
        return F.embedding(places, self.weight).squeeze(-1)

    def extra_repr(self) -> str:
        levels = sum(levels for levels, _ in self.sizes)
        return f"{len(self.sizes)} columns, {levels} levels -> {self.out_features}"


class Dropout(nn.Dropout):
    """`nn.Dropout` that needs few random numbers on the CPU, where drawing them costs as much as a layer.

    Small probabilities draw the distances between dropped values, which are geometrically distributed, so
    there is one draw for each value that is dropped. For others each 64-bit draw decides four values, and the
    probability is rounded to a multiple of 1/65536; the scale is that of the rounded probability, so the mean
    is kept.

    Example:
        >>> Dropout(0.5).eval()(torch.ones(2)).tolist()
        [1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0 or not input.numel():
            return input
        if input.device.type != "cpu" or self.inplace or torch.compiler.is_compiling():
            return super().forward(input)
        if self.p <= _SPARSE:
            return input * _sparse_mask(input, self.p)
        steps = round(self.p * _LEVELS)
        if steps == _LEVELS:
            return super().forward(input)
        words = torch.empty((input.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: input.numel()].view(input.shape)
        kept = draws >= steps - _LEVELS // 2
        return input * kept.to(input.dtype).mul_(_LEVELS / (_LEVELS - steps))


def _sparse_mask(like: Tensor, p: float) -> Tensor:
    """What dropout multiplies by: 0 with probability `p`, else 1 / (1 - p)."""
    mask = torch.full(like.shape, 1 / (1 - p), dtype=like.dtype)
    size = mask.numel()
    dropped, last = [], -1
    while last < size - 1:
        count = int((size - last) * p + 6 * math.sqrt((size - last) * p) + 16)  # hardly ever too few
        skipped = torch.rand(count, dtype=torch.float64).log_().div_(math.log1p(-p)).clamp_(max=size)
        places = skipped.long().add_(1).cumsum(0).add_(last)
        dropped.append(places[places < size])
        last = int(places[-1])
    mask.view(-1).index_fill_(0, torch.cat(dropped), 0.0)
    return mask
