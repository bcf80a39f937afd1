"""What belongs to a picture and is to be predicted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from zoo.vision.transforms.view import Size, View

Head = Literal["pooled", "points", "map", "boxes"]


TOLD = {
    "class": "classes",
    "tags": "labels",
    "values": "values",
    "points": "points",
    "mask": "masks",
    "picture": "pictures as targets",
    "boxes": "boxes",
    "view": "views",
}
"""The kinds of targets as messages name them."""


class Misfit(ValueError):
    """A target that cannot belong to its picture; whoever knows the picture puts its name before it."""


class BadRow(ValueError):
    """What was given for one picture cannot be meant; whoever knows the files names that one.

    Args:
        message: what is wrong.
        row: the number of the picture.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


def check_proportions(size: Size, name: str, source: Size) -> None:
    """Refuse a mask, or another picture as target, that has other proportions than its picture.

    Args:
        size: height and width of the target.
        name: of the target, for the error.
        source: height and width of the picture.

    Raises:
        Misfit: one side is more than a pixel longer or shorter than the other side says.

    Example:
        >>> check_proportions((188, 250), "mask", (375, 500))
    """
    height, width = size
    apart = min(abs(height - source[0] * width / source[1]), abs(width - source[1] * height / source[0]))
    if apart > 1:
        turned = size == source[::-1]
        raise Misfit(
            f"{name} is {width} x {height} pixels, but its picture is {source[1]} x {source[0]}: they need "
            "the same proportions"
            + (
                " (pictures are turned upright by their EXIF data, masks are taken as they are)"
                if turned
                else ""
            )
        )


class Target(ABC):
    """A kind of target: how it is read, moves with its picture, is learned and is told.

    The raw targets of a data set are a sequence with one entry a picture, as the user gave them or coded once
    (class numbers); `row` makes of one of them what a model is trained on.

    Attributes:
        kind: its name in archives.
        task: as of `ModelData`.
        head: what a model needs on its body: one vector a picture, places in it, a map of its pixels, or
            boxes.
        follows: whether it moves with the view of its picture.
        classes: names, where there are any.
        n_out: outputs of a model, for each picture or each of its pixels.
    """

    kind: ClassVar[str]
    task: ClassVar[str | None] = None
    head: ClassVar[Head] = "pooled"
    follows: ClassVar[bool] = False

    classes: list[str] | None = None

    @property
    @abstractmethod
    def n_out(self) -> int: ...

    @abstractmethod
    def row(self, raw: Any, view: View | None) -> Any:
        """One raw target as a model is trained on it.

        Args:
            raw: one entry of the data set's targets.
            view: the picture's; None only for targets that do not follow it.
        """

    def collate(self, rows: Sequence[Any]) -> Any:
        """Targets of several pictures as those of a batch."""
        return default_collate(list(rows))

    def collate_batch(self, pixels: Tensor, rows: Sequence[Any]) -> tuple[Any, ...]:
        """The batch of these pictures and targets: inputs, then the target."""
        return pixels, self.collate(rows)

    def rows(self, raw: Any) -> Tensor:
        """All targets at once, for those that do not follow the view."""
        return torch.stack([torch.as_tensor(self.row(one, None)) for one in raw])

    def default_loss(self) -> Callable | None:
        """The loss that goes with it; None leaves the choice to the task."""
        return None

    def default_metrics(self) -> list[Any]:
        return []

    def named_metrics(self) -> dict[str, Any]:
        """Metrics that may be given by name, besides those of `zoo.metrics`, or in their place."""
        return {}

    def decode(self, outputs: Any, views: Sequence[View]) -> Any:
        """Activated outputs as answers in the user's terms; only of targets that follow the view.

        Args:
            outputs: one row a picture.
            views: those through which the pictures were seen.
        """
        raise NotImplementedError

    @abstractmethod
    def text(self, value: Any) -> str:
        """A target (a row, on the CPU) as a title of its picture; empty where it is drawn instead."""

    def to_state(self) -> dict[str, Any]:
        """What an archive keeps; JSON values only."""
        return {"kind": self.kind}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_state`."""
        return cls()

    def keep(self, raw: Any, name_of: Callable[[Path], str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Raw targets as saved data keep them: JSON values and arrays.

        Args:
            raw: the targets of one part.
            name_of: the name under which a file is found again.
        """
        return {}, {"targets": torch.from_numpy(np.asarray(raw))}

    def kept(self, settings: Mapping[str, Any], arrays: Mapping[str, Tensor], base: Path) -> Any:
        """The inverse of `keep`."""
        return arrays["targets"].numpy()
