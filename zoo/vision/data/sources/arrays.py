"""Pictures in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.data.classes import label_rows
from zoo.errors import some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.splits import SplitPictures
from zoo.vision.pictures import check_unit_range
from zoo.vision.targets.labels import encode_labels


def split_arrays(
    trn: tuple[np.ndarray, Any],
    val: tuple[np.ndarray, Any] | None,
    test: np.ndarray | None,
    classes: Sequence[str] | None,
) -> SplitPictures:
    """Pictures and labels in memory, checked against each other; see `from_arrays` for the arguments."""
    pictures = {"trn": trn[0], "val": None if val is None else val[0], "test": test}
    checked = {name: check_array(array, name) for name, array in pictures.items() if array is not None}
    channels = {name: 1 if a.ndim == 3 else a.shape[3] for name, a in checked.items()}
    if len(set(channels.values())) > 1:
        raise ValueError(f"pictures must have the same number of channels, got {channels}")
    for name, given in (("trn", trn), ("val", val)):
        if given is not None and len(given[0]) != len(given[1]):
            raise ValueError(f"{name}: {len(given[0])} pictures but {len(given[1])} labels")
    rows = [row for given in (trn, val) if given is not None for row in label_rows(given[1], "labels")]
    encoded = encode_labels(rows, cat_separator=None, classes=classes, origin="labels")
    n, c = len(trn[1]), channels["trn"]
    if not encoded.multi and val is not None:
        only_valid = set(encoded.y[n:].tolist()) - set(encoded.y[:n].tolist())
        if only_valid and classes is None:
            names = [encoded.classes[i] for i in sorted(only_valid)]
            raise ValueError(f"label {some(map(repr, names))} exists only in the validation pictures")
    return SplitPictures(
        train=ImageDataset(checked["trn"], encoded.y[:n], None, channels=c),
        valid=None if val is None else ImageDataset(checked["val"], encoded.y[n:], None, channels=c),
        test=None if test is None else ImageDataset(checked["test"], None, None, channels=c),
        classes=encoded.classes,
        is_multi=encoded.multi,
        channels=c,
    )


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
