"""Simple models of which items go with which user: what a network has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_collab.pairs.seen import SeenPairs

MOST_ITEMS = 30_000  # a table of all pairs of items takes 3.6 GB then


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
        rows, items = SeenPairs(self.starts, self.items).places(users)
        offsets = torch.searchsorted(rows, torch.arange(len(users), device=rows.device))
        return F.embedding_bag(items, self.weights, offsets, mode="sum")


def item_neighbours(
    seen: SeenPairs, n_items: int, neighbours: int = 100, shrink: float = 20.0
) -> ItemWeights:
    """Item-based neighbours (Sarwar et al. 2001; Deshpande & Karypis 2004): an item scores by how alike it is
    to the items that the user has, by the cosine of their columns of users; of each item only the most alike
    count. Two items that one user has in common say little: `shrink` holds them back (Bell & Koren 2007).

    Args:
        seen: pairs of users and items.
        n_items: items, the unknown one included.
        neighbours: of each item.
        shrink: added to the product of the lengths of two columns.

    Example:
        >>> seen = SeenPairs.from_pairs(np.array([1, 1, 2, 2, 3]), np.array([1, 2, 1, 2, 3]), 4)
        >>> model = item_neighbours(seen, 4, shrink=0)
        >>> [[round(x, 2) for x in row] for row in model.all_scores(torch.tensor([1, 3])).tolist()]
        [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    together = _together(seen, n_items)
    length = together.diagonal().clamp(min=1).sqrt()
    alike = together / (length[:, None] * length + shrink)
    alike.fill_diagonal_(0)
    if neighbours < n_items:
        top = alike.topk(neighbours, dim=0)  # of each item, what speaks for it
        alike = torch.zeros_like(alike).scatter_(0, top.indices, top.values)
    return ItemWeights(alike, seen)


def ease(seen: SeenPairs, n_items: int, wd: float = 200.0) -> ItemWeights:
    """Embarrassingly shallow autoencoder (Steck 2019): every item from all others by least squares, none from
    itself, in closed form.

    Args:
        seen: pairs of users and items.
        n_items: items, the unknown one included.
        wd: ridge penalty; larger for larger data.

    Example:
        >>> seen = SeenPairs.from_pairs(np.array([1, 1, 2, 2, 3]), np.array([1, 2, 1, 2, 3]), 4)
        >>> round(ease(seen, 4, wd=1.0).weights[1, 2].item(), 3)
        0.667
    """
    system = _together(seen, n_items)
    system.diagonal().add_(wd)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
    weights = -inverse / inverse.diagonal()
    weights.fill_diagonal_(0)
    return ItemWeights(weights, seen)


def _together(seen: SeenPairs, n_items: int) -> Tensor:
    """Users that have both items, (n_items, n_items), float32."""
    if n_items > MOST_ITEMS:
        raise TooManyItems(
            f"{n_items:,} items make a table of {n_items**2 * 4 / 1e9:.0f} GB: models that weigh every pair "
            f"of items are for {MOST_ITEMS:,} items at most; factors (implicit ALS) are for more"
        )
    from scipy.sparse import csr_matrix

    ones = np.ones(len(seen), np.float32)
    parts: Any = (ones, seen.items.numpy(), seen.starts.numpy())
    held = csr_matrix(parts, shape=(len(seen.starts) - 1, n_items))
    return torch.from_numpy((held.T @ held).toarray())


class TooManyItems(ValueError):
    """A table of all pairs of items would not fit."""
