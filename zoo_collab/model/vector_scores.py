"""What a model answers as a function of the vectors of one side, and how its answers change with them."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_collab.model.models import EmbeddingDotBias, EmbeddingNet


class HeldScores(Protocol):
    """One side's vectors may move, the others (rows, places) stand still."""

    def scores(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Scores before the range, (rows, places), for vectors, (rows, width), and how they change with them,
        (rows, places, width)."""
        ...


class VectorScores(Protocol):
    """A model as a function of the vectors of its users, or of its items."""

    y_range: tuple[float, float] | None

    def __len__(self) -> int:
        """Vectors that training found, without the unknown one."""
        ...

    def vectors(self, rows: slice = slice(1, None)) -> Tensor:
        """Those of some indexes, by default of all but the unknown one, (n, width)."""
        ...

    def hold(self, others: Tensor) -> HeldScores:
        """With these of the other side, indexes (rows, places)."""
        ...


_KINDS = (EmbeddingDotBias, EmbeddingNet)


def can_fold(model: nn.Module) -> bool:
    """Whether `scores_of` knows the model."""
    return any(isinstance(model, kind) and type(model).forward is kind.forward for kind in _KINDS)


def scores_of(model: nn.Module, side: str) -> VectorScores:
    """The model as a function of the vectors of a side, "user" or "item".

    Raises:
        TypeError: for models of other kinds, and where `forward` was written anew.
    """
    if side not in ("user", "item"):
        raise ValueError(f"side is 'user' or 'item', not {side!r}")
    if can_fold(model):
        return DotScores(model, side) if isinstance(model, EmbeddingDotBias) else NetScores(model, side)  # type: ignore[arg-type]
    raise TypeError(
        f"ratings of people who were not in training can be folded into EmbeddingDotBias and EmbeddingNet, "
        f"whose tables of factors are known; a {type(model).__name__} has to be trained with their rows: add "
        "them to the table and fit again"
    )


def _double(weight: Tensor) -> Tensor:
    return weight.detach().cpu().double()


def squeezed(scores: Tensor, y_range: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Answers of scores, and how they change with them."""
    if y_range is None:
        return scores, torch.ones_like(scores)
    low, high = y_range
    share = torch.sigmoid(scores)
    return low + (high - low) * share, (high - low) * share * (1 - share)


class DotScores:
    """Of a dot product with biases: a vector is (factors, bias).

    Args:
        model: the model.
        side: whose vectors move.
    """

    def __init__(self, model: EmbeddingDotBias, side: str) -> None:
        other = "item" if side == "user" else "user"
        self._own = [getattr(model, f"{side}_{part}").weight for part in ("factors", "bias")]
        self._other = [getattr(model, f"{other}_{part}").weight for part in ("factors", "bias")]
        self._middle = float(model.get_buffer("middle"))
        self.y_range = None if model.clip else model.y_range  # what is cut off is a plain sum

    def __len__(self) -> int:
        return len(self._own[0]) - 1

    def vectors(self, rows: slice = slice(1, None)) -> Tensor:
        return torch.cat([_double(weight[rows]) for weight in self._own], 1)

    def hold(self, others: Tensor) -> HeldDot:
        factors, bias = (_double(weight[others.to(weight.device)]) for weight in self._other)
        return HeldDot(torch.cat([factors, torch.ones_like(bias)], -1), bias.squeeze(-1) + self._middle)


class HeldDot:
    """Scores are sums over directions, (rows, places, width), beside what the others have themselves."""

    def __init__(self, directions: Tensor, rest: Tensor) -> None:
        self._directions, self._rest = directions, rest

    def scores(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return (self._directions @ vectors[..., None]).squeeze(-1) + self._rest, self._directions


class NetScores:
    """Of embeddings with layers above: a vector is a row of the table.

    Args:
        model: the model; dropout is left out.
        side: whose vectors move.
    """

    def __init__(self, model: EmbeddingNet, side: str) -> None:
        tables: list[nn.Embedding] = [model.user_factors, model.item_factors]
        self._own, self._other = tables if side == "user" else tables[::-1]
        width = model.user_factors.embedding_dim
        layers: list[Any] = [
            part for part in (*model.hidden, model.output) if not isinstance(part, nn.Dropout)
        ]
        weights = [
            (_double(layer.weight), _double(layer.bias)) for layer in layers if isinstance(layer, nn.Linear)
        ]
        (first, bias), *self._rest = weights
        halves = first[:, :width], first[:, width:]
        self._mine, self._theirs = halves if side == "user" else halves[::-1]
        self._bias = bias
        self._middle, self.y_range = float(model.get_buffer("middle")), model.y_range

    def __len__(self) -> int:
        return len(self._own.weight) - 1

    def vectors(self, rows: slice = slice(1, None)) -> Tensor:
        return _double(self._own.weight[rows])

    def hold(self, others: Tensor) -> HeldNet:
        weight = self._other.weight
        given = F.linear(_double(weight[others.to(weight.device)]), self._theirs, self._bias)
        return HeldNet(given, self._mine, self._rest, self._middle)


class HeldNet:
    """The first layer reads both sides apart; `given`, (rows, places, hidden), is what the others say."""

    def __init__(self, given: Tensor, mine: Tensor, rest: list[tuple[Tensor, Tensor]], middle: float) -> None:
        self._given, self._mine, self._rest, self._middle = given, mine, rest, middle

    def scores(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        inner = self._given + F.linear(vectors, self._mine)[:, None]
        passed = []
        for weight, bias in self._rest:
            passed.append(inner > 0)
            inner = F.linear(inner.clamp(min=0), weight, bias)
        back = torch.ones_like(inner)  # through the layers, the last first
        for (weight, _), on in zip(reversed(self._rest), reversed(passed), strict=True):
            back = (back @ weight) * on
        return inner.squeeze(-1) + self._middle, back @ self._mine
