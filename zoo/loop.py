"""The one training loop.

Three nested levels, each `before_X`, body, `after_X`, with `cleanup_X` in `finally`:

    fit:    for every epoch: train, validate
    epoch:  for every batch of the loader
    batch:  predict -> loss -> [backward -> step -> zero_grad]

Callbacks listen (see `zoo.callback`); `CancelBatch`, `CancelEpoch` and `CancelFit` leave one level.
Everything that trains or evaluates in this library passes through here.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.callback import Callback, CancelBatch, CancelEpoch, CancelFit, Dispatcher
from zoo.callbacks.recorder import Recorder
from zoo.data import device_batches, split_batch
from zoo.finite import FiniteGuard
from zoo.metrics import metric_name, streaming
from zoo.seeding import preserve_rng

log = logging.getLogger("zoo")


@dataclass(slots=True)
class State:
    """Where a fit stands; handed to every callback, which may change it.

    Attributes:
        epoch: number of the current epoch, counted over all fits of the learner.
        step: optimizer steps taken in this fit.
        batch_index, n_batches: position inside the current pass.
        inputs, target: the batch on the device.
        preds, extras: the model's output; a tuple is split into its first member and the rest.
        loss: scalar tensor of the current batch.
        row: the numbers of the current epoch; ends up in the history.
        cycle_done: set by the schedule when a cycle is complete.
        forward_context: makes the context manager in which the forward pass runs (mixed precision).
    """

    model: nn.Module
    data: Any
    opt: Any
    loss_fn: Callable[..., Tensor]
    device: torch.device
    n_epochs: int = 0
    metrics: Sequence[Any] = ()
    learner: Any = None
    first_epoch: int = 0
    epoch: int = 0
    step: int = 0
    batch_index: int = 0
    n_batches: int = 0
    loader: Any = None
    training: bool = False
    inputs: tuple = ()
    target: Any = None
    preds: Any = None
    extras: tuple = ()
    loss: Any = None
    row: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    cycle_done: bool = False
    interrupted: bool = False
    forward_context: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    train_mode: Callable[[nn.Module], Any] = nn.Module.train


class Loop:
    """Runs fits and evaluations over a `State`.

    Subclass-friendly: `predict`, `compute_loss`, `backward` and `step` are the steps of a batch.
    """

    def __init__(self, state: State, callbacks: Iterable[Callback] = ()) -> None:
        self.state = state
        self.emit = Dispatcher(callbacks)

    # -- fit
    # -------------------------------------------------------------------------------------------------------

    def fit(self, n_epochs: int, *, validate: bool = True) -> list[dict[str, Any]]:
        """Train for `n_epochs`; returns one dict an epoch.

        Ctrl-C ends the fit cleanly: the epochs finished so far are returned, `state.interrupted` is set.
        """
        s = self.state
        s.n_epochs = n_epochs
        guard = FiniteGuard(getattr(s.opt, "opt", s.opt), s.device)
        try:
            self.emit("before_fit", s)
            with contextlib.suppress(CancelFit):
                for epoch in range(s.first_epoch, s.first_epoch + n_epochs):
                    s.epoch = epoch
                    self._epoch(guard, validate)
            self.emit("after_fit", s)
        except KeyboardInterrupt:
            s.interrupted = True
            log.warning(
                "interrupted in epoch %d, batch %d; weights and history are kept", s.epoch, s.batch_index
            )
        finally:
            guard.close()
            s.opt.zero_grad()
            s.model.eval()
            s.inputs, s.target, s.preds, s.extras, s.loss, s.loader = (), None, None, (), None, None
            self.emit.every("cleanup_fit", s)
        return s.history

    def _epoch(self, guard: FiniteGuard, validate: bool) -> None:
        s = self.state
        started = time.perf_counter()
        s.row = {"epoch": s.epoch}
        s.cycle_done = False
        try:
            self.emit("before_epoch", s)
            self._train(guard)
            if validate and s.data.valid_dl is not None:
                s.row.update(self.validate(s.data.valid_dl))
            s.row["seconds"] = time.perf_counter() - started
            s.history.append(s.row)
            if s.cycle_done:
                self.emit("after_cycle", s)
            self.emit("after_epoch", s)
        finally:
            self.emit.every("cleanup_epoch", s)

    def _train(self, guard: FiniteGuard) -> None:
        s = self.state
        s.training, s.loader = True, s.data.train_dl
        s.train_mode(s.model)
        if hasattr(s.loader, "set_epoch"):
            s.loader.set_epoch(s.epoch)
        s.n_batches = len(s.loader)
        try:
            self.emit("before_train", s)
            for index, batch in enumerate(device_batches(s.loader, s.device, training=True)):
                s.batch_index = index
                self._train_batch(batch, guard)
        except CancelEpoch:
            s.opt.zero_grad()
        guard.flush()
        self.emit("after_train", s)

    def _train_batch(self, batch: Any, guard: FiniteGuard) -> None:
        s, emit = self.state, self.emit
        try:
            s.inputs, s.target = split_batch(batch)
            emit("before_batch", s)
            with s.forward_context():
                self.predict()
                emit("after_predict", s)
                self.compute_loss()
            emit("after_loss", s)
            guard.check(s.loss, s.epoch, s.batch_index)
            self.backward()
            emit("after_backward", s)
            emit("before_step", s)
            self.step()
            s.step += 1
            emit("after_step", s)
            emit("after_batch", s)
        except CancelBatch:
            s.opt.zero_grad()
        finally:
            emit.every("cleanup_batch", s)

    def predict(self) -> None:
        """Forward pass of the current batch."""
        s = self.state
        output = s.model(*s.inputs)
        s.preds, s.extras = (output[0], output[1:]) if isinstance(output, tuple) else (output, ())

    def compute_loss(self) -> None:
        """Loss of the current batch."""
        s = self.state
        s.loss = s.loss_fn(s.preds, s.target)

    def backward(self) -> None:
        """Gradients of the current loss."""
        self.state.loss.backward()

    def step(self) -> None:
        """Update the weights and drop the gradients."""
        self.state.opt.step()
        self.state.opt.zero_grad()

    # -- evaluate
    # --------------------------------------------------------------------------------------------------

    def validate(self, loader: Any) -> dict[str, float]:
        """Mean loss and metrics over a whole loader; draws of random numbers inside leave no trace."""
        s = self.state
        meters = [streaming(metric) for metric in s.metrics]
        for meter in meters:
            meter.reset()
        total: Any = 0.0
        rows = 0

        def collect() -> None:
            nonlocal total, rows
            self.compute_loss()
            count = len(s.target) if isinstance(s.target, Tensor) and s.target.ndim else 1
            total, rows = total + s.loss.detach() * count, rows + count
            for meter in meters:
                meter.update(s.preds, s.target)

        self.evaluate(loader, collect)
        result: dict[str, float] = {"valid_loss": float(total) / max(1, rows)}
        with preserve_rng():
            for meter in meters:
                result[metric_name(meter)] = _number(meter.compute())
        return result

    @torch.no_grad()
    def evaluate(self, loader: Any, collect: Callable[[], None]) -> None:
        """Run the model over a loader without training, calling `collect` once `state.preds` stands for a
        batch.
        """
        s, emit = self.state, self.emit
        s.training, s.loader = False, loader
        s.n_batches = len(loader)
        s.model.eval()
        with preserve_rng():
            if hasattr(loader, "set_epoch"):
                loader.set_epoch(0)
            emit("before_validate", s)
            for index, batch in enumerate(device_batches(loader, s.device, training=False)):
                s.batch_index = index
                try:
                    s.inputs, s.target = split_batch(batch)
                    emit("before_batch", s)
                    with s.forward_context():
                        self.predict()
                        emit("after_predict", s)
                        collect()
                    emit("after_loss", s)
                    emit("after_batch", s)
                except CancelBatch:
                    continue
                finally:
                    emit.every("cleanup_batch", s)
            emit("after_validate", s)


def fit(
    model: nn.Module,
    data: Any,
    n_epochs: int,
    opt: Any,
    loss_fn: Callable[..., Tensor],
    metrics: Sequence[Any] = (),
    callbacks: Iterable[Callback] = (),
) -> list[dict[str, Any]]:
    """Train any module with any torch optimizer and any loss function.

    The model is trained where it lies; batches are moved to it. Repeated calls go on from where the last one
    ended, since all state lies in the model and the optimizer; change rates in between with `set_lrs`.

    Args:
        model: any module; called with the inputs of a batch.
        data: an object with `train_dl` and `valid_dl` (or `None`), such as `ModelData`.
        n_epochs: passes over the training data.
        opt: a torch optimizer, or a `LayerOptimizer`.
        loss_fn: `(predictions, targets) -> scalar tensor`.
        metrics: functions `(predictions, targets) -> number` of the whole validation set, or streaming
            objects.
        callbacks: listeners; the list is not changed.

    Returns:
        One dict an epoch: `epoch`, `train_loss` (smoothed), `valid_loss`, each metric by name, `seconds`.

    Raises:
        NonFiniteLossError: if the loss becomes NaN or infinite; the weights are then those before that batch.

    Example:
        >>> from zoo import ModelData, TensorLoader
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = nn.Linear(1, 1)
        >>> opt = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loader = TensorLoader(x, 3 * x, bs=16)
        >>> rows = fit(model, ModelData(loader, loader), 20, opt, nn.functional.mse_loss)
        >>> rows[-1]["valid_loss"] < rows[0]["valid_loss"]
        True
    """
    param = next(model.parameters(), None)
    device = torch.device("cpu") if param is None else param.device
    state = State(model, data, opt, loss_fn, device, metrics=list(metrics))
    given = list(callbacks)
    recorder = [] if any(isinstance(callback, Recorder) for callback in given) else [Recorder()]
    return Loop(state, [*recorder, *given]).fit(n_epochs)


def _number(value: Any) -> float:
    return float(value) if not isinstance(value, Tensor) else value.item()
