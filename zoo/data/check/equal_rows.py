"""Rows that are equal, told by a hash of their content."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK_BYTES = 64 * 2**20
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # as in splitmix64


def row_hashes(*arrays: np.ndarray) -> np.ndarray:
    """A 64-bit hash of every row of arrays with the same number of rows; equal rows have equal ones.

    0 and -0 are equal, and so are all NaN. Among a million rows two different ones have an equal hash with a
    probability of 3e-8.

    Example:
        >>> found = row_hashes(np.array([[1.0, 0.0], [1.0, -0.0], [0.0, 1.0]]), np.array([3, 3, 3]))
        >>> bool(found[0] == found[1]), bool(found[0] == found[2])
        (True, False)
    """
    found = np.zeros(len(arrays[0]), dtype="uint64")
    for array in arrays:
        flat = array.reshape(len(array), -1)
        step = max(1, _CHUNK_BYTES // max(1, flat.itemsize * flat.shape[1]))
        for start in range(0, len(flat), step):
            rows = slice(start, start + step)
            found[rows] = _mixed(found[rows], _words(flat[rows]))
    return found


def _words(rows: np.ndarray) -> np.ndarray:
    """The bytes of rows as 64-bit words, filled up with zeros."""
    if rows.dtype.kind == "f":
        rows = rows + rows.dtype.type(0)  # -0 becomes 0
        rows[np.isnan(rows)] = np.nan
    raw = np.ascontiguousarray(rows).view("uint8").reshape(len(rows), -1)
    lacking = -raw.shape[1] % 8
    if lacking:
        raw = np.concatenate([raw, np.zeros((len(raw), lacking), dtype="uint8")], 1)
    return raw.view("uint64")


def _mixed(found: np.ndarray, words: np.ndarray) -> np.ndarray:
    first, second, third = (np.uint64(value) for value in _ODD)
    for word in words.T:
        found = (found ^ word) + first
        found = (found ^ (found >> np.uint64(30))) * second
        found = (found ^ (found >> np.uint64(27))) * third
        found ^= found >> np.uint64(31)
    return found


@dataclass(frozen=True)
class EqualRows:
    """Which rows of training and validation are equal.

    Attributes:
        repeated: training rows that an earlier one equals; `first` are these earlier ones.
        crossing: validation rows that a training row equals; `twin` are these training rows.
    """

    repeated: np.ndarray
    first: np.ndarray
    crossing: np.ndarray
    twin: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray, valid: np.ndarray) -> EqualRows:
        """From the hashes of both."""
        distinct, first, place = np.unique(train, return_index=True, return_inverse=True)
        repeated = np.flatnonzero(first[place] != np.arange(len(train)))
        where = np.minimum(np.searchsorted(distinct, valid), len(distinct) - 1)
        crossing = np.flatnonzero(distinct[where] == valid)
        return cls(repeated, first[place][repeated], crossing, first[where][crossing])


def contradictions(inputs: np.ndarray, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose inputs equal those of an earlier row with another label, and these earlier rows.

    Args:
        inputs: hashes of the inputs.
        both: hashes of inputs and label.
    """
    _, first, place = np.unique(inputs, return_index=True, return_inverse=True)
    earlier = first[place]
    rows = np.flatnonzero(both != both[earlier])
    return rows, earlier[rows]
