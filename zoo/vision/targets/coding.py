"""From what users write beside pictures to a kind of target and its raw values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from zoo.data.classes import Labels
from zoo.errors import some
from zoo.vision.targets.base import BadRow, Target
from zoo.vision.targets.labelled import ClassTarget, TagsTarget
from zoo.vision.targets.labels import classes_with_rows, classes_without_rows, encode_labels
from zoo.vision.targets.values import PointsTarget, ValueTarget, check_numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coded:
    """Raw targets, one a picture, and what they are."""

    raw: Any
    target: Target


Coding: TypeAlias = Callable[[Any, np.ndarray, str], Coded]
"""Takes what the user wrote for all pictures, the row numbers that train, and a name for errors."""


@dataclass(frozen=True)
class CodedClasses:
    """The coding of classes, and of several labels a picture; see `coded_classes`."""

    classes: Sequence[str] | None = None
    cat_separator: str | None = " "

    def __call__(self, raw: Any, train: np.ndarray, origin: str) -> Coded:
        labels = encode_labels(raw, cat_separator=self.cat_separator, classes=self.classes, origin=origin)
        valid = np.setdiff1d(np.arange(len(labels.y)), train)
        check_classes(labels, train, valid, chosen=self.classes is not None, origin=origin)
        return Coded(labels.y, (TagsTarget if labels.multi else ClassTarget)(labels.classes))


def coded_classes(classes: Sequence[str] | None = None, cat_separator: str | None = " ") -> CodedClasses:
    """Classes, or several labels a picture; arguments as of `encode_labels`."""
    return CodedClasses(classes, cat_separator)


def coded_values(names: Sequence[str] | None = None, *, standardize: bool = True) -> Coding:
    """Numbers to predict.

    Args:
        names: of the numbers of a picture.
        standardize: whether a network learns them with mean 0 and deviation 1 over the training pictures.
    """
    _check_names(names, "age")

    def code(raw: Any, train: np.ndarray, origin: str) -> Coded:
        numbers = check_numbers(raw, origin)
        target = ValueTarget.fitted(numbers[train], names, standardize=standardize, origin=origin)
        return Coded(numbers.astype(np.float32), target)

    return code


def coded_points(names: Sequence[str] | None = None) -> Coding:
    """Points, k x 2 numbers a picture.

    Args:
        names: of the k points.
    """
    _check_names(names, "nose")

    def code(raw: Any, train: np.ndarray, origin: str) -> Coded:
        rows = [_numbers_of(one, row, origin) for row, one in enumerate(raw)]
        lengths = sorted({len(row) for row in rows})
        if len(lengths) > 1 or lengths[0] % 2 or not lengths[0]:
            raise ValueError(
                f"{origin}: expected the same number of points (x, y) for each picture, got rows of "
                f"{some(lengths)} numbers"
            )
        numbers = check_numbers(np.stack(rows), origin, points=True)
        k = numbers.shape[1] // 2
        if np.nanmin(numbers) >= 0 and np.nanmax(numbers) <= 1:
            log.warning(
                "%s: all points lie between %g and %g; points are x and y in pixels: if these are shares of "
                "the sides, multiply by width and height",
                origin,
                np.nanmin(numbers),
                np.nanmax(numbers),
            )
        named = [f"point {i}" for i in range(k)] if names is None else list(names)
        if len(named) != k:
            raise ValueError(f"{origin}: {k} points a picture but {len(named)} names")
        return Coded(numbers.reshape(-1, k, 2).astype(np.float32), PointsTarget(named))

    return code


def _check_names(names: Sequence[str] | None, example: str) -> None:
    if isinstance(names, str):
        raise TypeError(f"names takes a list of names, such as ['{example}'], got {names!r}")


def _numbers_of(one: Any, row: int, origin: str) -> np.ndarray:
    try:
        return np.asarray(one, np.float64).reshape(-1)
    except (TypeError, ValueError):
        told = f"{origin}: picture {row}: expected numbers, x and y of each point, got {str(one)[:60]}"
        raise BadRow(told, row) from None


def check_classes(
    labels: Labels, train_rows: np.ndarray, valid_rows: np.ndarray, *, chosen: bool, origin: str
) -> None:
    """Refuse classes that only validation has, unless the user chose them; tell of others without rows."""
    unseen = classes_without_rows(labels, train_rows)
    if not chosen and not labels.multi:
        present = set(classes_with_rows(labels, valid_rows))
        only_valid = [name for name in unseen if name in present]
        if only_valid:
            raise ValueError(
                f"{origin}: label {some(map(repr, only_valid))} exists only in the validation pictures, "
                "so it cannot be learned: choose validation pictures that leave training pictures of every "
                "class"
            )
    if unseen:
        log.warning("%s: no training picture has the label %s", origin, some(map(repr, unseen)))
