"""The best items for each user, as a frame in raw ids and titles."""

from __future__ import annotations

import functools
import logging
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.errors import some
from zoo_collab.data.collab_data import CollabData, item_table
from zoo_collab.lists.ranking import as_ratings, rank
from zoo_collab.pairs.seen import SeenPairs

log = logging.getLogger("zoo.collab")

Items = Callable[[pd.DataFrame], Any] | Iterable[Any] | int | str


@functools.cache
def tell_once(text: str) -> None:
    """Logs a line, the first time."""
    log.info(text)


def _listed(values: Any, what: str) -> list[Any] | None:
    """Raw ids as a list; None for a single one. Frames, dicts and tables of several dimensions are errors."""
    if isinstance(values, (pd.DataFrame, Mapping)):
        raise TypeError(
            f"{what}: one raw id or a list of them, got a {type(values).__name__};"
            " give its column or its values"
        )
    if isinstance(values, (np.ndarray, Tensor)):
        if values.ndim > 1:
            raise ValueError(
                f"{what}: one raw id or a list of them, got an array of shape {tuple(values.shape)}"
            )
        return values.tolist() if values.ndim else None
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        return None
    return [value.item() if isinstance(value, Tensor) and not value.ndim else value for value in values]


def _single(value: Any) -> Any:
    return value.item() if isinstance(value, (np.ndarray, Tensor)) else value


def _chosen(data: CollabData, given: Items, what: str) -> Tensor:
    """The items that are meant, boolean, one an item index; never the unknown one."""
    chosen = torch.zeros(len(data.items), dtype=torch.bool)
    if callable(given):
        kept = given(item_table(data))
        if isinstance(kept, pd.Series) and pd.api.types.is_bool_dtype(kept.dtype):
            kept = kept.to_numpy(dtype=bool, na_value=False)
        kept = np.array(kept)
        if kept.dtype != bool or kept.shape != (len(data.items) - 1,):
            raise ValueError(
                f"{what} must return one true or false for each of the {len(data.items) - 1} items,"
                f" got {kept.dtype} of shape {kept.shape}"
            )
        chosen[1:] = torch.from_numpy(kept)
        return chosen
    listed = _listed(given, what)
    wanted = [_single(given)] if listed is None else listed
    if "bool" not in data.items.kinds and any(isinstance(value, (bool, np.bool_)) for value in wanted):
        raise ValueError(
            f"{what}: a mask of true and false needs to know its items; give the raw ids,"
            " or a function of the frame of items, such as lambda items: items['n_ratings'] > 20"
        )
    chosen[torch.from_numpy(data.items.encode(wanted))] = True
    chosen[0] = False
    return chosen


def item_indexes(data: CollabData, items: Any) -> Tensor:
    """Indexes of raw ids: one, a list, an array; unknown ones are told and have 0."""
    listed_ids = _listed(items, "items")
    return torch.from_numpy(data.items.encode([_single(items)] if listed_ids is None else listed_ids))


def allowed_items(data: CollabData, only: Items | None, exclude: Items | None) -> Tensor:
    """Which items may be listed, boolean, one an item index."""
    allowed = torch.ones(len(data.items), dtype=torch.bool)
    if only is not None:
        allowed = _chosen(data, only, "only")
        if not callable(only) and not allowed.any():
            listed = _listed(only, "only")
            wanted = [_single(only)] if listed is None else listed
            told = some(map(repr, wanted)) if wanted else "the list is empty"
            raise ValueError(f"only: none of these items is known to the model: {told}")
    if exclude is not None:
        allowed &= ~_chosen(data, exclude, "exclude")
    return allowed


def recommend(
    model: nn.Module,
    data: CollabData,
    users: Any,
    n: int = 10,
    *,
    exclude_seen: bool | str = True,
    only: Items | None = None,
    exclude: Items | None = None,
) -> pd.DataFrame:
    """The `n` items with the highest scores for each user; see `CollabLearner.recommend`."""
    n = checked_n(n, "n")
    asked, indexes = asked_users(data, users)
    allowed = allowed_items(data, only, exclude)
    return lists_of(model, data, asked, indexes, indexes != 0, n, allowed, seen_of(data, exclude_seen))


def lists_of(
    model: nn.Module,
    data: CollabData,
    asked: pd.Series,
    indexes: Tensor,
    known: Tensor,
    n: int,
    allowed: Tensor,
    seen: list[SeenPairs],
) -> pd.DataFrame:
    """The lists of users of the model, as `CollabLearner.recommend` gives them.

    Args:
        model: whose tables have these users.
        data: of the items.
        asked: raw ids of the users.
        indexes: of the same users, in the model's tables.
        known: whether anything is known of them, boolean.
        n: items a user.
        allowed: which items may be listed, boolean (n_items,).
        seen: pairs of these indexes to leave out.
    """
    found = rank(model, indexes, min(n, int(allowed[1:].sum())), len(data.items), allowed=allowed, seen=seen)
    rows, ranks = found.items.nonzero(as_tuple=True)
    items, scores = found.items[rows, ranks], found.scores[rows, ranks]
    row, item = rows.numpy(), items.numpy()
    frame = pd.DataFrame({"user": asked.iloc[row].reset_index(drop=True)})
    frame["rank"] = ranks.numpy() + 1
    frame["item"] = pd.Series(data.items.ids).iloc[item - 1].reset_index(drop=True)
    frame["title"] = np.array(data.titles, dtype=object)[item]
    frame["score"] = scores.numpy()
    if data.task == "regression":
        frame["rating"] = data.clip(as_ratings(model, scores).cpu().numpy())
    frame["known_user"] = known.numpy()[row]
    return frame


def asked_users(data: CollabData, users: Any) -> tuple[pd.Series, Tensor]:
    """Raw ids of users, one or several, and their indexes."""
    listed = _listed(users, "users")
    asked = pd.Series([_single(users)] if listed is None else listed, dtype=object)
    indexes = torch.from_numpy(data.users.encode(asked))
    if not asked.isna().any():  # a gap would make floats of whole numbers
        asked = asked.infer_objects()
    return asked, indexes


def checked_n(n: Any, name: str) -> int:
    """A number of items."""
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise ValueError(f"{name} is the number of items a user and must be a whole number, got {n!r}")
    if n < 1:
        raise ValueError(f"{name} is the number of items a user and must be 1 or more, got {int(n)}")
    return int(n)


def seen_of(data: CollabData, exclude_seen: bool | str) -> list[SeenPairs]:
    """The pairs that a list leaves out."""
    if exclude_seen == "train":
        return [data.seen]
    if isinstance(exclude_seen, str):
        raise ValueError(
            f"exclude_seen={exclude_seen!r}: True leaves out all pairs that are known, 'train' only those of"
            " the training rows, False none"
        )
    return [data.seen, data.seen_valid] if exclude_seen else []
