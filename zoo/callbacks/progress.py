"""The live bar and the epoch table."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from zoo.bar import Bar, Screen, Terminal, find_screen
from zoo.callback import Callback

if TYPE_CHECKING:
    from zoo.loop import State


class Progress(Callback):
    """Prints the epoch table line by line, under a live bar with rate, remaining time and loss in a terminal
    or notebook.

    Piped output holds the column names and one line an epoch, and no control characters.
    """

    order = 90

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._bar: Bar | None = None
        self._screen: Screen | None = None
        self._columns: list[str] = []
        self._widths: dict[str, int] = {}
        self._loss: Any = None

    def before_fit(self, state: State) -> None:
        self._reset()
        self._screen = find_screen()

    def before_train(self, state: State) -> None:
        self._open(state, "train", state.start_batch)

    def before_validate(self, state: State) -> None:
        self._loss = None
        self._open(state, "valid", 0)

    def after_loss(self, state: State) -> None:
        if state.training and self._screen is not None:
            self._loss = state.loss.detach()

    def after_batch(self, state: State) -> None:
        if self._bar is not None and self._bar.due():
            self._bar.update(state.batch_index + 1, self._note(state))

    def after_train(self, state: State) -> None:
        self._close()

    def after_validate(self, state: State) -> None:
        self._close()

    def after_epoch(self, state: State) -> None:
        self._close()
        columns = list(state.row)
        if columns != self._columns:
            self._columns = columns
            self._widths = column_widths(columns, self._room())
            print("".join(f"{name:>{self._widths[name]}}" for name in columns), flush=True)
        print("".join(_cell(name, state.row[name], self._widths[name]) for name in columns), flush=True)

    def cleanup_fit(self, state: State) -> None:
        self._close()
        self._reset()

    def _open(self, state: State, what: str, start: int) -> None:
        self._close()
        if self._screen is not None:
            label = f"epoch {state.epoch} ({state.epoch - state.first_epoch + 1}/{state.n_epochs}) {what}"
            self._bar = Bar(state.n_batches, label, start=start, screen=self._screen)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _note(self, state: State) -> str:
        """The smoothed loss, or where nobody keeps it that of the batch."""
        if self._loss is None:
            return ""
        learner = state.learner
        return f"loss {float(self._loss) if learner is None else learner.sched.latest_loss:.4g}"

    def _room(self) -> int | None:
        return shutil.get_terminal_size().columns if isinstance(self._screen, Terminal) else None


def column_widths(columns: list[str], room: int | None = None) -> dict[str, int]:
    """Characters a column; those of numbers are narrower where the table would not fit into `room`.

    Example:
        >>> column_widths(["epoch", "train_loss", "r"])
        {'epoch': 7, 'train_loss': 12, 'r': 12}
        >>> column_widths(["epoch", "train_loss", "r"], room=24)
        {'epoch': 6, 'train_loss': 11, 'r': 9}
    """
    wide = {name: max(7 if name == "epoch" else 12, len(name) + 2) for name in columns}
    if room is None or sum(wide.values()) <= room:
        return wide
    return {name: max(6 if name == "epoch" else 9, len(name) + 1) for name in columns}


def _cell(name: str, value: Any, width: int) -> str:
    if name == "epoch":
        return f"{value:>{width}d}"
    if name == "seconds":
        return f"{value:>{width}.1f}"
    if not isinstance(value, int | float):
        return f"{value!s:>{width}}"
    text = f"{value:.6f}" if abs(value) < 1e5 else f"{value:.4g}"
    return f"{text if len(text) < width else f'{value:.4g}':>{width}}"
