"""Everything a model can do without being trained: evaluate, predict, save, load."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from zoo.callbacks.distributed import process_callbacks
from zoo.callbacks.gradients import ClipGradients
from zoo.callbacks.precision import Autocast
from zoo.data.batches import as_tensor, n_rows
from zoo.data.model_data import ModelData
from zoo.data.prediction import Prediction, decode_labels
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import LayerGroups
from zoo.engine.loop import Loop
from zoo.engine.optimizer import LayerOptimizer
from zoo.engine.state import State
from zoo.losses import Activation, activation_of
from zoo.storage.learner_files import LearnerFiles

MakeBatches = Callable[[Any], Iterable[tuple[Tensor, ...]]]


class Predictor(LearnerFiles):
    """The part of a `Learner` that works without training data.

    Every pass over data, with or without targets, goes through the evaluation half of the loop.
    """

    data_class: ClassVar[type[ModelData]] = ModelData

    data: Any
    model: nn.Module
    device: torch.device
    groups: LayerGroups
    opt: LayerOptimizer | None
    loss_fn: Callable[..., Tensor]
    metrics: list[Any]
    callbacks: list[Callback]
    path: Path
    _autocast: Autocast | None
    _of_compile: tuple[Callback, ...]
    _of_layout: tuple[Callback, ...]
    _activation: Activation | None
    _picked_by: str | None = None  # the callback that chose weights by the validation rows

    # -- evaluation and prediction
    # ---------------------------------------------------------------------------------

    def evaluate(self, loader: Any = None, metrics: Sequence[Any] | None = None) -> dict[str, float]:
        """Mean loss and metrics over the validation set, or another loader.

        Returns:
            `valid_loss` and each metric by name.
        """
        loader = self._loader(is_test=False) if loader is None else loader
        chosen = self.metrics if metrics is None else metrics
        return self._loop(self._step_callbacks(None), chosen).validate(loader)

    def predict(self, is_test: bool = False) -> np.ndarray:
        """Predictions for every row of the validation (or test) set, in order; silent.

        Returns:
            For classifiers log-probabilities, shape (rows, classes); otherwise values in the user's units.
        """
        outputs, _ = self._outputs(self._loader(is_test))
        return self._answers(outputs, log=True)

    def predict_proba(self, is_test: bool = False) -> np.ndarray:
        """Class probabilities, shape (rows, classes).

        Raises:
            ValueError: if this is no classifier.
        """
        if self.activation.kind == "identity":
            raise ValueError("predict_proba needs a classifier; this learner predicts values: use predict()")
        outputs, _ = self._outputs(self._loader(is_test))
        return self._answers(outputs, log=False)

    def predict_with_targs(self, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """What `predict` gives, and the targets in the same order (and in the user's units)."""
        outputs, targets = self._outputs(self._loader(is_test))
        if targets is None:
            raise ValueError("these rows have no targets: use predict(is_test=True)")
        return self._answers(outputs, log=True), self._invert(targets.numpy())

    def predict_array(self, x: Any) -> np.ndarray:
        """Predictions for one prepared batch of model inputs.

        Args:
            x: an array or tensor (several inputs as a tuple) with a batch dimension, for instance `x[None]`.

        Returns:
            What `predict` would give for these rows.
        """
        inputs = tuple(as_tensor(part) for part in (x if isinstance(x, tuple) else (x,)))
        outputs = self._forward_batches([inputs])
        return self._answers(outputs, log=True)

    def predict_one(self, raw: Any) -> Prediction | Any:
        """The answer for one raw input (a path, a text, a row, ...) in the user's terms."""
        return self.predict_batch([raw])[0]

    def predict_batch(self, items: Any) -> Any:
        """The answers for a list (or frame) of raw inputs, batched, in input order, in the user's terms."""
        return self._decode(self._forward_batches(self.data.batches_from_raw(items)))

    def outputs_of(self, batches: MakeBatches) -> Tensor:
        """Raw outputs for prepared batches of model inputs, on the CPU, in their order.

        Args:
            batches: gives the batches, each a tuple of inputs, for data that code raw inputs; it is called
                with `learn.data`, by an ensemble with the data of every member.

        Example: `learn.outputs_of(lambda data: data.batches_from_raw(rows))`
        """
        return self._forward_batches(batches(self.data))

    def answers_of(self, batches: MakeBatches) -> np.ndarray:
        """Answers for prepared batches, as of `outputs_of`: class probabilities, or values in the user's
        units."""
        return self._answers(self.outputs_of(batches), log=False)

    @property
    def activation(self) -> Activation:
        """What the model's outputs mean; once the learner is calibrated, with its temperature."""
        found = activation_of(self.loss_fn, self.data) if self._activation is None else self._activation
        return found if self.calibration is None else replace(found, temperature=self.calibration.temperature)

    def _loop(self, callbacks: Iterable[Callback], metrics: Sequence[Any]) -> Loop:
        state = State(
            self.model,
            self.data,
            self.opt,
            self.loss_fn,
            self.device,
            metrics=list(metrics),
            learner=self,
            n_inputs=self._n_inputs(),
            train_mode=self.groups.train_mode,
        )
        return Loop(state, callbacks)

    def _answer_context(self) -> contextlib.AbstractContextManager:
        """The number format of answers, for those that are found without a loop."""
        short = self._autocast
        return contextlib.nullcontext() if short is None else short.answer_context(self.device.type)

    def _step_callbacks(self, clip: float | None) -> list[Callback]:
        """What belongs to the training step itself, and so runs in the finder and in `predict` too."""
        parts = [
            *process_callbacks(),
            *self._domain_callbacks(),
            *(callback for callback in self.callbacks if callback.in_finder),
        ]
        if self._autocast is not None:
            parts.append(self._autocast)
        parts += [*self._of_compile, *self._of_layout]
        if clip is not None:
            parts.append(ClipGradients(clip))
        return parts

    def _domain_callbacks(self) -> list[Callback]:
        """Callbacks that a domain's models always need, such as the reset of a recurrent state."""
        return []

    def _loader(self, is_test: bool) -> Any:
        loader = self.data.test_dl if is_test else self.data.valid_dl
        if loader is None:
            kind = "test" if is_test else "validation"
            raise ValueError(f"there is no {kind} set: give it when the data are made")
        return loader

    def _n_inputs(self) -> int | None:
        """How many members of a batch are inputs, so that test rows may come without targets."""
        tensors = getattr(self.data.train_dl, "tensors", None)
        return None if tensors is None else len(tensors) - 1

    def _outputs(self, loader: Any) -> tuple[Tensor, Any]:
        """Raw model outputs and targets (`None` if there are none) of every row, on the CPU, in input
        order.
        """
        _warn_of_order(loader)
        outputs: list[Tensor] = []
        targets: list[Tensor] = []
        loop = self._loop(self._step_callbacks(None), ())

        def collect() -> None:
            outputs.append(_plain(loop.state.preds))
            if loop.state.target is not None:
                targets.append(loop.state.target.cpu())

        loop.evaluate(loader, collect)
        order = _order(loader)
        all_outputs, all_targets = torch.cat(outputs), torch.cat(targets) if targets else None
        if order is None:
            return all_outputs, all_targets
        back = torch.argsort(torch.as_tensor(order))
        return all_outputs[back], None if all_targets is None else all_targets[back]

    def _forward_batches(self, batches: Iterable[tuple[Tensor, ...]]) -> Tensor:
        """Raw outputs for batches of inputs without targets."""
        outputs: list[Tensor] = []
        loop = self._loop(self._step_callbacks(None), ())
        loop.evaluate(_InputsOnly(batches), lambda: outputs.append(_plain(loop.state.preds)))
        if not outputs:
            raise ValueError("there is nothing to predict: the input is empty")
        return torch.cat(outputs)

    def _answers(self, outputs: Tensor, *, log: bool) -> np.ndarray:
        activation = self.activation
        if activation.kind == "identity":
            return self._invert(outputs.numpy())
        return (activation.log(outputs) if log else activation(outputs)).numpy()

    def _decode(self, outputs: Tensor) -> Any:
        """Raw outputs of several rows in the user's terms."""
        thresholds = None if self.calibration is None else self.calibration.thresholds
        if thresholds is None:
            return self.data.decode(self.activation(outputs))
        return decode_labels(
            self.activation(outputs), self.data.classes, multilabel=True, thresholds=thresholds
        )

    def _invert(self, values: np.ndarray) -> np.ndarray:
        invert = getattr(self.data, "invert_target", None)
        return values if invert is None or self.activation.kind != "identity" else invert(values)


def _plain(preds: Any) -> Tensor:
    if not isinstance(preds, Tensor):
        raise TypeError(
            "predictions must be a tensor, or a tuple that begins with one; this model returns "
            f"{type(preds).__name__}"
        )
    return preds.float().cpu()


def _order(loader: Any) -> Any:
    """The order of a loader's rows in an evaluation, which passes over them as in epoch 0."""
    if not hasattr(loader, "order") or not hasattr(loader, "set_epoch"):
        return getattr(loader, "order", None)
    epoch = getattr(loader, "epoch", 0)
    loader.set_epoch(0)
    try:
        return loader.order
    finally:
        loader.set_epoch(epoch)


def _warn_of_order(loader: Any) -> None:
    """Tell when a loader's rows can't be given back in order, or not all of them."""
    if isinstance(getattr(loader, "sampler", None), RandomSampler):
        warnings.warn(
            "this loader shuffles, so predictions come in another order than its rows", stacklevel=4
        )
    if getattr(loader, "drop_last", False) and len(loader) * (
        getattr(loader, "bs", 0) or loader.batch_size
    ) < n_rows(loader):
        warnings.warn("this loader drops its last rows (drop_last), so they get no predictions", stacklevel=4)


class _InputsOnly:
    """Batches of inputs as a loader: the missing target is filled with the row numbers.

    They were given to this process alone, so that others have no share in them.
    """

    undivided = True

    def __init__(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches) if hasattr(self.batches, "__len__") else 0  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        for inputs in self.batches:
            yield (*inputs, torch.arange(len(inputs[0])))
