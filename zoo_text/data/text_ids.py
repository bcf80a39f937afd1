"""The token ids of several texts as one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data.check.equal_rows import row_hashes


@dataclass(frozen=True)
class TextIds:
    """The token ids of several texts, one text after the other.

    Attributes:
        ids: of all texts, integers, shape (tokens,).
        offsets: where each text starts; one more than there are texts.
    """

    ids: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[np.ndarray]) -> TextIds:
        """The ids of texts, each an array.

        Example:
            >>> TextIds.of([np.array([2, 3]), np.array([4])]).offsets.tolist()
            [0, 2, 3]
        """
        parts = [np.asarray(text) for text in texts]
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        joined = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return cls(joined, np.concatenate([[0], np.cumsum(lengths)]))

    @classmethod
    def joined(cls, parts: Sequence[TextIds]) -> TextIds:
        """The texts of several, one after the other."""
        starts = np.cumsum([0, *(len(part.ids) for part in parts)])
        offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.ids for part in parts]), np.concatenate([[0], *offsets]))

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """The text that each token is of."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def chosen(self, rows: np.ndarray) -> TextIds:
        """Some of the texts, in the order of `rows`."""
        return TextIds.of([self[int(row)] for row in rows])


def text_hashes(texts: TextIds) -> np.ndarray:
    """A 64-bit hash of the ids of each text, uint64; equal texts have equal ones.

    Among a million texts two different ones have an equal hash with a probability of 3e-8.

    Example:
        >>> found = text_hashes(TextIds.of([np.array([2, 3]), np.array([3, 2]), np.array([2, 3])]))
        >>> bool(found[0] == found[2]), bool(found[0] == found[1])
        (True, False)
    """
    places = np.arange(len(texts.ids)) - np.repeat(texts.offsets[:-1], texts.lengths)
    mixed = row_hashes(texts.ids.astype(np.int64), places)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])  # may go round
    return row_hashes(sums[texts.offsets[1:]] - sums[texts.offsets[:-1]], texts.lengths)
