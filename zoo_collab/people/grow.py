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
from zoo_collab.data.collab_data import CollabData
from zoo_collab.data.rows import Rows, training_rows
from zoo_collab.pairs.checks import checked_ids, checked_ratings
from zoo_collab.pairs.given import check_reach
from zoo_collab.pairs.seen import SeenPairs
from zoo_collab.pairs.titles import Titles, title_series, titles_of

WHERE = "the new ratings"

log = logging.getLogger("zoo.collab")


@dataclass(frozen=True)
class Growth:
    """What becomes of data by new ratings.

    Attributes:
        data: another object; users and items of before have the same indexes in it.
        new: indexes and ratings of the new rows.
        rows: of all training rows, or where those are not at hand of the new ones alone.
        complete: whether those are all.
        again: pairs among the new ones that had been rated before.
    """

    data: CollabData
    new: Rows
    rows: Rows
    complete: bool
    again: int


def grow(data: CollabData, ratings: pd.DataFrame, titles: Titles | None, *, rated: bool) -> Growth:
    """The data with new rows behind those of training, new ids behind those that are known. `data` is not
    changed.

    Args:
        data: of a learner.
        ratings: frame with the columns of users, items and ratings.
        titles: of items, as `item_titles` of a table.
        rated: whether there must be ratings; pairs without count as 1 otherwise.

    Raises:
        ValueError: for rows that a table refuses, and ratings that the model can never answer.
        TypeError: for ids of another kind than those of training.
    """
    new, users, items = _read(data, ratings, rated)
    again = data.seen.holds(*_known(new, data)).numpy()
    old = training_rows(data)
    rows, train_dl = new, data.train_dl
    if old is not None:
        kept = ~np.isin(_keys(old), _keys(new))
        rows = Rows(*(np.concatenate([one[kept], two]) for one, two in zip(old, new, strict=True)))
        train_dl = _longer(data.train_dl, kept, new)
    known = data.seen.places(torch.arange(len(data.users)))
    seen = SeenPairs.from_pairs(
        np.concatenate([known[0].numpy(), new.users]),
        np.concatenate([known[1].numpy(), new.items]),
        len(users),
    )
    counts = np.zeros(len(items), dtype=np.int64)
    counts[: len(data.items)] = data.item_counts.numpy()
    counts += np.bincount(new.items[~again], minlength=len(items))
    if old is not None:
        counts = np.bincount(rows.items, minlength=len(items))
        counts[0] = data.item_counts[0]
    names = [*data.titles, *(str(value) for value in items.ids[len(data.items) - 1 :])]
    if titles is not None:
        given = titles_of(items, title_series(titles, data.columns[1], "title"))
        plain = titles_of(items, None)
        names = [told if told != own else name for told, own, name in zip(given, plain, names, strict=True)]
    grown = copy.copy(data)
    grown.users, grown.items, grown.titles = users, items, names
    grown.train_dl, grown.item_counts = train_dl, torch.from_numpy(counts)
    grown.seen, grown.seen_valid = seen, _for_more(data.seen_valid, len(users))
    leaks = int(data.seen_valid.holds(*_known(new, data)).sum())
    if leaks:
        log.warning(
            "%s: %d of them are held out as well: figures of the held-out rows are better than those in use",
            WHERE, leaks,
        )  # fmt: skip
    return Growth(grown, new, rows, old is not None, int(again.sum()))


def _read(data: CollabData, ratings: pd.DataFrame, rated: bool) -> tuple[Rows, Any, Any]:
    if not isinstance(ratings, pd.DataFrame):
        raise TypeError(
            f"{WHERE} are a frame with the columns {data.columns}, not a {type(ratings).__name__}"
        )
    user_col, item_col, rating_col = data.columns
    check_columns(ratings, list(data.columns) if rated else [user_col, item_col], WHERE)
    if not len(ratings):
        raise ValueError(f"{WHERE}: no rows")
    raw_users, raw_items = checked_ids(ratings, user_col, WHERE), checked_ids(ratings, item_col, WHERE)
    worth = np.ones(len(ratings), dtype=np.float32)
    if rating_col in ratings:
        worth = checked_ratings(ratings, rating_col, WHERE, None)
        check_reach(worth.astype(np.float64), raw_items, data.y_range if rated else None, WHERE)
    users, items = data.users.grown(raw_users), data.items.grown(raw_items)
    new = Rows(users.encode(raw_users, warn=False), items.encode(raw_items, warn=False), worth)
    _, behind = np.unique(_keys(new)[::-1], return_index=True)
    last = np.sort(len(worth) - 1 - behind)
    if len(last) < len(worth):
        log.warning("%s: %d rows repeat a pair; the last of each counts", WHERE, len(worth) - len(last))
    return Rows(*(part[last] for part in new)), users, items


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


def _for_more(pairs: SeenPairs, n_users: int) -> SeenPairs:
    return SeenPairs(
        torch.cat([pairs.starts, pairs.starts[-1:].repeat(n_users + 1 - len(pairs.starts))]), pairs.items
    )
