"""Targets of rows that do not count alike: the weights travel in their last column."""

from __future__ import annotations

import numpy as np


def split_weights(targets: np.ndarray, task: str | None, n_out: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Targets, and the weights of rows where they have some.

    Args:
        targets: of a training loader.
        task: what is learned.
        n_out: outputs of the model.

    Returns:
        Class numbers (rows,), or values and marks of shape (rows, columns), and float64 weights (rows,) or
        `None`.
    """
    if task == "classification":
        if targets.ndim == 1:
            return targets.astype("int64"), None
        return targets[:, 0].astype("int64"), targets[:, 1].astype("float64")
    columns = targets.reshape(len(targets), -1)
    weights = columns[:, n_out].astype("float64") if columns.shape[1] > n_out else None
    return columns[:, :n_out], weights
