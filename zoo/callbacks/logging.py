"""Writes the epoch table to files that other tools read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from zoo.distributed.group import claims
from zoo.engine.callback import Callback
from zoo.engine.state import State


class CSVLogger(Callback):
    """Writes one line an epoch to a CSV file, the same numbers as `learn.history`, over all fits it listens
    to.

    Args:
        path: the file; its folder is made if needed. The first epoch starts it anew.
        append: go on in an existing file with the same columns instead.

    Raises:
        ValueError: when the file, or an earlier epoch, has other columns.
    """

    order = 70

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        self.path, self.append = Path(path), append
        self._columns: list[str] | None = None
        self._lines = 0
        self._writes = True
        self._drops = False  # later lines, before the next one is written

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self._columns, "lines": self._lines, "writes": self._writes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the lines that were written when the state was taken; later ones are dropped."""
        self._columns, self._lines = state["columns"], state["lines"]
        self._writes = state.get("writes", True)
        self._drops = self._columns is not None and self._writes

    def after_epoch(self, state: State) -> None:
        columns = list(state.row)
        if self._columns is None:
            self._begin(columns)
        if columns != self._columns:
            raise ValueError(
                f"{self.path} has the columns {self._columns}, this epoch has {columns}: use another file"
            )
        if self._drops:
            with self.path.open(newline="", encoding="utf8") as file:
                kept = list(csv.reader(file))[: self._lines]
            self._write(kept, "w")
            self._drops = False
        self._write([list(state.row.values())], "a")
        self._lines += 1

    def _begin(self, columns: list[str]) -> None:
        self._writes = claims(self.path)
        if not self._writes:  # another process does
            self._columns = columns
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.append and self.path.exists():
            with self.path.open(newline="", encoding="utf8") as file:
                lines = list(csv.reader(file))
            self._columns, self._lines = lines[0] if lines else [], len(lines)
            return
        self._columns, self._lines = columns, 1
        self._write([columns], "w")

    def _write(self, lines: list[list[Any]], mode: str) -> None:
        if not self._writes:
            return
        with self.path.open(mode, newline="", encoding="utf8") as file:
            csv.writer(file).writerows(lines)


class TensorBoardLogger(Callback):
    """Writes the epoch numbers and the training loss of every batch for TensorBoard (`pip install
    zoo[tensorboard]`).
    """

    order = 70

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        self._batches = 0

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._batches = state["batches"]

    def before_fit(self, state: State) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoardLogger needs the package tensorboard: pip install zoo[tensorboard]"
            ) from None
        if claims(self.folder):  # else another process writes
            self._writer = SummaryWriter(str(self.folder))

    def after_epoch(self, state: State) -> None:
        if self._writer is None:
            return
        for name, value in state.row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, state.row["epoch"])
        if state.learner is not None:
            losses = state.learner.sched.losses
            for number in range(self._batches, len(losses)):
                self._writer.add_scalar("batch_loss", losses[number], number)
            self._batches = len(losses)

    def cleanup_fit(self, state: State) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._batches = 0
