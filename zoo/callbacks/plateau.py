"""Lowers the learning rates when a fit no longer gets better."""

from __future__ import annotations

import logging
import math
from typing import Any

from zoo.callbacks.monitor import Monitor
from zoo.engine.callback import Callback
from zoo.engine.optimizer import write_rate
from zoo.engine.state import State

log = logging.getLogger("zoo")


class ReduceLROnPlateau(Callback):
    """Multiplies all rates by `factor` when a column of the epoch table has not become better for `patience`
    epochs.

    Under a schedule the factor is one of what the schedule gives from then on.

    Args:
        monitor: the column, for example "valid_loss" or the name of a metric.
        factor: of the rates, between 0 and 1.
        patience: epochs in a row without a better value after which the rates fall.
        min_delta: by how much a value must be better to count.
        mode: "min" or "max", what is better; may be left out for losses.
        min_lr: rates do not fall below; those that were lower stay.
        cooldown: epochs after a fall that do not count.

    Attributes:
        reductions: the epochs after which the rates fell.

    Raises:
        ValueError: if there is no such column, or an argument makes no sense.

    Example: `learn.fit(1e-2, 50, callbacks=[ReduceLROnPlateau(patience=3), EarlyStopping(patience=8)])`
    """

    order = 95  # before early stopping, so that the last epochs are told of as well

    def __init__(
        self,
        monitor: str = "valid_loss",
        *,
        factor: float = 0.1,
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str | None = None,
        min_lr: float = 0.0,
        cooldown: int = 0,
    ) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must lie between 0 and 1, got {factor!r}")
        for name, value, least in (("patience", patience, 1), ("cooldown", cooldown, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"ReduceLROnPlateau: {name} must be a whole number of epochs, at least {least}, got "
                    f"{value!r}"
                )
        if not 0 <= min_lr < math.inf:
            raise ValueError(f"ReduceLROnPlateau: min_lr must not be negative, got {min_lr!r}")
        self.watch = Monitor(monitor, mode, min_delta)
        self.factor, self.patience, self.min_lr, self.cooldown = factor, patience, min_lr, cooldown
        self._reset()

    def _reset(self) -> None:
        self.watch.best = None
        self.reductions: list[int] = []
        self._waited = self._cooling = 0

    def before_fit(self, state: State) -> None:
        self._reset()
        self.watch.check(state, "ReduceLROnPlateau")

    def after_epoch(self, state: State) -> None:
        better = self.watch.improved(state.row)
        if self._cooling:
            self._cooling -= 1
            self._waited = 0
        else:
            self._waited = 0 if better else self._waited + 1
        if self._waited < self.patience:
            return
        self._waited, self._cooling = 0, self.cooldown
        fallen = False
        for group in state.opt.param_groups:
            lower = max(float(group["lr"]) * self.factor, self.min_lr)
            if lower < float(group["lr"]):
                write_rate(group, lower)
                fallen = True
        if fallen:
            self.reductions.append(state.epoch)
            log.info(
                "epoch %d: %s has not become better for %d epochs; the rates fall to %s",
                state.epoch,
                self.watch.column,
                self.patience,
                [f"{float(group['lr']):.2g}" for group in state.opt.param_groups],
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.watch.best,
            "reductions": list(self.reductions),
            "waited": self._waited,
            "cooling": self._cooling,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.watch.best, self.reductions = state["best"], list(state["reductions"])
        self._waited, self._cooling = state["waited"], state["cooling"]
