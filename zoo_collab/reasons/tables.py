"""Factors and biases by raw id, as frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from zoo.errors import did_you_mean, some
from zoo_collab.data.collab_data import CollabData
from zoo_collab.model.features import FeaturedTable
from zoo_collab.pairs.ids import IdMap


def factor_table(model: nn.Module, side: str) -> nn.Embedding | FeaturedTable:
    """The factors of users or items, with what features add to them.

    Raises:
        TypeError: for a model without.
    """
    table = getattr(model, f"{side}_factors", None)
    if not isinstance(table, nn.Embedding | FeaturedTable):
        raise TypeError(
            f"{type(model).__name__} has no table {side}_factors, from which this is read; EmbeddingDotBias "
            "and EmbeddingNet have"
        )
    return table


def factors(model: nn.Module, data: CollabData, side: str, ids: Iterable[Any] | None) -> pd.DataFrame:
    """A row an id, a column a factor; see `CollabLearner.item_factors`."""
    known = data.users if side == "user" else data.items
    table = factor_table(model, side).weight.detach().cpu().float().numpy()
    if ids is None:
        rows, named = np.arange(1, len(known)), known.ids
    else:
        named = [ids] if isinstance(ids, str) or not isinstance(ids, Iterable) else list(ids)
        rows = np.array([index_of(one, known) for one in named], dtype=np.int64)
        named = known.decode(rows.tolist())
    return pd.DataFrame(table[rows], index=pd.Index(named, name=known.name))


def user_biases(model: Any, data: CollabData, min_ratings: int = 0) -> pd.DataFrame:
    """Users from the most to the least generous; see `CollabLearner.user_biases`."""
    if not hasattr(model, "user_bias"):
        raise TypeError(f"{type(model).__name__} has no user biases; EmbeddingDotBias has")
    frame = pd.DataFrame({"user": pd.Series(data.users.ids)})
    frame["n_ratings"] = data.seen.starts.diff()[1:].numpy()
    frame["bias"] = model.user_bias.weight[1:, 0].detach().cpu().numpy()
    frame = frame[frame["n_ratings"] >= min_ratings]
    return frame.sort_values("bias", ascending=False, ignore_index=True, kind="stable")


def index_of(raw: Any, ids: IdMap, titles: list[str] | None = None) -> int:
    """The index of one known id.

    Args:
        raw: the id.
        ids: those that are known.
        titles: of the indexes, for what is said of a title that was given in place of an id.

    Raises:
        ValueError: for an id that training did not see.
    """
    raw = raw.item() if isinstance(raw, np.generic | torch.Tensor) else raw
    index = int(ids.encode([raw], warn=False)[0])
    if index:
        return index
    told = ""
    if titles is not None and isinstance(raw, str):
        if raw in titles[1:]:
            told = f": it is the title of {ids.ids[titles.index(raw, 1) - 1]!r}; give that"
        else:
            near = did_you_mean(raw, titles[1:])
            told = f"{near}: give the id" if near else ""
    told = told or (did_you_mean(raw, ids.ids) if len(ids.ids) < 100_000 else "")
    raise ValueError(
        f"{ids.name} {raw!r} is not known to the model{told}; it knows {some(map(repr, ids.ids))}"
    )
