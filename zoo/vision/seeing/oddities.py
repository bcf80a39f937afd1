"""Pictures unlike the rest: of an odd size, dark, blank, unreadable, or far from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.asked import told_n
from zoo.vision.files.names import shown
from zoo.vision.seeing.duplicates import has_features
from zoo.vision.seeing.features import frozen_features
from zoo.vision.seeing.looks import Looks, look_at, range_of
from zoo.vision.seeing.sets import PictureSet, picture_set

if TYPE_CHECKING:
    import pandas as pd

DARK, BRIGHT, BLANK = 16.0, 240.0, 1.5  # grey levels: mean, mean, deviation
_FAR = 4.5  # robust deviations from the median from which a number is odd
_NEIGHBOURS = 5
_BLOCK = 512


def odd_pictures(source: Any, n: int | None = None) -> pd.DataFrame:
    """Pictures that one should look at: unreadable, blank, very dark or bright, of an odd shape or size, and,
    of a learner, unlike all others by the features of its network.

    Shapes and sizes are odd by the rule of Iglewicz & Hoaglin (1993), modified z-scores on logarithms, where
    most pictures agree; a picture is unlike the rest by its mean distance to the five nearest ones.

    Args:
        source: a learner, picture data, a folder, or a list of files or arrays.
        n: the first so many, the oddest first; all by default.

    Returns:
        One row a picture: `file`, `part`, `label`, `why`, `score` (larger is odder), and `row` in the part.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pictures = [*rng.integers(0, 256, (9, 40, 40), dtype=np.uint8), np.zeros((40, 40), np.uint8)]
        >>> odd_pictures(pictures)[["file", "why"]].values.tolist()
        [['picture 9', 'blank, dark']]
    """
    pictures = picture_set(source)
    features = frozen_features(source) if has_features(source, pictures) else None
    return odd_table(pictures, look_at(pictures.items, value_range=range_of(source)), features, n)


def odd_table(
    pictures: PictureSet, looks: Looks, features: np.ndarray | None, n: int | None = None
) -> pd.DataFrame:
    """What `odd_pictures` gives, for pictures that were looked at."""
    import pandas as pd

    why: dict[int, list[str]] = {}
    score: dict[int, float] = {}

    def add(rows: np.ndarray, reason: str, how: np.ndarray) -> None:
        for row in rows.tolist():
            why.setdefault(row, []).append(reason)
            score[row] = max(score.get(row, 0.0), float(how[row]))

    readable = np.ones(len(looks), bool)
    readable[list(looks.broken)] = False
    for row, reason in looks.broken.items():
        why[row], score[row] = [f"cannot be read: {reason}"], 100.0
    add(np.flatnonzero(readable & (looks.contrast < BLANK)), "blank", np.full(len(looks), 50.0))
    add(np.flatnonzero(readable & (looks.light < DARK)), "dark", 10 + DARK - looks.light)
    add(np.flatnonzero(readable & (looks.light > BRIGHT)), "bright", 10 + looks.light - BRIGHT)
    sides = np.log(np.maximum(looks.sizes, 1).astype(np.float64))
    for values, reason in ((sides[:, 1] - sides[:, 0], "odd shape"), (sides.sum(1), "odd size")):
        far = np.zeros(len(looks))
        far[readable] = robust_score(values[readable], floor=0.1)
        add(np.flatnonzero(far > _FAR), reason, far)
    if features is not None:
        far = np.zeros(len(looks))
        rows = np.flatnonzero(readable)  # all: a network cannot run on others
        apart = neighbour_distance(features[rows], min(_NEIGHBOURS, len(rows) - 1))
        far[rows] = np.where(apart > np.median(apart), robust_score(apart, floor=0.01), 0.0)
        add(np.flatnonzero(far > _FAR), "unlike all others", far)
    order = sorted(why, key=lambda row: (-score[row], row))
    if n is not None:
        order = order[: told_n(n, len(order), "odd pictures")]
    return pd.DataFrame(
        {
            "file": [shown(pictures.names[row]) for row in order],
            "part": [str(pictures.parts[row]) for row in order],
            "label": [pictures.label(row) for row in order],
            "why": [_told(why[row], looks, row) for row in order],
            "score": [score[row] for row in order],
            "row": [int(pictures.rows[row]) for row in order],
        }
    )


def _told(reasons: list[str], looks: Looks, row: int) -> str:
    height, width = looks.sizes[row].tolist()
    named = [f"{one} ({width} x {height})" if one in ("odd shape", "odd size") else one for one in reasons]
    return ", ".join(named)


def robust_score(values: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """How many deviations values lie from their median, the deviation told by the median one.

    Args:
        values: one a row.
        floor: the least deviation that counts, for values that nearly all agree.

    Example:
        >>> robust_score(np.array([1.0, 1.1, 0.9, 1.0, 9.0]), floor=0.1).round(1).tolist()
        [0.0, 0.7, 0.7, 0.0, 54.0]
    """
    if not len(values):
        return np.empty(0)
    apart = np.abs(values - np.median(values))
    return apart / max(1.4826 * float(np.median(apart)), floor, 1e-12)


def neighbour_distance(features: np.ndarray, k: int = _NEIGHBOURS) -> np.ndarray:
    """The mean cosine distance of each row to its `k` nearest ones, in blocks.

    Args:
        features: rows of length 1, more than `k`.
        k: number of neighbours.
    """
    found = np.empty(len(features))
    for start in range(0, len(features), _BLOCK):
        block = features[start : start + _BLOCK]
        near = block @ features.T
        near[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        found[start : start + _BLOCK] = 1 - np.partition(near, -k, axis=1)[:, -k:].mean(1)
    return found
