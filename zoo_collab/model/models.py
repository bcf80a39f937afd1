"""The models of a recommender: a user index and an item index in, a rating out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engine.init import kaiming_head
from zoo.storage.registry import ModelSpec, register_model
from zoo_collab.model.features import feature_tables, with_features

_PAIRS = 65_536
_FREE, _SQUEEZED, _CUT = 0.0, 1.0, 2.0  # what becomes of scores


def _example(kind: str):
    def example():
        torch.manual_seed(0)
        model = (
            EmbeddingDotBias(6, 9, 4, y_range=(0.0, 5.5))
            if kind == "dot"
            else EmbeddingNet(6, 9, 4, hidden=[8], dropouts=[0.1], y_range=(0.0, 5.5))
        )
        return model, (torch.tensor([0, 1, 5]), torch.tensor([8, 0, 2])), torch.tensor([3.0, 4.0, 1.0])

    return example


def _check_sizes(n_users: int, n_items: int, n_factors: int, y_range: Sequence[float] | None) -> None:
    for name, value in (("n_users", n_users), ("n_items", n_items), ("n_factors", n_factors)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    if y_range is not None and not y_range[0] < y_range[1]:
        raise ValueError(f"y_range is (lowest, highest) with lowest < highest, got {tuple(y_range)}")


def _embedding(n_rows: int, width: int, sparse: bool, std: float = 0.01) -> nn.Embedding:
    """Rows of small random numbers; row 0, the unknown id, is zero and stays zero."""
    table = nn.Embedding(n_rows, width, padding_idx=0, sparse=sparse)
    with torch.no_grad():
        nn.init.trunc_normal_(table.weight, std=std, a=-2 * std, b=2 * std)
        table.weight[0] = 0
    return table


def _middle(mean: float | None, y_range: Sequence[float] | None) -> float:
    """The number before the sigmoid that gives the mean rating."""
    if mean is None:
        return 0.0
    if y_range is None:
        return float(mean)
    share = (mean - y_range[0]) / (y_range[1] - y_range[0])
    return float(torch.logit(torch.tensor(share, dtype=torch.float64), eps=1e-3))


def _into_range(x: Tensor, y_range: tuple[float, float] | None) -> Tensor:
    if y_range is None:
        return x
    return torch.sigmoid(x) * (y_range[1] - y_range[0]) + y_range[0]


@register_model("collab.embedding_dot_bias", example=_example("dot"))
class EmbeddingDotBias(nn.Module):
    """Dot product of a user's and an item's factors plus both biases, squeezed into the range of ratings.

    Index 0 is the unknown user or item: zero factors and zero bias, so its prediction rests on the other
    side's bias and on the mean. Koren, Bell, Volinsky, "Matrix factorization techniques for recommender
    systems" (2009).

    Args:
        n_users: rows of the user table, the unknown user included.
        n_items: rows of the item table, the unknown item included.
        n_factors: width of both tables.
        y_range: (lowest, highest) value that can be predicted; None leaves the output free.
        mean: the prediction for an unknown user and an unknown item; None means the middle of the range.
        clip: cut what lies outside the range instead of squeezing everything into it: for factors that were
            fitted in closed form.
        sparse: whether the tables have sparse gradients, for `zoo.RowAdamW`.
        user_features, item_features: {"levels": how many, "longest": levels of the longest row} of what is
            known of users and items; its vectors and biases are added to those of ids (Kula 2015). The rows
            follow by `model.item_features.fill(rows)`.

    Example:
        >>> model = EmbeddingDotBias(10, 20, 5, y_range=(1, 5), mean=3.5)
        >>> round(model(torch.tensor([0]), torch.tensor([0])).item(), 4)
        3.5
    """

    ends: Tensor  # as files keep it: whether scores are free, squeezed or cut off, lowest, highest
    fitted: Tensor  # how fit_als fitted pairs without ratings: unobserved, wd, exponent; -1 where it did not
    added_later = {"ends": -1.0, "fitted": -1.0}  # older files: as the model was made, and not known

    def __init__(
        self,
        n_users: int,
        n_items: int,
        n_factors: int = 50,
        y_range: Sequence[float] | None = None,
        mean: float | None = None,
        clip: bool = False,
        sparse: bool = False,
        user_features: Mapping[str, int] | None = None,
        item_features: Mapping[str, int] | None = None,
    ):
        super().__init__()
        _check_sizes(n_users, n_items, n_factors, y_range)
        self.user_features = feature_tables(n_users, user_features, "user_features")
        self.item_features = feature_tables(n_items, item_features, "item_features")
        self.user_factors = with_features(_embedding(n_users, n_factors, sparse), self.user_features)
        self.item_factors = with_features(_embedding(n_items, n_factors, sparse), self.item_features)
        self.user_bias = with_features(_embedding(n_users, 1, sparse), self.user_features)
        self.item_bias = with_features(_embedding(n_items, 1, sparse), self.item_features)
        self.register_buffer("ends", torch.zeros(3))
        self.register_buffer("fitted", torch.full((3,), -1.0))
        self.set_range(y_range, bool(clip))
        self.made_with = self.y_range, self.clip
        middle = _middle(mean, None if clip else y_range)
        self.register_buffer("middle", torch.tensor(middle, dtype=torch.float32))

    def set_range(self, y_range: Sequence[float] | None, clip: bool) -> None:
        """Squeeze scores into another range, cut them off at its ends (`clip`), or leave them free (None).
        Saved weights keep it, and exports."""
        self.y_range = None if y_range is None else (float(y_range[0]), float(y_range[1]))
        self.clip = clip
        way = _FREE if self.y_range is None else _CUT if clip else _SQUEEZED
        self.ends.copy_(torch.tensor([way, *(self.y_range or (0.0, 0.0))]))
        spec = getattr(self, "model_spec", None)
        if isinstance(spec, ModelSpec):
            args = {"y_range": None if self.y_range is None else list(self.y_range), "clip": clip}
            self.model_spec = ModelSpec(spec.name, {**spec.args, **args})

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        way, *limits = self.ends.tolist()
        own = torch.tensor(self.y_range or (0.0, 0.0)).tolist()
        if way < 0:
            self.set_range(*self.made_with)
        elif (way == _CUT) != self.clip or (way == _FREE) != (self.y_range is None) or limits != own:
            self.set_range(None if way == _FREE else limits, way == _CUT)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Ratings, shape (n,), of user and item indexes, each of shape (n,). With `negatives`, item indexes
        of shape (m,), also those of every user with each of them: (n, 1 + m)."""
        of_users = self.user_factors(users)
        if negatives is None:
            dot = (of_users * self.item_factors(items)).sum(-1) + self.item_bias(items).squeeze(-1)
            return self.squash(dot + self.user_bias(users).squeeze(-1) + self.middle)
        both = torch.cat([items, negatives])  # one look into each table: a gradient of it is as large as it
        of_items, of_negatives = self.item_factors(both).split([len(items), len(negatives)])
        bias, others = self.item_bias(both).split([len(items), len(negatives)])
        taken = (of_users * of_items).sum(-1, keepdim=True) + bias
        dot = torch.cat([taken, torch.addmm(others.T, of_users, of_negatives.T)], dim=1)
        return self.squash(dot + self.user_bias(users) + self.middle)

    def all_scores(self, users: Tensor) -> Tensor:
        """What every item gets before the range, shape (len(users), n_items), by one matrix product."""
        dot = self.user_factors(users) @ self.item_factors.weight.T
        return dot + self.user_bias(users) + self.item_bias.weight.T + self.middle

    def squash(self, scores: Tensor) -> Tensor:
        """Ratings of scores."""
        if self.clip and self.y_range is not None:
            return scores.clamp(*self.y_range)
        return _into_range(scores, self.y_range)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Factors and biases: the factors bear, and need, far more weight decay."""
        return {
            "factors": [self.user_factors, self.item_factors],
            "biases": [self.user_bias, self.item_bias],
        }


@register_model("collab.embedding_net", example=_example("net"))
class EmbeddingNet(nn.Module):
    """Embeddings of user and item side by side, then linear layers, squeezed into the range of ratings.

    Args:
        n_users: rows of the user table, the unknown user (index 0) included.
        n_items: rows of the item table, the unknown item (index 0) included.
        n_factors: width of the tables: one number, or (user width, item width).
        hidden: sizes of the hidden layers.
        dropouts: dropout after the embeddings, then after each hidden layer: one number for all, or
            `len(hidden) + 1` numbers; with `len(hidden)` numbers the embeddings keep everything.
        y_range: (lowest, highest) value that can be predicted; None leaves the output free.
        mean: where the output starts before training; None means the middle of the range.
        sparse: whether the tables have sparse gradients, for `zoo.RowAdamW`.
        user_features, item_features: as of `EmbeddingDotBias`; vectors of features stand beside those of ids,
            as wide as they.

    Example:
        >>> model = EmbeddingNet(10, 20, (8, 16), hidden=[32, 16], dropouts=[0.05, 0.1, 0.1], y_range=(1, 5))
        >>> model(torch.tensor([1, 2]), torch.tensor([3, 4])).shape
        torch.Size([2])
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        n_factors: int | Sequence[int] = 50,
        hidden: Sequence[int] = (100,),
        dropouts: float | Sequence[float] = 0.0,
        y_range: Sequence[float] | None = None,
        mean: float | None = None,
        sparse: bool = False,
        user_features: Mapping[str, int] | None = None,
        item_features: Mapping[str, int] | None = None,
    ):
        super().__init__()
        widths = [n_factors, n_factors] if isinstance(n_factors, int) else list(n_factors)
        if len(widths) != 2:
            raise ValueError(f"n_factors is one width or (user width, item width), got {list(widths)}")
        for width in widths:
            _check_sizes(n_users, n_items, width, y_range)
        if isinstance(dropouts, (int, float)):
            rates = [float(dropouts)] * (len(hidden) + 1)
        else:
            rates = [0.0] * (len(dropouts) == len(hidden)) + [float(p) for p in dropouts]
        if len(rates) != len(hidden) + 1:
            raise ValueError(
                f"dropouts needs {len(hidden)} or {len(hidden) + 1} numbers for {len(hidden)} hidden layers,"
                f" got {len(list(dropouts))}"  # pyright: ignore[reportArgumentType]
            )
        self.user_features = feature_tables(n_users, user_features, "user_features")
        self.item_features = feature_tables(n_items, item_features, "item_features")
        sizes = zip((n_users, n_items), widths, strict=True)
        own = [_embedding(n, width, sparse, std=0.05) for n, width in sizes]
        self.user_factors = with_features(own[0], self.user_features, widths[0])
        self.item_factors = with_features(own[1], self.item_features, widths[1])
        layers: list[nn.Module] = [nn.Dropout(rates[0])] if rates[0] else []
        size = self.user_factors.embedding_dim + self.item_factors.embedding_dim
        for n_out, rate in zip(hidden, rates[1:], strict=True):
            layers += [kaiming_head(nn.Linear(size, n_out)), nn.ReLU()] + ([nn.Dropout(rate)] if rate else [])
            size = n_out
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(size, 1)
        nn.init.zeros_(self.output.bias)
        self.y_range = None if y_range is None else (float(y_range[0]), float(y_range[1]))
        self.register_buffer("middle", torch.tensor(_middle(mean, y_range), dtype=torch.float32))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Ratings, shape (n,), of user and item indexes, each of shape (n,)."""
        x = torch.cat([self.user_factors(users), self.item_factors(items)], dim=-1)
        return self.squash(self.output(self.hidden(x)).squeeze(-1) + self.middle)

    def all_scores(self, users: Tensor) -> Tensor:
        """What every item gets before the range, shape (len(users), n_items). The first layer reads users and
        items apart, and what follows at most 65,536 pairs at a time. For evaluation: nothing is dropped."""
        layers: list[Any] = [part for part in (*self.hidden, self.output) if not isinstance(part, nn.Dropout)]
        first, rest = layers[0], nn.Sequential(*layers[1:])
        width = self.user_factors.embedding_dim
        items = F.linear(self.item_factors.weight, first.weight[:, width:], first.bias)
        own = F.linear(self.user_factors(users), first.weight[:, :width])
        step = max(1, _PAIRS // len(items))
        parts = [rest(own[at : at + step, None] + items) for at in range(0, len(own), step)]
        scores = torch.cat(parts) if parts else own.new_zeros(0, len(items), 1)
        return scores.squeeze(-1) + self.get_buffer("middle")

    def squash(self, scores: Tensor) -> Tensor:
        """Ratings of scores."""
        return _into_range(scores, self.y_range)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Embeddings, then the layers above them."""
        return {"embeddings": [self.user_factors, self.item_factors], "layers": [self.hidden, self.output]}
