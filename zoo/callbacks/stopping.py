"""Ends a fit that no longer gets better, and goes back to its best weights; or when its time is over."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch
from torch import Tensor

from zoo import distributed
from zoo.callbacks.monitor import Monitor
from zoo.engine.callback import Callback, CancelEpoch, CancelFit
from zoo.engine.state import State

log = logging.getLogger("zoo")


class EarlyStopping(Callback):
    """Ends the fit when a column of the epoch table has not become better for `patience` epochs.

    The weights of the best epoch come back at the end, also of a fit that ran to its end or was ended with
    Ctrl-C (Prechelt 1998, "Early Stopping - But When?"). The optimizer's averages stay those of the last
    batch. With averaged weights (`EMA`, `SWA`) it is these that are compared, kept and restored.

    Args:
        monitor: the column, for example "valid_loss" or the name of a metric.
        patience: epochs in a row without a better value after which the fit ends.
        min_delta: by how much a value must be better to count.
        mode: "min" or "max", what is better; may be left out for losses.
        restore_best: whether the best epoch's weights come back at the end; they are kept on the CPU.

    Attributes:
        best_epoch: the number of the best epoch so far, `None` before the first.

    Raises:
        ValueError: if there is no such column, or it is unknown whether high or low is better.

    Example: `learn.fit(1e-3, 100, callbacks=[EarlyStopping("accuracy", mode="max", patience=5)])`
    """

    order = 100  # the last to see an epoch, so that loggers have seen it when the fit ends

    def __init__(
        self,
        monitor: str = "valid_loss",
        *,
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ValueError(
                f"EarlyStopping: patience must be a whole number of epochs, at least 1, got {patience!r}"
            )
        self.watch = Monitor(monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self._reset()

    def _reset(self) -> None:
        self.watch.best = None
        self.best_epoch: int | None = None
        self._waited = 0
        self._weights: dict[str, Tensor] = {}

    def before_fit(self, state: State) -> None:
        self._reset()
        self.watch.check(state, "EarlyStopping")

    def after_epoch(self, state: State) -> None:
        if self.watch.improved(state.row):
            self.best_epoch, self._waited = state.epoch, 0
            if self.restore_best:
                self._weights = {
                    name: value.detach().to("cpu", copy=True)
                    for name, value in state.model.state_dict().items()
                }
            return
        self._waited += 1
        if self._waited >= self.patience:
            log.info("stopped after epoch %d: %s", state.epoch, self._verdict())
            raise CancelFit

    def after_fit(self, state: State) -> None:
        self._restore(state)

    def cleanup_fit(self, state: State) -> None:
        if state.interrupted:
            self._restore(state)
        self._weights = {}

    @torch.no_grad()
    def _restore(self, state: State) -> None:
        if not self._weights:
            return
        own = state.model.state_dict()
        for name, value in self._weights.items():
            own[name].copy_(value)
        self._weights = {}
        log.info("%s; its weights are restored", self._verdict())

    def _verdict(self) -> str:
        if self.best_epoch is None:
            return f"{self.watch.column} was never a number"
        return f"{self.watch.column} was best in epoch {self.best_epoch} ({self.watch.best:.6g})"

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.watch.best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "weights": dict(self._weights),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.watch.best, self.best_epoch = state["best"], state["best_epoch"]
        self._waited, self._weights = state["waited"], dict(state["weights"])


class TimeLimit(Callback):
    """Ends the fit when its time is over, after the batch that was being trained; validation follows.

    Args:
        seconds: that training may take, counted from the beginning of the fit; a fit that goes on from a
            checkpoint has all of them again.

    Raises:
        ValueError: if there is no time at all.

    Example: `learn.fit_one_cycle(100, 1e-2, callbacks=[TimeLimit(600)])`
    """

    order = 110  # everybody else has seen the epoch when the fit ends

    def __init__(self, seconds: float) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise ValueError(f"TimeLimit: seconds must be a number above 0, got {seconds!r}")
        self.seconds = float(seconds)
        self._over = False

    def before_fit(self, state: State) -> None:
        self._end, self._over = time.monotonic() + self.seconds, False

    def after_batch(self, state: State) -> None:
        if not state.training:
            return
        self._over = time.monotonic() >= self._end
        if distributed.world_size() > 1:
            self._over = distributed.from_main(self._over)  # all end with the same batch
        if self._over:
            log.info("the %g seconds of this fit are over, in epoch %d", self.seconds, state.epoch)
            raise CancelEpoch

    def after_epoch(self, state: State) -> None:
        if self._over:
            raise CancelFit
