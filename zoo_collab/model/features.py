"""Rows of features inside a model, and tables of vectors that know them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_collab.pairs.features import FeatureRows

MANY_NUMBERS = 1 << 21
"""From how many numbers of levels on it pays to train them row by row, where the vectors of ids are: with 20
levels an id, 50 factors and 256 rows a batch 90,000 levels took 10 ms a step so, 18 ms at once; 20,000 took 9
and 6 (one core)."""


class FeatureTables(nn.Module):
    """What is known of each user, or item: for every index a few levels and how much each counts. It has no
    parameters: the rows are buffers, so batches of indexes are all that a model reads, and a saved model has
    them once.

    Args:
        n_rows: indexes, the unknown one (0) included.
        levels: of all features, the one that pads (0) included.
        longest: levels of the row with most.

    Example:
        >>> films = FeatureTables(2, levels=3, longest=2)
        >>> films.fill(FeatureRows(np.array([[0, 0], [1, 2]]), np.array([[0.0, 0.0], [0.5, 0.5]])))
        >>> table = nn.EmbeddingBag.from_pretrained(torch.tensor([[0.0], [4.0], [6.0]]), mode="sum")
        >>> films(table, torch.tensor([1, 0])).tolist()
        [[5.0], [0.0]]
    """

    places: Tensor
    shares: Tensor

    def __init__(self, n_rows: int, levels: int, longest: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("places", torch.zeros(n_rows, longest, dtype=torch.int32))
        self.register_buffer("shares", torch.zeros(n_rows, longest))

    def fill(self, rows: FeatureRows) -> None:
        """Sets all rows.

        Raises:
            ValueError: for rows of another number or length, and levels that there are not.
        """
        if rows.places.shape != tuple(self.places.shape) or rows.shares.shape != rows.places.shape:
            raise ValueError(
                f"these rows of features have the shape {rows.places.shape}, and the model has room for "
                f"{tuple(self.places.shape)}"
            )
        if rows.places.size and not 0 <= rows.places.min() <= rows.places.max() < self.levels:
            raise ValueError(f"levels of features lie between 0 (padding) and {self.levels - 1}")
        self.places.copy_(torch.from_numpy(np.ascontiguousarray(rows.places)))
        self.shares.copy_(torch.from_numpy(np.ascontiguousarray(rows.shares)))

    def forward(self, table: nn.EmbeddingBag, indexes: Tensor | None = None) -> Tensor:
        """Sums of rows of a table by the levels of indexes, (n,): (n, width). Of all without indexes."""
        places, shares = self.places, self.shares
        if indexes is not None:
            places, shares = places[indexes], shares[indexes]
        shares = shares.to(table.weight.dtype)
        if torch.compiler.is_exporting():  # ONNX has no bags
            return (shares[:, None] @ F.embedding(places.long(), table.weight))[:, 0]
        return table(places, per_sample_weights=shares)

    def used(self, rows: Tensor) -> Tensor:
        """Which levels some of these indexes have, boolean, (levels,)."""
        found = torch.zeros(self.levels, dtype=torch.bool, device=self.places.device)
        found[self.places[rows][self.shares[rows] > 0].long()] = True
        found[0] = False
        return found


class FeaturedTable(nn.Module):
    """A table of vectors, of which an index has one of its own and one of its features: their sum (Kula
    2015, "Metadata embeddings for user and item cold-start recommendations"), or both side by side.

    Someone or something without ratings then is what its features are. It stands in for an `nn.Embedding`:
    `table(indexes)`, `table.weight`, `table.embedding_dim`.

    Args:
        own: vectors by index.
        features: of the same indexes. The model has them as a part of its own: several tables may share them.
        width: of what is learned of the features; None adds them to the vectors.

    Example:
        >>> films = FeatureTables(2, levels=3, longest=1)
        >>> films.fill(FeatureRows(np.array([[0], [2]]), np.ones((2, 1))))
        >>> table = FeaturedTable(nn.Embedding(2, 4, padding_idx=0), films, width=3)
        >>> table.embedding_dim, table(torch.tensor([1, 0, 1])).shape
        (7, torch.Size([3, 7]))
        >>> torch.equal(table(torch.tensor([0, 1])), table.weight)
        True
    """

    def __init__(self, own: nn.Embedding, features: FeatureTables, width: int | None = None) -> None:
        super().__init__()
        if len(features.places) != own.num_embeddings:
            raise ValueError(
                f"{len(features.places)} rows of features do not belong to {own.num_embeddings} vectors"
            )
        self.own, self.adds = own, width is None
        std = float(own.weight.detach()[1:].std()) if own.weight.numel() > own.embedding_dim + 1 else 0.01
        width = own.embedding_dim if width is None else width
        by_rows = own.sparse and features.levels * width >= MANY_NUMBERS
        self.by_level = nn.EmbeddingBag(features.levels, width, mode="sum", padding_idx=0, sparse=by_rows)
        with torch.no_grad():
            nn.init.trunc_normal_(self.by_level.weight, std=std, a=-2 * std, b=2 * std)
            self.by_level.weight[0] = 0
        self._features = (features,)  # not registered here: the model has it

    @property
    def embedding_dim(self) -> int:
        """Width of a vector."""
        return self.own.embedding_dim + (0 if self.adds else self.by_level.embedding_dim)

    @property
    def num_embeddings(self) -> int:
        """How many indexes there are."""
        return self.own.num_embeddings

    @property
    def weight(self) -> Tensor:
        """All vectors as they are used, made from both parts: to be read, not to be written to."""
        return self._joined(self.own.weight, None)

    def forward(self, indexes: Tensor) -> Tensor:
        """Vectors of indexes, (n,): (n, width)."""
        return self._joined(self.own(indexes), indexes)

    def _joined(self, own: Tensor, indexes: Tensor | None) -> Tensor:
        (features,) = self._features
        found = features(self.by_level, indexes)
        return own + found if self.adds else torch.cat([own, found], dim=-1)

    @torch.no_grad()
    def begin(self, trained: Tensor) -> None:
        """Sets to zero what training does not reach, so that it says nothing: vectors of indexes without
        ratings, and levels that only they have.

        Args:
            trained: which indexes have ratings, boolean, (n,).
        """
        (features,) = self._features
        self.own.weight[~trained] = 0
        self.by_level.weight[~features.used(trained.nonzero().flatten())] = 0


def feature_tables(n_rows: int, sizes: Mapping[str, int] | None, side: str) -> FeatureTables | None:
    """Room for the features of a side, as a model is told of them.

    Args:
        n_rows: indexes of that side.
        sizes: {"levels": ..., "longest": ...}; None where there are none.
        side: names it in errors.
    """
    if sizes is None:
        return None
    if set(sizes) != {"levels", "longest"} or any(int(size) < 1 for size in sizes.values()):
        raise ValueError(
            f"{side} are told as {{'levels': how many, 'longest': levels of the longest row}}, not {sizes!r};"
            f" the rows follow by model.{side}.fill(rows)"
        )
    return FeatureTables(n_rows, int(sizes["levels"]), int(sizes["longest"]))


def with_features(own: nn.Embedding, features: FeatureTables | None, width: int | None = None) -> Any:
    """A table that knows features, or where there are none the table itself."""
    return own if features is None else FeaturedTable(own, features, width)


def has_features(model: nn.Module) -> bool:
    """Whether some table of a model knows features."""
    return any(isinstance(part, FeaturedTable) for part in model.modules())


def of_newcomers(model: nn.Module, side: str, rows: FeatureRows) -> nn.Module:
    """The model for users, or items, that are known by their features alone.

    Args:
        model: `EmbeddingDotBias` or `EmbeddingNet` with features of that side. It is not changed; the weights
            of both are the same.
        side: "user" or "item".
        rows: their features; the first has index 1.

    Raises:
        TypeError: for models without features of that side.
    """
    features: Any = getattr(model, f"{side}_features", None)
    if not isinstance(features, FeatureTables):
        raise TypeError(
            f"this {type(model).__name__} has not learned what features of {side}s say: give the table "
            f"{side}_features= and train a model of it"
        )
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    new: Any = copy.deepcopy(model, shared)
    count, longest = rows.places.shape
    fresh = FeatureTables(count + 1, features.levels, longest).to(features.shares.device)
    fresh.fill(
        FeatureRows(*(np.concatenate([np.zeros_like(part, shape=(1, longest)), part]) for part in rows))
    )
    setattr(new, f"{side}_features", fresh)
    for part in new.children():
        if isinstance(part, FeaturedTable) and part._features[0].places is features.places:
            own = nn.Embedding(count + 1, part.own.embedding_dim, padding_idx=0)
            own.weight.detach().zero_()
            part.own, part._features = own.to(part.by_level.weight), (fresh,)
    return new
