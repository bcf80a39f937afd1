"""Saves weights on the way; where they cannot be written, that is told and training goes on."""

from __future__ import annotations

import logging
from typing import Any

from zoo.callbacks.monitor import Monitor
from zoo.engine.callback import Callback
from zoo.engine.state import State

log = logging.getLogger("zoo")


class SaveCycles(Callback):
    """Saves the weights at the end of every cycle as `{name}_cyc_{number}`, counted from 0."""

    order = 60

    def __init__(self, name: str) -> None:
        self.name, self.saved = name, 0

    def after_cycle(self, state: State) -> None:
        _save(state, f"{self.name}_cyc_{self.saved}")
        self.saved += 1

    def state_dict(self) -> dict[str, Any]:
        return {"saved": self.saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.saved = state["saved"]


class SaveBest(Callback):
    """Saves the weights as `name` whenever a column of the epoch table is the best of this fit.

    Args:
        name: as for `Learner.save`.
        monitor: the column, for example "valid_loss" or the name of a metric.
        mode: "min" or "max", what is better; may be left out for losses.
        beat: a value that has to be bettered before anything is saved, such as the best of an earlier fit.

    Raises:
        ValueError: if there is no such column, or it is unknown whether high or low is better.
    """

    order = 60

    def __init__(
        self,
        name: str,
        monitor: str = "valid_loss",
        *,
        mode: str | None = None,
        beat: float | None = None,
    ) -> None:
        self.name, self.watch, self.beat = name, Monitor(monitor, mode), beat

    @property
    def best(self) -> float | None:
        """The best value so far, `None` before the first."""
        return self.watch.best

    def before_fit(self, state: State) -> None:
        self.watch.best = self.beat
        self.watch.check(state, "best_save_name")
        if state.learner is None:
            raise ValueError("SaveBest saves a learner's weights: use it in learn.fit(...)")

    def after_epoch(self, state: State) -> None:
        if self.watch.improved(state.row):
            _save(state, self.name)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.watch.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.watch.best = state["best"]


def _save(state: State, name: str) -> None:
    try:
        state.learner.save(name)
    except OSError as error:  # no space left, no permission
        log.warning("the weights %s could not be saved (%s); training goes on without them", name, error)
