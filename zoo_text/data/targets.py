"""What the labels of texts mean (classes, any number of labels, or values), as arrays for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.classes import Classes, check_enough, is_missing, is_number, is_several
from zoo.data.value_scale import ValueScale
from zoo.errors import did_you_mean
from zoo_text.data.checks import LabelledTexts

TASKS = ("classification", "multilabel", "regression")
_FEW = 20  # different numbers that may well be classes


def check_task(task: Any) -> None:
    """That a task is one of those that texts may have, or none."""
    if task is not None and task not in TASKS:
        raise ValueError(
            f"task={task!r} is not known{did_you_mean(task, TASKS)}: the tasks of labelled texts are "
            f"{', '.join(TASKS)}"
        )


@dataclass(frozen=True)
class TextTargets:
    """How labels become what a network learns, as the training labels tell.

    Attributes:
        task: "classification", "multilabel" or "regression".
        classes: of the first two.
        scale: of the last.
    """

    task: str
    classes: Classes | None = None
    scale: ValueScale | None = None

    @classmethod
    def of(
        cls,
        train: LabelledTexts,
        task: str | None,
        classes: Sequence[str] | None,
        names: Sequence[str] | None = None,
    ) -> TextTargets:
        """From the training labels.

        Args:
            train: the training texts.
            task: what the user says that labels mean; by default lists mean any number of labels, and others
                one class each.
            classes: names of the classes in the order wanted.
            names: of values.

        Raises:
            ValueError: for labels that do not fit the task, and for fractions without a task, too many to be
                classes.
        """
        check_task(task)
        labels = train.labels or []
        if task == "regression":
            if classes is not None:
                raise ValueError("classes= names labels, but task='regression' predicts values: leave it out")
            rows = _numbers(train)
            return cls("regression", scale=ValueScale.of(rows, names))
        if task is None and classes is None:
            _refuse_fractions(labels)
        several = task == "multilabel" or (task is None and any(is_several(label) for label in labels))
        if classes is not None:
            found = Classes.given(classes)
        else:
            found = Classes.found(labels, several=several)
            if all(map(is_number, found.names)):  # 10 after 9, as the user's own numbers
                found = Classes.found(labels, several=several, by_value=True)
        return cls("multilabel" if several else "classification", found)

    def check_enough(self) -> None:
        """Raise where the training labels hold too few classes to tell apart."""
        if self.classes is not None:
            least = 1 if self.task == "multilabel" else 2
            check_enough(self.classes.names, "the training labels hold", least)

    def encode(self, part: LabelledTexts) -> np.ndarray:
        """The targets of a part: class numbers (rows,), marks (rows, classes), or values (rows, values).

        Texts without labels get zeros, which nobody reads.
        """
        if self.scale is not None:
            return self._values(part, self.scale)
        several = self.task == "multilabel"
        classes = self.classes or Classes([])
        if part.labels is not None:
            return (classes.marks if several else classes.numbers)(part.labels, part.where, part.rows)
        shape = (len(part.texts), *([len(classes)] if several else []))
        return np.zeros(shape, np.float32 if several else np.int64)

    def _values(self, part: LabelledTexts, scale: ValueScale) -> np.ndarray:
        if part.labels is None:
            return np.zeros((len(part.texts), scale.n_out), np.float32)
        rows = _numbers(part)
        if rows.shape[1] != scale.n_out:
            raise ValueError(
                f"{part.where}: {rows.shape[1]} values a text, but the training texts have {scale.n_out}"
            )
        return scale.forward(rows)


def _numbers(part: LabelledTexts) -> np.ndarray:
    """Values as float64 of shape (rows, values); raises for the first row that has no finite number."""
    labels = [row if is_several(row) else [row] for row in part.labels or []]
    found = np.full((len(labels), len(labels[0]) if labels else 1), np.nan)
    for number, row in enumerate(labels):
        if len(row) != found.shape[1]:
            raise ValueError(
                f"{part.where}, {part.rows(number)}: {len(row)} values, the first row has {found.shape[1]}"
            )
        for column, value in enumerate(row):
            found[number, column] = _number(value, f"{part.where}, {part.rows(number)}")
    return found


def _number(value: Any, where: str) -> float:
    if not is_several(value) and is_missing(value):
        raise ValueError(f"{where}: the value is missing; drop the row or fill it in")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {value!r} is not a number; task='regression' predicts numbers") from None
    if not np.isfinite(number):
        raise ValueError(f"{where}: {value!r} is not finite; drop the row or mend it")
    if abs(number) > float(np.finfo(np.float32).max):
        raise ValueError(f"{where}: {value!r} is beyond what float32 holds: give values in larger units")
    return number


def _refuse_fractions(labels: Sequence[Any]) -> None:
    """Numbers with fractions of which most texts have one of their own are values, not classes."""
    numbers = [label for label in labels if isinstance(label, float | np.floating) and not is_missing(label)]
    distinct = len(set(numbers))
    if distinct > max(_FEW, len(labels) // 2) and not all(float(one).is_integer() for one in numbers):
        raise ValueError(
            f"the training labels are {distinct} different numbers with fractions: to predict values give "
            "task='regression', to take each for a class task='classification'"
        )
