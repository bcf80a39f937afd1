"""Items that lie near one another among the item factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from zoo.errors import did_you_mean
from zoo_collab.data.collab_data import CollabData, item_table
from zoo_collab.reasons.tables import factor_table, index_of

MEASURES = ("cosine", "centred", "dot", "distance")


def similar_items(
    model: nn.Module, data: CollabData, item: Any, n: int = 10, measure: str = "cosine", min_ratings: int = 0
) -> pd.DataFrame:
    """The items most like one; see `CollabLearner.similar_items`."""
    if measure not in MEASURES:
        raise ValueError(
            f"measure={measure!r} is not known{did_you_mean(str(measure), MEASURES)}: {', '.join(MEASURES)}"
        )
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n is how many items are told, a whole number of 1 or more, not {n!r}")
    place = index_of(item, data.items, data.titles) - 1
    vectors = factor_table(model, "item").weight[1:].detach().cpu().double().numpy()
    if measure == "centred":
        vectors = vectors - vectors.mean(0)
    own = vectors[place]
    if measure == "distance":
        alike = -np.sqrt(np.square(vectors - own).sum(1))
    else:
        alike = vectors @ own
        if measure != "dot":
            lengths = np.linalg.norm(vectors, axis=1)
            alike = alike / np.maximum(lengths * lengths[place], 1e-30)
    if not np.isfinite(alike).all():
        raise ValueError("the model's item factors are not finite: they hold NaN or infinity")
    frame = item_table(data).assign(similarity=alike)
    frame = frame[(frame["n_ratings"] >= min_ratings) & (frame.index != place)]
    frame = frame.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)[:n]
    if measure == "distance":
        frame = frame.rename(columns={"similarity": "distance"}).assign(distance=lambda f: -f["distance"])
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame
