"""Some of the training pictures."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from zoo.data.loaders.balanced import BalancedPlan
from zoo.errors import some
from zoo.vision.data.loaders import picture_loader


def only_rows(data: Any, rows: Any) -> Any:
    """What `PictureData.only` does."""
    dataset = data.trn_ds
    if dataset is None:
        raise ValueError("there are no training pictures to choose from")
    chosen = np.asarray(rows)
    if chosen.dtype == bool and chosen.shape == (len(dataset),):
        chosen = np.flatnonzero(chosen)
    if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"only() takes numbers of training pictures, at least one, or true and false for each of the "
            f"{len(dataset)}; got {chosen.dtype} values of shape {chosen.shape}"
        )
    outside = [int(row) for row in chosen if not 0 <= row < len(dataset)]
    if outside:
        raise ValueError(
            f"only(): there is no training picture {some(outside)}: there are {len(dataset)}, from 0"
        )
    smaller = dataset.only(chosen)
    fewer = copy.copy(data)
    old = data.train_dl
    fewer.trn_ds = smaller
    fewer.train_dl = picture_loader(
        smaller, data.bs, shuffle=old.shuffle, num_workers=data.num_workers, seed=old.seed,
        balance=isinstance(getattr(old, "plan", None), BalancedPlan),
    )  # fmt: skip
    return fewer
