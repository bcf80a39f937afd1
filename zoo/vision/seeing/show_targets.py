"""Pictures with targets that lie in them: masks laid over, points, boxes, other pictures beside."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from zoo.data.asked import checked_n
from zoo.data.loaders.dataset_loader import SampleKey
from zoo.data.loaders.seeding import mix_seeds
from zoo.inspect.plots import figure
from zoo.vision.seeing.show import Rows, shortened
from zoo.vision.targets.base import Target
from zoo.vision.targets.boxes import BoxTarget
from zoo.vision.targets.maps import MaskTarget, PictureTarget
from zoo.vision.targets.values import PointsTarget
from zoo.vision.transforms.warp import VOID

_MOST_BOXES, _LEAST_SCORE = 15, 0.3  # of a model's answer: the surest ones
_MOST_NAMES = 24  # of a legend


def show_targets(dataset: Rows, target: Target, n: int = 9, *, epoch: int = 0) -> Figure:
    """Random pictures as augmented in `epoch`, with their targets."""
    rows = np.random.default_rng(epoch).permutation(len(dataset))[: checked_n(n)].tolist()
    seen = [dataset[SampleKey(row, mix_seeds(epoch, row))] for row in rows]
    parts = 2 if isinstance(target, PictureTarget) else 1
    drawn, axes = _grid(len(rows), parts)
    for place, (pixels, truth) in enumerate(seen):
        _draw(axes[place * parts : (place + 1) * parts], pixels, target, truth)
    _name_classes(drawn, target)
    return drawn


def show_answers(
    dataset: Rows, target: Target, outputs_of: Callable[[Any], Any], n: int = 9, *, seed: int = 0
) -> Figure:
    """Random pictures with their targets, and beside each what a model says.

    Args:
        dataset: with the plain transform.
        target: of the dataset.
        outputs_of: activated outputs of a model for a list of row numbers.
        n: number of pictures.
        seed: another number shows other pictures.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(dataset))[: checked_n(n)]).tolist()
    outputs = outputs_of(rows)
    drawn, axes = _grid(len(rows), 3 if isinstance(target, PictureTarget) else 2)
    for place, row in enumerate(rows):
        pixels, truth = dataset[SampleKey(row, 0)]
        said: Any = (
            outputs[place]
            if isinstance(outputs, Tensor)
            else {name: part[place] for name, part in outputs.items() if isinstance(part, Tensor)}
        )
        if isinstance(target, MaskTarget):
            said = said.argmax(0)
        if isinstance(target, PictureTarget):
            own = axes[3 * place : 3 * place + 3]
            _draw(own[:2], pixels, target, truth if dataset.y is not None else None)
            _show(own[2], said.clamp(0, 1), "answer")
            continue
        left, right = axes[2 * place : 2 * place + 2]
        _draw([left], pixels, target, truth if dataset.y is not None else None)
        _draw([right], pixels, target, said, "answer")
    _name_classes(drawn, target)
    return drawn


def _grid(n: int, parts: int) -> tuple[Figure, list[Axes]]:
    columns = parts * max(1, math.ceil(math.sqrt(n / parts)))
    rows = max(1, math.ceil(n * parts / columns))
    drawn = figure(2.4 * columns, 2.7 * rows)
    axes = list(np.atleast_1d(drawn.subplots(rows, columns)).ravel())
    for axis in axes:
        axis.set_axis_off()
    return drawn, axes


def _draw(axes: list[Axes], pixels: Tensor, target: Target, value: Any, title: str = "") -> None:
    """One picture with a target (None if there is none) on its axes."""
    height, width = pixels.shape[-2:]
    _show(axes[0], pixels, title or ("" if value is None else target.text(value)))
    if value is None:
        return
    if isinstance(target, MaskTarget):
        laid = np.ma.masked_equal(np.asarray(value), VOID)
        classes = len(target.classes)
        axes[0].imshow(
            laid, cmap=ListedColormap(colours_of(classes)), vmin=-0.5, vmax=classes - 0.5, alpha=0.5,
            interpolation="nearest",
        )  # fmt: skip
    elif isinstance(target, PointsTarget):
        points = (np.asarray(value).reshape(-1, 2) + 1) / 2 * [width, height] - 0.5
        axes[0].scatter(points[:, 0], points[:, 1], s=24, c="red", edgecolors="white", linewidths=0.8)
        axes[0].set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    elif isinstance(target, PictureTarget):
        _show(axes[1], value, "target")
    elif isinstance(target, BoxTarget):
        _draw_boxes(axes[0], target, value)


def colours_of(n: int) -> list[tuple[float, float, float]]:
    """As many colours (red, green, blue) as classes, no two of them alike.

    >>> len(set(colours_of(150)))
    150
    """
    from matplotlib.colors import hsv_to_rgb

    strong_first = [*range(0, 20, 2), *range(1, 20, 2)]
    golden = (5**0.5 - 1) / 2  # steps of it never meet on the circle of hues
    more = [hsv_to_rgb((i * golden % 1, 0.9 - 0.2 * (i % 3), 1 - 0.2 * (i // 3 % 3))) for i in range(n - 20)]
    found = [*matplotlib.colormaps["tab20"](strong_first)[:n, :3], *more]
    return [(float(red), float(green), float(blue)) for red, green, blue in found]


def _name_classes(drawn: Figure, target: Target) -> None:
    """Below the pictures, which colour of the masks is which class."""
    if not isinstance(target, MaskTarget):
        return
    from matplotlib.patches import Patch

    names = [shortened(name, 20) for name in target.classes[:_MOST_NAMES]]
    handles = [
        Patch(color=colour, label=name)
        for name, colour in zip(names, colours_of(len(target.classes)), strict=False)
    ]
    if len(target.classes) > _MOST_NAMES:
        handles.append(Patch(alpha=0, label=f"and {len(target.classes) - _MOST_NAMES} more"))
    columns = max(1, min(len(handles), int(drawn.get_figwidth() / 1.5)))
    legend = drawn.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_boxes(axis: Axes, target: BoxTarget, value: Any) -> None:
    """The boxes, of an answer the surest ones."""
    from matplotlib.patches import Rectangle

    labels, scores = value["labels"], value.get("scores")
    rows = [row for row, number in enumerate(labels.tolist()) if number >= 0]
    if scores is not None:
        sure = [row for row in np.argsort(-scores.numpy(), kind="stable").tolist() if row in rows]
        rows = [row for row in sure if scores[row] >= _LEAST_SCORE]
        if len(rows) > _MOST_BOXES:
            axis.set_title(f"{axis.get_title()} ({_MOST_BOXES} of {len(rows)} boxes)", fontsize=9)
    for row in rows if scores is None else rows[:_MOST_BOXES]:
        (left, top, right, bottom), number = value["boxes"][row].tolist(), int(labels[row])
        axis.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="yellow", linewidth=1.2)
        )
        told = target.classes[number] + ("" if scores is None else f" {scores[row]:.2f}")
        axis.text(left, top, told, fontsize=6, color="black", backgroundcolor="yellow", parse_math=False)


def _show(axis: Axes, pixels: Tensor, title: str) -> None:
    values = pixels.numpy()
    values = values.astype(np.float32) / 255 if values.dtype == np.uint8 else values
    values = values[0] if len(values) not in (3, 4) else values[:3].transpose(1, 2, 0)
    axis.imshow(values, cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=9, parse_math=False)
