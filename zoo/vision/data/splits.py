"""Pictures in three parts, for training, validation and test, and which rows go where."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zoo.data.classes import Labels
from zoo.data.splits import get_cv_idxs
from zoo.errors import some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.files.checking import OnBroken, check
from zoo.vision.transforms.image_transform import TransformPair

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitPictures:
    """What every source of pictures hands over: pictures with their targets, split, not yet transformed.

    Attributes:
        train: training pictures.
        valid: validation pictures.
        test: pictures without targets.
        classes: class names; what the numbers or columns of the targets mean.
        is_multi: whether a picture can have several labels.
        channels: channels of a picture.
    """

    train: ImageDataset
    valid: ImageDataset | None
    test: ImageDataset | None
    classes: list[str]
    is_multi: bool = False
    channels: int = 3

    def transformed(
        self, tfms: TransformPair
    ) -> tuple[ImageDataset, ImageDataset | None, ImageDataset | None]:
        """The three parts, the first with the training transform, the others with the other one."""
        valid, test = (None if part is None else part.with_tfm(tfms[1]) for part in (self.valid, self.test))
        return self.train.with_tfm(tfms[0]), valid, test

    def readable(self, on_broken: OnBroken, *, ranged: bool = True) -> SplitPictures:
        """Without the pictures that cannot be read, if these are to be skipped.

        Args:
            on_broken: what is done with them.
            ranged: see `check_headers`.

        Raises:
            ValueError: for another word than "raise" and "skip", or where a part has no picture left.
        """
        if on_broken == "raise":  # named before a training begins
            return self
        parts = [
            part
            if part is None or not len(part.files)
            else part.only(check(part.files, on_broken=on_broken, ranged=ranged))
            for part in (self.train, self.valid, self.test)
        ]
        return replace(self, train=parts[0], valid=parts[1], test=parts[2])


def validation_rows(
    val_idxs: Sequence[int] | np.ndarray | None, n: int, kept: np.ndarray, origin: str
) -> np.ndarray:
    """Row numbers to validate on that are kept, each once, in the order given.

    By default a fixed random fifth of the rows that are kept, in ascending order.
    """
    if val_idxs is None:
        return np.sort(kept[get_cv_idxs(len(kept))])
    rows = np.asarray(val_idxs)
    if rows.dtype == bool:
        raise ValueError("val_idxs takes row numbers, got booleans; use numpy.flatnonzero(mask)")
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"val_idxs takes a list of whole row numbers, got {rows.dtype} values of shape {rows.shape}"
        )
    outside = [int(i) for i in rows if not 0 <= i < n]
    if outside:
        raise ValueError(f"val_idxs: row {some(outside)} is outside the {n} rows of {origin} (0 to {n - 1})")
    there = set(kept.tolist())
    return np.array([row for row in dict.fromkeys(rows.tolist()) if row in there], dtype=np.int64)


def without_stranded(labels: Labels, valid_rows: np.ndarray, kept: np.ndarray, origin: str) -> np.ndarray:
    """The validation rows without those whose class would be left without a training picture."""
    if labels.multi:
        return valid_rows
    train = np.setdiff1d(kept, valid_rows)
    there = set(labels.y[train].tolist())
    stranded = [row for row in valid_rows.tolist() if int(labels.y[row]) not in there]
    first = {int(labels.y[row]): row for row in reversed(stranded)}
    if not first:
        return valid_rows
    names = [labels.classes[number] for number in sorted(first)]
    log.warning(
        "%s: %s would have no training picture, so one of each is taken from the validation pictures",
        origin,
        some(map(repr, names)),
    )
    return valid_rows[~np.isin(valid_rows, list(first.values()))]
