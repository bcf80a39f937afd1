"""Targets that are boxes around things in a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.classes import Classes
from zoo.vision.models.detection import pad_boxes, sum_of_losses
from zoo.vision.targets.base import BadRow, Head, Misfit, Target
from zoo.vision.targets.mean_precision import MeanAveragePrecision
from zoo.vision.transforms.view import View
from zoo.vision.transforms.warp import warp_boxes


@dataclass(frozen=True)
class Boxes:
    """The answer of a detector for one picture, best first.

    Attributes:
        boxes: k x 4 of left, top, right, bottom in pixels of the picture, float32.
        labels: the class of each.
        scores: the probability of each, float32.
    """

    boxes: np.ndarray
    labels: list[str]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class BoxTarget(Target):
    """Any number of boxes, each of a class; raw targets are pairs (boxes, class numbers) of arrays.

    Args:
        classes: names of the classes.

    Example:
        >>> target = BoxTarget(["cat", "dog"])
        >>> row = target.row((np.array([[2.0, 2, 8, 8]]), np.array([1])), View.fit((10, 10), (20, 20)))
        >>> row["boxes"].tolist(), row["labels"].tolist()
        ([[4.0, 4.0, 16.0, 16.0]], [1])
    """

    kind: ClassVar[str] = "boxes"
    task: ClassVar[str | None] = "detection"
    head: ClassVar[Head] = "boxes"
    follows: ClassVar[bool] = True

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes: list[str] = list(classes)

    @property
    def n_out(self) -> int:
        return len(self.classes)

    def row(self, raw: Any, view: View | None) -> dict[str, Tensor]:
        if view is None:
            raise TypeError("boxes follow the view of their picture, which is not given")
        height, width = view.source
        for left, top, right, bottom in np.asarray(raw[0], np.float64).reshape(-1, 4).tolist():
            if left >= width or top >= height or right <= 0 or bottom <= 0:
                raise Misfit(
                    f"the box {[left, top, right, bottom]} lies outside of the picture, which is {width} x "
                    f"{height} pixels: boxes are left, top, right, bottom in pixels of the upright picture"
                )
        boxes, kept = warp_boxes(raw[0], view)
        return {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.as_tensor(np.asarray(raw[1], np.int64)[kept]),
        }

    def collate_batch(self, pixels: Tensor, rows: Sequence[Any]) -> tuple[Any, ...]:
        """Pictures, boxes and labels as inputs (a detector finds its losses itself), and both as target."""
        boxes, labels = self.collate(rows)
        return pixels, boxes, labels, {"boxes": boxes, "labels": labels}

    def collate(self, rows: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Boxes N x M x 4 and labels N x M, padded with 0 and -1."""
        return pad_boxes([row["boxes"] for row in rows], [row["labels"] for row in rows])

    def default_loss(self) -> Callable:
        return sum_of_losses

    def default_metrics(self) -> list[Any]:
        return [MeanAveragePrecision()] if MeanAveragePrecision.is_there() else []

    def named_metrics(self) -> dict[str, Any]:
        return {"mAP": MeanAveragePrecision(), "mAP@0.5": MeanAveragePrecision(0.5)}

    def decode(self, outputs: Any, views: Sequence[View]) -> list[Boxes]:
        """Boxes in pixels of each picture; those of which nothing lies inside of it are left out."""
        answers = []
        for row, view in enumerate(views):
            found = outputs["labels"][row] >= 0
            corners = outputs["boxes"][row][found].numpy().reshape(-1, 2, 2)
            height, width = view.source
            back = view.to_source(corners.reshape(-1, 2)).reshape(-1, 4)
            back = back.clip(0, [width, height, width, height]).astype(np.float32)
            seen = (back[:, 2:] > back[:, :2]).all(1)
            numbers = outputs["labels"][row][found].numpy()[seen]
            names = [self.classes[int(number)] for number in numbers]
            answers.append(Boxes(back[seen], names, outputs["scores"][row][found].numpy()[seen]))
        return answers

    def text(self, value: Any) -> str:
        return ""

    def to_state(self) -> dict[str, Any]:
        return {"kind": self.kind, "classes": self.classes}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["classes"])

    def keep(self, raw: Any, name_of: Callable[[Path], str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        ends = np.cumsum([len(labels) for _, labels in raw])
        boxes = np.concatenate([np.zeros((0, 4)), *(np.asarray(one).reshape(-1, 4) for one, _ in raw)])
        labels = np.concatenate([np.zeros(0, np.int64), *(np.asarray(one, np.int64) for _, one in raw)])
        parts = {"targets": ends, "boxes": boxes.astype(np.float32), "labels": labels}
        return {}, {name: torch.from_numpy(part) for name, part in parts.items()}

    def kept(self, settings: Mapping[str, Any], arrays: Mapping[str, Tensor], base: Path) -> Any:
        ends, boxes, labels = (arrays[name].numpy() for name in ("targets", "boxes", "labels"))
        starts = [0, *ends[:-1].tolist()]
        return [(boxes[a:b], labels[a:b]) for a, b in zip(starts, ends.tolist(), strict=True)]


def checked_boxes(
    raw: Sequence[Any], classes: Sequence[str] | None, origin: str
) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[str]]:
    """Boxes and names of classes as users give them, a pair a picture, as raw targets.

    Args:
        raw: pairs (k x 4 numbers, k names of classes).
        classes: names in the order wanted; None takes those seen, alphabetically.
        origin: for errors.

    Returns:
        A pair (float32 boxes, class numbers) a picture, and the names of the classes.

    Raises:
        ValueError: for what is no pair, boxes without area or as shares of the sides, a class that is not
            known, or no box at all; the picture's number is told.

    Example:
        >>> checked_boxes([([[0, 0, 4, 4]], ["cat"]), ([], [])], None, "the pictures")[1]
        ['cat']
    """
    pairs = [_pair(one, row, origin) for row, one in enumerate(raw)]
    named = (
        Classes.found([names for _, names in pairs], several=True)
        if classes is None
        else Classes.given(classes)
    )
    if not named.names:
        raise ValueError(
            f"{origin}: not one of {len(pairs)} pictures has a box: look at what boxes_by is given, or name "
            "the classes, classes=[...]"
        )
    found = []
    for row, (corners, names) in enumerate(pairs):
        numbers = named.numbers(names, f"{origin}, picture {row}") if names else np.zeros(0, np.int64)
        found.append((corners.astype(np.float32), numbers))
    there = np.concatenate([np.zeros((0, 4)), *(corners for corners, _ in found)])
    if len(there) and there.max() <= 1:
        raise ValueError(
            f"{origin}: all boxes lie between {there.min():g} and {there.max():g}, which looks like shares "
            "of the sides: boxes are left, top, right, bottom in pixels; multiply by width and height"
        )
    return found, named.names


def _pair(one: Any, row: int, origin: str) -> tuple[np.ndarray, list[Any]]:
    """What belongs to one picture: k x 4 numbers and k names."""
    name = f"{origin}: picture {row}"
    try:
        boxes, labels = one
    except (TypeError, ValueError):
        raise BadRow(f"{name}: expected a pair (boxes, classes), got {str(one)[:60]}", row) from None
    if isinstance(labels, str):
        raise BadRow(f"{name}: expected a list of classes, got {labels!r}", row)
    try:
        corners: np.ndarray = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        corners = np.full(1, np.nan)
    if corners.size == 0:
        corners = np.zeros((0, 4))
    if corners.ndim == 1 and corners.size == 4:
        corners = corners[None]
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise BadRow(
            f"{name}: expected k x 4 numbers (left, top, right, bottom in pixels), got {str(boxes)[:60]}",
            row,
        )
    names = list(labels)
    if len(corners) != len(names):
        raise BadRow(f"{name} has {len(corners)} boxes but {len(names)} labels", row)
    flat = ~np.isfinite(corners).all(1) | (corners[:, 2:] <= corners[:, :2]).any(1)
    if flat.any():
        raise BadRow(
            f"{name} has the box {corners[flat][0].tolist()}, which has no area: boxes are left, top, right, "
            "bottom in pixels; left, top, width, height are (left, top, left + width, top + height)",
            row,
        )
    return corners, names
