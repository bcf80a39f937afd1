"""Errors of rows that are read by other processes: handed over as values, raised where the rows are used.

torch's own way is to raise a text that holds the worker's whole traceback, whose first line tells nothing.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class WorkerTraceback(Exception):
    """Where an error arose in another process; the cause of the error that is raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class RowError:
    """An error on its way from the process that reads rows to the one that uses them.

    Args:
        error: what was raised.
        row: number of the row in the dataset; None where it is not one row's.
    """

    def __init__(self, error: Exception, row: int | None = None) -> None:
        self.error: Exception | None = error
        place = "" if row is None else f" (row {row})"
        self.text = f"{_text(error)}{place}"
        self.kind = type(error)
        self.trace = ""

    def __getstate__(self) -> dict[str, Any]:
        """The kind of error where it can be named, its text and traceback: what any error can give."""
        try:
            pickle.dumps(self.kind)
            kind = self.kind
        except Exception:
            kind = RuntimeError
        named = self.text if kind is self.kind else f"{self.kind.__name__}: {self.text}"
        trace = "".join(traceback.format_exception(self.error)) if self.error is not None else self.trace
        return {"error": None, "text": named, "kind": kind, "trace": trace}

    def throw(self) -> None:
        """Raise an error of the same kind, with the row in its text and the first one as its cause."""
        # No name for the new error: it would stand in a circle with its own traceback, whose frames hold
        # loaders, and these wait for their workers when the collector has to find them.
        raise self._made() from self.error or WorkerTraceback(self.trace)

    def _made(self) -> Exception:
        try:
            made = self.kind(self.text)
            if _text(made) == self.text:
                return made
        except Exception:  # needs other arguments
            pass
        return RuntimeError(f"{self.kind.__name__}: {self.text}")


def _text(error: Exception) -> str:
    only = error.args[0] if len(error.args) == 1 else None
    return (only if isinstance(only, str) else str(error)) or type(error).__name__


class Collated:
    """Rows made into a batch; the first `RowError` among them takes its place.

    Args:
        collate_fn: list of rows -> batch.
    """

    def __init__(self, collate_fn: Callable[[list], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, rows: list) -> Any:
        for row in rows:
            if isinstance(row, RowError):
                return row
        try:
            return self.collate_fn(rows)
        except Exception as error:
            return RowError(error)


def raised(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, until one is an error.

    Example:
        >>> list(raised([1, RowError(ValueError("cut.jpg is broken"), 7)]))
        Traceback (most recent call last):
        ...
        ValueError: cut.jpg is broken (row 7)
    """
    for batch in batches:
        if isinstance(batch, RowError):
            break
        yield batch
    else:
        return
    del batches
    batch.throw()
