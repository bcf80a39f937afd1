"""Which values the pictures of a set use, found in its files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zoo.data.loaders.cores import usable_cores
from zoo.vision.files.depths import ValueRange, is_deep, range_in_use, tell_small_range
from zoo.vision.files.opening import DECODE_ERRORS, opened, upright

log = logging.getLogger(__name__)

_LOOKED_AT = 16


def value_range_of(files: Iterable[str | os.PathLike[str]]) -> ValueRange:
    """The smallest and largest value of the deep grey pictures of a set, to be passed as `value_range`.

    Use the training pictures alone, as for every statistic of a set. What is no number is not counted;
    pictures of 8 bits and files that cannot be read are passed over.

    Args:
        files: the pictures; all are decoded, in threads.

    Raises:
        ValueError: there is no picture of 16 or 32 bits or floats among them, or all values are equal.

    >>> value_range_of([])
    Traceback (most recent call last):
    ...
    ValueError: none of the 0 pictures has more than 8 bits a sample: they need no value_range
    """
    paths = list(files)
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = [pair for pair in pool.map(_least_and_most, paths) if pair is not None]
    if not found:
        raise ValueError(
            f"none of the {len(paths)} pictures has more than 8 bits a sample: they need no value_range"
        )
    low, high = min(pair[0] for pair in found), max(pair[1] for pair in found)
    if low == high:
        raise ValueError(f"all values of the {len(found)} deep pictures are {low:g}: nothing can be seen")
    return low, high


def _least_and_most(path: str | os.PathLike[str]) -> ValueRange | None:
    try:
        with opened(path) as img:
            if not is_deep(img):
                return None
            values = np.asarray(img)
    except DECODE_ERRORS:
        return None
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else None


def tell_ranges(files: Sequence[Path], origin: str) -> bool:
    """Log a warning, once a process, when 16-bit pictures of a set use a small part of their range.

    Sixteen files, spread over the set, are looked at.

    Args:
        files: the training pictures.
        origin: names the set.

    Returns:
        Whether they use a small part.

    >>> tell_ranges([], "the data")
    False
    """
    rows = np.unique(np.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).astype(int))
    most, top = 0, 0
    for row in rows.tolist():
        try:
            with opened(files[row]) as img:
                used = range_in_use(upright(img)) if img.mode.startswith("I") else None
        except DECODE_ERRORS:  # told by those who look for broken files
            continue
        if used is not None:
            most, top = max(most, used[0]), max(top, used[1])
    return tell_small_range(most, top, origin)
