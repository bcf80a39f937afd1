"""Data whose rows have classes, labels or values: how these are measured, weighed and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.data.class_weights import chosen_weights
from zoo.data.model_data import ModelData
from zoo.data.ports import Units
from zoo.data.value_scale import InUnits, ValueScale
from zoo.metrics import accuracy, accuracy_thresh, mae, mse, r2, rmse


class LabelledData(ModelData):
    """The part of `TextData` that knows what its targets mean.

    Attributes:
        classes: Names of classes or labels; None for values.
        scale: On which values are learned; None for classes and labels.
    """

    learned_mappings: ClassVar[frozenset[str]] = frozenset({"value scale"})

    scale: ValueScale | None = None

    def _set_task(self, task: str, classes: Sequence[str] | None, scale: ValueScale | None) -> None:
        """Takes in what targets mean: values have a scale, whatever else has classes."""
        if (scale is None) == (task == "regression") or (classes is None) != (task == "regression"):
            raise ValueError("values (task='regression') have a scale, other tasks have classes")
        self.task, self.scale = task, scale
        self.classes = None if classes is None else list(classes)

    @property
    def n_out(self) -> int:
        """Outputs that a network needs."""
        return len(self.classes or ()) if self.scale is None else self.scale.n_out

    def default_metrics(self) -> list:
        """Accuracy, for multi-label data of yes/no decisions; errors of values in their units."""
        if self.scale is not None:
            return [InUnits(rmse, self.scale), InUnits(mae, self.scale)]
        return [accuracy_thresh(0.5)] if self.task == "multilabel" else [accuracy]

    def named_metrics(self) -> dict[str, Any]:
        """Errors by name are told in the units of the values."""
        scale = self.scale
        return {} if scale is None else {one.__name__: InUnits(one, scale) for one in (rmse, mae, mse, r2)}

    def invert_target(self, values: np.ndarray) -> np.ndarray:
        """Outputs for values in the units of these."""
        return values if self.scale is None else self.scale.inverse(values)

    def output_units(self) -> Units | None:
        return None if self.scale is None else Units(self.scale.names, self.scale.std, self.scale.mean)

    def model_target(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `invert_target`."""
        return values if self.scale is None else self.scale.forward(values)

    def class_weights(self, weights: str | Mapping[Any, float] = "balanced") -> Tensor:
        """One weight a class for a loss, such as `CrossEntropyFlat(weight=data.class_weights())`.

        Args:
            weights: "balanced" gives rare classes as much say as frequent ones (`balanced_weights`); or
                weights by class name, 1 for those that are not named.

        Returns:
            Float32 of shape (classes,), in the order of `classes`.

        Raises:
            ValueError: for other tasks than one class a text, without training texts, and as of
                `zoo.data.class_weights.chosen_weights`.

        Example:
            >>> from zoo_text import Field, TextData
            >>> data = TextData.from_texts(Field(), (["good film", "bad film"] * 4, ["p", "n", "p", "p"] * 2))
            >>> data.class_weights().tolist()
            [2.0, 0.6666666865348816]
        """
        if self.task != "classification" or self.classes is None:
            raise ValueError(f"class_weights is for one class a text, these data are for {self.task}")
        if self.train_dl is None and isinstance(weights, str):
            raise ValueError("class_weights: 'balanced' counts training texts, and these data have none")
        numbers = torch.empty(0) if self.train_dl is None else self.train_dl.targets.cpu()
        return chosen_weights(weights, self.classes, numbers, "text")

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The classes if there are any, or the names and the scale of values."""
        if self.scale is None:
            return super().mapping_values()
        moments = zip(self.scale.mean, self.scale.std, strict=True)
        told = [f"{mean:.6g}, {std:.6g}" for mean, std in moments]
        return super().mapping_values() | {"values": self.scale.names, "value scale": told}

    def task_state(self) -> dict[str, Any]:
        """What `export_state` keeps of the task."""
        scale = None if self.scale is None else self.scale.numbers()
        return {"task": self.task, "classes": self.classes, "scale": scale}
