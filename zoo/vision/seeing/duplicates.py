"""Pictures that are there twice, exactly or nearly, also across the split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo.vision.files.names import shown
from zoo.vision.seeing.features import frozen_features
from zoo.vision.seeing.looks import HASH_BITS, Looks, look_at, range_of
from zoo.vision.seeing.sets import PictureSet, data_of, picture_set

if TYPE_CHECKING:
    import pandas as pd

NEAR = {"look": 0.12, "features": 0.22}
"""Distances up to which pictures count as near duplicates.

The two nearest of 150 photos of cats and dogs differ in 0.29 of the bits, and stand 0.36 apart by features of
mobilenet_v2 (128 pixels). Their copies at half size or JPEG quality 40 differ in less than 0.06 of the bits;
crops of 90% and mirrored copies stand less than 0.22 apart. On other photos (600 of three breeds of pets and
1,000 of cats and dogs) "look" lists six pairs, all of which are one photo twice, and finds 119, 120 and 115
of 120 copies at half size, of quality 40 and a quarter brighter, but only 49 of those cropped to 95%.
"""
FEWEST = 30  # pictures from which their mean says enough to compare features around it
_BLOCK = 512
_FLAT = 4.0  # grey levels of deviation below which a picture has nothing that a hash could tell apart

By = Literal["look", "features", "both"]


def find_duplicates(source: Any, *, by: By | None = None, max_distance: float | None = None) -> pd.DataFrame:
    """Pictures that equal or nearly equal others, the nearest first.

    Equal contents are found first, then near duplicates: by look (a 256-bit difference hash, which sees
    through other sizes, compression and brightness), and, of a learner, by the features of its network, too
    (which see through crops, mirroring and small changes of the scene, but not always through other sizes).
    Every picture is listed with the
    nearest one before it in its own part of the split, and those of validation and test with the nearest one
    of training, too. 10,000 pictures take seconds once they are opened; memory grows with their number only.

    Args:
        source: a learner, picture data, a folder, or a list of files or arrays.
        by: "look", "features", or "both"; by default "both" for a learner with at least 30 pictures, else
            "look".
        max_distance: the largest distance listed, 0 to 1; by default 0.12 of the bits for "look", a cosine
            distance of 0.22 around the mean for "features" (or half of the usual distance to the nearest
            other, where that is less). With "both" it can only lower that of "look".

    Returns:
        One row a pair: `file`, `twin`, `distance` (0 for equal contents), `kind` ("exact" or "near"), `by`
        ("contents", or what the distance is of: "look" or "features"; what both see is told once, by look),
        `part` and `twin_part` of the split, `label` and `twin_label`, and `row` and `twin_row` within their
        parts.

    Raises:
        ValueError: for `by="features"` without a learner, and for distances outside of [0, 1].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pictures = list(rng.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8))
        >>> found = find_duplicates([*pictures, pictures[1]])
        >>> found[["file", "twin", "kind"]].values.tolist()
        [['picture 3', 'picture 1', 'exact']]
    """
    pictures = picture_set(source)
    from_learner = has_features(source, pictures)
    if by is None:
        by = "both" if from_learner else "look"
    if by not in (*NEAR, "both"):
        raise ValueError(f"by must be 'look', 'features' or 'both', got {by!r}")
    if by != "look" and not from_learner:
        raise ValueError(
            f"by={by!r} needs a learner, whose network makes features, and {FEWEST} pictures: use by='look'"
        )
    if max_distance is not None and not 0 <= float(max_distance) <= 1:
        raise ValueError(f"max_distance lies between 0 (equal) and 1, got {max_distance}")
    looks = look_at(pictures.items, value_range=range_of(source))
    if len(looks.broken) == len(pictures):
        row, reason = next(iter(looks.broken.items()))
        raise ValueError(
            f"find_duplicates: none of the pictures can be read; {shown(pictures.names[row])}: {reason}"
        )
    features = None if by == "look" else frozen_features(source)
    limit = near_limit(features) if max_distance is None else float(max_distance)
    if by == "both":
        return table_of_both(pictures, looks, features, limit)
    return duplicate_table(pictures, looks, features, limit)


def table_of_both(
    pictures: PictureSet, looks: Looks, features: np.ndarray | None, limit: float | None = None
) -> pd.DataFrame:
    """What is alike by look, and what is by features where there are some.

    Args:
        features: rows x values.
        limit: largest distance of features; of looks it is no larger than usual. None: the usual one.
    """
    import pandas as pd

    of_look = NEAR["look"] if limit is None else min(limit, NEAR["look"])
    found = [duplicate_table(pictures, looks, None, of_look)]
    if features is not None:
        limit = near_limit(features) if limit is None else limit
        found.append(duplicate_table(pictures, looks, features, limit))
    every = pd.concat(found, ignore_index=True)
    every = every.drop_duplicates(["part", "row", "twin_part", "twin_row"])
    order = np.lexsort((every.distance, every.kind != "exact"))
    return every.iloc[order].reset_index(drop=True)


def has_features(source: Any, pictures: PictureSet) -> bool:
    """Whether pictures can be compared by the features of a network."""
    return hasattr(source, "model") and data_of(source) is not None and len(pictures) >= FEWEST


def duplicate_table(
    pictures: PictureSet, looks: Looks, features: np.ndarray | None, limit: float
) -> pd.DataFrame:
    """What `find_duplicates` gives, for pictures that were looked at.

    Args:
        features: rows x values; `None` compares by look.
        limit: largest distance.
    """
    import pandas as pd

    pairs = nearest_earlier(pictures.parts, looks, features, limit)
    rows = np.array([[row, twin] for row, twin, _, _ in pairs], dtype=np.int64).reshape(-1, 2)
    labels = [pictures.label(i) for i in range(len(pictures))]
    named = {"": rows[:, 0], "twin_": rows[:, 1]}
    columns: dict[str, Any] = {
        "file": [shown(pictures.names[i]) for i in rows[:, 0]],
        "twin": [shown(pictures.names[i]) for i in rows[:, 1]],
        "distance": np.array([distance for _, _, distance, _ in pairs], dtype=np.float64),
        "kind": np.array(["exact" if exact else "near" for _, _, _, exact in pairs], dtype=object),
    }
    by = "look" if features is None else "features"
    columns["by"] = np.array(["contents" if exact else by for _, _, _, exact in pairs], dtype=object)
    for prefix, numbers in named.items():
        columns[f"{prefix}part"] = pictures.parts[numbers].astype(object)
        columns[f"{prefix}label"] = [labels[i] for i in numbers]
        columns[f"{prefix}row"] = pictures.rows[numbers]
    order = np.lexsort((rows[:, 0], columns["distance"], columns["kind"] != "exact"))
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def near_limit(features: np.ndarray | None) -> float:
    """Up to which distance two pictures are near duplicates: by features at most half of what half of all
    pictures (1,000 are looked at) stand apart from their nearest other. In sets that are all much alike, such
    as tiles of a map, two that are the same stand closer still.

    Args:
        features: rows of length 1; `None` compares by look.
    """
    if features is None:
        return NEAR["look"]
    rows = features[:: max(1, len(features) // 1000)]
    apart = 1 - rows @ rows.T
    np.fill_diagonal(apart, np.inf)
    usual = float(np.median(apart.min(1))) if len(rows) > 1 else np.inf
    return min(NEAR["features"], usual / 2)


def nearest_earlier(
    parts: np.ndarray, looks: Looks, features: np.ndarray | None, limit: float
) -> list[tuple[int, int, float, bool]]:
    """Pairs (row, earlier row, distance, equal contents), at most two for a row: one within its part of the
    split, one in training."""
    found: dict[tuple[int, str], tuple[int, int, float, bool]] = {}
    readable = np.ones(len(looks), bool)
    readable[list(looks.broken)] = False
    first: dict[tuple[bytes, str], int] = {}
    for row in np.flatnonzero(readable).tolist():
        for part in dict.fromkeys((str(parts[row]), "train")):
            twin = first.get((looks.digests[row], part))
            if twin is not None:
                found[row, part] = (row, twin, 0.0, True)
        first.setdefault((looks.digests[row], str(parts[row])), row)
    rows = np.flatnonzero(readable)
    order = {str(part): rows[parts[rows] == part] for part in dict.fromkeys(parts[rows].tolist())}
    for part, those in order.items():
        for other in dict.fromkeys((part, "train")):
            against = order.get(other, np.empty(0, np.int64))
            for start in range(0, len(those), _BLOCK):
                block = those[start : start + _BLOCK]
                near, twin = _nearest(block, against, looks, features, same=part == other)
                for row, distance, number in zip(block.tolist(), near, twin, strict=True):
                    if distance <= limit and (row, other) not in found:
                        found[row, other] = (row, int(number), float(distance), False)
    return list(found.values())


def _nearest(
    block: np.ndarray,
    against: np.ndarray,
    looks: Looks,
    features: np.ndarray | None,
    *,
    same: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest distance of each row of `block` to rows of `against` (of the same part: earlier ones)."""
    if not len(against):
        return np.full(len(block), np.inf), np.zeros(len(block), np.int64)
    if same:  # the rows of a part are in ascending order
        against = against[: int(np.searchsorted(against, block[-1]))]
        if not len(against):
            return np.full(len(block), np.inf), np.zeros(len(block), np.int64)
    if features is None:
        distances = _hash_distances(looks.hashes[block], looks.hashes[against])
        _flat_apart(distances, block, against, looks)
    else:
        distances = np.clip(1 - features[block] @ features[against].T, 0, None)
    if same:
        distances[against[None] >= block[:, None]] = np.inf
    best = distances.argmin(1)
    return distances[np.arange(len(block)), best], against[best]


def _hash_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of different bits, rows of one x rows of the other."""
    count = np.zeros((len(one), len(other)), np.uint16)
    for word in range(one.shape[1]):
        count += np.bitwise_count(one[:, None, word] ^ other[None, :, word])
    return count.astype(np.float32) / HASH_BITS


def _flat_apart(distances: np.ndarray, block: np.ndarray, against: np.ndarray, looks: Looks) -> None:
    """Blank pictures have hardly any bits that tell them apart: these must agree in colour, too."""
    for i in np.flatnonzero(looks.contrast[block] < _FLAT).tolist():
        apart = looks.tiny[against].astype(np.int16) - looks.tiny[block[i]]
        distances[i, np.abs(apart).mean((1, 2, 3)) > _FLAT] = np.inf


def across_split(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `find_duplicates` whose two pictures lie in different parts of the split."""
    return table[table.part != table.twin_part]


def contradicting(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `find_duplicates` whose two pictures are labelled differently."""
    labelled = (table.label != "") & (table.twin_label != "")
    return table[labelled & (table.label != table.twin_label)]
