"""What a learner trains on: loaders, and how raw inputs and answers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.data.batches import first_batch, rows_text, split_batch, widen_codes
from zoo.data.check.check_data import check_loaders
from zoo.data.check.report import DataReport
from zoo.data.device import resolve_device, to_device
from zoo.data.frames import plain_columns
from zoo.data.mapping import digest
from zoo.data.prediction import Prediction, decode_labels
from zoo.data.quick_models import QuickModel, linear_models
from zoo.sealed import Sealed


class ModelData(Sealed):
    """Training, validation and test batches, and how to read raw inputs and answer in the user's terms.

    Any iterable with a length that yields `(inputs..., target)` will do as a loader: `TensorLoader`,
    `DatasetLoader`, a plain torch `DataLoader`. With `valid_dl=None` everything is trained on and nothing
    validated, for a final fit.

    Attributes:
        task: "classification", "multilabel", "regression", "sequence", or `None` when unknown.
        classes: label names, where there are any.
        path: where `Learner.save` keeps its files.
    """

    settings_elsewhere: ClassVar[dict[str, str]] = {
        "bs": "give it when the data are made, or set train_dl = train_dl.with_bs(n)",
        "batch_size": "give bs= when the data are made, or set train_dl = train_dl.with_bs(n)",
        "c": "the number of classes follows from `classes`",
        "num_workers": "give it when the data are made",
        "device": "data go to the device of the learner: give it device=",
    }

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

    # -- the batch as the model sees it

    def one_batch(self, train: bool = True, device: str | torch.device | None = None) -> tuple:
        """A batch as the model gets it: on the device, normalised, augmented; leaves no trace.

        Args:
            train: of the training data, otherwise of the validation data.
            device: where it shall lie; the best of the machine by default, as for learners.

        Returns:
            `(inputs..., target)`, as loaders yield it: `*inputs, target = data.one_batch()`, and then
            `model(*inputs)`.

        Raises:
            ValueError: if there are no such data.

        Example:
            >>> from zoo import TensorLoader
            >>> data = ModelData(TensorLoader(torch.ones(8, 3), torch.zeros(8), bs=4))
            >>> *inputs, target = data.one_batch()
            >>> [tuple(part.shape) for part in (*inputs, target)]
            [(4, 3), (4,)]
        """
        return first_batch(self._loader_of(train), resolve_device(device), training=train)

    def one_item(self, raw: Any, device: str | torch.device | None = None) -> tuple:
        """One raw input as a batch of one for the model: `model(*data.one_item(raw))`.

        Args:
            raw: what `learn.predict_one` takes: a path, a text, a row, ...
            device: as of `one_batch`.
        """
        batch = next(iter(self.batches_from_raw([raw])))
        return widen_codes(to_device(batch, resolve_device(device)))

    def denorm(self, x: Tensor) -> Tensor:
        """Inputs of a batch back on the scale of the data; here they are as the data are."""
        return x

    def show_batch(self, n: int = 9, *, train: bool = True) -> Any:
        """The first rows of a batch as a frame, in the user's terms where they are known.

        Args:
            n: number of rows.
            train: of the training data, otherwise of the validation data.
        """
        import pandas as pd

        inputs, target = split_batch(self.one_batch(train, "cpu"))
        columns: dict[str, Any] = {}
        for number, part in enumerate(inputs):
            columns |= plain_columns(part, "x" if len(inputs) == 1 else f"x{number}", n)
        return pd.DataFrame(columns | self._target_columns(target, n))

    def _target_columns(self, target: Any, n: int) -> dict[str, Any]:
        """Targets of a batch as columns of a frame: names of classes, or values in the user's units."""
        if isinstance(target, Tensor) and self.classes is not None and self.task == "classification":
            return {"target": [self.classes[int(number)] for number in target.reshape(-1)[:n]]}
        if isinstance(target, Tensor) and self.classes is not None and self.task == "multilabel":
            rows = (target[:n] > 0.5).tolist()
            return {
                "target": [" ".join(c for c, on in zip(self.classes, row, strict=True) if on) for row in rows]
            }
        if isinstance(target, Tensor) and self.task == "regression":
            target = torch.as_tensor(self.invert_target(target[:n].numpy()))
        return plain_columns(target, "target", n)

    def _loader_of(self, train: bool) -> Any:
        loader = self.train_dl if train else self.valid_dl
        if loader is None:
            raise ValueError(f"there are no {'training' if train else 'validation'} data to take a batch of")
        return loader

    def named_metrics(self) -> dict[str, Any]:
        """Metrics of this kind of data that may be given by name, besides those of `zoo.metrics`."""
        return {}

    def invert_target(self, values: np.ndarray) -> np.ndarray:
        """Model units back to the user's units, for regression."""
        return values

    def model_target(self, values: np.ndarray) -> np.ndarray:
        """The user's units in those of the model: what `invert_target` undoes.

        Raises:
            TypeError: if `invert_target` is of a subclass that does not say how it goes back.
        """
        if type(self).invert_target is not ModelData.invert_target:
            raise TypeError(
                f"{type(self).__name__} has invert_target but no model_target(values), which takes values in "
                "the user's units to those of the model; add it, or use evaluate() instead of score()"
            )
        return values

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """What the numbers of inputs and answers stand for, in the order of the numbers, by name: classes,
        ids, words, columns. A domain adds its own.
        """
        return {} if self.classes is None else {"classes": list(self.classes)}

    def mapping(self) -> dict[str, str]:
        """A digest (sha256, hex) of each of `mapping_values`. Files of weights and checkpoints keep them, and
        are refused by data whose numbers stand for something else.

        Example:
            >>> data = ModelData(None)
            >>> data.mapping()
            {}
            >>> data.classes = ["cat", "dog"]
            >>> list(data.mapping()), len(data.mapping()["classes"])
            (['classes'], 64)
        """
        return {name: digest(values) for name, values in self.mapping_values().items()}

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
            f"{name} {rows_text(loader)}"
            for name, loader in (("train", self.train_dl), ("valid", self.valid_dl), ("test", self.test_dl))
            if loader is not None
        ]
        return f"{type(self).__name__}({', '.join(parts) or 'no rows: for prediction only'})"
