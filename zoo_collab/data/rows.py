"""The training rows that lie in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.engine.modes import preserve_modes
from zoo_collab.data.closed_form import confidence
from zoo_collab.data.collab_data import CollabData
from zoo_collab.pairs.given import Given

_LOOKED_AT = 65_536


class Rows(NamedTuple):
    """Indexes of users and items, and ratings, (rows,) each."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray


def training_rows(data: CollabData) -> Rows | None:
    """The rows that the model is trained on; None where they are not at hand, as after loading an export."""
    loader: Any = data.train_dl
    if not isinstance(loader, TensorLoader) or len(loader.tensors) != 3:
        return None
    users, items, ratings = (part.cpu().numpy() for part in loader.tensors)
    return Rows(users, items, ratings.reshape(-1))


def worth_of(data: CollabData, given: Given) -> np.ndarray:
    """What was given as a fold-in takes it: ratings, of what is only liked the highest; without ratings how
    sure each pair is."""
    if data.task == "implicit":
        times = np.ones(len(given.items)) if given.ratings is None else given.ratings
        return confidence(torch.from_numpy(times)).numpy()
    if given.ratings is not None:
        return given.ratings
    return np.full(len(given.items), data.clip(np.array(np.inf)))


@torch.no_grad()
def noise_of(model: nn.Module, data: CollabData) -> float:
    """Variance of ratings about the model's answers: over training rows (of many every so many), or without
    them that of ratings with an error of a fifth of their range.
    """
    rows, (low, high) = training_rows(data), data.clip(np.array([-np.inf, np.inf]))
    if rows is None:
        return (0.2 * (high - low)) ** 2
    every = max(1, len(rows.users) // _LOOKED_AT)
    device = next(model.parameters()).device
    users, items = (torch.from_numpy(np.ascontiguousarray(part[::every])).to(device) for part in rows[:2])
    with preserve_modes(model):
        model.eval()
        answers = model(users.long(), items.long()).float().reshape(-1).cpu().numpy()
    found = float(np.mean((answers - rows.ratings[::every]) ** 2))
    return float(f"{max(found, 1e-4 * (high - low) ** 2):.6g}")
