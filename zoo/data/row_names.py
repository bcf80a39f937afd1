"""How a row is called in a message: as its owner knows it. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SHOWN = 5


@dataclass(frozen=True)
class RowNames:
    """Rows by the index of the user's own frame, and by their position in it, also after a split.

    Args:
        index: labels of the rows at hand; None numbers them.
        positions: their positions in what the user gave; None if these are all of it.

    Example:
        >>> names = RowNames(["a", "b", "c"], [0, 2, 5])
        >>> names(2), RowNames()(2), RowNames([0, 2, 5], [0, 2, 5])(2)
        ("row 'c' (position 5)", 'row 2', 'row 5')
    """

    index: Sequence[Any] | None = None
    positions: Sequence[int] | np.ndarray | None = None

    @classmethod
    def of(cls, values: Any) -> RowNames:
        """Those of a series or frame; of other values their numbers."""
        index = getattr(values, "index", None)
        return cls(None if index is None or callable(index) else index)

    def at(self, rows: np.ndarray) -> RowNames:
        """The names of some of these rows, chosen by their numbers or by a mask."""
        numbers = np.flatnonzero(rows) if rows.dtype == bool else rows
        own = np.arange(len(rows)) if self.positions is None else np.asarray(self.positions)
        if rows.dtype != bool and self.positions is None:
            own = np.arange(int(rows.max(initial=-1)) + 1)
        return RowNames(None if self.index is None else _Chosen(self.index, numbers), own[numbers])

    def label(self, row: int) -> Any:
        """The row's label in the user's index; without one its position."""
        if self.index is None:
            return row if self.positions is None else int(self.positions[row])
        label = self.index[row]
        return label.item() if isinstance(label, np.generic) else label

    def __call__(self, row: int) -> str:
        """What the row is called."""
        position = row if self.positions is None else int(self.positions[row])
        label = self.label(row)
        if self.index is None:
            return f"row {position}"
        same = isinstance(label, int) and not isinstance(label, bool) and label == position
        return f"row {position}" if same else f"row {label!r} (position {position})"

    def some(self, rows: Iterable[int]) -> str:
        """The first few of several rows."""
        numbers = list(rows)
        names = [self(row) for row in numbers[:_SHOWN]]
        if not names:
            return ""
        listed = ", ".join([names[0], *(name.removeprefix("row ") for name in names[1:])])
        more = len(numbers) - len(names)
        return f"{listed} and {more} more" if more else listed


class _Chosen(Sequence[Any]):
    """Some of the labels of an index; each is looked up when it is asked for."""

    def __init__(self, index: Sequence[Any], numbers: np.ndarray) -> None:
        self._index, self._numbers = index, numbers

    def __getitem__(self, row: Any) -> Any:
        return self._index[int(self._numbers[row])]

    def __len__(self) -> int:
        return len(self._numbers)


BY_NUMBER = RowNames()
"""Rows of a plain list."""
