"""Items in two dimensions, with their titles beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from zoo.errors import did_you_mean
from zoo.inspect.plots import figure
from zoo_collab.data.collab_data import CollabData, item_table
from zoo_collab.reasons.interpret import item_components
from zoo_collab.reasons.tables import factor_table, index_of
from zoo_collab.reasons.why import short

_SIDES = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]

_LINE = {"arrowstyle": "-", "color": "0.7", "lw": 0.5, "shrinkA": 0, "shrinkB": 2}

Box = tuple[float, float, float, float]


def plot_items(
    model: nn.Module,
    data: CollabData,
    n: int = 50,
    *,
    items: Any = None,
    components: tuple[int, int] = (1, 2),
    method: str = "pca",
    min_ratings: int = 0,
    seed: int = 0,
    longest: int = 36,
) -> Figure:
    """A map of items; see `CollabLearner.plot_items`."""
    if method not in ("pca", "tsne"):
        raise ValueError(
            f"method must be 'pca' or 'tsne', not {method!r}{did_you_mean(str(method), ['pca', 'tsne'])}"
        )
    table = item_table(data)
    if items is not None:
        chosen = np.array([index_of(one, data.items, data.titles) - 1 for one in items], dtype=np.int64)
    else:
        enough = np.flatnonzero(table["n_ratings"].to_numpy() >= min_ratings)
        chosen = enough[np.argsort(-table["n_ratings"].to_numpy()[enough], kind="stable")[:n]]
    if len(chosen) < 2:
        raise ValueError(f"{len(chosen)} items make no map: lower min_ratings, or name at least two items")
    drawn = figure(11.0, 8.5)
    axes = drawn.add_subplot()
    if method == "pca":
        both = max(components)
        placed = item_components(model, data, both, min_ratings=min_ratings)
        where = placed.set_index("item")[[f"component_{number}" for number in components]]
        points = where.loc[table["item"].iloc[chosen]].to_numpy()
        axes.set(xlabel=f"component {components[0]} of the item factors", ylabel=f"component {components[1]}")
        axes.axhline(0, color="0.9", lw=0.8, zorder=0)
        axes.axvline(0, color="0.9", lw=0.8, zorder=0)
    else:
        from sklearn.manifold import TSNE

        vectors = factor_table(model, "item").weight[1:].detach().cpu().double().numpy()[chosen]
        perplexity = min(30.0, (len(chosen) - 1) / 3)
        points = TSNE(
            2, perplexity=perplexity, metric="cosine", init="random", random_state=seed
        ).fit_transform(vectors)
        axes.set(
            xticks=[],
            yticks=[],
            xlabel="t-SNE of the item factors: neighbours are alike, distances say little",
        )
    weight = table["n_ratings"].to_numpy()[chosen].astype(np.float64)
    axes.scatter(*points.T, s=12 + 60 * weight / max(weight.max(), 1), color="tab:blue", alpha=0.65, zorder=2)
    axes.margins(0.12)
    drawn.draw_without_rendering()  # the layout is settled, so that places on the page are known
    drawn.set_layout_engine("none")
    _name(axes, points, [short(data.titles[index + 1], longest) for index in chosen])
    return drawn


def _name(axes: Axes, points: np.ndarray, names: list[str]) -> None:
    """Writes each name where it covers least of the points and of the names that are written already: those
    whose points have the most neighbours first. Names far from their points are joined to them by a line."""
    size = 8.0 if len(names) <= 60 else 6.5
    drawn: Any = axes.get_figure(root=True)
    to_points = 72 / drawn.dpi
    places = axes.transData.transform(points) * to_points
    frame = axes.get_window_extent()
    page: Box = (frame.x0 * to_points, frame.y0 * to_points, frame.x1 * to_points, frame.y1 * to_points)
    taken: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    for i in np.argsort(-(apart < 60).sum(1), kind="stable"):
        sizes = _extent(axes, names[i], size, to_points)
        options = [
            (covered + 0.6 * far, offset, side, far, box)
            for far in (6.0, 14.0, 26.0, 42.0, 60.0)
            for side, up in _SIDES
            for offset, box in [_at(places[i], sizes, side, up, far)]
            for covered in [sum(_shared(box, other) for other in taken) + 30 * _outside(box, page)]
        ]
        _, offset, side, far, box = min(options, key=lambda option: option[0])
        taken.append(box)
        axes.annotate(
            names[i], tuple(points[i]), offset, textcoords="offset points", va="center", fontsize=size,
            ha={1: "left", 0: "center", -1: "right"}[side], zorder=3,
            arrowprops=_LINE if far > 10 else None,
        )  # fmt: skip


def _extent(axes: Axes, name: str, size: float, to_points: float) -> tuple[float, float]:
    """Width and height of a text, in points."""
    text = axes.text(0, 0, name, fontsize=size)
    box = text.get_window_extent()
    text.remove()
    return box.width * to_points, box.height * to_points


def _at(
    place: np.ndarray, sizes: tuple[float, float], side: int, up: int, far: float
) -> tuple[tuple[float, float], Box]:
    """Offset of a text from its point, and the box that it fills."""
    width, height = sizes
    across, rise = side * far, up * (far if side else far + height / 2)
    left = place[0] + across - (0.5 - side / 2) * width
    low = place[1] + rise - height / 2
    return (across, rise), (left, low, left + width, low + height)


def _shared(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box, page: Box) -> float:
    """By how much a box passes the edges of the page, in points."""
    return sum(
        max(0.0, past) for past in (page[0] - box[0], page[1] - box[1], box[2] - page[2], box[3] - page[3])
    )
