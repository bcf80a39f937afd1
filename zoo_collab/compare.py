"""Which kind of model makes the best lists of these ratings: one split, all items ranked, one table."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import nn

from zoo.data.splits import get_cv_idxs
from zoo.errors import did_you_mean
from zoo_collab.lists.evaluate import DEFAULT, HeldOut, checked_metrics, checked_places
from zoo_collab.lists.penalty import best_penalty
from zoo_collab.model.scorers import Popularity, TooManyItems, ease, item_neighbours
from zoo_collab.pairs.splits import by_user_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo_collab.data.collab_data import CollabData

log = logging.getLogger("zoo.collab")


@dataclass(frozen=True)
class Comparison:
    """How well several models rank held-out items.

    Attributes:
        table: a row a model, the best by the first NDCG first: the metrics at each number of places,
            coverage, and seconds to fit.
        users: how many were judged.
        held_out: how many pairs judged them.
    """

    table: pd.DataFrame
    users: int
    held_out: int

    def __repr__(self) -> str:
        shown = self.table.to_string(float_format=lambda value: f"{value:.4g}")
        return f"{self.held_out:,} held-out pairs of {self.users:,} users, all items ranked\n{shown}"

    def plot(self, column: str | None = None) -> Figure:
        """A bar a model.

        Args:
            column: of `table`; by default the first NDCG.
        """
        from zoo.inspect.plots import figure

        column = _first(self.table.columns, "ndcg") if column is None else column
        if column not in self.table:
            raise ValueError(f"there is no column {column!r}: {', '.join(self.table.columns)}")
        drawn = figure(6.0, 0.6 + 0.4 * len(self.table))
        axes = drawn.subplots()
        values = self.table[column][::-1]
        axes.bar_label(axes.barh(values.index, values), fmt="%.3g", padding=3)
        axes.set(xlabel=column, xlim=(0, 1.15 * max(values.max(), 1e-9)))
        return drawn


def _popularity(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    return Popularity(data.seen, len(data.items))


def _neighbours(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    return item_neighbours(data.seen, len(data.items))


def _ease(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    return ease(data.seen, len(data.items), best_penalty(data.seen, len(data.items), seed))


def _implicit(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    learn = _of_pairs(table).get_learner(64, held, seed=seed, progress=False)
    learn.fit_als()
    return learn.model


def _pairwise(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    learn = _of_pairs(table).get_learner(64, held, seed=seed, progress=False)
    learn.callbacks = []  # nothing watches the epochs: only the end is judged
    learn.fit_one_cycle(10, 2e-2)
    return learn.model


def _ratings(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    if table.is_implicit:
        raise _NotHere("these pairs have no ratings")
    learn = table.get_learner(val_idxs=held, seed=seed, progress=False)
    learn.fit_one_cycle(5, 5e-3)
    return learn.model


def _features_dot(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    return _featured(table, held, 10, 2e-2, n_factors=64, seed=seed)


def _features_net(table: Any, data: CollabData, held: np.ndarray, seed: int) -> nn.Module:
    return _featured(table, held, 5, 1e-2, n_factors=32, hidden=[64], negatives=8, seed=seed)


def _featured(table: Any, held: np.ndarray, epochs: int, lr: float, **options: Any) -> nn.Module:
    if not table.has_features:
        raise _NotHere("nothing but pairs is known of users and items: give user_features= or item_features=")
    # cold=False: so that all models choose from the same items
    learn = _of_pairs(table).get_learner(val_idxs=held, cold=False, progress=False, **options)
    learn.callbacks = []
    learn.fit_one_cycle(epochs, lr)
    return learn.model


def _of_pairs(table: Any) -> Any:
    return table if table.is_implicit else table.implicit()


class _NotHere(ValueError):
    """A model that these data are not for."""


MODELS: dict[str, Callable[[Any, CollabData, np.ndarray, int], nn.Module]] = {
    "popularity": _popularity,
    "item neighbours": _neighbours,
    "EASE": _ease,
    "implicit ALS": _implicit,
    "dot product by pairs (BPR)": _pairwise,
    "dot product on ratings": _ratings,
    "dot product with features (BPR)": _features_dot,
    "network with features": _features_net,
}
WITH_FEATURES = ("dot product with features (BPR)", "network with features")


def compare(
    table: Any,
    val_idxs: Any = None,
    *,
    k: int | Sequence[int] = (10, 20, 100),
    metrics: Sequence[str] = DEFAULT,
    models: Sequence[str] | None = None,
    relevant: float | None = None,
    users: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Fits several models to the same rows and judges their lists; see `CollabFilterDataset.compare`."""
    places, names = checked_places(k), checked_metrics(metrics)
    plain = table.without_features()
    if models is None:
        chosen = [name for name in MODELS if name not in WITH_FEATURES or table.has_features]
    else:
        chosen = [models] if isinstance(models, str) else list(models)
    if not chosen:
        raise ValueError(f"models is empty: name some of {', '.join(MODELS)}")
    for name in chosen:
        if name not in MODELS:
            raise ValueError(
                f"the model {name!r} is not known{did_you_mean(str(name), MODELS)}: {', '.join(MODELS)}"
            )
    if val_idxs is None:
        val_idxs = (
            table.given[get_cv_idxs(len(table), seed=seed)]
            if table.times is None
            else by_user_time(share=0.2)
        )
    held_rows = table.given[table.split(val_idxs)[1]]
    data = plain.get_data(held_rows, seed=seed)
    held = HeldOut(data, relevant, users, seed)
    rows: dict[str, dict[str, float]] = {}
    left_out: list[str] = []
    for name in chosen:
        started = time.perf_counter()
        try:
            model = MODELS[name](table if name in WITH_FEATURES else plain, data, held_rows, seed)
        except (_NotHere, TooManyItems) as error:
            log.warning("%s is left out: %s", name, error)
            left_out.append(f"{name}: {error}")
            continue
        seconds = time.perf_counter() - started
        rows[name] = {**held.judge(model, data, places, names), "seconds": seconds}
    if not rows:
        raise ValueError(f"no model is left to compare: {'; '.join(left_out)}")
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    best = _first(found.columns, "ndcg") if "ndcg" in names else found.columns[0]
    return Comparison(found.sort_values(best, ascending=False), len(held.users), held.pairs)


def _first(columns: Any, start: str) -> str:
    return next((name for name in columns if name.startswith(start)), columns[0])
