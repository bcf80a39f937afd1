"""What a recommender has learned: predictions against truth, biases, directions of taste, similar items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zoo.inspect.plots import figure
from zoo_collab.data.collab_data import CollabData, item_table
from zoo_collab.reasons.tables import factor_table


def plot_predictions(preds: np.ndarray, targets: np.ndarray, name: str = "rating") -> Figure:
    """Joint plot: density of (truth, prediction) pairs, with the distribution of each along the sides.

    Args:
        preds: predictions, shape (n,).
        targets: true values, shape (n,).
        name: of the measure, for the labels.
    """
    drawn = figure(5.0, 5.0)
    axes = drawn.subplot_mosaic(
        [["top", "."], ["joint", "right"]],
        width_ratios=(4, 1),
        height_ratios=(1, 4),
    )
    axes["joint"].hexbin(targets, preds, gridsize=30, mincnt=1, bins="log", cmap="viridis")
    ends = (float(min(targets.min(), preds.min())), float(max(targets.max(), preds.max())))
    axes["joint"].plot(ends, ends, color="tab:red", lw=1)
    axes["joint"].set(xlabel=f"true {name}", ylabel=f"predicted {name}", xlim=ends, ylim=ends)
    axes["top"].hist(targets, bins=30, range=ends)
    axes["right"].hist(preds, bins=30, range=ends, orientation="horizontal")
    axes["top"].set(xlim=ends, xticks=[], yticks=[])
    axes["right"].set(ylim=ends, xticks=[], yticks=[])
    error = float(np.sqrt(np.mean((preds - targets) ** 2)))
    axes["joint"].set_title(f"rmse {error:.3f}, {len(preds):,} pairs", fontsize=9)
    return drawn


def item_biases(model: Any, data: CollabData, min_ratings: int = 0) -> pd.DataFrame:
    """Items with the bias the model gave them, best first: how good they are beyond who rated them.

    Args:
        model: `EmbeddingDotBias`, or any module with an `item_bias` table.
        data: of the learner.
        min_ratings: leave out items with fewer training ratings.

    Returns:
        Frame with the columns item, title, n_ratings, bias.
    """
    if not hasattr(model, "item_bias"):
        raise TypeError(f"{type(model).__name__} has no item biases; EmbeddingDotBias has")
    frame = item_table(data)
    frame["bias"] = model.item_bias.weight[1:, 0].detach().cpu().numpy()
    frame = frame[frame["n_ratings"] >= min_ratings]
    return frame.sort_values("bias", ascending=False, ignore_index=True)


def item_components(model: Any, data: CollabData, n: int = 3, *, min_ratings: int = 0) -> pd.DataFrame:
    """Items with their place along the `n` main directions of the item factors (PCA), the first of which tell
    items apart most. A direction points to where the item farthest out lies.

    Returns:
        Frame with the columns item, title, n_ratings, component_1 .. component_n.
    """
    frame = item_table(data)
    keep = (frame["n_ratings"] >= min_ratings).to_numpy()
    factors = factor_table(model, "item").weight[1:].detach().cpu().numpy()[keep].astype(np.float64)
    if not 1 <= n <= min(factors.shape):
        raise ValueError(f"n components must lie between 1 and {min(factors.shape)}, got {n}")
    centred = factors - factors.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    frame = frame[keep].reset_index(drop=True)
    for number, direction in enumerate(directions[:n], 1):
        places = centred @ direction
        frame[f"component_{number}"] = places if places[np.abs(places).argmax()] >= 0 else -places
    return frame


def item_extremes(
    model: Any, data: CollabData, n: int = 5, *, components: int = 3, min_ratings: int = 0
) -> pd.DataFrame:
    """The items at both ends of the main directions; see `CollabLearner.item_extremes`."""
    if n < 1:
        raise ValueError(f"n is how many items an end are told, 1 or more, not {n}")
    placed = item_components(model, data, components, min_ratings=min_ratings)
    ends = []
    for number in range(1, components + 1):
        ordered = placed.sort_values(f"component_{number}", ascending=False, kind="stable")
        most = min(n, len(ordered) // 2)
        for end, rows in (("high", ordered[:most]), ("low", ordered[::-1][:most])):
            part = rows[["item", "title", "n_ratings"]].assign(place=rows[f"component_{number}"])
            part.insert(0, "rank", np.arange(1, len(part) + 1))
            part.insert(0, "end", end)
            part.insert(0, "component", number)
            ends.append(part)
    return pd.concat(ends, ignore_index=True)
