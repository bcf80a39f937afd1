"""The live bar and the epoch table."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm.std import tqdm

from zoo.engine.arrivals import Arrival
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.notebook import kernel_shell

REDRAW_SECONDS = 0.25


class Bar(tqdm):
    """tqdm's bar without its thread, which the workers of loaders would be forked next to."""

    monitor_interval = 0


Bar.set_lock(threading.RLock())  # tqdm's own lock would settle the start method of multiprocessing


class Note:
    """A text that is read only when a bar is drawn."""

    def __init__(self, read: Callable[[], str]) -> None:
        self.read = read

    def __str__(self) -> str:
        return self.read()


class Cell:
    """An output of a notebook's cell, as a file that holds only what was written last."""

    encoding = "utf-8"

    def __init__(self) -> None:
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        self._handle: Any = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        self._handle.update({"text/plain": text.strip()}, raw=True)

    def show(self, widget: Any) -> None:
        self._handle.update(widget)

    def flush(self) -> None:
        """What is written is shown at once."""


def find_cell() -> Cell | None:
    """A new output of the cell that runs, in a Jupyter kernel (also of Colab and of editors)."""
    return None if kernel_shell() is None else Cell()


def in_terminal() -> bool:
    """Whether the output goes to a terminal that can rewrite a line."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress_bar(
    total: int | None,
    label: str,
    *,
    initial: int = 0,
    unit: str = "batch",
    note: Note | None = None,
    cell: Cell | None = None,
    shown: bool = True,
) -> Iterator[tqdm]:
    """A bar of tqdm in a terminal or a notebook, nothing elsewhere; when it ends nothing is left behind.

    Args:
        total: how many there are; `None` if nobody knows.
        label: what runs.
        initial: how many are done already.
        unit: what is counted.
        note: shown at the end of the line.
        cell: where a notebook shows it: a widget if it has ipywidgets, else text.
        shown: whether it is wanted.

    Example:
        >>> with progress_bar(3, "reading", cell=find_cell()) as bar:
        ...     for number in range(3):
        ...         _ = bar.update()
    """
    options: dict[str, Any] = {
        "total": total, "desc": label, "initial": initial, "unit": unit, "postfix": note,
        "leave": False, "mininterval": REDRAW_SECONDS, "miniters": 1,
    }  # fmt: skip
    if cell is None or not shown:
        hidden = not (shown and in_terminal())
        with Bar(file=sys.stdout, disable=hidden, dynamic_ncols=True, **options) as bar:
            yield bar
        return
    bar = _widget(cell, options)
    if bar is None:
        bar = Bar(file=cell, ncols=100, **options)
    try:
        yield bar
    finally:
        bar.total = bar.n  # tqdm would keep an unfinished one in the notebook
        bar.close()
        cell.write("")


def _widget(cell: Cell, options: dict[str, Any]) -> tqdm | None:
    try:
        import ipywidgets  # noqa: F401  # pyright: ignore[reportMissingImports]  (what tqdm.notebook draws with)
        from tqdm.notebook import tqdm as notebook_tqdm
    except ImportError:
        return None

    class Widget(notebook_tqdm):
        monitor_interval = 0

    Widget.set_lock(Bar.get_lock())
    bar = Widget(display=False, **options)
    cell.show(bar.container)
    return bar


class Progress(Callback):
    """Prints the epoch table line by line, under a live bar with rate, remaining time and loss in a terminal
    or notebook.

    Piped output holds the column names and one line an epoch, and no control characters.
    """

    order = 90
    in_graph = "after"

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pass = ExitStack()
        self._bar: tqdm | None = None
        self._cell: Cell | None = None
        self._columns: list[str] = []
        self._widths: dict[str, int] = {}
        self._loss: Any = None
        self._sent: Arrival | None = None
        self._shown = ""

    def before_fit(self, state: State) -> None:
        self._reset()
        self._cell = find_cell()

    def before_train(self, state: State) -> None:
        self._open(state, "train", state.start_batch)

    def before_validate(self, state: State) -> None:
        self._loss = None
        self._open(state, "valid", 0)

    def after_loss(self, state: State) -> None:
        if state.training and self._bar is not None and not self._bar.disable:
            self._loss = state.loss_value

    def after_batch(self, state: State) -> None:
        if self._bar is not None:
            self._bar.update(state.batch_index + 1 - self._bar.n)

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
            _print("".join(f"{name:>{self._widths[name]}}" for name in columns))
        _print("".join(_entry(name, state.row[name], self._widths[name]) for name in columns))

    def cleanup_fit(self, state: State) -> None:
        self._close()
        self._reset()

    def _open(self, state: State, what: str, start: int) -> None:
        self._close()
        label = f"epoch {state.epoch} ({state.epoch - state.first_epoch + 1}/{state.n_epochs}) {what}"
        note = Note(lambda: self._note(state))
        self._bar = self._pass.enter_context(
            progress_bar(state.n_batches or None, label, initial=start, note=note, cell=self._cell)
        )

    def _close(self) -> None:
        self._bar = None
        self._pass.close()

    def _note(self, state: State) -> str:
        """The smoothed loss, or where nobody keeps it that of a batch; what a GPU has not done yet is not
        waited for."""
        if self._loss is None:
            return ""
        if state.learner is not None:
            latest = state.learner.sched.latest_loss
            return "" if latest != latest else f", loss {latest:.4g}"
        if self._sent is None:
            self._sent = Arrival(self._loss)
        if self._sent.here():
            self._shown, self._sent = f", loss {float(self._sent.read()):.4g}", None
        return self._shown

    def _room(self) -> int | None:
        return shutil.get_terminal_size().columns if self._cell is None and in_terminal() else None


def _print(line: str) -> None:
    """Print a line at once, above the bars of a program that shows its own."""
    Bar.write(line, file=sys.stdout)
    if sys.stdout is not None:
        sys.stdout.flush()


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


def _entry(name: str, value: Any, width: int) -> str:
    if name == "epoch":
        return f"{value:>{width}d}"
    if name == "seconds":
        return f"{value:>{width}.1f}"
    if not isinstance(value, int | float):
        return f"{value!s:>{width}}"
    text = f"{value:.6f}" if abs(value) < 1e5 else f"{value:.4g}"
    return f"{text if len(text) < width else f'{value:.4g}':>{width}}"
