"""Small figures; every function returns a matplotlib `Figure`, which notebooks show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import PowerNorm

from zoo.inspect.figure import Figure


def figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure that belongs to no window and so never leaks."""
    return Figure(figsize=(width, height), layout="constrained")


def curves(named: Sequence[tuple[str, Sequence[float]]], *, x_label: str) -> Figure:
    """One panel a curve, side by side."""
    drawn = figure(5.0 * len(named), 3.5)
    for index, (name, values) in enumerate(named):
        axis = drawn.add_subplot(1, len(named), index + 1)
        axis.plot(values)
        axis.set(xlabel=x_label, ylabel=name)
    return drawn


def losses(train: Sequence[float], valid: Sequence[tuple[int, float]], *, skip_start: int = 0) -> Figure:
    """Training loss per iteration with the validation losses at their place, without the first iterations."""
    drawn = figure()
    axis = drawn.add_subplot()
    axis.plot(range(1 + skip_start, len(train) + 1), train[skip_start:], label="train (smoothed)")
    shown = [pair for pair in valid if pair[0] > skip_start]
    if shown:
        axis.plot(*zip(*shown, strict=True), marker="o", label="valid")
    axis.set(xlabel="iteration", ylabel="loss")
    axis.legend()
    return drawn


def range_test(
    lrs: Sequence[float], smoothed: Sequence[float], marks: dict[str, float], *, linear: bool
) -> Figure:
    """Loss against learning rate with the suggested rates."""
    drawn = figure()
    axis = drawn.add_subplot()
    axis.plot(lrs, smoothed)
    for number, (name, lr) in enumerate(marks.items()):
        nearest = min(range(len(lrs)), key=lambda i: abs(lrs[i] - lr))
        axis.plot(lr, smoothed[nearest], "o", color=f"C{number + 1}", label=f"{name}: {lr:.1e}")
    axis.set(xlabel="learning rate", ylabel="loss", xscale="linear" if linear else "log")
    if marks:
        axis.legend()
    return drawn


def layer_curves(
    x: Sequence[int], panels: Mapping[str, Sequence[Sequence[float]]], names: Sequence[str], *, x_label: str
) -> Figure:
    """One panel a number with one line a layer, from dark (near the input) to light.

    Args:
        x: where the records lie.
        panels: number -> one sequence a layer, as long as `x`. Positive values over more than two decades get
            a logarithmic axis.
        names: of the layers.
        x_label: what `x` counts.
    """
    columns = 1 + (len(names) - 1) // 24
    drawn = figure(4.0 * len(panels) + 1.5 * columns, 3.8)
    colours = matplotlib.colormaps["viridis"].resampled(len(names) + 1)
    for index, (title, lines) in enumerate(panels.items()):
        axis = drawn.add_subplot(1, len(panels), index + 1)
        for number, (name, values) in enumerate(zip(names, lines, strict=True)):
            mark = "." if len(x) < 3 else None
            axis.plot(x, values, color=colours(number), marker=mark, label=name if index == 0 else None)
        finite = [value for values in lines for value in values if math.isfinite(value)]
        if finite and min(finite) > 0 and max(finite) > 100 * min(finite):
            axis.set_yscale("log")
        axis.set(xlabel=x_label, ylabel=title)
    drawn.legend(loc="outside right upper", title="layer", ncols=columns, fontsize="small")
    return drawn


def layer_histograms(
    x: Sequence[int],
    counts: Sequence[Sequence[Sequence[int]]],
    names: Sequence[str],
    decades: tuple[int, int],
    *,
    x_label: str,
) -> Figure:
    """One colour map a layer: the share of values by magnitude and sign (upwards), against the records.

    Args:
        x: where the records lie.
        counts: one table (records, bins) a layer; the bins go from the most negative to the most positive
            value, equally wide in the logarithm, one in the middle for what is smaller.
        names: of the layers.
        decades: the logarithms of the smallest and the largest magnitude that the bins tell apart.
        x_label: what `x` counts.
    """
    tables = np.asarray(counts, dtype=float)
    shares = tables / np.maximum(tables.sum(axis=2, keepdims=True), 1)
    side = (tables.shape[2] - 1) // 2
    used = np.flatnonzero(tables.sum(axis=(0, 1)))
    reach = max(1, *(abs(used - side)))
    per_decade = side // (decades[1] - decades[0])
    apart = max(1, (decades[1] - decades[0]) // 4)
    marks = [
        (0.5 + (decade - decades[0]) * per_decade, f"$10^{{{decade}}}$")
        for decade in range(decades[0] + apart, decades[1] + 1, apart)
    ]
    places = [(-place, f"$-${label}") for place, label in reversed(marks)] + [(0.0, "0"), *marks]
    wide = min(4, len(names))
    rows = -(-len(names) // wide)
    drawn = figure(3.4 * wide + 1, 2.6 * rows + 0.4)
    gap = x[1] - x[0] if len(x) > 1 else 1
    across = [*x, x[-1] + gap]
    up = np.arange(-side, side + 2) - 0.5
    image = None
    axes = []
    for number, (name, table) in enumerate(zip(names, shares, strict=True)):
        axis = drawn.add_subplot(rows, wide, number + 1)
        image = axis.pcolormesh(across, up, table.T, norm=PowerNorm(0.5, 0, shares.max()), cmap="magma")
        axis.set_yticks([place for place, _ in places], [label for _, label in places], fontsize="x-small")
        axis.set_ylim(-reach - 0.5, reach + 0.5)
        axis.set_title(name, fontsize="small")
        axis.set(xlabel=x_label, ylabel="value")
        axes.append(axis)
    if image is not None:
        drawn.colorbar(image, ax=axes, label="share of the values")
    return drawn
