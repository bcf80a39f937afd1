"""Lists of items, and for users, that are known by their features alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from zoo_collab.data.collab_data import CollabData
from zoo_collab.lists.ranking import as_ratings, rank
from zoo_collab.lists.recommend import asked_users, checked_n
from zoo_collab.model.features import of_newcomers


def recommend_new(
    model: nn.Module, data: CollabData, users: Any, items: pd.DataFrame | None, n: int
) -> pd.DataFrame:
    """The best items for each user, where users or items are new; see `CollabLearner.recommend_new`."""
    n = checked_n(n, "n")
    if items is None and not isinstance(users, pd.DataFrame):
        raise TypeError(
            "nothing here is new: give users or items as a frame of their features; recommend() lists known "
            "items for known users"
        )
    n_items, titles = len(data.items), np.array(data.titles, dtype=object)
    names = pd.Series([None, *data.items.ids], dtype=object)
    if items is not None:
        model = _with(model, data, "item", items)
        n_items, names = len(items) + 1, pd.concat([pd.Series([None]), _names(data, "item", items)])
        titles = np.array(["", *map(str, names.iloc[1:])], dtype=object)
    if isinstance(users, pd.DataFrame):
        model = _with(model, data, "user", users)
        asked, indexes = _names(data, "user", users), torch.arange(1, len(users) + 1)
    else:
        asked, indexes = asked_users(data, users)
    found = rank(model, indexes, n, n_items)
    rows, ranks = found.items.nonzero(as_tuple=True)
    places, scores = found.items[rows, ranks].numpy(), found.scores[rows, ranks]
    frame = pd.DataFrame({"user": asked.iloc[rows.numpy()].reset_index(drop=True)})
    frame["rank"] = ranks.numpy() + 1
    frame["item"] = names.iloc[places].reset_index(drop=True).infer_objects()
    frame["title"] = titles[places]
    frame["score"] = scores.numpy()
    if data.task == "regression":
        frame["rating"] = data.clip(as_ratings(model, scores).cpu().numpy())
    return frame


def _with(model: nn.Module, data: CollabData, side: str, frame: pd.DataFrame) -> nn.Module:
    """The model for the rows of a frame in place of the users, or items, that it knows."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"new {side}s are a frame of features, a row each, not a {type(frame).__name__}")
    if not len(frame):
        raise ValueError(f"the frame of new {side}s has no rows")
    known = data.features.get(f"{side}_features")
    if known is None:
        raise ValueError(
            f"the features of {side}s are not known to these data: give the table {side}_features=, and "
            "train with them"
        )
    return of_newcomers(model, side, known.coder.encode(frame))


def _names(data: CollabData, side: str, frame: pd.DataFrame) -> pd.Series:
    """Ids of the rows of a frame, or where it has none their labels."""
    column = data.columns[0 if side == "user" else 1]
    values = frame[column] if column in frame.columns else frame.index
    return pd.Series(list(values), dtype=object)
