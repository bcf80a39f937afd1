"""The best items for each user, as a frame in raw ids and titles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.errors import some
from zoo_collab.data import CollabData

ItemFilter = Callable[[pd.DataFrame], Any] | Iterable[Any]
_CELLS = 8_000_000


@torch.no_grad()
def score_items(model: nn.Module, users: Tensor, n_items: int) -> Tensor:
    """Predictions of every item for every user, shape (len(users), n_items), on the CPU.

    A model may offer `all_items(users)` that does this faster than one row a pair.
    """
    device = next(model.parameters()).device
    users = users.to(device)
    all_items = getattr(model, "all_items", None)
    if callable(all_items):
        return torch.as_tensor(all_items(users)).float().cpu()
    items = torch.arange(n_items, device=device).repeat(len(users))
    scores = model(users.repeat_interleave(n_items), items)
    return scores.reshape(len(users), n_items).float().cpu()


def item_table(data: CollabData) -> pd.DataFrame:
    """One row a known item: raw id, title and number of training ratings."""
    counts = data.item_counts[1:].numpy()
    return pd.DataFrame({"item": pd.Series(data.items.ids), "title": data.titles[1:], "n_ratings": counts})


def _allowed(data: CollabData, filter: ItemFilter | None) -> Tensor:
    """Boolean, one an item index; the unknown item is never recommended."""
    allowed = torch.zeros(len(data.items), dtype=torch.bool)
    if filter is None:
        allowed[1:] = True
    elif callable(filter):
        kept = np.array(filter(item_table(data)))
        if kept.dtype != bool or kept.shape != (len(data.items) - 1,):
            raise ValueError(
                f"filter must return one true or false for each of the {len(data.items) - 1} items,"
                f" got {kept.dtype} of shape {kept.shape}"
            )
        allowed[1:] = torch.from_numpy(kept)
    else:
        wanted = [filter] if isinstance(filter, str) else list(filter)
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
    if n < 1:
        raise ValueError(f"n is the number of recommendations a user and must be 1 or more, got {n}")
    one = isinstance(users, (str, bytes)) or not isinstance(users, Iterable)
    asked = pd.Series([users]) if one else pd.Series(list(users), dtype=object).infer_objects()
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
    frame["score"] = torch.cat(scores).numpy() if scores else np.zeros(0, dtype=np.float32)
    frame["known_user"] = indexes.numpy()[row] != 0
    return frame
