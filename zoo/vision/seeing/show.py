"""Pictures with their labels as matplotlib figures (never shown, always returned)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from zoo.data.answers.prediction import Prediction
from zoo.data.asked import checked_n
from zoo.data.loaders.dataset_loader import SampleKey
from zoo.data.loaders.seeding import mix_seeds
from zoo.inspect.plots import figure


class Rows(Protocol):
    """Rows of (pixels, target), with the pictures as they were given and the targets by themselves."""

    items: Any
    y: np.ndarray | None

    def __len__(self) -> int: ...

    def __getitem__(self, key: int) -> tuple[Tensor, Any]: ...


def picture_grid(
    pictures: Sequence[np.ndarray], titles: Sequence[str], *, columns: int | None = None
) -> Figure:
    """Pictures (H x W or H x W x 3, values in [0, 1]) in a grid, each with a title."""
    columns = columns or min(len(pictures), math.ceil(math.sqrt(len(pictures)))) or 1
    rows = max(1, math.ceil(len(pictures) / columns))
    drawn = figure(2.4 * columns, 2.7 * rows)
    axes = np.atleast_1d(drawn.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, picture, title in zip(axes, pictures, titles, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        lines = "\n".join(shortened(line, 34) for line in title.split("\n"))
        axis.set_title(lines, fontsize=9, parse_math=False)  # a dollar sign in a name begins no formula
    return drawn


def shortened(text: str, most: int) -> str:
    """A long name cut at its end.

    >>> shortened("a" * 30, 8), shortened("cat", 8)
    ('aaaaaaa…', 'cat')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def view(dataset: Rows, row: int, *, seed: int = 0) -> np.ndarray:
    """One picture as the model sees it: H x W or H x W x 3, values in [0, 1]."""
    pixels, _ = dataset[SampleKey(row, seed)]
    values = (
        pixels.numpy().astype(np.float32) / 255 if pixels.dtype.is_floating_point is False else pixels.numpy()
    )
    return values[0] if len(values) not in (3, 4) else values[:3].transpose(1, 2, 0)


def label_text(classes: Sequence[str] | None, target: Any) -> str:
    """A target in the user's terms: one class name, or those of all classes that are set."""
    names = classes or []
    if np.ndim(target) == 1:
        return " ".join(names[int(i)] for i in np.flatnonzero(np.asarray(target) > 0.5)) or "(none)"
    return names[int(target)] if int(target) >= 0 else "?"


def show_batch(dataset: Rows, classes: Sequence[str] | None, n: int = 9, *, epoch: int = 0) -> Figure:
    """Random pictures as augmented in `epoch`, with labels."""
    rows = np.random.default_rng(epoch).permutation(len(dataset))[: checked_n(n)]
    pictures = [view(dataset, int(row), seed=mix_seeds(epoch, int(row))) for row in rows]
    return picture_grid(pictures, [_truth(dataset, classes, int(row)) for row in rows])


def show_results(
    dataset: Rows,
    classes: Sequence[str] | None,
    predict: Callable[[list[Any]], list[Prediction]],
    n: int = 9,
    *,
    seed: int = 0,
) -> Figure:
    """Random pictures with a model's answers, and the truth where it is known.

    Args:
        dataset: the pictures to choose from.
        classes: names of the classes.
        predict: a model's answers to pictures, such as `learn.predict_batch`.
        n: number of pictures.
        seed: another number shows other pictures.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(dataset))[: checked_n(n)])
    titles = []
    for row, answer in zip(rows, predict([dataset.items[int(row)] for row in rows]), strict=True):
        said = answer.label if isinstance(answer.label, str) else " ".join(answer.label) or "(none)"
        truth = "" if dataset.y is None else f"\ntruth: {_truth(dataset, classes, int(row))}"
        titles.append(f"{said} {answer.probability:.2f}{truth}")
    return picture_grid([view(dataset, int(row)) for row in rows], titles)


def _truth(dataset: Rows, classes: Sequence[str] | None, row: int) -> str:
    return label_text(classes, -1 if dataset.y is None else dataset.y[row])
