"""What a learner trains on: loaders, and how raw inputs and answers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.answers.prediction import Prediction, decode_labels
from zoo.data.check.check_data import check_loaders
from zoo.data.check.report import DataReport
from zoo.data.frames import plain_columns
from zoo.data.loaders.batches import first_batch, rows_text, split_batch, widen_codes
from zoo.data.loaders.device import resolve_device, to_device
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.data.mapping import digest
from zoo.data.ports import Port, Units, ports_of
from zoo.data.prepared import stored_path, write_prepared
from zoo.data.quick_models import QuickModel, linear_models
from zoo.distributed.group import write_once
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
        domain: the entry point by which `zoo.load_data` finds this class; every class that can be saved
            names its own.
        loader_kind: the loaders that `save` keeps.
        learned_mappings: names of those of `mapping_values` that follow from the training rows, such as means
            and ranges: where they differ, files are warned of instead of refused.
    """

    settings_elsewhere: ClassVar[dict[str, str]] = {
        "bs": "give it when the data are made, or set train_dl = train_dl.with_bs(n)",
        "batch_size": "give bs= when the data are made, or set train_dl = train_dl.with_bs(n)",
        "c": "the number of classes follows from `classes`",
        "num_workers": "give it when the data are made",
        "device": "data go to the device of the learner: give it device=",
    }

    domain: ClassVar[str] = "core"
    loader_kind: ClassVar[Any] = TensorLoader
    learned_mappings: ClassVar[frozenset[str]] = frozenset()

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

    def batches_from_raw(self, items: Any) -> Iterable[tuple[Tensor, ...]]:
        """Raw inputs as batches of model inputs, in their order, or in that of the row numbers `.order`."""
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

    def input_ports(self) -> list[Port]:
        """What a network reads of these data: names, axes and meaning, for files that are read elsewhere.

        Here they are those of a batch; data of other kinds know more of theirs, also without rows.

        Raises:
            ValueError: where there are no rows to tell.
        """
        loader = self.valid_dl if self.train_dl is None else self.train_dl
        if loader is None:
            raise ValueError(
                "there are no rows from which to tell what the network reads: give a batch of its inputs, "
                "inputs=(x,)"
            )
        inputs, _ = split_batch(first_batch(loader, torch.device("cpu"), training=False))
        return ports_of(inputs)

    def output_units(self) -> Units | None:
        """What carries outputs to the user's units inside a graph, as `invert_target` does it; `None` where
        nothing has to, or nothing is known that does."""
        return None

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """What the numbers of inputs and answers stand for, in the order of the numbers, by name: the task,
        classes, ids, words, columns, scales. A domain adds its own.
        """
        task: dict[str, Sequence[Any]] = {} if self.task is None else {"task": [self.task]}
        return task if self.classes is None else {**task, "classes": list(self.classes)}

    def mapping(self) -> dict[str, str]:
        """A digest (sha256, hex) of each of `mapping_values`. Files of weights and checkpoints keep them, and
        are refused by data whose numbers stand for something else; where only `learned_mappings` differ, such
        as the means of columns, they are read with a warning.

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

    def save(self, folder: str | Path) -> Path:
        """Keep the prepared data in a folder, written atomically; `zoo.load_data(folder)` opens them again.

        Arrays, codes, token ids, targets, what was learned about them, batch size, seed and the place in
        the order are kept, as JSON and memory-mappable `.npy` files, never as pickles. Pictures in files
        stay where they are: their names and labels are kept.

        Args:
            folder: a new folder, an empty one, or one of prepared data, which is then replaced.

        Returns:
            The folder.

        Raises:
            FileExistsError: if `folder` is something else.
            TypeError: for what cannot be kept: classes, loaders and functions of your own are named.

        Example:
            >>> import tempfile, torch
            >>> from zoo import load_data
            >>> data = ModelData(TensorLoader(torch.ones(6, 2), torch.arange(6), bs=2, shuffle=True, seed=1))
            >>> load_data(data.save(Path(tempfile.mkdtemp()) / "prepared"))
            ModelData(train 6)
        """
        folder = Path(folder).resolve()
        kind = type(self)
        if "domain" not in vars(kind):
            raise TypeError(
                f"{kind.__name__} is a class of its own, which load_data could not find again: save keeps "
                f"data of the class {next(base for base in kind.__mro__ if 'domain' in vars(base)).__name__}"
            )
        own = [name for name in vars(self) if callable(getattr(kind, name, None))]
        if own:
            raise TypeError(f"{kind.__name__}.{own[0]} was replaced by code of yours, which save cannot keep")
        state, arrays = self.prepared_state()
        arrays = {f"state.{name}": array for name, array in arrays.items()}
        loaders: dict[str, Any] = {}
        for part in ("train", "valid", "test"):
            loader = getattr(self, f"{part}_dl")
            if loader is None:
                continue
            try:
                loaders[part], own_arrays = self.prepared_loader(part, loader)
            except TypeError as error:
                raise TypeError(f"{kind.__name__}.{part}_dl can't be kept: {error}") from None
            arrays.update({f"{part}.{name}": array for name, array in own_arrays.items()})
        contents = {
            "domain": self.domain,
            "path": stored_path(self.path, folder),
            "state": state,
            "loaders": loaders,
        }
        write_once(folder, lambda: write_prepared(folder, contents, arrays))
        return folder

    def prepared_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `save` keeps beside the loaders: JSON-able state and tensors."""
        return self.export_state()

    def prepared_loader(self, part: str, loader: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `save` keeps of a loader: settings and tensors.

        Args:
            part: "train", "valid" or "test".
            loader: that loader.

        Raises:
            TypeError: if it is not of the kind that can be kept.
        """
        if type(loader) is not self.loader_kind:
            raise TypeError(
                f"it is a {type(loader).__module__}.{type(loader).__name__}; save keeps rows in memory, in a "
                f"{self.loader_kind.__name__}"
            )
        return loader.prepared()

    @classmethod
    def from_prepared(cls, contents: Mapping[str, Any], arrays: Mapping[str, Tensor], path: Path) -> Self:
        """The data that `save` kept.

        Args:
            contents: state and settings of the loaders.
            arrays: the tensors, named "state.NAME" or "train.NAME", "valid.NAME", "test.NAME".
            path: where the learner keeps its files.
        """
        data = cls.from_state(contents["state"], arrays_of(arrays, "state"))
        data.path = path
        for part, settings in contents["loaders"].items():
            loader = cls.loader_kind.from_prepared(settings, arrays_of(arrays, part))
            setattr(data, f"{part}_dl", loader)
        return data  # type: ignore[return-value]

    def __repr__(self) -> str:
        parts = [
            f"{name} {rows_text(loader)}"
            for name, loader in (("train", self.train_dl), ("valid", self.valid_dl), ("test", self.test_dl))
            if loader is not None
        ]
        return f"{type(self).__name__}({', '.join(parts) or 'no rows: for prediction only'})"


def arrays_of(arrays: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The arrays of one part of saved data, under their own names."""
    start = f"{part}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
