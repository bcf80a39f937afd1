"""Pictures with their labels as matplotlib figures (never shown, always returned)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from zoo.data.dataset_loader import SampleKey
from zoo.data.seeding import mix_seeds
from zoo.inspect.plots import figure

if TYPE_CHECKING:
    from zoo.vision.data.dataset import ImageDataset
    from zoo.vision.data.image_data import ImageClassifierData
    from zoo.vision.learner import ConvLearner


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
        axis.set_title(title, fontsize=9)
    return drawn


def view(dataset: ImageDataset, row: int, *, seed: int = 0) -> np.ndarray:
    """One picture as the model sees it: H x W or H x W x 3, values in [0, 1]."""
    pixels, _ = dataset[SampleKey(row, seed)]
    values = (
        pixels.numpy().astype(np.float32) / 255 if pixels.dtype.is_floating_point is False else pixels.numpy()
    )
    return values[0] if len(values) not in (3, 4) else values[:3].transpose(1, 2, 0)


def label_text(data: ImageClassifierData, target: Any) -> str:
    """A target in the user's terms."""
    classes = data.classes or []
    if np.ndim(target) == 1:
        return " ".join(classes[i] for i in np.flatnonzero(np.asarray(target) > 0.5)) or "(none)"
    return classes[int(target)] if int(target) >= 0 else "?"


def show_batch(data: ImageClassifierData, n: int = 9, *, epoch: int = 0) -> Figure:
    """Training pictures as augmented in `epoch`, with labels; see `ImageClassifierData.show_batch`."""
    if data.trn_ds is None:
        raise ValueError("there are no training pictures to show")
    rng = np.random.default_rng(epoch)
    rows = rng.permutation(len(data.trn_ds))[:n]
    pictures = [view(data.trn_ds, int(row), seed=mix_seeds(epoch, int(row))) for row in rows]
    return picture_grid(pictures, [label_text(data, data.trn_y[row]) for row in rows])


def show_results(learn: ConvLearner, n: int = 9, *, is_test: bool = False, seed: int = 0) -> Figure:
    """Random pictures with the model's answers; see `ConvLearner.show_results`."""
    data = learn.data
    dataset = data.test_ds if is_test else data.val_ds
    if dataset is None:
        raise ValueError(f"there are no {'test' if is_test else 'validation'} pictures to show")
    rows = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:n])
    chosen = [dataset.items[int(row)] for row in rows]
    titles = []
    for row, answer in zip(rows, learn.predict_batch(chosen), strict=True):
        said = answer.label if isinstance(answer.label, str) else " ".join(answer.label) or "(none)"
        truth = "" if dataset.y is None else f"\ntruth: {label_text(data, dataset.y[row])}"
        titles.append(f"{said} {answer.probability:.2f}{truth}")
    return picture_grid([view(dataset, int(row)) for row in rows], titles)
