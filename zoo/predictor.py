"""Everything a model can do without being trained: evaluate, predict, save, load."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from zoo.callbacks.distributed import process_callbacks
from zoo.callbacks.gradients import ClipGradients
from zoo.callbacks.precision import Autocast
from zoo.data.answers.gathering import Gathered, InputsOnly, row_order, warn_of_order
from zoo.data.answers.nested import map_tensors, rows_of
from zoo.data.answers.outputs import predictions_are
from zoo.data.answers.prediction import Prediction, decode_labels
from zoo.data.loaders.batches import as_tensor
from zoo.data.model_data import ModelData
from zoo.engine.callback import Callback, callback_list
from zoo.engine.layer_groups import LayerGroups
from zoo.engine.loop import Loop
from zoo.engine.measures import meaning_of
from zoo.engine.optimizer import LayerOptimizer
from zoo.engine.state import State
from zoo.losses import Activation, activation_of, as_outputs
from zoo.metrics import metric_list, named_meters
from zoo.metrics.arrays import as_parts
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
    _of_graphs: tuple[Callback, ...]
    _activation: Activation | None
    _picked_by: str | None = None  # the callback that chose weights by the validation rows

    # -- evaluation and prediction
    # ---------------------------------------------------------------------------------

    def evaluate(self, loader: Any = None, metrics: Sequence[Any] | None = None) -> dict[str, float]:
        """Mean loss and metrics over the validation set, or another loader.

        Of a calibrated learner those of its calibrated outputs, as `predict` answers with.

        Args:
            loader: another loader than that of the validation set.
            metrics: instead of the learner's; functions, streaming objects or names.

        Returns:
            `valid_loss` and each metric by name; NaN, with a warning, where one could not be computed.
        """
        loader = self._loader(is_test=False) if loader is None else loader
        chosen = self._metrics(self.metrics if metrics is None else metrics)
        callbacks = self._step_callbacks(None)
        if self.calibration is not None:
            callbacks.append(_Calibrated(self.activation))
        return self._loop(callbacks, chosen).validate(loader)

    def predict(self, is_test: bool = False, *, loader: Any = None, log: bool = True) -> np.ndarray:
        """Predictions for every row of the validation (or test) set, in order; silent.

        Everything that predicts rows (`predict`, `predict_with_targs`, `predict_array`, `TTA`, those of an
        `Ensemble`) means the same: of a classifier logarithms of probabilities, with `log=False` the
        probabilities.

        Args:
            is_test: the test set instead of the validation set. One raw input is answered by `predict_one`,
                several by `predict_batch`.
            loader: another loader instead; its batches may come without targets where the training data tell
                how many inputs there are (`TensorLoader`).
            log: whether a classifier's probabilities come as logarithms.

        Returns:
            For classifiers shape (rows, classes); otherwise values in the user's units, float32, or float64
            from a model that computes in it. Of a model that returns several tensors (a dict) the same form
            of arrays, as the model gives them.
        """
        outputs, _ = self._outputs(self._answer_loader(is_test, loader), targets=False)
        return self._answers(outputs, log=log)

    def predict_proba(self, is_test: bool = False, *, loader: Any = None) -> np.ndarray:
        """Class probabilities, shape (rows, classes): `predict(..., log=False)` for classifiers alone.

        Raises:
            ValueError: if this is no classifier.
        """
        if self.activation.kind == "identity":
            raise ValueError("predict_proba needs a classifier; this learner predicts values: use predict()")
        outputs, _ = self._outputs(self._answer_loader(is_test, loader), targets=False)
        return self._answers(outputs, log=False)

    def predict_with_targs(
        self, is_test: bool = False, *, loader: Any = None, log: bool = True
    ) -> tuple[np.ndarray, Any]:
        """What `predict` gives, and the targets in the same order (and in the user's units).

        Targets of several parts come in the form that the loader gives them, a tuple as a tuple.
        """
        outputs, targets = self._outputs(self._answer_loader(is_test, loader))
        if targets is None:
            raise ValueError("these rows have no targets: use predict(is_test=True)")
        return self._answers(outputs, log=log), self._invert(_arrays(targets))

    def predict_array(self, x: Any, *, log: bool = True) -> np.ndarray:
        """Predictions for one prepared batch of model inputs.

        Args:
            x: an array or tensor (several inputs as a tuple) with a batch dimension, for instance `x[None]`.
            log: as of `predict`.

        Returns:
            What `predict` would give for these rows.
        """
        inputs = tuple(as_tensor(part) for part in (x if isinstance(x, tuple) else (x,)))
        try:
            outputs = self._forward_batches([inputs])
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            shapes = ", ".join(f"{tuple(part.shape)} of {part.dtype}" for part in inputs)
            error.add_note(
                f"predict_array was given inputs of shape {shapes}: it takes a batch as the model does, rows "
                "first (one row as x[None]), in the number format of its training"
            )
            raise
        return self._answers(outputs, log=log)

    def score(
        self, predictions: Any, targets: Any, metrics: Sequence[Any] | None = None, *, log: bool | None = None
    ) -> dict[str, float]:
        """Metrics of predictions that exist: those of `predict`, of `TTA`, of several models averaged by
        hand.

        The metrics get what they get in a fit, so they give what `evaluate` gives for the same rows, also
        of a calibrated learner.

        Args:
            predictions: answers as this learner's methods give them: of a classifier probabilities or their
                logarithms, otherwise values in the user's units.
            targets: as `predict_with_targs` gives them, also both of several parts.
            metrics: the learner's by default; functions, streaming objects or names.
            log: whether a classifier's predictions are logarithms. By default their sign tells: no logarithm
                of a probability is above 0, and no probability below.

        Returns:
            Each metric by name.

        Raises:
            ValueError: for predictions of a classifier that are neither, or not what `log` says, or all 0 if
                it does not say.

        Example: `learn.score(*learn.predict_with_targs(), metrics=["accuracy", "f1"])`
        """
        as_answered = replace(self.activation, temperature=1.0)  # that of a calibration is in the answers
        return self._scored(predictions, targets, metrics, log, as_answered)

    def _scored(
        self,
        predictions: Any,
        targets: Any,
        metrics: Sequence[Any] | None,
        log: bool | None,
        activation: Activation,
    ) -> dict[str, float]:
        chosen = self._metrics(self.metrics if metrics is None else metrics)
        outputs = as_parts(predictions)
        truth = as_parts(targets, rows_of(outputs))
        if isinstance(outputs, Tensor) and isinstance(truth, Tensor):
            truth = truth.to(outputs.device)
        if not isinstance(outputs, Tensor):  # what each means is the model's own
            pass
        elif activation.kind == "identity":
            outputs, truth = (self._model_units(values) for values in (outputs, truth))
        else:
            outputs = as_outputs(outputs, activation, log)
        found = {}
        with predictions_are(meaning_of(self.loss_fn, activation)):
            for name, meter in named_meters(chosen).items():
                meter.reset()
                meter.update(outputs, truth)
                found[name] = float(meter.compute())
        return found

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
            *(callback for callback in callback_list(self.callbacks) if callback.in_finder),
        ]
        if self._autocast is not None:
            parts.append(self._autocast)
        parts += [*self._of_compile, *self._of_layout, *self._of_graphs]
        if clip is not None:
            parts.append(ClipGradients(clip))
        return parts

    def _domain_callbacks(self) -> list[Callback]:
        """Callbacks that a domain's models always need, such as the reset of a recurrent state."""
        return []

    def _metrics(self, metrics: Any) -> list[Any]:
        """A checked list, names looked up."""
        return metric_list(metrics, getattr(self.data, "named_metrics", dict)())

    def _loader(self, is_test: bool, loader: Any = None) -> Any:
        if not isinstance(is_test, bool | np.bool_):
            raise TypeError(
                f"predict() takes True (the test set) or False (the validation set), got a "
                f"{type(is_test).__name__}: for one raw input use predict_one(raw), for several "
                "predict_batch(items), for another loader predict(loader=...)"
            )
        if loader is not None:
            return loader
        loader = self.data.test_dl if is_test else self.data.valid_dl
        if loader is None:
            kind = "test" if is_test else "validation"
            raise ValueError(f"there is no {kind} set: give it when the data are made")
        return loader

    def _answer_loader(self, is_test: bool, loader: Any = None) -> Any:
        """The rows that are answered: those of `_loader`, for a domain whose losses need more than the rows
        without what is beside them."""
        return self._loader(is_test, loader)

    def _n_inputs(self) -> int | None:
        """How many members of a batch are inputs, so that test rows may come without targets."""
        tensors = getattr(self.data.train_dl, "tensors", None)
        return None if tensors is None else len(tensors) - 1

    def _outputs(self, loader: Any, *, targets: bool = True) -> tuple[Any, Any]:
        """Raw model outputs and targets (`None` if there are none, or they are not wanted) of every row, on
        the CPU, in input order.
        """
        warn_of_order(loader)
        gathered = Gathered(targets=targets)
        loop = self._loop(self._step_callbacks(None), ())
        loop.evaluate(loader, lambda: gathered.add(loop.state.preds, loop.state.target))
        return gathered.result(row_order(loader))

    def _forward_batches(self, batches: Iterable[tuple[Tensor, ...]]) -> Any:
        """Raw outputs for batches of inputs without targets, in the order of the rows (`row_order`)."""
        gathered = Gathered(targets=False)
        loop = self._loop(self._step_callbacks(None), ())
        loop.evaluate(InputsOnly(batches), lambda: gathered.add(loop.state.preds, None))
        return gathered.result(row_order(batches))[0]

    def _answers(self, outputs: Any, *, log: bool) -> Any:
        activation = self.activation
        if not isinstance(outputs, Tensor):  # several tensors: what each means is the model's own
            return _arrays(outputs)
        if activation.kind == "identity":
            return self._invert(outputs.numpy())
        return (activation.log(outputs) if log else activation(outputs)).numpy()

    def _answers_in(self, items: Any, outputs: Tensor) -> Any:
        """Answers that lie in the raw inputs, such as places in a picture, from outputs for these; None where
        outputs alone tell the answers."""
        return None

    def _decode(self, outputs: Tensor) -> Any:
        """Raw outputs of several rows in the user's terms."""
        thresholds = None if self.calibration is None else self.calibration.thresholds
        if thresholds is None:
            return self.data.decode(self.activation(outputs))
        return decode_labels(
            self.activation(outputs), self.data.classes, multilabel=True, thresholds=thresholds
        )

    def _invert(self, values: Any) -> Any:
        invert = getattr(self.data, "invert_target", None)
        known = isinstance(values, np.ndarray) and self.activation.kind == "identity"
        return values if invert is None or not known else invert(values)

    def _model_units(self, values: Any) -> Any:
        """The user's units back to those of the model."""
        convert = getattr(self.data, "model_target", None)
        if convert is None or not isinstance(values, Tensor):
            return values
        return torch.as_tensor(convert(values.cpu().numpy()))


def _arrays(values: Any) -> Any:
    return map_tensors(lambda part: part.numpy(), values)


class _Calibrated(Callback):
    """Measures the outputs that a calibration makes."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    def after_predict(self, state: State) -> None:
        if isinstance(state.preds, Tensor):
            state.preds = self.activation.scores(state.preds)
