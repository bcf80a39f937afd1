"""The one training loop.

Three nested levels, each `before_X`, body, `after_X`, with `cleanup_X` in `finally`:

    fit:    for every epoch: train, validate
    epoch:  for every batch of the loader
    batch:  predict -> loss -> [backward -> step -> zero_grad]

Callbacks listen (see `zoo.engine.callback`); `CancelStep`, `CancelBatch`, `CancelEpoch` and `CancelFit`
leave one level. Everything that trains or evaluates in this library passes through here. What is no concern
of every fit is no concern of this file: precision, accumulation, averaging, several processes and resuming
are callbacks that change the `State`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from zoo.allocator import return_freed_memory
from zoo.data.answers.nested import split_output
from zoo.data.loaders.batches import batch_count, begins_anywhere, device_batches, split_batch
from zoo.data.loaders.seeding import preserve_rng
from zoo.engine.callback import Callback, CancelBatch, CancelEpoch, CancelFit, CancelStep, Dispatcher
from zoo.engine.closures import needs_closure
from zoo.engine.finite import FiniteGuard, NonFiniteLossError
from zoo.engine.measures import Measures, batch_rows
from zoo.engine.memory import advise, is_out_of_memory, release
from zoo.engine.modes import preserve_modes
from zoo.engine.optimizer_modes import OptimizerModes
from zoo.engine.state import State

log = logging.getLogger("zoo")


class Loop:
    """Runs fits and evaluations over a `State`.

    Subclass-friendly: `predict`, `compute_loss`, `backward` and `step` are the steps of a batch.
    """

    def __init__(self, state: State, callbacks: Iterable[Callback] = ()) -> None:
        self.state = state
        self.emit = Dispatcher([FiniteGuard(), OptimizerModes(), *callbacks])

    def fit(self, n_epochs: int, *, validate: bool = True) -> list[dict[str, Any]]:
        """Train for `n_epochs`; returns one dict an epoch.

        Ctrl-C ends the fit cleanly: `state.interrupted` is set, weights and history so far stay.
        """
        s = self.state
        s.n_epochs, s.epoch, s.start_batch = n_epochs, s.first_epoch, 0
        s.opt.zero_grad()
        try:
            with contextlib.suppress(CancelFit):
                self.emit("before_fit", s)
                for epoch in range(s.epoch, s.first_epoch + n_epochs):
                    s.epoch = epoch
                    self._epoch(validate)
            with contextlib.suppress(CancelFit):
                self.emit("after_fit", s)
        except KeyboardInterrupt:
            s.interrupted = True
        except Exception as error:
            if is_out_of_memory(error):
                release(error)
            raise
        finally:
            self._drop_gradients()
            s.model.eval()
            self._forget_batch()
            s.loader = None
            self.emit.every("cleanup_fit", s)
            if s.device.type == "cpu":
                return_freed_memory()
        return s.history

    def _epoch(self, validate: bool) -> None:
        s = self.state
        started = time.perf_counter()
        s.row = {"epoch": s.epoch}
        s.cycle_done = False
        try:
            with contextlib.suppress(CancelEpoch):
                self.emit("before_epoch", s)
                self._train()
            s.history.append(s.row)
            if validate and s.data.valid_dl is not None:
                s.row.update(self.validate(s.data.valid_dl))
            s.row["seconds"] = time.perf_counter() - started
            with contextlib.suppress(CancelEpoch):
                if s.cycle_done:
                    self.emit("after_cycle", s)
            with contextlib.suppress(CancelEpoch):
                self.emit("after_epoch", s)
        finally:
            self.emit.every("cleanup_epoch", s)

    def _train(self) -> None:
        s = self.state
        s.training, s.loader = True, s.data.train_dl
        s.train_mode(s.model)
        if hasattr(s.loader, "set_epoch"):
            s.loader.set_epoch(s.epoch, *([s.start_batch] if begins_anywhere(s.loader) else []))
        s.n_batches, s.batch_index = batch_count(s.loader) or 0, s.start_batch
        try:
            self.emit("before_train", s)
            for index, batch in enumerate(device_batches(s.loader, s.device, training=True), s.start_batch):
                s.batch_index = index
                self._train_batch(batch)
            if s.pending:
                with contextlib.suppress(CancelBatch):
                    self._update()
        except CancelEpoch:
            self._drop_gradients()
        s.batches_before += s.n_batches or s.batch_index + 1
        s.start_batch = 0
        self.emit("after_train", s)

    def _train_batch(self, batch: Any) -> None:
        s, emit = self.state, self.emit
        waiting = s.pending
        try:
            s.inputs, s.target = split_batch(batch)
            s.rows = batch_rows(s)
            emit("before_batch", s)
            s.run_gradients(self)
            s.pending, s.update_due = waiting + 1, True
            emit("after_backward", s)
            if s.update_due:
                self._update()
            emit("after_batch", s)
        except CancelBatch:
            if s.pending != waiting:
                self._drop_gradients()
        except (CancelEpoch, CancelFit, NonFiniteLossError):
            raise
        except Exception as error:
            error.add_note(_where(s))
            if is_out_of_memory(error):
                error.add_note(advise(s.rows, training=True))
            raise
        finally:
            emit.every("cleanup_batch", s)

    def _update(self) -> None:
        s = self.state
        try:
            self.emit("before_step", s)
            s.run_step(self)
        except CancelStep:
            self._drop_gradients()
            return
        self._drop_gradients()
        s.step += 1
        self.emit("after_step", s)

    def _drop_gradients(self) -> None:
        self.state.opt.zero_grad()
        self.state.pending = 0

    def gradients(self, emit: Callable[[str, State], None] | None = None) -> None:
        """Forward pass, loss and backward pass of the current batch.

        Args:
            emit: tells some of the listeners only.
        """
        s, emit = self.state, emit or self.emit
        with s.forward_context():
            self.predict()
            emit("after_predict", s)
            self.compute_loss()
        emit("after_loss", s)
        self.backward()

    def predict(self) -> None:
        """Forward pass of the current batch."""
        s = self.state
        s.preds, s.extras = split_output(s.model(*s.inputs))

    def compute_loss(self) -> None:
        """Loss of the current batch."""
        s = self.state
        s.loss = s.loss_fn(s.preds, s.target)
        if not isinstance(s.loss, Tensor) or s.loss.numel() != 1:
            raise TypeError(
                "the loss function must return a tensor with one value, got "
                + (f"shape {tuple(s.loss.shape)}" if isinstance(s.loss, Tensor) else type(s.loss).__name__)
            )

    def backward(self) -> None:
        """Gradients of the current loss."""
        self.state.loss.backward()

    def step(self) -> None:
        """Update the weights."""
        opt = self.state.opt
        if needs_closure(opt):
            opt.step(self._closure)
        else:
            opt.step()

    def _closure(self) -> Tensor:
        """The loss of the current batch once more, for optimizers that evaluate it themselves (LBFGS)."""
        s = self.state
        s.opt.zero_grad()
        with torch.enable_grad():
            with s.forward_context():
                self.predict()
                self.compute_loss()
            self.backward()
        return s.loss

    def validate(self, loader: Any) -> dict[str, float]:
        """Mean loss and metrics over a whole loader; draws of random numbers inside leave no trace."""
        s = self.state
        measures = Measures(s)

        def collect() -> None:
            self.compute_loss()
            measures.add()

        try:
            self.evaluate(loader, collect)
        finally:
            s.meters = ()
        return measures.result()

    @torch.no_grad()
    def evaluate(self, loader: Any, collect: Callable[[], None]) -> None:
        """Run the model over a loader without training.

        `collect` is called once `state.preds` stands for a batch. Modes of the model, the loader's epoch and
        the generators are afterwards as before, so that a callback may evaluate in the middle of an epoch.
        """
        s, emit = self.state, self.emit
        s.training, s.loader = False, loader
        s.n_batches = batch_count(loader) or 0
        epoch = getattr(loader, "epoch", 0)
        with preserve_modes(s.model), preserve_rng():
            s.model.eval()
            if hasattr(loader, "set_epoch"):
                loader.set_epoch(0)
            try:
                emit("before_validate", s)
                for index, batch in enumerate(device_batches(s.loader, s.device, training=False)):
                    s.batch_index = index
                    self._evaluate_batch(batch, collect)
            except CancelEpoch:
                log.debug("a callback ended the pass over the validation data")
            finally:
                if hasattr(loader, "set_epoch"):
                    loader.set_epoch(epoch)
            with contextlib.suppress(CancelEpoch):
                emit("after_validate", s)

    def _evaluate_batch(self, batch: Any, collect: Callable[[], None]) -> None:
        s, emit = self.state, self.emit
        try:
            s.inputs, s.target = split_batch(batch, s.n_inputs)
            s.rows = batch_rows(s)
            emit("before_batch", s)
            with s.forward_context():
                self.predict()
                emit("after_predict", s)
                collect()
            emit("after_loss", s)
            emit("after_batch", s)
        except (CancelEpoch, CancelFit):
            raise
        except CancelBatch:
            log.debug("a callback skipped a validation batch")
        except Exception as error:
            error.add_note(_where(s))
            if is_out_of_memory(error):
                error.add_note(advise(s.rows, training=False))
                self._forget_batch()
                release(error)
            raise
        finally:
            emit.every("cleanup_batch", s)

    def _forget_batch(self) -> None:
        s = self.state
        s.inputs, s.target, s.preds, s.extras, s.loss = (), None, None, (), None
        s._kept = (None, None)


def _where(s: State) -> str:
    kind = "training" if s.training else "validation"
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in s.inputs]
    target = tuple(s.target.shape) if isinstance(s.target, Tensor) else type(s.target).__name__
    note = f"in {kind} epoch {s.epoch}, batch {s.batch_index}: inputs {shapes}, target {target}"
    if s.training and shapes and isinstance(shapes[0], tuple) and shapes[0][:1] == (1,):
        note += "; batch norm cannot learn from a batch of one row: use another bs or drop_last=True"
    return note
