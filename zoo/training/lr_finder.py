"""The learning-rate range test: which rate to begin with, without leaving a trace."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from zoo.data.loaders.seeding import preserve_generators, preserve_rng
from zoo.engine.callback import Callback, CancelFit
from zoo.engine.modes import preserve_modes
from zoo.engine.state import State
from zoo.engine.traces import preserve_attributes
from zoo.storage.module_state import preserve_tensors
from zoo.training.fitting import Fitting


class RangeTestRecorder(Callback):
    """Records the smoothed loss per rate and ends the test when the loss explodes or the steps are done."""

    order = -90
    in_graph = "after"

    def __init__(self, num_it: int, beta: float = 0.9, on_step: Callable[[], Any] = lambda: None) -> None:
        self.num_it, self.beta, self.on_step = num_it, beta, on_step
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self._average, self._best = 0.0, math.inf

    def after_loss(self, state: State) -> None:
        loss = state.loss.item()
        if not math.isfinite(loss):
            if not self.losses:
                raise ValueError(
                    f"lr_find: the very first loss is {loss}; look for NaN or huge values in the data"
                )
            raise CancelFit
        self._average = self.beta * self._average + (1 - self.beta) * loss
        smoothed = self._average / (1 - self.beta ** (len(self.losses) + 1))
        self.lrs.append(float(state.opt.param_groups[-1]["lr"]))
        self.losses.append(smoothed)
        self._best = min(self._best, smoothed)
        self.on_step()
        explodes = (
            smoothed > 4 * self._best if self._best > 0 else smoothed > self._best + 3 * abs(self._best) + 1
        )
        if len(self.losses) >= self.num_it or (len(self.losses) > 10 and explodes):
            raise CancelFit


@contextlib.contextmanager
def no_trace(learn: Fitting, *, on_host: bool = False) -> Iterator[None]:
    """Whatever trains inside leaves the learner as it was: weights, buffers, gradients, modes, generators,
    data order, and what modules, the loss and callbacks of the training step keep in attributes.

    The optimizer is not covered: train with one of your own (see `Learner.lr_find`).

    Args:
        learn: the learner.
        on_host: keep the copies of the weights in the host's memory, where the device's is measured.
    """
    modules = [module for module in (learn.model, learn.loss_fn) if isinstance(module, nn.Module)]
    stateful = [*learn.callbacks, *([] if learn._autocast is None else [learn._autocast])]
    callbacks = [(callback, copy.deepcopy(callback.state_dict())) for callback in stateful]
    loader = learn.data.train_dl
    epoch = getattr(loader, "epoch", 0)
    within = [callback for callback in stateful if callback.in_finder]
    with contextlib.ExitStack() as stack:
        stack.enter_context(preserve_attributes([learn.model, learn.loss_fn, *within], on_host=on_host))
        stack.enter_context(preserve_tensors(*modules, on_host=on_host))
        stack.enter_context(preserve_rng())
        stack.enter_context(preserve_generators(loader))
        for module in modules:
            stack.enter_context(preserve_modes(module))
        try:
            yield
        finally:
            learn.model.zero_grad(set_to_none=True)
            for callback, state in callbacks:
                callback.load_state_dict(state)
            if hasattr(loader, "set_epoch"):
                loader.set_epoch(epoch)


def check_range(smallest: float, start: float, end: float, num_it: int) -> None:
    """Refuse ranges that make no test."""
    if num_it < 1:
        raise ValueError(f"lr_find: num_it must be at least 1, got {num_it}")
    if not (0 < start < end and smallest > 0):
        raise ValueError(
            f"lr_find: needs 0 < start_lr < end_lr, got start_lr={start}, end_lr={end}, the smallest "
            f"{smallest}"
        )
