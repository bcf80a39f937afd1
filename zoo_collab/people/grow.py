"""Data with further ratings, users and items; every index keeps its meaning."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.csv_file import check_columns
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo_collab.data.closed_form import confidence
from zoo_collab.data.collab_data import CollabData
from zoo_collab.data.negatives import SampledNegatives
from zoo_collab.data.rows import Rows, training_rows
from zoo_collab.pairs.checks import checked_ids, checked_ratings, checked_weights
from zoo_collab.pairs.given import check_reach
from zoo_collab.pairs.ids import IdMap
from zoo_collab.pairs.seen import SeenPairs, counts_of
from zoo_collab.pairs.titles import Titles, title_series, titles_of

WHERE = "the new rows"

log = logging.getLogger("zoo.collab")


@dataclass(frozen=True)
class Growth:
    """What becomes of data by new ratings.

    Attributes:
        data: another object; users and items of before have the same indexes in it.
        new: indexes and ratings of the new rows.
        rows: of all training rows as a fold-in takes them, or where those are not at hand of the new ones.
        complete: whether those are all.
        again: pairs among the new ones that had been there before.
    """

    data: CollabData
    new: Rows
    rows: Rows
    complete: bool
    again: int


def grow(data: CollabData, ratings: pd.DataFrame, titles: Titles | None, weight_col: str | None) -> Growth:
    """The data with new rows behind those of training, new ids behind those that are known. `data` is not
    changed.

    Args:
        data: of a learner.
        ratings: frame with the columns of users, items and ratings.
        titles: of items, as `item_titles` of a table.
        weight_col: without ratings, how much each row counts.

    Raises:
        ValueError: for rows that a table refuses, and ratings that the model can never answer.
        TypeError: for ids of another kind than those of training.
    """
    new, users, items = _read(data, ratings, weight_col)
    again = data.seen.holds(*_known(new, data)).numpy()
    old, implicit = training_rows(data), data.task == "implicit"
    grown = copy.copy(data)
    grown.users, grown.items = users, items
    had = [part.numpy() for part in data.seen.places(torch.arange(len(data.users)))]
    who, what = (np.concatenate([one, two]) for one, two in zip(had, new[:2], strict=True))
    grown.seen = SeenPairs.from_pairs(who, what, len(users))
    grown.seen_valid = _for_more(data.seen_valid, len(users))
    rows = new
    if implicit:
        weights = np.ones(len(had[0]), dtype=np.float32) if data.weights is None else data.weights.numpy()
        grown.weights = grown.seen.totals(who, what, np.concatenate([weights, new.ratings]))
        own, taken = (part.numpy() for part in grown.seen.places(torch.arange(len(users))))
        rows = Rows(own, taken, confidence(grown.weights).numpy())
    if old is not None:
        kept = np.ones(len(old.users), dtype=bool) if implicit else ~np.isin(_keys(old), _keys(new))
        everything = Rows(*(np.concatenate([one[kept], two]) for one, two in zip(old, new, strict=True)))
        grown.item_counts = torch.from_numpy(counts_of(everything.items, len(items)))
        grown.train_dl = _with_negatives(_longer(data.train_dl, kept, new), grown)
        grown.valid_dl = _with_negatives(data.valid_dl, grown)
        rows = rows if implicit else everything
    else:
        counts = np.zeros(len(items), dtype=np.int64)
        counts[: len(data.items)] = data.item_counts.numpy()
        grown.item_counts = torch.from_numpy(counts + counts_of(new.items[~again], len(items)))
    grown.titles = _titles(data, items, titles)
    leaks = int(data.seen_valid.holds(*_known(new, data)).sum())
    if leaks:
        log.warning(
            "%s: %d of them are held out as well: figures of the held-out rows are better than those in use",
            WHERE, leaks,
        )  # fmt: skip
    return Growth(grown, new, rows, implicit or old is not None, int(again.sum()))


def _read(data: CollabData, ratings: pd.DataFrame, weight_col: str | None) -> tuple[Rows, IdMap, IdMap]:
    columns = [name for name in data.columns if name is not None]
    if not isinstance(ratings, pd.DataFrame):
        raise TypeError(f"{WHERE} are a frame with the columns {columns}, not a {type(ratings).__name__}")
    user_col, item_col, rating_col = data.columns
    check_columns(ratings, columns, WHERE)
    if not len(ratings):
        raise ValueError(f"{WHERE}: no rows")
    raw_users, raw_items = checked_ids(ratings, user_col, WHERE), checked_ids(ratings, item_col, WHERE)
    worth = np.ones(len(ratings), dtype=np.float32)
    if rating_col is not None:
        if weight_col is not None:
            raise ValueError(f"weight_col={weight_col!r} is of pairs without ratings, and these have ratings")
        worth = checked_ratings(ratings, rating_col, WHERE, None)
        check_reach(worth.astype(np.float64), raw_items, data.y_range, WHERE)
    elif weight_col is not None:
        worth = checked_weights(ratings, weight_col, WHERE)
    users, items = data.users.grown(raw_users), data.items.grown(raw_items)
    new = Rows(users.encode(raw_users, warn=False), items.encode(raw_items, warn=False), worth)
    if rating_col is None:  # weights of a pair add up
        pairs = SeenPairs.from_pairs(new.users, new.items, len(users))
        totals = pairs.totals(*new).numpy()
        own, taken = (part.numpy() for part in pairs.places(torch.arange(len(users))))
        return Rows(own, taken, totals), users, items
    _, behind = np.unique(_keys(new)[::-1], return_index=True)
    last = np.sort(len(worth) - 1 - behind)
    if len(last) < len(worth):
        log.warning("%s: %d rows repeat a pair; the last of each counts", WHERE, len(worth) - len(last))
    return Rows(*(part[last] for part in new)), users, items


def _titles(data: CollabData, items: IdMap, titles: Titles | None) -> list[str]:
    names = [*data.titles, *(str(value) for value in items.ids[len(data.items) - 1 :])]
    if titles is None:
        return names
    given, plain = titles_of(items, title_series(titles, data.columns[1], "title")), titles_of(items, None)
    return [told if told != own else name for told, own, name in zip(given, plain, names, strict=True)]


def _keys(rows: Rows) -> np.ndarray:
    return (rows.users.astype(np.int64) << 32) | rows.items.astype(np.int64)


def _known(new: Rows, data: CollabData) -> tuple[Tensor, Tensor]:
    """Pairs with indexes of before; 0 for those that are new."""
    users = np.where(new.users < len(data.users), new.users, 0)
    return torch.from_numpy(users), torch.from_numpy(np.where(new.items < len(data.items), new.items, 0))


def _longer(loader: TensorLoader, kept: np.ndarray, new: Sequence[np.ndarray]) -> TensorLoader:
    """The loader with fewer of its rows and the new ones behind; its settings and its place stay."""
    other = copy.copy(loader)
    parts = []
    for old, added in zip(loader.tensors, new, strict=True):
        own = old[torch.from_numpy(kept).to(old.device)]
        parts.append(torch.cat([own, torch.from_numpy(added).to(own).reshape(-1, *own.shape[1:])]))
    other.tensors, other.n_rows = tuple(parts), len(parts[0])
    return other


def _with_negatives(loader: Any, data: CollabData) -> Any:
    """The loader with negatives drawn from the items of these data, where it draws some."""
    transform = getattr(loader, "batch_transform", None)
    if not isinstance(transform, SampledNegatives):
        return loader
    other = copy.copy(loader)
    other.batch_transform = SampledNegatives(data.seen, len(data.items), transform.n, flat=transform.flat)
    return other


def _for_more(pairs: SeenPairs, n_users: int) -> SeenPairs:
    starts = torch.cat([pairs.starts, pairs.starts[-1:].repeat(n_users + 1 - len(pairs.starts))])
    return SeenPairs(starts, pairs.items)
