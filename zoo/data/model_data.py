"""What a learner trains on: loaders, and how raw inputs and answers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from zoo.data.batches import n_rows
from zoo.data.check.check_data import check_loaders
from zoo.data.check.report import DataReport
from zoo.data.prediction import Prediction, decode_labels
from zoo.data.quick_models import QuickModel, linear_models


class ModelData:
    """Training, validation and test batches, and how to read raw inputs and answer in the user's terms.

    Any iterable with a length that yields `(inputs..., target)` will do as a loader: `TensorLoader`,
    `DatasetLoader`, a plain torch `DataLoader`. With `valid_dl=None` everything is trained on and nothing
    validated, for a final fit.

    Attributes:
        task: "classification", "multilabel", "regression", "sequence", or `None` when unknown.
        classes: label names, where there are any.
        path: where `Learner.save` keeps its files.
    """

    task: str | None = None
    classes: list[str] | None = None

    def __init__(
        self, train_dl: Any, valid_dl: Any = None, test_dl: Any = None, path: str | Path | None = None
    ) -> None:
        self.train_dl, self.valid_dl, self.test_dl = train_dl, valid_dl, test_dl
        self.path = Path("." if path is None else path)

    def default_loss(self) -> Callable | None:
        """The loss that goes with the targets; `None` leaves the choice to their type."""
        return None

    def default_metrics(self) -> list:
        """The metrics shown when the user names none."""
        return []

    def quick_models(self, task: str | None = None, class_weights: Tensor | None = None) -> list[QuickModel]:
        """Models that are fitted in seconds to the training rows, for `learn.baseline()`.

        The first needs no inputs, the last is the one that a network has to beat. Here: linear models for
        rows that are one vector of numbers in a `TensorLoader`; data of other kinds bring their own.

        Args:
            task: what the targets mean, where `self.task` does not tell.
            class_weights: how much the rows of each class count in the loss.

        Raises:
            ValueError: where no quick model is known; the line says what to do.
        """
        return linear_models(self, self.task or task, class_weights)

    def check(self) -> DataReport:
        """Look at the data before training, see `zoo.check_data`; nothing is changed."""
        return check_loaders(self)

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Raw inputs as batches of model inputs, in order."""
        raise TypeError(
            f"{type(self).__name__} does not know how to read raw inputs; use predict_array with tensors "
            "instead"
        )

    def decode(self, outputs: Tensor) -> list[Prediction] | np.ndarray:
        """Probabilities or values of many rows in the user's terms."""
        if self.task in ("classification", "multilabel"):
            return decode_labels(outputs, self.classes, multilabel=self.task == "multilabel")
        return self.invert_target(outputs.numpy())

    def invert_target(self, values: np.ndarray) -> np.ndarray:
        """Model units back to the user's units, for regression."""
        return values

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What prediction on raw inputs needs: JSON-able state and tensors."""
        return {"task": self.task, "classes": self.classes}, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> ModelData:
        """The data object of a loaded learner: it predicts, but has no rows to train on."""
        data = cls(None)
        data.task, data.classes = state.get("task"), state.get("classes")
        return data

    def __repr__(self) -> str:
        parts = [
            f"{name} {n_rows(loader):,}"
            for name, loader in (("train", self.train_dl), ("valid", self.valid_dl), ("test", self.test_dl))
            if loader is not None
        ]
        return f"{type(self).__name__}({', '.join(parts) or 'no rows: for prediction only'})"
