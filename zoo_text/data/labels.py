"""Labels of texts as class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo.errors import did_you_mean, some


def is_many(label: Any) -> bool:
    """Whether a label is a list of labels."""
    return isinstance(label, list | tuple | set | frozenset | np.ndarray)


def class_name(label: Any) -> str:
    """The name of a class: numbers go by their value, so that 1 and 1.0 are one class.

    Example:
        >>> class_name(1.0), class_name(np.int64(1)), class_name("1.0"), class_name(True)
        ('1', '1', '1.0', 'True')
    """
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def present_classes(labels: Iterable[Any], multi: bool) -> list[str]:
    """The class names that occur, in alphabetical order."""
    return sorted({class_name(one) for label in labels for one in _each(label, multi)})


def given_classes(classes: Any) -> list[str]:
    """The class names of a caller, checked."""
    if isinstance(classes, str):
        raise TypeError(f"classes is one string, {classes!r}: give a list of names")
    names = [class_name(name) for name in classes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"classes holds {some(twice)} more than once")
    return names


def make_targets(
    labels: Sequence[Any] | None, rows: int, classes: Sequence[str], multi: bool, where: str
) -> np.ndarray:
    """Class numbers (rows,), int64, or marks (rows, classes), float32, for multi-label data.

    Args:
        labels: One a text, or lists of them if `multi`; None gives zeros.
        rows: Number of texts.
        classes: All class names.
        multi: Whether a text may have several labels; a bare one then counts as a list of one.
        where: For errors.
    """
    place = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((rows, len(classes)), np.float32) if multi else np.zeros(rows, np.int64)
    for row, label in enumerate(() if labels is None else labels):
        if is_many(label) and not multi:
            raise ValueError(f"{where}, row {row}: a list of labels, but the training labels are single ones")
        for one in _each(label, multi):
            name = class_name(one)
            if one is None or one != one:
                raise ValueError(f"{where}, row {row}: the label is missing")
            if name not in place:
                raise ValueError(
                    f"{where}, row {row}: class {name!r} does not occur in training"
                    f"{did_you_mean(name, classes)}: the classes are {some(classes, 10)}"
                )
            if multi:
                targets[row, place[name]] = 1
            else:
                targets[row] = place[name]
    return targets


def _each(label: Any, multi: bool) -> Iterable[Any]:
    return label if multi and is_many(label) else (label,)
