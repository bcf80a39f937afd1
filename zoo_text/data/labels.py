"""Labels of texts as class numbers, and what is checked about texts and rows first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import did_you_mean, some

if TYPE_CHECKING:
    import pandas as pd


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


def label_cells(frame: pd.DataFrame, label: str | Sequence[str], delim: str | None, where: str) -> list[Any]:
    """The labels of each row: cells as they are, cells cut at `delim`, or lists of the marked columns."""
    names = [label] if isinstance(label, str) else list(label)
    for name in names:
        if name not in frame.columns:
            raise ValueError(
                f"{where}: no label column {name!r}{did_you_mean(name, frame.columns)}: "
                f"the frame has {', '.join(map(str, frame.columns))}"
            )
        if list(frame.columns).count(name) > 1:
            raise ValueError(f"{where}: the frame has more than one column {name!r}: rename or drop one")
    if not isinstance(label, str):
        marks = frame[names].to_numpy()
        if not np.isin(marks, (0, 1)).all():
            raise ValueError(f"{where}: the label columns {some(names)} may hold only 0 and 1")
        return [[name for name, mark in zip(names, row, strict=True) if mark] for row in marks]
    cells = frame[label].tolist()
    for row, cell in zip(frame.index, cells, strict=True):
        if not is_many(cell) and (cell is None or cell != cell):
            raise ValueError(f"{where}: the label in column {label!r}, row {row}, is missing")
    if delim is None:
        return cells
    if not delim:
        raise ValueError('label_delim is empty: give what stands between two labels, for example ";"')
    return [[part.strip() for part in str(cell).split(delim) if part.strip()] for cell in cells]


def held_out(val_idxs: Any, rows: int) -> np.ndarray:
    """Row numbers (or a mask) of the validation set as a mask (rows,), checked."""
    idxs = np.asarray(val_idxs)
    if idxs.ndim != 1 or idxs.dtype.kind not in "iub" or not len(idxs):
        raise ValueError("val_idxs must be a list of row numbers, at least one, or a mask of booleans")
    if idxs.dtype.kind == "b":
        if len(idxs) != rows:
            raise ValueError(f"val_idxs is a mask of {len(idxs)} rows, but train_df has {rows}")
        held = idxs.copy()
    else:
        wrong = idxs[(idxs < 0) | (idxs >= rows)]
        if len(wrong):
            raise ValueError(f"val_idxs holds {some(wrong)}, but the rows of train_df are 0 to {rows - 1}")
        numbers, counts = np.unique(idxs, return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"val_idxs holds row {some(numbers[counts > 1])} more than once")
        held = np.zeros(rows, dtype=bool)
        held[idxs] = True
    if held.all() or not held.any():
        raise ValueError(f"val_idxs leaves no rows to {'learn from' if held.all() else 'validate with'}")
    return held


def labelled_pair(part: Any, where: str) -> tuple[Sequence[str], Sequence[Any]]:
    """Texts and labels of a part that must have both."""
    if not isinstance(part, tuple | list) or len(part) != 2 or any(isinstance(one, str) for one in part):
        raise TypeError(f"{where} must be a pair: (texts, labels)")
    texts, labels = part
    if len(texts) != len(labels):
        raise ValueError(f"{where}: {len(texts)} texts but {len(labels)} labels")
    return texts, labels


def check_texts(texts: Sequence[Any], where: str) -> None:
    """That all are strings, and none is empty."""
    if isinstance(texts, str):
        raise TypeError(f"{where} is one string: give a list of texts")
    empty = []
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{where}, text {row}: {text!r} ({type(text).__name__}) is not a text")
        if not text or text.isspace():
            empty.append(row)
    if empty:
        raise ValueError(f"{where}: empty text in row {some(empty)}; leave such rows out")


def check_lengths(texts: Sequence[str], offsets: np.ndarray, where: str) -> None:
    """That the tokeniser found something in each text."""
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise ValueError(f"{where}: the tokeniser finds nothing in row {some(empty)}: {texts[empty[0]]!r}")
