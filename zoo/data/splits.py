"""Row splits shared by every domain."""

from __future__ import annotations

import numpy as np


def get_cv_idxs(n: int, val_pct: float = 0.2, seed: int = 42) -> np.ndarray:
    """Random row numbers for a validation set.

    Args:
        n: number of rows.
        val_pct: share of the rows to draw, between 0 and 1; `int(n * val_pct)` rows are drawn.
        seed: the same seed gives the same rows on every machine.

    Returns:
        Row numbers, `int64`, without repetition, in random order.

    Raises:
        ValueError: if `n` is negative or `val_pct` lies outside [0, 1].

    Example:
        >>> len(get_cv_idxs(100)), len(set(get_cv_idxs(100)))
        (20, 20)
    """
    if n < 0:
        raise ValueError(f"get_cv_idxs: n is the number of rows and must be 0 or more, got {n}")
    if not 0 <= val_pct <= 1:
        raise ValueError(f"get_cv_idxs: val_pct is a share between 0 and 1, got {val_pct}")
    return np.random.default_rng(seed).permutation(n)[: int(n * val_pct)]
