"""Simple models of which items go with which user: what a network has to beat."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_collab.model.als import alike
from zoo_collab.pairs.seen import SeenPairs

MOST_ITEMS = 30_000  # a table of all their pairs takes 3.6 GB
_FULL = 0.01  # share of all pairs from which on a table of them is full
_CELLS = 1 << 24  # pairs of items at a time


class Popularity(nn.Module):
    """The same list for everybody: the items that most users have.

    Args:
        seen: pairs of users and items.
        n_items: items, the unknown one (index 0) included.

    Example:
        >>> seen = SeenPairs.from_pairs(np.array([1, 2, 1]), np.array([2, 2, 1]), 3)
        >>> Popularity(seen, 3).all_scores(torch.tensor([1, 2])).tolist()
        [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """

    scores: Tensor

    def __init__(self, seen: SeenPairs, n_items: int) -> None:
        super().__init__()
        self.register_buffer("scores", torch.bincount(seen.items.long(), minlength=n_items).float())

    def all_scores(self, users: Tensor) -> Tensor:
        """Users of each item, (len(users), n_items)."""
        return self.scores.repeat(len(users), 1)


class ItemWeights(nn.Module):
    """Scores an item by the weights that it gives to what the user has already.

    Args:
        weights: (n_items, n_items), row j what having item j says for every item.
        seen: pairs of users and items.
    """

    weights: Tensor
    starts: Tensor
    items: Tensor

    def __init__(self, weights: Tensor, seen: SeenPairs) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("starts", seen.starts)
        self.register_buffer("items", seen.items)

    def all_scores(self, users: Tensor) -> Tensor:
        """Sums of the weights, (len(users), n_items)."""
        pairs = SeenPairs(self.starts, self.items)
        rows, items = pairs.places(users)
        if len(rows) > _FULL * len(users) * len(self.weights):  # a product of full tables is sooner done
            return pairs.mask(users, len(self.weights)).to(self.weights.dtype) @ self.weights
        offsets = torch.searchsorted(rows, torch.arange(len(users), device=rows.device))
        return F.embedding_bag(items, self.weights, offsets, mode="sum")


class NearItems(nn.Module):
    """Scores an item by those items near it that the user has.

    Args:
        near: indexes of the items near each item, (n_items, neighbours).
        weights: how much each of them says for it, of the same shape; 0 where there are fewer.
        seen: pairs of users and items.
    """

    near: Tensor
    weights: Tensor
    starts: Tensor
    items: Tensor

    def __init__(self, near: Tensor, weights: Tensor, seen: SeenPairs) -> None:
        super().__init__()
        for name, value in (("near", near), ("weights", weights), ("starts", seen.starts)):
            self.register_buffer(name, value)
        self.register_buffer("items", seen.items)

    def all_scores(self, users: Tensor) -> Tensor:
        """Sums of the weights, (len(users), n_items)."""
        has = SeenPairs(self.starts, self.items).mask(users, len(self.near)).T.to(self.weights.dtype)
        return F.embedding_bag(self.near, has.contiguous(), per_sample_weights=self.weights, mode="sum").T


class FixedScores(nn.Module):
    """Every item's score for every user.

    Args:
        scores: (n_users, n_items).
    """

    scores: Tensor

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def all_scores(self, users: Tensor) -> Tensor:
        """The rows of these users, (len(users), n_items)."""
        return self.scores[users]


def item_neighbours(seen: SeenPairs, n_items: int, neighbours: int = 100, shrink: float = 20.0) -> NearItems:
    """Item-based neighbours (Sarwar et al. 2001; Deshpande & Karypis 2004): an item scores by how alike it is
    to the items that the user has, by the cosine of their columns of users; of each item only the most alike
    count. Two items that one user has in common say little: `shrink` holds them back (Bell & Koren 2007).

    Args:
        seen: pairs of users and items.
        n_items: items, the unknown one included.
        neighbours: of each item, 1 or more.
        shrink: added to the product of the lengths of two columns, 0 or more.

    Raises:
        ValueError: for others.

    Example:
        >>> seen = SeenPairs.from_pairs(np.array([1, 1, 2, 2, 3]), np.array([1, 2, 1, 2, 3]), 4)
        >>> model = item_neighbours(seen, 4, shrink=0)
        >>> [[round(x, 2) for x in row] for row in model.all_scores(torch.tensor([1, 3])).tolist()]
        [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if isinstance(neighbours, bool) or not isinstance(neighbours, numbers.Integral) or neighbours < 1:
        raise ValueError(f"neighbours is how many items count for each, 1 or more, not {neighbours!r}")
    if not 0 <= shrink < np.inf:
        raise ValueError(f"shrink holds back items with few users, a number of 0 or more, not {shrink!r}")
    held = _held(seen, n_items)
    width = max(1, min(int(neighbours), n_items - 1))
    near, weights = torch.zeros(n_items, width, dtype=torch.int64), torch.zeros(n_items, width)
    by_item = held.T.tocsr()
    length = torch.from_numpy(np.sqrt(np.diff(by_item.indptr).clip(1))).float()
    for first, last in _blocks(by_item, held):
        # only pairs of items that some user has in common
        together = by_item[first:last] @ held
        starts, others = torch.from_numpy(together.indptr).long(), torch.from_numpy(together.indices)
        counts, common = starts.diff(), torch.from_numpy(together.data)
        for places in alike(counts, 1):
            steps = torch.arange(int(counts[places].max()))
            at = (starts[places][:, None] + steps).clamp(max=len(others) - 1)
            other, own = others[at].long(), first + places[:, None]
            cosine = common[at] / (length[own] * length[other] + shrink)
            cosine.masked_fill_((steps >= counts[places][:, None]) | (other == own), 0)
            top = cosine.topk(min(width, len(steps)), dim=1)
            near[first + places, : len(steps)] = other.gather(1, top.indices)
            weights[first + places, : len(steps)] = top.values
    return NearItems(near, weights, seen)


def ease(seen: SeenPairs, n_items: int, wd: float = 200.0) -> ItemWeights | FixedScores:
    """Embarrassingly shallow autoencoder (Steck 2019): every item from all others by least squares, none from
    itself, in closed form. With fewer users than items the inverse of the items' table comes from that of the
    users' (the identity of Woodbury), and the scores are kept instead of the weights.

    Args:
        seen: pairs of users and items.
        n_items: items, the unknown one included.
        wd: ridge penalty, above 0; larger for larger data.

    Raises:
        ValueError: for another.
        TooManyItems: where the table would not fit.

    Example:
        >>> seen = SeenPairs.from_pairs(np.array([1, 1, 2, 2, 3]), np.array([1, 2, 1, 2, 3]), 4)
        >>> [round(x, 3) for x in ease(seen, 4, wd=1.0).all_scores(torch.tensor([1]))[0].tolist()]
        [0.0, 0.667, 0.667, 0.0]
    """
    if not 0 < wd < np.inf:
        raise ValueError(
            f"wd is a ridge penalty, a number above 0, not {wd!r}: without it there is no solution"
        )
    n_users = len(seen.starts) - 1
    few_users = n_users < n_items
    _check_size(min(n_users, n_items), n_items, "users" if few_users else "items")
    held = _held(seen, n_items)
    if not few_users:
        system = torch.from_numpy((held.T @ held).toarray())
        system.diagonal().add_(wd)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
        weights = -inverse / inverse.diagonal()
        weights.fill_diagonal_(0)
        return ItemWeights(weights, seen)
    system = torch.from_numpy((held @ held.T).toarray())
    system.diagonal().add_(wd)
    has = torch.from_numpy(held.toarray())
    solved = torch.cholesky_solve(has, torch.linalg.cholesky(system))  # has @ inverse of the items' table
    inverse_diagonal = (1 - (has * solved).sum(0)) / wd
    return FixedScores(has - solved / inverse_diagonal)


def _held(seen: SeenPairs, n_items: int) -> Any:
    """1 where a user has an item, a sparse (n_users, n_items) table, float32."""
    from scipy.sparse import csr_matrix

    parts: Any = (np.ones(len(seen), np.float32), seen.items.cpu().numpy(), seen.starts.cpu().numpy())
    return csr_matrix(parts, shape=(len(seen.starts) - 1, n_items))


def _blocks(by_item: Any, held: Any) -> Iterator[tuple[int, int]]:
    """Ranges of items that have a bounded number of items in common with others."""
    work = by_item @ np.diff(held.indptr).astype(np.float64)  # products of each item's row
    most = np.minimum(work, by_item.shape[0]).cumsum()
    first = 0
    while first < len(most):
        done = most[first - 1] if first else 0.0
        last = max(first + 1, int(np.searchsorted(most, done + _CELLS, side="right")))
        yield first, last
        first = last


def _check_size(rows: int, n_items: int, of: str) -> None:
    if rows > MOST_ITEMS or rows * n_items > MOST_ITEMS**2:
        raise TooManyItems(
            f"{rows:,} {of} by {n_items:,} items are a table of {rows * n_items * 4 / 1e9:.0f} GB, above the "
            f"most of {MOST_ITEMS:,} squared; neighbours and factors (implicit ALS) are for more"
        )


class TooManyItems(ValueError):
    """A table of all pairs of items would not fit."""
