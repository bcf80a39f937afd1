"""How well the lists of a model do on held-out pairs, after a fit or after each of its epochs."""

from __future__ import annotations

import logging
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.errors import did_you_mean
from zoo_collab.data.collab_data import CollabData
from zoo_collab.lists.metrics import METRICS, Judged, coverage, ndcg
from zoo_collab.lists.ranking import rank
from zoo_collab.pairs.checks import checked_relevant
from zoo_collab.pairs.seen import SeenPairs

log = logging.getLogger("zoo.collab")

DEFAULT = ("recall", "ndcg", "map", "mrr")


def can_judge(data: CollabData) -> bool:
    """Whether some held-out pair can be in a list: not where whole users are held out."""
    return data.valid_dl is not None and len(data.seen_valid.without(data.seen)) > 0


class HeldOut:
    """The held-out pairs of the data, and the users whose lists they judge.

    Args:
        data: with validation rows.
        relevant: the lowest rating with which a pair counts as liked; None counts every pair.
        users: judge so many users drawn at random; all by default.
        seed: of the draw.

    Attributes:
        users: indexes, ascending, (users,).
        pairs: how many judge them.
        again: held-out pairs that stand among the training rows as well, and therefore in no list.
        unknown: pairs of users or items that training has not seen.
    """

    def __init__(
        self, data: CollabData, relevant: float | None = None, users: int | None = None, seed: int = 0
    ) -> None:
        if data.valid_dl is None:
            raise ValueError(
                "lists are judged by held-out pairs, and these data have none: give val_idxs, for example "
                "zoo_collab.by_time(0.2)"
            )
        if not isinstance(data.valid_dl, TensorLoader):
            raise TypeError(
                "lists are judged by pairs that lie in memory (a TensorLoader), and valid_dl is a "
                f"{type(data.valid_dl).__name__}"
            )
        relevant = checked_relevant(relevant)
        who, what, worth = (part.cpu().numpy() for part in data.valid_dl.tensors[:3])
        worth = worth.reshape(-1).astype(np.float64)
        liked = np.ones(len(who), dtype=bool) if relevant is None else worth >= relevant
        known = (who > 0) & (what > 0)
        self.unknown = int((liked & ~known).sum())
        pairs = SeenPairs.from_pairs(who[liked & known], what[liked & known], len(data.users))
        fresh = pairs.without(data.seen)
        self.again = len(pairs) - len(fresh)
        rows, items = (part.numpy() for part in fresh.places(torch.arange(len(data.users))))
        self.users = np.unique(rows)
        if not len(self.users):
            why = f"{self.unknown} have a user or an item that training has not seen, {self.again} stand "
            why += "among the training rows"
            if not liked.any():
                why = f"none has a rating of {relevant:g} or more"
            raise ValueError(f"no held-out pair can be in a list: {why}")
        if self.again or self.unknown:
            log.warning(
                "of the held-out pairs %d stand among the training rows too, and %d have a user or an item "
                "that training has not seen: they can be in no list and do not count",
                self.again, self.unknown,
            )  # fmt: skip
        if users is not None and checked_users(users) < len(self.users):
            drawn = np.random.default_rng(seed).permutation(len(self.users))[:users]
            self.users = self.users[np.sort(drawn)]
        kept = np.isin(rows, self.users)
        self._rows, self._items = np.searchsorted(self.users, rows[kept]), items[kept]
        self.pairs = len(self._rows)
        self._worth = self._gains(who[liked & known], what[liked & known], worth[liked & known], rows[kept])

    def _gains(self, who: np.ndarray, what: np.ndarray, worth: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The last rating of each pair; 1 for all where some are not above 0."""
        keys = (who.astype(np.int64) << 32) | what
        order = np.argsort(keys, kind="stable")
        asked = (rows.astype(np.int64) << 32) | self._items
        found = worth[order[np.searchsorted(keys[order], asked, side="right") - 1]]
        return found if len(found) and found.min() > 0 else np.ones(len(found))

    def judge(
        self,
        model: nn.Module,
        data: CollabData,
        k: int | Sequence[int],
        metrics: Sequence[str] = DEFAULT,
        *,
        graded: bool = False,
    ) -> dict[str, float]:
        """Means over the users, "recall@10" and so on, and the coverage of the longest lists."""
        places = [k] if isinstance(k, int) else list(k)
        asked = torch.from_numpy(self.users)
        lists = rank(model, asked, max(places), len(data.items), seen=[data.seen]).items.numpy()
        judged = Judged.of(lists, self._rows, self._items, self._worth)
        found: dict[str, float] = {}
        for place in places:
            for name in metrics:
                values = (
                    ndcg(judged, place, "graded")
                    if graded and name == "ndcg"
                    else METRICS[name](judged, place)
                )
                found[f"{name}@{place}"] = float(values.mean())
        for place in places:
            found[f"coverage@{place}"] = coverage(lists[:, :place], len(data.items) - 1)
        return found


def checked_places(k: Any) -> list[int]:
    """Lengths of lists that are looked at."""
    places = [k] if isinstance(k, numbers.Integral) else list(k)
    for place in places:
        if isinstance(place, bool) or not isinstance(place, numbers.Integral) or place < 1:
            raise ValueError(
                f"k is how many places of a list count, a whole number of 1 or more, not {place!r}"
            )
    if not places:
        raise ValueError("k is empty: give how many places of a list count, such as 10")
    return [int(place) for place in places]


def checked_users(users: Any) -> int:
    """How many users are judged."""
    if isinstance(users, bool) or not isinstance(users, numbers.Integral) or users < 1:
        raise ValueError(f"users is how many users are judged, a whole number of 1 or more, not {users!r}")
    return int(users)


def checked_metrics(metrics: Sequence[str]) -> list[str]:
    """Names of `METRICS`."""
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(
                f"the ranking metric {name!r} is not known{did_you_mean(str(name), METRICS)}: "
                f"{', '.join(METRICS)}"
            )
    return names


class RankingMetrics(Callback):
    """Judges the lists of a recommender after each epoch, by its held-out pairs: the numbers stand in the
    epoch table, the history, and wherever a column can be watched.

    Args:
        k: how many places of a list count, or several such numbers.
        every: epochs; in the others the columns hold NaN. The last epoch of a fit always counts.
        users: judge so many users, drawn once; all by default.
        relevant: the lowest rating with which a pair counts as liked; None counts every held-out pair.
        metrics: names, of recall, precision, ndcg, map, mrr, hit_rate.

    Example:
        >>> RankingMetrics(k=(10, 100), metrics=["recall", "ndcg"]).places
        [10, 100]
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        every: int = 1,
        users: int | None = None,
        relevant: float | None = None,
        metrics: Sequence[str] = ("recall", "ndcg"),
    ) -> None:
        self.places, self.metrics = checked_places(k), checked_metrics(metrics)
        if every < 1:
            raise ValueError(f"every must be 1 or more, not {every}")
        if users is not None:
            checked_users(users)
        self.every, self.users, self.relevant = every, users, relevant
        self._held: HeldOut | None = None

    def before_fit(self, state: State) -> None:
        if not isinstance(state.data, CollabData):
            raise TypeError(
                f"RankingMetrics judges recommenders, and these data are {type(state.data).__name__}"
            )
        self._held = HeldOut(state.data, self.relevant, self.users)

    def after_epoch(self, state: State) -> None:
        names = [f"{name}@{place}" for place in self.places for name in self.metrics]
        done = state.epoch - state.first_epoch + 1
        if self._held is None or (done % self.every and done != state.n_epochs):
            state.row.update(dict.fromkeys(names, math.nan))
            return
        found = self._held.judge(state.model, state.data, self.places, self.metrics)
        state.row.update({name: found[name] for name in names})

    def cleanup_fit(self, state: State) -> None:
        self._held = None
