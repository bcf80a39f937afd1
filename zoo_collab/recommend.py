"""The best items for each user, as a frame in raw ids and titles."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.errors import some
from zoo_collab.data import CollabData, item_table

ItemFilter = Callable[[pd.DataFrame], Any] | Iterable[Any] | int | str
_CELLS = 8_000_000
_PAIRS = 65_536


@torch.no_grad()
def score_items(model: nn.Module, users: Tensor, n_items: int) -> Tensor:
    """Predictions of every item for every user, shape (len(users), n_items), on the CPU.

    A model may offer `all_items(users)` that does this faster than one row a pair; any other gets at most
    65,536 pairs at a time, which bounds the memory of its hidden layers.
    """
    device = next(model.parameters()).device
    users = users.to(device)
    all_items = getattr(model, "all_items", None)
    if callable(all_items):
        return torch.as_tensor(all_items(users)).float().cpu()
    scores = torch.empty(len(users) * n_items)
    for start in range(0, len(scores), _PAIRS):
        pairs = torch.arange(start, min(start + _PAIRS, len(scores)), device=device)
        scores[start : start + _PAIRS] = (
            model(users[pairs // n_items], pairs % n_items).float().reshape(-1).cpu()
        )
    return scores.reshape(len(users), n_items)


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


def _allowed(data: CollabData, filter: ItemFilter | None) -> Tensor:
    """Boolean, one an item index; the unknown item is never recommended."""
    allowed = torch.zeros(len(data.items), dtype=torch.bool)
    if filter is None:
        allowed[1:] = True
    elif callable(filter):
        kept = filter(item_table(data))
        if isinstance(kept, pd.Series) and pd.api.types.is_bool_dtype(kept.dtype):
            kept = kept.to_numpy(dtype=bool, na_value=False)
        kept = np.array(kept)
        if kept.dtype != bool or kept.shape != (len(data.items) - 1,):
            raise ValueError(
                f"filter must return one true or false for each of the {len(data.items) - 1} items,"
                f" got {kept.dtype} of shape {kept.shape}"
            )
        allowed[1:] = torch.from_numpy(kept)
    else:
        listed = _listed(filter, "filter")
        wanted = [_single(filter)] if listed is None else listed
        if "bool" not in data.items.kinds and any(isinstance(value, (bool, np.bool_)) for value in wanted):
            raise ValueError(
                "filter: a mask of true and false needs to know its items; give the raw ids to choose from,"
                " or a function of the frame of items, such as lambda items: items['n_ratings'] > 20"
            )
        indexes = data.items.encode(wanted)
        if not indexes.any():
            raise ValueError(f"filter: none of these items is known to the model: {some(map(repr, wanted))}")
        allowed[torch.from_numpy(indexes)] = True
        allowed[0] = False
    return allowed


def recommend(
    model: nn.Module,
    data: CollabData,
    users: Any,
    n: int = 10,
    *,
    exclude_seen: bool = True,
    filter: ItemFilter | None = None,
) -> pd.DataFrame:
    """The `n` items with the highest predictions for each user; see `CollabLearner.recommend`."""
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise ValueError(f"n is the number of recommendations a user and must be a whole number, got {n!r}")
    n = int(n)
    if n < 1:
        raise ValueError(f"n is the number of recommendations a user and must be 1 or more, got {n}")
    listed = _listed(users, "users")
    asked = pd.Series([_single(users)] if listed is None else listed, dtype=object).infer_objects()
    indexes = torch.from_numpy(data.users.encode(asked))
    allowed = _allowed(data, filter)
    most = min(n, int(allowed.sum()))
    rows, items, scores = [], [], []
    step = max(1, _CELLS // len(data.items))
    for start in range(0, len(indexes) if most else 0, step):
        chunk = indexes[start : start + step]
        table = score_items(model, chunk, len(data.items))
        table[:, ~allowed] = -torch.inf
        if exclude_seen:
            table[data.seen.mask(chunk, len(data.items))] = -torch.inf
        top = table.topk(most, dim=1)
        row, rank = (top.values > -torch.inf).nonzero(as_tuple=True)
        rows.append(row + start)
        items.append(top.indices[row, rank])
        scores.append(top.values[row, rank])
    row = torch.cat(rows).numpy() if rows else np.zeros(0, dtype=np.int64)
    item = torch.cat(items).numpy() if items else np.zeros(0, dtype=np.int64)
    frame = pd.DataFrame({"user": asked.iloc[row].reset_index(drop=True)})
    frame["rank"] = frame.groupby(row).cumcount() + 1
    frame["item"] = pd.Series(data.items.ids).iloc[item - 1].reset_index(drop=True)
    frame["title"] = np.array(data.titles, dtype=object)[item]
    frame["score"] = data.clip(torch.cat(scores).numpy()) if scores else np.zeros(0, dtype=np.float32)
    frame["known_user"] = indexes.numpy()[row] != 0
    return frame
