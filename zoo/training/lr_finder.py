"""The learning-rate range test: which rate to begin with, without leaving a trace."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from zoo.data.seeding import preserve_generators, preserve_rng
from zoo.engine.callback import Callback, CancelFit
from zoo.engine.modes import preserve_modes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.engine.loop import State
    from zoo.learner import Learner


@dataclass(frozen=True)
class LRFinderResult:
    """What the range test saw.

    Attributes:
        lrs: the rate of the last layer group at every step.
        losses: the smoothed loss at every step.
        steepest: the rate at which the loss falls fastest.
        valley: two thirds into the longest falling stretch.
        minimum: a tenth of the rate with the lowest loss.
        linear: whether the rates rose linearly.
        interrupted: whether Ctrl-C ended the test early.

    The suggestions look at the curve without its first tenth, where it is still noise, and are `nan` when
    fewer than four steps were taken.
    """

    lrs: list[float]
    losses: list[float]
    linear: bool = False
    interrupted: bool = False

    @property
    def steepest(self) -> float:
        lrs, losses = self._body()
        return float(lrs[np.gradient(losses, np.log(lrs)).argmin()]) if len(lrs) > 3 else math.nan

    @property
    def minimum(self) -> float:
        lrs, losses = self._body()
        return float(lrs[losses.argmin()]) / 10 if len(lrs) > 3 else math.nan

    @property
    def valley(self) -> float:
        lrs, losses = self._body()
        if len(lrs) <= 3:
            return math.nan
        best = (0, 0)
        start = 0
        for i in range(1, len(losses)):
            if losses[i] >= losses[i - 1]:
                start = i
            if i - start > best[1] - best[0]:
                best = (start, i)
        return float(lrs[best[0] + (best[1] - best[0]) * 2 // 3])

    def suggestions(self) -> dict[str, float]:
        """All three suggested rates by name."""
        return {"steepest": self.steepest, "valley": self.valley, "minimum/10": self.minimum}

    def plot(self) -> Figure:
        """Loss against rate with the suggestions marked."""
        from zoo.inspect.plots import range_test

        marks = {name: lr for name, lr in self.suggestions().items() if lr == lr}
        return range_test(self.lrs, self.losses, marks, linear=self.linear)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={lr:.2e}" for name, lr in self.suggestions().items())
        return f"LRFinderResult({named}; {len(self.lrs)} steps)"

    def _body(self) -> tuple[np.ndarray, np.ndarray]:
        skip = len(self.lrs) // 10
        return np.array(self.lrs[skip:]), np.array(self.losses[skip:])


class RangeTestRecorder(Callback):
    """Records the smoothed loss per rate and ends the test when the loss explodes or the steps are done."""

    order = -90

    def __init__(self, num_it: int, beta: float = 0.9) -> None:
        self.num_it, self.beta = num_it, beta
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
        explodes = (
            smoothed > 4 * self._best if self._best > 0 else smoothed > self._best + 3 * abs(self._best) + 1
        )
        if len(self.losses) >= self.num_it or (len(self.losses) > 10 and explodes):
            raise CancelFit


@contextlib.contextmanager
def no_trace(learn: Learner, *, on_host: bool = False) -> Iterator[None]:
    """Whatever trains inside leaves the learner as it was: weights, buffers, gradients, modes, generators,
    data order.

    The optimizer is not covered: train with one of your own (see `Learner.lr_find`).

    Args:
        learn: the learner.
        on_host: keep the copies of the weights in the host's memory, where the device's is measured.
    """
    modules = [module for module in (learn.model, learn.loss_fn) if isinstance(module, nn.Module)]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    kept = [t.detach().to("cpu" if on_host else t.device, copy=True) for t in tensors]
    stateful = [*learn.callbacks, *([] if learn._autocast is None else [learn._autocast])]
    callbacks = [(callback, copy.deepcopy(callback.state_dict())) for callback in stateful]
    loader = learn.data.train_dl
    epoch = getattr(loader, "epoch", 0)
    with contextlib.ExitStack() as stack:
        stack.enter_context(preserve_rng())
        stack.enter_context(preserve_generators(loader))
        for module in modules:
            stack.enter_context(preserve_modes(module))
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, kept, strict=True):
                    tensor.copy_(value)
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
