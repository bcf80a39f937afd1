"""Targets that are one class, or several labels, of the whole picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.metrics import accuracy, accuracy_thresh, fbeta
from zoo.vision.targets.base import Target
from zoo.vision.transforms.view import View


class ClassTarget(Target):
    """One of several classes; raw targets are class numbers.

    Args:
        classes: their names.

    Example:
        >>> ClassTarget(["cat", "dog"]).text(1)
        'dog'
    """

    kind: ClassVar[str] = "class"
    task: ClassVar[str | None] = "classification"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes: list[str] = list(classes)

    @property
    def n_out(self) -> int:
        return len(self.classes)

    def row(self, raw: Any, view: View | None = None) -> Tensor:
        return torch.from_numpy(np.asarray(raw))

    def rows(self, raw: Any) -> Tensor:
        return torch.from_numpy(np.asarray(raw))

    def default_metrics(self) -> list[Any]:
        return [accuracy]

    def text(self, value: Any) -> str:
        return self.classes[int(value)] if int(value) >= 0 else "?"

    def to_state(self) -> dict[str, Any]:
        return {"kind": self.kind, "classes": self.classes}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["classes"])


class TagsTarget(ClassTarget):
    """Any number of labels; raw targets are rows of 0 and 1, one a class (float32).

    Example:
        >>> TagsTarget(["haze", "road", "water"]).text([1, 0, 1])
        'haze water'
    """

    kind: ClassVar[str] = "tags"
    task: ClassVar[str | None] = "multilabel"

    def default_metrics(self) -> list[Any]:
        return [fbeta(), accuracy_thresh()]

    def text(self, value: Any) -> str:
        if np.ndim(value) == 0:
            return "?"
        return " ".join(self.classes[i] for i in np.flatnonzero(np.asarray(value) > 0.5)) or "(none)"
