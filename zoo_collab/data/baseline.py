"""What one would try before factors: the mean, biases, and factors in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.data.quick_models import QuickModel, check_task
from zoo_collab.model.rating_factors import RatingFactors, rating_factors

if TYPE_CHECKING:
    from zoo_collab.data.collab_data import CollabData


def rating_models(data: CollabData, task: str | None) -> list[QuickModel]:
    """The mean; biases of users and items (regularised least squares, Koren 2009); 16 factors by alternating
    least squares. See `ModelData.quick_models`.

    Raises:
        ValueError: for pairs without ratings, and without training or validation rows in memory.
    """
    if data.task == "implicit":
        raise ValueError(
            "baseline(): pairs without ratings are judged by their lists: table.compare() stands popularity, "
            "item neighbours and others beside what is learned"
        )
    check_task(data, task)
    for loader in (data.train_dl, data.valid_dl):
        if not isinstance(loader, TensorLoader):
            raise ValueError(
                f"baseline(): the quick models read ratings in memory (a TensorLoader), not a "
                f"{type(loader).__name__}"
            )

    def fitted(factors: int) -> RatingFactors:
        users, items, ratings = (part.cpu().numpy() for part in data.train_dl.tensors[:3])
        means = data.seen.means(users, items, ratings.reshape(-1))
        return rating_factors(data.seen, means, len(data.items), factors)

    def answers(found: RatingFactors) -> Tensor:
        users, items = (part.cpu().long() for part in data.valid_dl.tensors[:2])
        rated = found.mean + found.user_bias[users] + found.item_bias[items]
        rated = rated + (found.user_factors[users] * found.item_factors[items]).sum(1)
        return torch.from_numpy(data.clip(rated.numpy()).astype(np.float32))[:, None]

    def mean() -> Tensor:
        return torch.full((len(data.valid_dl.tensors[0]), 1), data.mean)

    return [
        QuickModel("mean", mean),
        QuickModel("biases of users and items", lambda: answers(fitted(0))),
        QuickModel("16 factors by least squares", lambda: answers(fitted(16))),
    ]
