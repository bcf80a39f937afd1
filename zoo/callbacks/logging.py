"""Writes the epoch table to files that other tools read; a file that cannot be written ends no fit."""

from __future__ import annotations

import contextlib
import csv
import numbers
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.distributed.group import claims
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.storage.files import atomic_write


class CSVLogger(Callback):
    """Writes one line an epoch to a CSV file, the same numbers as `learn.history`, over all fits it listens
    to.

    Columns may come and go, as those of a callback that runs in some epochs, or of a fit with other metrics:
    a new one widens the whole file, an absent one is an empty cell. Lines that cannot be written (a full
    disk, a file that another program holds) are told once and kept for the next epoch.

    Args:
        path: the file; its folder is made if needed. The first epoch starts it anew.
        append: go on in an existing file instead.

    Raises:
        IsADirectoryError: before a fit, if there is a folder of that name.
    """

    order = 70

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        self.path, self.append = Path(path), append
        self._columns: list[str] | None = None
        self._lines = 0  # of the file, with its heading
        self._writes = True
        self._drops = False  # later lines, before the next one is written
        self._waiting: list[dict[str, Any]] = []
        self._told = self._claimed = False

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self._columns, "lines": self._lines, "writes": self._writes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the lines that were written when the state was taken; later ones are dropped."""
        self._columns, self._lines = state["columns"], state["lines"]
        self._writes = state.get("writes", True)
        self._drops = self._columns is not None and self._writes
        self._waiting = []

    def before_fit(self, state: State) -> None:
        if self.path.is_dir():
            raise IsADirectoryError(f"CSVLogger: {self.path} is a folder: give it the name of a file")

    def after_epoch(self, state: State) -> None:
        self._waiting.append(dict(state.row))
        if self._columns is None and not self._claimed:
            self._writes, self._claimed = claims(self.path), True  # else another process does
        if not self._writes:
            self._columns = list(state.row) if self._columns is None else self._columns
            self._waiting = []
            return
        try:
            self._write()
        except (OSError, ValueError, csv.Error) as error:  # lost, or no longer a table
            if not self._told:
                self._told = True
                warnings.warn(
                    f"CSVLogger: {self.path} could not be written ({error}); its lines are kept and tried "
                    "again after the next epoch",
                    stacklevel=2,
                )

    def cleanup_fit(self, state: State) -> None:
        self._told = False

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._columns is None and self.append and self.path.exists():
            lines = self._read()
            self._columns, self._lines = lines[0] if lines else [], len(lines)
        known = self._columns or []
        added = list(dict.fromkeys(name for row in self._waiting for name in row if name not in known))
        columns = [*known, *added]
        new = [[row.get(name, "") for name in columns] for row in self._waiting]
        there = self.path.exists()
        if added or self._drops or not there:
            kept = self._read()[1 : self._lines] if self._lines and there else []
            padded = [[*line, *[""] * (len(columns) - len(line))] for line in kept]
            with atomic_write(self.path) as temporary:
                _write_lines(temporary, [columns, *padded, *new], "w")
            self._lines = 1 + len(padded)
        else:
            size = self.path.stat().st_size
            try:
                _write_lines(self.path, new, "a")
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, size)  # no half lines
                raise
        self._columns, self._drops = columns, False
        self._lines += len(new)
        self._waiting = []

    def _read(self) -> list[list[str]]:
        with self.path.open(newline="", encoding="utf8") as file:
            return list(csv.reader(file))


def _write_lines(path: Path, lines: list[list[Any]], mode: str) -> None:
    with path.open(mode, newline="", encoding="utf8") as file:
        csv.writer(file).writerows(lines)


class TensorBoardLogger(Callback):
    """Writes the epoch numbers and the training loss of every batch for TensorBoard (`pip install
    zoo[tensorboard]`).

    What cannot be written (a full disk, a folder on a server that is gone) is told once a fit, ends nothing,
    and is tried again after the next epoch.

    Args:
        folder: where TensorBoard looks; made if needed.

    Raises:
        ImportError: before a fit, without tensorboard.
    """

    order = 70

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        self._writes = self._told = False
        self._waiting: list[dict[str, Any]] = []
        self._batches = 0

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._batches = state["batches"]

    def before_fit(self, state: State) -> None:
        writer = _summary_writer()
        self._writes, self._waiting, self._told = claims(self.folder), [], False  # else another process does
        if self._writes:
            self._writer = writer(str(self.folder))

    def after_epoch(self, state: State) -> None:
        if not self._writes:
            return
        self._waiting.append(dict(state.row))
        try:
            self._write([] if state.learner is None else state.learner.sched.losses)
        except Exception as error:  # whatever a writer raises
            self._lost(error)

    def cleanup_fit(self, state: State) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        except Exception as error:
            self._lost(error)
        self._writer, self._batches = None, 0

    def _write(self, losses: Sequence[float]) -> None:
        if self._writer is None:
            self._writer = _summary_writer()(str(self.folder))
        for row in self._waiting:
            for name, value in row.items():
                if name == "epoch":
                    continue
                if isinstance(value, numbers.Number):
                    self._writer.add_scalar(name, value, row["epoch"])
                else:
                    self._writer.add_text(name, str(value), row["epoch"])
        for number in range(self._batches, len(losses)):
            self._writer.add_scalar("batch_loss", losses[number], number)
        self._writer.flush()
        self._batches, self._waiting = len(losses) or self._batches, []

    def _lost(self, error: Exception) -> None:
        with contextlib.suppress(Exception):
            self._writer.close()
        self._writer = None
        if not self._told:
            self._told = True
            warnings.warn(
                f"TensorBoardLogger: {self.folder} could not be written ({error}); what it lacks is tried "
                "again after the next epoch",
                stacklevel=2,
            )


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            "TensorBoardLogger needs the package tensorboard: pip install zoo[tensorboard]"
        ) from None
    return SummaryWriter
