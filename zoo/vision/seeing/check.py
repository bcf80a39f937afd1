"""`check_data` for pictures: what would make a good score a false one, and what would waste a fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from zoo.data.check.check_data import EXAMPLES, Split, class_counts, class_findings, plain_name
from zoo.data.check.report import DataReport, Finding
from zoo.vision.files.names import shown
from zoo.vision.seeing.duplicates import NEAR, across_split, contradicting, duplicate_table
from zoo.vision.seeing.looks import look_at, range_of
from zoo.vision.seeing.oddities import odd_table
from zoo.vision.seeing.sets import PictureSet, picture_set


def check_pictures(data: Any) -> DataReport:
    """Look at every picture once; nothing is changed.

    Told are pictures that cannot be read, that are there twice in training, on both sides of the split or
    among those to predict (by content, and by look, see `find_duplicates`), that are labelled in two ways,
    that are blank, dark or of an odd shape or size, a validation on random views, and classes that are rare
    or missing on one side.

    Args:
        data: picture data with training pictures.

    Example:
        >>> from zoo.vision import ImageClassifierData
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.integers(0, 256, (40, 20, 20, 3), dtype=np.uint8), ["cat", "dog"] * 20
        >>> data = ImageClassifierData.from_arrays(None, (x, y), (x[:2], y[:2]))
        >>> check_pictures(data).findings[0].what
        'training pictures in validation'
    """
    pictures = picture_set(data)
    pictures = replace(pictures, names=[shown(name) for name in pictures.names])
    looks = look_at(pictures.items, value_range=range_of(data))
    twins = duplicate_table(pictures, looks, None, NEAR["look"])
    odd = odd_table(pictures, looks, None)
    sizes = {part: int((pictures.parts == part).sum()) for part in dict.fromkeys(pictures.parts.tolist())}
    findings = [*_unreadable(pictures, looks.broken), *_twins(twins, sizes), *_odd(odd, len(pictures))]
    findings += _random_validation(data, sizes.get("valid", 0))
    classes: dict[str, dict[str, int]] = {}
    if pictures.classes and pictures.y is not None:
        of_train = pictures.parts[: pictures.n_labelled] == "train"
        train, valid = pictures.y[of_train], pictures.y[~of_train]
        split = Split((train,), (valid,) if len(valid) else (), list(pictures.classes), True, plain_name)
        classes = class_counts(split)
        findings += class_findings(classes, bool(len(valid)))
    remark = "near duplicates are told by look; those that a network sees: zoo.vision.find_duplicates(learn)"
    return DataReport(findings, sizes, classes, (remark,))


def _random_validation(data: Any, n: int) -> list[Finding]:
    tfms = getattr(data, "tfms", None)
    if not n or not tfms or not tfms[1].is_random:
        return []
    swapped = not tfms[0].is_random
    cure = (
        "Have the transforms changed places? It is tfms=(train, valid)."
        if swapped
        else "Validate with the plain transform, the second that tfms_from_model gives."
    )
    return [Finding("warning", "validation on random views", "valid", n, 1.0, (), cure)]


def _unreadable(pictures: PictureSet, broken: dict[int, str]) -> list[Finding]:
    if not broken:
        return []
    examples = tuple(f"{pictures.names[row]} ({reason})" for row, reason in list(broken.items())[:EXAMPLES])
    parts = ", ".join(dict.fromkeys(str(pictures.parts[row]) for row in broken))
    share = len(broken) / len(pictures)
    cure = "Remove or replace them: the first batch that holds one stops the training."
    return [Finding("error", "pictures that cannot be read", parts, len(broken), share, examples, cure)]


def _twins(twins: pd.DataFrame, sizes: dict[str, int]) -> list[Finding]:
    twisted, crossing = contradicting(twins), across_split(twins)
    valid, test = crossing[crossing.part == "valid"], crossing[crossing.part == "test"]
    exact, near = valid[valid.kind == "exact"], valid[valid.kind == "near"]
    known = test[test.kind == "exact"]
    inside = twins[(twins.part == "train") & (twins.twin_part == "train")]
    many = len(inside) > 0.01 * sizes.get("train", 0)
    across = "training pictures in validation"
    apart = "Keep pictures of one scene on one side of the split."
    drop = "Drop them, or keep them on one side: the score looks better than it is."
    look = "Look at these labels, as with zoo.vision.cleaning_page: no model can be right on both."
    done = "Their answers are known: see whether they should be predicted."
    copies = "Drop the duplicates, unless they are cases of their own."
    twice = "warning" if many else "note", "training pictures that occur twice", "equal or nearly alike"
    return [
        *_pairs("error", across, "equal content", exact, sizes.get("valid"), drop),
        *_pairs("warning", across, "nearly alike", near, sizes.get("valid"), apart),
        *_pairs(
            "warning", "alike, but labelled differently", "train, valid", twisted, None, look, sign="and"
        ),
        *_pairs("warning", "training pictures to predict", "equal content", known, sizes.get("test"), done),
        *_pairs(*twice, inside, sizes.get("train"), copies),
    ]


def _pairs(
    severity: str, what: str, where: str, table: pd.DataFrame, of: int | None, cure: str, *, sign: str = "="
) -> list[Finding]:
    if not len(table):
        return []
    first = table.head(EXAMPLES)
    examples = tuple(f"{one} {sign} {other}" for one, other in zip(first.file, first.twin, strict=True))
    share = None if of is None else len(table) / max(of, 1)
    return [Finding(severity, what, where, len(table), share, examples, cure)]


def _odd(odd: pd.DataFrame, n: int) -> list[Finding]:
    if not len(odd):
        return []
    odd = odd[~odd.why.str.startswith("cannot be read")]
    empty = odd.why.str.contains("blank|dark|bright")
    found = []
    for severity, what, table, cure in (
        (
            "warning",
            "blank, dark or bright pictures",
            odd[empty],
            "Look at them: there may be nothing to see.",
        ),
        (
            "note",
            "pictures of an odd shape or size",
            odd[~empty],
            "Look at what is cut off when they are cropped.",
        ),
    ):
        if len(table):
            first = table.head(EXAMPLES)
            examples = tuple(f"{file} ({why})" for file, why in zip(first.file, first.why, strict=True))
            parts = ", ".join(dict.fromkeys(table.part))
            found.append(Finding(severity, what, parts, len(table), len(table) / n, examples, cure))
    return found
