"""How good lists are: what held-out pairs say of a ranking of all items.

All functions take `Judged` lists; each user counts once. What is judged is always a ranking of all items that
a user has not seen in training: with a few sampled negatives instead, models change places (Krichene & Rendle
2020, "On Sampled Metrics for Item Recommendation").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Gains = Literal["binary", "graded"]


@dataclass(frozen=True)
class Judged:
    """The lists of some users beside what these users have turned out to like.

    Attributes:
        gains: what the item at each place is worth to the user, (users, places): 0 for what is not relevant,
            for places without an item, and for an item that stands in the list already.
        ideal: the gains of all relevant items of a user, largest first, (users, most of any user), 0 behind.
    """

    gains: np.ndarray
    ideal: np.ndarray

    @classmethod
    def of(
        cls, lists: np.ndarray, users: np.ndarray, items: np.ndarray, gains: np.ndarray | None = None
    ) -> Judged:
        """From lists and relevant pairs.

        Args:
            lists: items, best first, (users, places); 0 for none. Row r is that of user r.
            users: row of each relevant pair, (pairs,); pairs are distinct.
            items: its item.
            gains: what it is worth, above 0; 1 by default.

        Example:
            >>> judged = Judged.of(np.array([[7, 3, 5], [3, 7, 5]]), np.array([0, 1, 1]), np.array([3, 5, 8]))
            >>> judged.gains.tolist(), judged.ideal.tolist()
            ([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])
        """
        worth = np.ones(len(users)) if gains is None else np.asarray(gains, dtype=np.float64)
        if len(worth) and not worth.min() > 0:
            raise ValueError("the gain of a relevant item is above 0: leave out pairs that are not relevant")
        keys = (np.asarray(users, dtype=np.int64) << 32) | np.asarray(items, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        keys, sorted_worth = keys[order], worth[order]
        if len(keys) and not np.diff(keys).all():
            raise ValueError("a relevant pair comes twice")
        lists = np.asarray(lists, dtype=np.int64)
        asked = (np.arange(len(lists))[:, None] << 32) | lists
        found = np.zeros(lists.shape)
        if len(keys):
            places = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
            found = np.where(keys[places] == asked, sorted_worth[places], 0.0)
        found[lists == 0] = 0
        found[_again(lists)] = 0

        counts = np.bincount(users, minlength=len(lists))
        best = np.lexsort((-worth, users))  # by user, the largest gain first
        within = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
        ideal = np.zeros((len(lists), int(counts.max(initial=0))))
        ideal[np.asarray(users)[best], within] = worth[best]
        return cls(found, ideal)

    @property
    def relevant(self) -> np.ndarray:
        """Relevant items of each user, (users,)."""
        return (self.ideal > 0).sum(1)

    def hits(self, k: int) -> np.ndarray:
        """Which of the first `k` places hold a relevant item, (users, k or fewer)."""
        return self.gains[:, :k] > 0


def _again(lists: np.ndarray) -> np.ndarray:
    """Which places hold an item that stands further up already."""
    order = np.argsort(lists, axis=1, kind="stable")
    ordered = np.take_along_axis(lists, order, 1)
    same = np.zeros(lists.shape, dtype=bool)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    again = np.zeros_like(same)
    np.put_along_axis(again, order, same, 1)
    return again


def recall(judged: Judged, k: int) -> np.ndarray:
    """Share of a user's relevant items among the first `k`, (users,). At most `k` can be found, however many
    there are: the largest value of a user with 3 k of them is a third.
    """
    return judged.hits(k).sum(1) / np.maximum(judged.relevant, 1)


def precision(judged: Judged, k: int) -> np.ndarray:
    """Share of the first `k` places that hold a relevant item, (users,); empty places count as misses."""
    return judged.hits(k).sum(1) / k


def hit_rate(judged: Judged, k: int) -> np.ndarray:
    """1 for a user with a relevant item among the first `k`, (users,)."""
    return np.asarray(judged.hits(k).any(1), dtype=np.float64)


def ndcg(judged: Judged, k: int, gains: Gains = "binary") -> np.ndarray:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002), (users,): the gains of the first
    `k`, each divided by log2(1 + place), as a share of the best that `k` places can have.

    Args:
        judged: the lists.
        k: places.
        gains: "binary" counts every relevant item as 1, "graded" by its own gain, linearly.

    Example:
        >>> worth = np.array([3, 2, 3, 1, 2, 3, 2])  # a list with gains 3, 2, 3, 0, 1, 2, and two items more
        >>> judged = Judged.of(np.array([[1, 2, 3, 9, 4, 5]]), np.zeros(7, int), np.arange(1, 8), worth)
        >>> round(float(ndcg(judged, 6, "graded")[0]), 3)
        0.785
    """
    found, best = judged.gains[:, :k], judged.ideal[:, :k]
    if gains == "binary":
        found, best = (found > 0).astype(np.float64), (best > 0).astype(np.float64)
    elif gains != "graded":
        raise ValueError(f"gains={gains!r}: 'binary' or 'graded'")
    discounts = 1 / np.log2(np.arange(2, 2 + max(found.shape[1], best.shape[1])))
    total = best @ discounts[: best.shape[1]]
    gained = found @ discounts[: found.shape[1]]
    return np.divide(gained, total, out=np.zeros(len(found)), where=total > 0)


def average_precision(judged: Judged, k: int) -> np.ndarray:
    """Mean over the relevant items of the precision at the place of each, 0 for those that are not among the
    first `k`; divided by `min(k, relevant items)`, so that a perfect list has 1, (users,).
    """
    hits = judged.hits(k)
    at_place = np.cumsum(hits, 1) / np.arange(1, 1 + hits.shape[1])
    return (at_place * hits).sum(1) / np.maximum(np.minimum(judged.relevant, k), 1)


def reciprocal_rank(judged: Judged, k: int) -> np.ndarray:
    """One divided by the place of the first relevant item, 0 where none is among the first `k`, (users,)."""
    hits = judged.hits(k)
    first = hits.argmax(1) if hits.shape[1] else np.zeros(len(hits), int)
    return np.where(hits.any(1), 1 / (1 + first), 0.0)


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Share of all items that stand in some list.

    Args:
        lists: items, (users, places); 0 for none.
        n_items: items that could, the unknown one left out.
    """
    return len(np.setdiff1d(np.unique(lists), [0])) / max(n_items, 1)


METRICS: dict[str, Callable[[Judged, int], np.ndarray]] = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "hit_rate": hit_rate,
}
"""By the names that they have in tables."""
