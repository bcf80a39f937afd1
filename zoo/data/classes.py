"""Names of classes and their numbers, for every domain. No torch here.

A class goes by its name, a text: `class_name` says which. Labels come one a row, or several a row for
multi-label data; `Classes` turns them into numbers or marks and refuses those that are missing or unknown.
What differs from domain to domain (the order, whether blanks around a label count) is said by arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.row_names import BY_NUMBER, RowNames
from zoo.data.utf8 import writable
from zoo.errors import did_you_mean, some


@dataclass(frozen=True)
class Labels:
    """Encoded targets: class numbers (rows,), or 0/1 per class (rows, classes) when `multi`."""

    y: np.ndarray
    classes: list[str]
    multi: bool


def class_name(value: Any) -> str:
    """The name of a class: numbers go by their value, so that 1 and 1.0 are one class.

    Example:
        >>> class_name(1.0), class_name(np.int64(1)), class_name("1.0"), class_name(True), class_name(b"cat")
        ('1', '1', '1.0', 'True', 'cat')
        >>> class_name(Decimal("2.50"))
        '2.5'
    """
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, str):
        return writable(str(value))
    if isinstance(value, Decimal) and value.is_finite():
        return str(int(value)) if value == value.to_integral_value() else f"{value.normalize():f}"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def class_names(values: Iterable[Any]) -> list[str]:
    """The names of several classes."""
    return [class_name(value) for value in values]


def names_once(values: Iterable[Any]) -> dict[str, list[Any]]:
    """The classes that stand behind values, each name with the values that mean it, in their order.

    Args:
        values: labels that are not missing; of equal ones one is enough.

    Raises:
        ValueError: for texts that are told apart only by what no file can keep.

    Example:
        >>> names_once([1, "1", 2.0, True])
        {'1': [1, '1', True], '2': [2.0]}
    """
    found: dict[str, list[Any]] = {}
    for value in values:
        found.setdefault(class_name(value), []).append(value)
    for name, meant in found.items():
        texts = {value for value in meant if isinstance(value, str)} if "\ufffd" in name else set()
        if len(texts) > 1:
            raise ValueError(
                f"the labels {some(map(repr, sorted(texts)))} differ only in halves of surrogate pairs, "
                "which no file can keep: clean these texts first"
            )
    for value in (True, False):  # beside numbers they are the numbers 1 and 0
        own, number = str(value), str(int(value))
        if all(isinstance(one, bool | np.bool_) for one in found.get(own, [None])) and any(
            isinstance(one, int | float | np.number) for one in found.get(number, [])
        ):
            found[number] += found.pop(own)
    return found


def class_place(value: Any, classes: Sequence[str]) -> int | None:
    """The place of a class that is given by its value or by its name; None for no class.

    Example:
        >>> class_place(5.0, ["4.5", "5"]), class_place("4.5", ["4.5", "5"]), class_place(6, ["4.5", "5"])
        (1, 0, None)
        >>> class_place(True, ["False", "True"]), class_place(1, ["False", "True"])
        (1, 1)
    """
    return Classes(classes).place(value)


def is_number(name: str) -> bool:
    """Whether the name of a class is that of a number."""
    try:
        return bool(np.isfinite(float(name)))
    except ValueError:
        return False


def is_missing(label: Any) -> bool:
    """Whether there is no label: None, NaN, NA, NaT, or a text of blanks.

    Example:
        >>> [is_missing(label) for label in (None, float("nan"), pd.NaT, " ", "NA", 0, False)]
        [True, True, True, True, False, False, False]
    """
    if isinstance(label, str):
        return not label or label.isspace()
    return label is None or label is pd.NA or label is pd.NaT or bool(label != label)


def is_several(label: Any) -> bool:
    """Whether a label is a list of labels."""
    return isinstance(label, list | tuple | set | frozenset | np.ndarray)


def split_label(label: Any, separator: str | None) -> list[str]:
    """The labels in one cell, without blanks around them; a missing one holds none.

    Example:
        >>> split_label("haze  water", " "), split_label("a; b;", ";"), split_label(" a b ", None)
        (['haze', 'water'], ['a', 'b'], ['a b'])
    """
    text = "" if is_missing(label) else class_name(label)
    parts = text.split(separator) if separator else [text]
    return [part.strip() for part in parts if part.strip()]


def are_marks(values: np.ndarray) -> bool:
    """Whether an array holds only the numbers 0 and 1, or true and false."""
    return values.dtype.kind in "biufO" and bool(np.isin(values, (0, 1)).all())


def label_rows(labels: Any, where: str) -> list[Any]:
    """Labels of any kind as a list with one entry a row; a matrix gives a list a row, a column plain values.

    Args:
        labels: a list, series, array or tensor; two-dimensional ones may hold only 0 and 1.
        where: for errors.

    Raises:
        TypeError: a data frame, or something without rows.
        ValueError: an array of more than two dimensions, or a matrix of other numbers.
    """
    if isinstance(labels, pd.DataFrame):
        raise TypeError(
            f"{where}: expected one column of labels, got a data frame with the columns "
            f"{some(labels.columns)}: pass frame[column], or frame.to_numpy() and "
            "classes=list(frame.columns) for columns of 0 and 1"
        )
    if isinstance(labels, str | bytes | dict) or not hasattr(labels, "__iter__"):
        raise TypeError(f"{where}: expected a list of labels, one a row, got a {type(labels).__name__}")
    labels = _without_tensor(labels)
    if isinstance(labels, np.ndarray):
        if labels.ndim not in (1, 2):
            raise ValueError(f"{where}: expected labels as rows or rows x classes, got shape {labels.shape}")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        elif labels.ndim == 2:
            if not are_marks(labels):
                raise ValueError(
                    f"{where}: a two-dimensional label array must hold only 0 and 1 (rows x classes)"
                )
            return labels.tolist()
    rows = [_without_tensor(row) for row in labels]
    rows = [row.tolist() if isinstance(row, np.ndarray) else row for row in rows]
    return [class_name(row) if isinstance(row, bytes) else row for row in rows]


def _without_tensor(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def are_numbers(labels: Iterable[Any]) -> bool:
    """Whether all labels that are there are numbers; true and false are not."""
    there = [label for label in labels if not is_missing(label)]
    return bool(there) and all(
        isinstance(label, int | float | np.number) and not isinstance(label, bool) for label in there
    )


def marked(marks: Iterable[Sequence[Any]], names: Sequence[Any], where: str) -> list[list[Any]]:
    """The names of the marked columns of each row.

    Args:
        marks: rows of 0 and 1, a column a class.
        names: of the columns.
        where: for errors.

    Example:
        >>> marked([[1, 0], [1, 1]], ["a", "b"], "train")
        [['a'], ['a', 'b']]
    """
    rows = list(marks)
    if rows and len(rows[0]) != len(names):
        raise ValueError(f"{where}: {len(rows[0])} label columns but {len(names)} class names")
    return [[name for name, mark in zip(names, row, strict=True) if mark] for row in rows]


def check_enough(classes: Sequence[Any], where: str, least: int = 2) -> None:
    """Raise where there are fewer classes than can be told apart.

    Args:
        classes: their names or values.
        where: what has them, as "the target has".
        least: 2 for classes, 1 for labels of which a row may have several.
    """
    if not classes:
        needed = "two classes" if least > 1 else "one label"
        raise ValueError(f"{where} no labels: a classifier needs at least {needed}")
    if len(classes) < least:
        raise ValueError(
            f"{where} only one class, {classes[0]!r}: there is nothing to learn, a classifier needs at least "
            "two classes"
        )


def names_with_rows(y: np.ndarray, names: Sequence[str], rows: Any = slice(None)) -> list[str]:
    """Names of the classes that some of these rows have.

    Args:
        y: class numbers (rows,), or marks (rows, classes).
        names: of all classes.
        rows: which rows to look at; all by default.
    """
    chosen = y[rows]
    counts = chosen.sum(0) if chosen.ndim == 2 else np.bincount(chosen, minlength=len(names))
    return [name for name, count in zip(names, counts.tolist(), strict=True) if count]


def names_without_rows(y: np.ndarray, names: Sequence[str], rows: Any = slice(None)) -> list[str]:
    """Names of the classes that none of these rows has: there is nothing to learn them from."""
    present = set(names_with_rows(y, names, rows))
    return [name for name in names if name not in present]


class Classes:
    """Names of classes in a fixed order; the place of a name is the number of its class.

    Args:
        names: of the classes.
        trained: whether they are those that the training labels hold, for the errors.

    Example:
        >>> classes = Classes.found(["dog", "cat", "dog"])
        >>> classes.names, classes.numbers(["dog", "cat"], "valid").tolist()
        (['cat', 'dog'], [1, 0])
        >>> classes.numbers(["bird"], "valid")
        Traceback (most recent call last):
        ...
        ValueError: valid, row 0: class 'bird' does not occur in training: the classes are cat, dog
    """

    def __init__(self, names: Sequence[str], *, trained: bool = False) -> None:
        self.names, self.trained = list(names), trained
        self._places = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def given(cls, classes: Any) -> Classes:
        """The classes that a caller names, checked.

        Raises:
            TypeError: for one string.
            ValueError: for none at all, for a name that is missing or comes twice, also once as a number and
                once as a text.
        """
        if isinstance(classes, str):
            raise TypeError(f"classes is one string, {classes!r}: give a list of names")
        listed = list(classes)
        if not listed:
            raise ValueError(
                "classes is empty: name the classes, or leave it out to take those that are there"
            )
        missing = [place for place, name in enumerate(listed) if is_missing(name)]
        if missing:
            raise ValueError(f"classes holds {listed[missing[0]]!r}, which is no name")
        names = class_names(listed)
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"classes holds {some(twice)} more than once")
        return cls(names)

    @classmethod
    def found(cls, labels: Iterable[Any], *, several: bool = False, by_value: bool = False) -> Classes:
        """The classes that occur; missing labels are none.

        Args:
            labels: one a row, or lists of them where `several`.
            several: whether rows may be lists of labels; a bare one is then a list of one.
            by_value: order names of numbers by their value; otherwise the order is alphabetical, "10" before
                "9".
        """
        each = (label for row in labels for label in _each(row, several))
        names = names_once(_distinct(label for label in each if is_several(label) or not is_missing(label)))
        return cls(sorted(names, key=float if by_value else None), trained=True)

    def __len__(self) -> int:
        return len(self.names)

    def place(self, label: Any) -> int | None:
        """The number of a class that is given by its value or by its name; None for no class."""
        places, plain = self._places, label.item() if isinstance(label, np.generic) else label
        found = places.get(class_name(label), places.get(class_name(plain)))
        if found is None and isinstance(plain, bool | int | float) and plain in (0, 1):  # 1 equals True
            found = places.get(str(int(plain)), places.get(str(bool(plain))))
        return found

    def numbers(self, labels: Sequence[Any], where: str, rows: RowNames = BY_NUMBER) -> np.ndarray:
        """Class numbers (rows,), int64, of one label a row.

        Args:
            labels: one a row.
            where: for errors.
            rows: what the rows are called in errors.

        Raises:
            ValueError: for rows without a label, with several, or with an unknown one.
        """
        missing = []
        for row, label in enumerate(labels):
            if is_several(label):
                raise ValueError(
                    f"{where}, {rows(row)}: a list of labels, but the training labels are single ones"
                )
            if is_missing(label):
                missing.append(row)
        _check_present(missing, where, rows)
        places = [self.place(label) for label in labels]
        if None in places:
            self._refuse(labels, where, rows, several=False)
        return np.asarray(places, np.int64).reshape(len(labels))

    def marks(self, labels: Sequence[Any], where: str, rows: RowNames = BY_NUMBER) -> np.ndarray:
        """0 or 1 for each class (rows, classes), float32, of rows with any number of labels.

        Args:
            labels: any number a row.
            where: for errors.
            rows: what the rows are called in errors.

        Raises:
            ValueError: for a label that is missing or unknown.
        """
        marks = np.zeros((len(labels), len(self.names)), np.float32)
        for row, label in enumerate(labels):
            for one in _each(label, True):
                if is_several(one) or isinstance(one, dict) or is_missing(one):
                    _check_present([row] if one is label else [], where, rows)
                    raise ValueError(f"{where}: {rows(row)} holds {one!r}, which is no label")
                place = self.place(one)
                if place is None:
                    self._refuse(labels, where, rows, several=True)
                else:
                    marks[row, place] = 1
        return marks

    def _refuse(self, labels: Sequence[Any], where: str, rows: RowNames, *, several: bool) -> None:
        """Raise for the labels that are not among the classes."""
        unknown = [
            (row, class_name(label))
            for row, many in enumerate(labels)
            for label in _each(many, several)
            if not is_missing(label) and self.place(label) is None
        ]
        names = sorted({name for _, name in unknown})
        meant, classes = did_you_mean(names[0], self.names), some(self.names, 20)
        told, place = some(map(repr, names)), f"{where}, {rows(unknown[0][0])}"
        if self.trained:
            raise ValueError(
                f"{place}: class {told} does not occur in training{meant}: the classes are {classes}"
            )
        raise ValueError(f"{place}: label {told} is not among the classes {classes}{meant}")


def _distinct(labels: Iterable[Any]) -> Iterable[Any]:
    """Labels without those that came before; 1 and True both stay, lists pass."""
    seen: set[Any] = set()
    for label in labels:
        key = (type(label), label if label.__hash__ else id(label))
        if key not in seen:
            seen.add(key)
            yield label


def _check_present(missing: list[int], where: str, rows: RowNames) -> None:
    if len(missing) == 1:
        raise ValueError(f"{where}, {rows(missing[0])}: the label is missing; drop the row or label it")
    if missing:
        raise ValueError(
            f"{where}: {len(missing)} labels are missing, in {rows.some(missing)}; drop or label them"
        )


def _each(label: Any, several: bool) -> Iterable[Any]:
    return label if several and is_several(label) else (label,)
