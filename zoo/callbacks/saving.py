"""Saves weights on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.callback import Callback

if TYPE_CHECKING:
    from zoo.loop import State


class SaveCycles(Callback):
    """Saves the weights at the end of every cycle as `{name}_cyc_{number}`, counted from 0."""

    order = 60

    def __init__(self, name: str) -> None:
        self.name, self.saved = name, 0

    def after_cycle(self, state: State) -> None:
        state.learner.save(f"{self.name}_cyc_{self.saved}")
        self.saved += 1


class SaveBest(Callback):
    """Saves the weights as `name` whenever the validation loss is the lowest of this fit."""

    order = 60

    def __init__(self, name: str) -> None:
        self.name, self.best = name, float("inf")

    def before_fit(self, state: State) -> None:
        self.best = float("inf")
        if state.data.valid_dl is None:
            raise ValueError(
                "best_save_name needs validation data to tell which weights are best; this data has none"
            )

    def after_epoch(self, state: State) -> None:
        if state.row["valid_loss"] < self.best:
            self.best = state.row["valid_loss"]
            state.learner.save(self.name)
