"""The network for tables: embeddings of the categories beside the numbers, then fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.storage.registry import register_model
from zoo_tabular.model.layers import Dropout, FusedEmbedding


def default_width(cardinality: int) -> int:
    """Embedding width of a column with so many levels: half of them, at most 50.

    Example:
        >>> default_width(7), default_width(1115)
        (4, 50)
    """
    return min(50, (cardinality + 1) // 2)


def _example() -> tuple[nn.Module, tuple[Tensor, Tensor], Tensor]:
    model = MixedInputModel([(5, 3), (4, 2)], 3, 0.1, 1, [8, 4], [0.1, 0.1], y_range=(0.0, 6.0))
    codes = torch.tensor([[0, 1], [4, 3], [2, 0], [1, 2]])
    numbers = torch.linspace(-1, 1, 12).view(4, 3)
    return model, (codes, numbers), torch.tensor([[1.0], [2.0], [3.0], [4.0]])


@register_model("tabular.mixed_input", example=_example)
class MixedInputModel(nn.Module):
    """Entity embeddings and numbers into a fully connected network (Guo & Berkhahn 2016).

    Embeddings -> dropout; numbers -> batch norm; both concatenated -> [Linear, ReLU, BatchNorm, Dropout] for
    each hidden size -> Linear -> optionally a sigmoid into `y_range`. The last layer runs in float32 under
    mixed precision, so that a bounded output keeps its resolution.

    Args:
        emb_szs: (levels, width) of every category column; may be empty.
        n_cont: number columns; may be 0.
        emb_drop: dropout of the embeddings.
        out_sz: outputs a row.
        szs: hidden sizes; may be empty.
        drops: dropout after each hidden layer: one number for all or one each.
        y_range: (low, high) of the outputs, or None.
        use_bn: batch norm on the numbers and after each hidden layer.
        clip_cont: bound of the numbers, approached smoothly, so that a value far outside the training rows
            cannot drive the answer (Holzmüller et al. 2024, "Better by Default", with 3); None for no bound.

    Shape:
        codes (rows, category columns) of any integer type, numbers (rows, n_cont) -> (rows, out_sz).

    Raises:
        ValueError: for sizes that are not positive or do not fit each other.

    Example:
        >>> model = MixedInputModel([(10, 5), (4, 2)], 3, 0.04, 1, [16, 8], [0.01, 0.1]).eval()
        >>> model(torch.zeros(6, 2, dtype=torch.long), torch.zeros(6, 3)).shape
        torch.Size([6, 1])
    """

    def __init__(
        self,
        emb_szs: Sequence[Sequence[int]],
        n_cont: int,
        emb_drop: float = 0.0,
        out_sz: int = 1,
        szs: Sequence[int] = (200, 100),
        drops: float | Sequence[float] = 0.0,
        y_range: Sequence[float] | None = None,
        use_bn: bool = True,
        clip_cont: float | None = None,
    ) -> None:
        super().__init__()
        if clip_cont is not None and not clip_cont > 0:
            raise ValueError(f"clip_cont is a bound of the scaled numbers, above 0, or None; got {clip_cont}")
        self.clip_cont = clip_cont
        _check(emb_szs, n_cont, out_sz, szs, y_range)
        each = [float(drops)] * len(szs) if isinstance(drops, int | float) else [float(p) for p in drops]
        if len(each) != len(szs):
            raise ValueError(
                f"drops: {len(each)} values for {len(szs)} hidden layers {list(szs)}; give one each"
            )
        for p in (emb_drop, *each):
            if not 0 <= p < 1:
                raise ValueError(f"a dropout probability must be at least 0 and below 1, got {p}")
        self.n_cont = n_cont
        self.embeddings = FusedEmbedding(emb_szs) if len(emb_szs) else None
        self.emb_drop = Dropout(emb_drop)
        self.bn_cont = nn.BatchNorm1d(n_cont) if use_bn and n_cont else nn.Identity()
        n_in = n_cont + (self.embeddings.out_features if self.embeddings is not None else 0)
        layers: list[nn.Module] = []
        for size, p in zip(szs, each, strict=True):
            linear = nn.Linear(n_in, size)
            layers += [linear, nn.ReLU()]
            layers += [nn.BatchNorm1d(size)] if use_bn else []
            layers += [Dropout(p)] if p else []
            n_in = size
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(n_in, out_sz)
        nn.init.normal_(self.output.weight, std=0.003)
        nn.init.zeros_(self.output.bias)
        self.y_range = None if y_range is None else (float(y_range[0]), float(y_range[1]))

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        parts = []
        if self.embeddings is not None:
            parts.append(self.emb_drop(self.embeddings(codes)))
        if self.n_cont and self.clip_cont is not None:
            numbers = numbers * torch.rsqrt(1 + (numbers / self.clip_cont).square())
        if self.n_cont:
            parts.append(self.bn_cont(numbers))
        x = self.hidden(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
        with torch.autocast(x.device.type, enabled=False):
            x = F.linear(x.float(), self.output.weight, self.output.bias)
            if self.y_range is not None:
                low, high = self.y_range
                x = low + (high - low) * torch.sigmoid(x)
        return x

    @torch.no_grad()
    def start_at(self, outputs: Tensor) -> None:
        """Set the last bias so that an untrained model answers about `outputs`, such as the targets' mean.

        Training then does not spend its first hundreds of steps on finding the right order of magnitude.

        Args:
            outputs: one value for each output, shape (out_sz,); values outside `y_range` are moved inside.
        """
        start = outputs.to(self.output.bias).clone()
        if self.y_range is not None:
            low, high = self.y_range
            start = torch.logit(((start - low) / (high - low)).clamp(0.01, 0.99))
        self.output.bias.copy_(start)

    def layer_groups(self) -> dict[str, Any]:
        """Embeddings, then the hidden layers, then the output layer."""
        first = {"embeddings": [self.embeddings]} if self.embeddings is not None else {}
        return {**first, "hidden": [self.bn_cont, self.hidden], "output": [self.output]}


def _check(
    emb_szs: Sequence[Sequence[int]],
    n_cont: int,
    out_sz: int,
    szs: Sequence[int],
    y_range: Sequence[float] | None,
) -> None:
    for pair in emb_szs:
        if len(pair) != 2 or min(pair) < 1:
            raise ValueError(f"emb_szs: expected pairs (levels, width) of positive numbers, got {pair!r}")
    if n_cont < 0 or (not n_cont and not len(emb_szs)):
        raise ValueError(
            f"the model needs at least one category or number column, got {len(emb_szs)} and {n_cont}"
        )
    if out_sz < 1 or any(size < 1 for size in szs):
        raise ValueError(f"out_sz and szs must be positive, got {out_sz} and {list(szs)}")
    if y_range is not None and (len(y_range) != 2 or not y_range[0] < y_range[1]):
        raise ValueError(f"y_range: expected (low, high) with low < high, got {tuple(y_range)}")
