"""The confusion matrix as a figure that stays readable with many classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.inspect.plots import figure
from zoo.vision.seeing.show import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST = 14.0  # inches
_WRITTEN = 30  # classes up to which the cells hold their numbers
_TICKS = 40  # names on each side


def confusion_figure(
    counts: np.ndarray, classes: Sequence[str], *, normalize: bool = False, most: int | None = None
) -> Figure:
    """Counts by true and predicted class, as a coloured table.

    Up to 30 classes the cells hold their numbers; of more than 40 some names are left out. The figure is at
    most 14 inches wide, and drawn in less than a second.

    Args:
        counts: classes x classes; row = truth, column = prediction.
        classes: their names.
        normalize: shares of each true class instead of counts.
        most: only so many classes, those that are confused most.

    Example:
        >>> drawn = confusion_figure(np.eye(120, dtype=int), [f"breed {i}" for i in range(120)])
        >>> max(drawn.get_size_inches()) <= 20, len(drawn.axes[0].texts)
        (np.True_, 0)
    """
    from matplotlib.colors import PowerNorm

    total, labels = counts.sum(1, keepdims=True), [shortened(str(name), 24) for name in classes]
    left_out = ""
    if most is not None:
        if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 2:
            raise ValueError(f"most must be a whole number of at least 2 classes, got {most!r}")
        if most < len(counts):
            chosen = most_confused_classes(counts, int(most))
            left_out = f"the {len(chosen)} most confused of {len(counts)} classes"
            counts, total = counts[np.ix_(chosen, chosen)], total[chosen]
            labels = [labels[i] for i in chosen.tolist()]
    shown = counts / np.maximum(total, 1) if normalize else counts
    k = len(counts)
    size = min(_LARGEST, max(3.0, 0.55 * k + 1.8))
    drawn = figure(size, size if k <= _WRITTEN else 0.9 * size)
    axis = drawn.add_subplot()
    norm = PowerNorm(0.5, 0, max(float(shown.max(initial=0)), 1e-9)) if k > _WRITTEN else None
    image = axis.imshow(shown, cmap="Blues", norm=norm, interpolation="nearest")
    step = -(-k // _TICKS)
    ticks = np.arange(0, k, step)
    names = [labels[i] for i in ticks.tolist()]
    font = 10 if k <= 25 else 7
    axis.set_xticks(ticks, names, rotation=90, fontsize=font, parse_math=False)
    axis.set_yticks(ticks, names, fontsize=font, parse_math=False)
    axis.set(xlabel="predicted", ylabel="truth")
    if left_out:
        axis.set_title(left_out)
    if k > _WRITTEN:
        drawn.colorbar(image, ax=axis, shrink=0.5, label="share of the class" if normalize else "pictures")
        return drawn
    half = shown.max(initial=0) / 2
    for i, j in np.ndindex(shown.shape):
        if k > 15 and not shown[i, j]:
            continue  # among many cells the empty ones are seen best without a number
        axis.text(
            j,
            i,
            f"{shown[i, j]:.2f}" if normalize else str(shown[i, j]),
            ha="center",
            va="center",
            fontsize=font,
            color="white" if shown[i, j] > half else "black",
        )
    return drawn


def most_confused_classes(counts: np.ndarray, most: int) -> np.ndarray:
    """Numbers of the classes of the most frequent wrong pairs, ascending.

    Example:
        >>> most_confused_classes(np.array([[5, 0, 2], [0, 5, 0], [1, 0, 5]]), 2)
        array([0, 2])
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    chosen: dict[int, None] = {}
    for place in np.argsort(-wrong, axis=None, kind="stable"):
        pair = [int(i) for i in np.unravel_index(place, wrong.shape)]
        for one in pair:
            if len(chosen) < most:
                chosen[one] = None
        if len(chosen) >= most:
            break
    return np.array(sorted(chosen), np.int64)
