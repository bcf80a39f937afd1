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


def stratified_idxs(labels: np.ndarray, val_pct: float = 0.2, seed: int = 42) -> np.ndarray:
    """Random row numbers for a validation set that holds about the same share of every class.

    Every class keeps at least one row for training; where a class has too few rows for its share, others make
    up for it, so that the whole has the size asked for as far as that goes.

    Args:
        labels: the class of each row, shape (rows,).
        val_pct: share of the rows to draw, between 0 and 1.
        seed: the same seed gives the same rows on every machine.

    Returns:
        Row numbers, `int64`, in ascending order.

    Example:
        >>> rows = stratified_idxs(np.array(["a"] * 8 + ["b"] * 2 + ["rare"]), 0.4)
        >>> len(rows), 10 in rows
        (4, False)
    """
    if not 0 <= val_pct <= 1:
        raise ValueError(f"stratified_idxs: val_pct is a share between 0 and 1, got {val_pct}")
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    exact = counts * val_pct
    quota = np.minimum(np.floor(exact).astype(int), counts - 1)
    wanted = int(len(labels) * val_pct)
    left_out = exact - quota
    while quota.sum() < wanted and (quota < counts - 1).any():
        best = int(np.argmax(np.where(quota < counts - 1, left_out, -np.inf)))
        quota[best] += 1
        left_out[best] -= 1
    taken: list[np.ndarray] = []
    shuffled = numbers[order]
    for number, n in enumerate(quota):
        taken.append(order[shuffled == number][:n])
    return np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)
