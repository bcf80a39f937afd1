"""The live bar and the epoch table."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from zoo.callback import Callback

if TYPE_CHECKING:
    from zoo.loop import State


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def make_bar(total: int, description: str, **options: Any) -> Any:
    """A tqdm bar that fits where the output goes: a terminal or a notebook, and nothing when piped."""
    if in_notebook():
        try:
            import ipywidgets  # noqa: F401  # pyright: ignore[reportMissingImports]  (tqdm's notebook bar needs it)
            from tqdm.notebook import tqdm
        except ImportError:
            from tqdm.std import tqdm
        return tqdm(total=total, desc=description, leave=False, **options)
    from tqdm.std import tqdm

    return tqdm(
        total=total,
        desc=description,
        leave=False,
        disable=not sys.stdout.isatty(),
        file=sys.stdout,
        **options,
    )


class Progress(Callback):
    """Prints the epoch table line by line, under a live bar with rate, ETA and loss in a terminal or
    notebook.

    Piped output holds one line an epoch and no control characters.
    """

    order = 90
    redraw_seconds = 0.25

    def __init__(self) -> None:
        self._bar: Any = None
        self._columns: list[str] = []
        self._next_draw = 0.0

    def before_fit(self, state: State) -> None:
        self._columns = []

    def before_train(self, state: State) -> None:
        self._open(state, "train")

    def before_validate(self, state: State) -> None:
        self._open(state, "valid")

    def after_batch(self, state: State) -> None:
        now = time.monotonic()
        if self._bar.disable or now < self._next_draw:
            return
        self._next_draw = now + self.redraw_seconds
        if state.training and state.learner is not None:
            self._bar.set_postfix_str(f"loss {state.learner.sched.latest_loss:.4g}", refresh=False)
        self._bar.update(state.batch_index + 1 - self._bar.n)

    def after_epoch(self, state: State) -> None:
        self._close()
        columns = list(state.row)
        if columns != self._columns:
            self._columns = columns
            print("".join(f"{name:>{_width(name)}}" for name in columns), flush=True)
        print("".join(_cell(name, state.row[name]) for name in columns), flush=True)

    def cleanup_fit(self, state: State) -> None:
        self._close()

    def _open(self, state: State, what: str) -> None:
        self._close()
        last = state.first_epoch + state.n_epochs
        self._bar = make_bar(state.n_batches, f"epoch {state.epoch}/{last} {what}")
        self._next_draw = 0.0

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _width(name: str) -> int:
    return max(7 if name == "epoch" else 12, len(name) + 2)


def _cell(name: str, value: Any) -> str:
    width = _width(name)
    if name == "epoch":
        return f"{value:>{width}d}"
    if name == "seconds":
        return f"{value:>{width}.1f}"
    if not isinstance(value, int | float):
        return f"{value!s:>{width}}"
    return f"{value:>{width}.6f}" if abs(value) < 1e5 else f"{value:>{width}.4g}"
