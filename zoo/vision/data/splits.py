"""Which pictures are for training, which for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.data.splits import get_cv_idxs
from zoo.errors import some


def valid_mask(
    val_idxs: Sequence[int] | np.ndarray | None, n: int, kept: np.ndarray, origin: str
) -> np.ndarray:
    """True for validation rows; by default a fixed random fifth of the rows that are kept."""
    mask = np.zeros(n, bool)
    if val_idxs is None:
        mask[kept[get_cv_idxs(len(kept))]] = True
        return mask
    rows = np.asarray(val_idxs)
    if rows.dtype == bool:
        raise ValueError("val_idxs takes row numbers, got booleans; use numpy.flatnonzero(mask)")
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"val_idxs takes a list of whole row numbers, got {rows.dtype} values of shape {rows.shape}"
        )
    outside = [int(i) for i in rows if not 0 <= i < n]
    if outside:
        raise ValueError(f"val_idxs: row {some(outside)} is outside the {n} rows of {origin} (0 to {n - 1})")
    mask[rows.astype(np.int64)] = True
    return mask
