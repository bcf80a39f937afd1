"""Pictures in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.vision.pictures import check_unit_range


def check_array(array: Any, name: str) -> np.ndarray:
    """Pictures in memory, checked: rows x H x W [x C], uint8 or float in [0, 1]."""
    array = np.asarray(array)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"{name}: expected pictures of shape rows x H x W [x channels], got shape {array.shape}"
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] > 4:
        raise ValueError(
            f"{name}: channels must come last (rows x H x W x channels), got shape {array.shape}"
        )
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: expected pictures as uint8 or float, got {array.dtype}")
    check_unit_range(array, name)
    return array.astype(np.float32, copy=False)
