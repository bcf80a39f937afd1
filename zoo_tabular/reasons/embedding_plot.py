"""Embeddings in two dimensions, with the names of their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from zoo.errors import did_you_mean
from zoo.inspect.plots import figure
from zoo.storage.load_learner import load_learner
from zoo_tabular.reasons.answers import raw_outputs
from zoo_tabular.reasons.dependence import with_values
from zoo_tabular.reasons.embeddings import EmbeddingTables
from zoo_tabular.reasons.encoded_rows import check_learner, encoded_rows, sampled

_SIDES = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]


def embedding_plane(
    source: Any,
    column: str,
    *,
    of: str = "vectors",
    method: str = "pca",
    weights: Mapping[Any, float] | None = None,
    df: pd.DataFrame | None = None,
    n_rows: int = 1000,
    seed: int = 0,
) -> tuple[pd.DataFrame, tuple[float, float] | None]:
    """The levels of a category column as points in the plane.

    Principal components are taken with every level weighted by its number of training rows, since the
    vectors of levels that were hardly seen are mostly those they started with. An axis points so that its
    largest coordinate is positive.

    Vectors begin at random places, and the network only moves them in directions that help it; the rest stays
    as it began and blurs the picture. `of="answers"` asks the network instead: a level is what the network
    answers for many rows when each of them is given that level. Levels that act alike then lie together.

    Args:
        source: a learner, the path of an exported one, or `EmbeddingTables`.
        column: a category column with at least two levels.
        of: "vectors", the rows of the embedding table; or "answers" on the model's scale.
        method: "pca", or "tsne" (van der Maaten & Hinton 2008), which keeps neighbours together but no
            distances between groups.
        weights: of the levels, by level; their training rows by default, equal ones where these are not at
            hand (an exported learner), which the drawing says.
        df: raw rows to answer; the learner's validation rows by default.
        n_rows: so many of them, drawn at random.
        seed: of that draw and of t-SNE.

    Returns:
        Columns x, y and weight, one row a level; and the shares of the variance along both axes (None for
        t-SNE).
    """
    if isinstance(source, str | Path):
        source = load_learner(source)
    tables = EmbeddingTables.of(source)
    frame = tables.frame(column)
    if of not in ("vectors", "answers"):
        raise ValueError(f"embedding_plane: of must be 'vectors' or 'answers', got {of!r}")
    if len(frame) < 2:
        raise ValueError(f"embedding_plane: {column!r} has {len(frame)} level, at least two make a plane")
    weight = _weights(tables, column, frame.index, weights)
    points = (
        frame.to_numpy(dtype="float64") if of == "vectors" else _profiles(source, column, df, n_rows, seed)
    )
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(points) - 1) / 3)
        plane = TSNE(
            2, perplexity=perplexity, init="pca" if points.shape[1] > 1 else "random", random_state=seed
        )
        found, shares = plane.fit_transform(points), None
    elif method == "pca":
        share = weight / weight.sum()
        centred = points - share @ points
        _, strength, directions = np.linalg.svd(centred * np.sqrt(share)[:, None], full_matrices=False)
        found = centred @ directions[:2].T
        if found.shape[1] == 1:  # a width of one
            found, strength = np.column_stack([found, np.zeros(len(found))]), np.append(strength, 0.0)
        largest = np.abs(found * np.sqrt(share)[:, None]).argmax(axis=0)
        found *= np.where(found[largest, [0, 1]] < 0, -1.0, 1.0)
        total = float(np.square(strength).sum()) or 1.0
        shares = (float(strength[0] ** 2 / total), float(strength[1] ** 2 / total))
    else:
        raise ValueError(
            "embedding_plane: method must be 'pca' or 'tsne', got "
            f"{method!r}{did_you_mean(method, ['pca', 'tsne'])}"
        )
    return pd.DataFrame({"x": found[:, 0], "y": found[:, 1], "weight": weight}, index=frame.index), shares


def plot_embedding(
    source: Any,
    column: str,
    names: Mapping[Any, str] | Sequence[str] | None = None,
    *,
    of: str = "vectors",
    method: str = "pca",
    weights: Mapping[Any, float] | None = None,
    df: pd.DataFrame | None = None,
    connect: bool = False,
    max_names: int = 60,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the levels of a category column in two dimensions: those that act alike lie together.

    Args:
        source: a learner, the path of an exported one, or `EmbeddingTables`.
        column: a category column.
        names: what to write beside the levels: by level, or a list in the order of the levels; the levels
            themselves by default.
        of, method, weights, df, seed: as in `embedding_plane`.
        connect: join the levels by a line in their order, such as days or months, and the last to the first.
        max_names: write so many names, those of heavy levels far from the middle; the others are dots only.
        ax: where to draw.

    Returns:
        The axes.
    """
    if isinstance(source, str | Path):
        source = load_learner(source)
    equal = weights is None and column not in EmbeddingTables.of(source).counts
    plane, shares = embedding_plane(source, column, of=of, method=method, weights=weights, df=df, seed=seed)
    labels = _labels(names, plane.index, column)
    ax = figure(7.0, 5.5).add_subplot() if ax is None else ax
    x, y, weight = (plane[name].to_numpy() for name in ("x", "y", "weight"))
    if connect:
        ax.plot(np.append(x, x[0]), np.append(y, y[0]), color="0.8", lw=1, zorder=1)
    size = min(1.0, 60 / len(x)) * (15 + 65 * weight / weight.max())
    ax.scatter(x, y, s=size, color="C0", alpha=0.8, zorder=2)
    ax.margins(0.12)
    if shares is not None:  # to scale: distances can be compared
        ax.set_aspect("equal", adjustable="datalim")
        ax.apply_aspect()
    centre = np.average(np.column_stack([x, y]), axis=0, weights=weight)
    reach = weight * np.hypot(x - centre[0], y - centre[1])
    shown = np.argsort(-reach, kind="stable")[:max_names]
    _place_names(ax, x, y, shown, labels)
    if shares is None:
        ax.set(xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
    else:
        ax.set(
            xlabel=f"first principal component ({shares[0]:.0%} of the variance)",
            ylabel=f"second principal component ({shares[1]:.0%})",
        )
    what = "The vectors" if of == "vectors" else "What the network answers"
    title = f"{what} by {column}: those that act alike lie together"
    if equal:
        title += "\nall levels count the same: how many training rows they have is not known here"
    ax.set_title(title, fontsize="medium")
    return ax


def _profiles(learn: Any, column: str, df: pd.DataFrame | None, n_rows: int, seed: int) -> np.ndarray:
    """Outputs of sampled rows when all are given each level in turn: shape (levels, rows x outputs)."""
    where = "embedding_plane"
    processor = check_learner(learn, where)
    everything = encoded_rows(learn, df, None, where)
    rows = everything.take(sampled(len(everything), n_rows, seed))
    levels = next(one.levels for one in processor.categories_ if one.name == column)
    outputs = raw_outputs(learn, lambda data: with_values(data, rows, column, levels))
    return learn.activation.log(outputs).double().numpy().reshape(len(levels), -1)


def _weights(
    tables: EmbeddingTables, column: str, levels: pd.Index, given: Mapping[Any, float] | None
) -> np.ndarray:
    if given is not None:
        absent = [level for level in levels if level not in given]
        if absent:
            raise ValueError(
                f"plot_embedding: weights has no value for the level {absent[0]!r} of {column!r}"
            )
        weight = np.array([float(given[level]) for level in levels])
        if not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError("plot_embedding: weights must be numbers of at least 0")
    elif column in tables.counts:
        weight = tables.counts[column][1 : len(levels) + 1].astype("float64")
    else:
        weight = np.ones(len(levels))
    return weight if weight.sum() > 0 else np.ones(len(levels))


def _labels(names: Any, levels: pd.Index, column: str) -> list[str]:
    if names is None:
        return [str(level) for level in levels]
    if isinstance(names, Mapping):
        return [str(names.get(level, level)) for level in levels]
    listed = [str(name) for name in names]
    if len(listed) != len(levels):
        raise ValueError(f"plot_embedding: {len(listed)} names for the {len(levels)} levels of {column!r}")
    return listed


def _place_names(ax: Axes, x: np.ndarray, y: np.ndarray, shown: np.ndarray, labels: list[str]) -> None:
    """Write each name beside its point where it covers least: points and names that are written already."""
    size = 9.0 if len(shown) <= 35 else 7.0
    box = ax.get_window_extent()
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    points = 72 / ax.get_figure(root=True).dpi  # type: ignore[union-attr]
    px = ((x - left) / (right - left) * box.width * points).tolist()
    py = ((y - bottom) / (top - bottom) * box.height * points).tolist()
    taken = [(a - 4, b - 4, a + 4, b + 4) for a, b in zip(px, py, strict=True)]
    for i in shown:
        width, height = 0.6 * size * len(labels[i]), 1.15 * size
        best = (float("inf"), 0, 0, 0.0, (0.0, 0.0, 0.0, 0.0))
        for far in (6.0, 16.0):
            for side, up in _SIDES:
                begin = px[i] + side * far - (0.5 - side / 2) * width
                low = py[i] + up * (far + height / 2) * (1 if side == 0 else 0.8) - height / 2
                place = (begin, low, begin + width, low + height)
                covered = sum(_overlap(place, other) for other in taken) + far
                covered += 20 * (max(0.0, -begin) + max(0.0, begin + width - box.width * points))
                if covered < best[0]:
                    best = (covered, side, up, far, place)
        _, side, up, far, place = best
        taken.append(place)
        offset = (side * far, place[1] + height / 2 - py[i])
        ax.annotate(
            labels[i], (x[i], y[i]), offset, textcoords="offset points", va="center", fontsize=size,
            ha={1: "left", 0: "center", -1: "right"}[side],
            arrowprops={"arrowstyle": "-", "color": "0.7", "lw": 0.6} if far > 10 else None,
        )  # fmt: skip


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
