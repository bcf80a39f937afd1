"""Points that cannot be meant: far outside of the picture that they are said to lie in."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import ExifTags

from zoo.vision.files.file_list import FileList
from zoo.vision.files.names import shown
from zoo.vision.files.opening import opened
from zoo.vision.pictures import DECODE_ERRORS

log = logging.getLogger(__name__)

MOST_HEADERS = 2_000
"""Of so many files the size is looked up: with more pictures, of those with the largest coordinates."""


def tell_far_points(points: np.ndarray, pictures: FileList | np.ndarray, origin: str) -> None:
    """Say which points lie more than a side away from their picture.

    Args:
        points: rows x points x 2, x and y in pixels; NaN where one is missing.
        pictures: files, or rows x height x width [x channels].
        origin: what is told of.
    """
    extent = np.nan_to_num(np.abs(points).reshape(len(points), -1), posinf=np.inf).max(1, initial=0)
    rows = np.argsort(-extent, kind="stable")[:MOST_HEADERS]
    if isinstance(pictures, np.ndarray):
        rows = np.arange(len(points))
        sides = np.broadcast_to(pictures.shape[2:0:-1], (len(points), 2)).astype(np.float64)
    else:
        rows = np.sort(rows)
        sides = np.array([_sides(pictures[row]) for row in rows.tolist()]).reshape(-1, 2)
    here, limits = points[rows], sides[:, None]
    beyond: np.ndarray = (here < -limits) | (here > 2 * limits)
    outside = np.asarray(beyond.any(2))  # of sides that are not known none is
    far = np.asarray(outside.any(1))
    if not far.any():
        return
    first = int(far.argmax())
    x, y = here[first][outside[first]][0]
    row = int(rows[first])
    name = f"picture {row}" if isinstance(pictures, np.ndarray) else f"{shown(pictures[row])}"
    log.warning(
        "%s: %d pictures have points that lie more than a side outside; the first is %s, with (%g, %g) in "
        "%d x %d pixels: points are x and y in pixels of their picture",
        origin, int(far.sum()), name, x, y, *sides[first],
    )  # fmt: skip


def _sides(file: object) -> Sequence[float]:
    """Width and height of a picture as it is shown; NaN where the header does not tell."""
    try:
        with warnings.catch_warnings(), opened(str(file)) as img:
            warnings.simplefilter("ignore")  # of metadata; reading the picture tells
            width, height = img.size
            turned = img.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except (*DECODE_ERRORS, FileNotFoundError):  # named where it is read
        return np.nan, np.nan
    return (height, width) if turned else (width, height)
