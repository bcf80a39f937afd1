"""What is checked about texts and rows before anything is made of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.classes import label_rows, marked
from zoo.data.row_names import BY_NUMBER, RowNames
from zoo.errors import some
from zoo_text.tokens.listed import check_listed
from zoo_text.tokens.vocab import PADDING_ID, UNKNOWN_ID

log = logging.getLogger("zoo")


def held_out(val_idxs: Any, rows: int) -> np.ndarray:
    """Row numbers of the validation set, checked: in the order given, those of a mask in ascending order."""
    idxs = np.asarray(val_idxs)
    if idxs.ndim != 1 or idxs.dtype.kind not in "iub" or not len(idxs):
        raise ValueError("val_idxs must be a list of row numbers, at least one, or a mask of booleans")
    if idxs.dtype.kind == "b":
        if len(idxs) != rows:
            raise ValueError(f"val_idxs is a mask of {len(idxs)} rows, but train_df has {rows}")
        held = np.flatnonzero(idxs)
    else:
        wrong = idxs[(idxs < 0) | (idxs >= rows)]
        if len(wrong):
            raise ValueError(f"val_idxs holds {some(wrong)}, but the rows of train_df are 0 to {rows - 1}")
        numbers, counts = np.unique(idxs, return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"val_idxs holds row {some(numbers[counts > 1])} more than once")
        held = idxs.astype(np.int64)
    if len(held) in (0, rows):
        raise ValueError(f"val_idxs leaves no rows to {'learn from' if len(held) else 'validate with'}")
    return held


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their labels and what their rows are called.

    Attributes:
        texts: a list of strings, not checked yet, or a token file.
        labels: one a text, or lists of them; None for texts without.
        where: which part of the data they are, for errors.
        rows: what the rows are called in errors.
    """

    texts: Any
    labels: list[Any] | None
    where: str
    rows: RowNames = BY_NUMBER

    @classmethod
    def of_pair(
        cls, part: Any, where: str, classes: Sequence[str] | None = None, *, values: bool = False
    ) -> LabelledTexts:
        """Out of a pair of both; marks of 0 and 1 become lists of names.

        Args:
            part: texts, and one label or list of labels for each, or an array of 0 and 1 (rows, classes).
            where: for errors.
            classes: names of the columns of such an array; their numbers by default.
            values: labels are numbers to predict, (rows,) or (rows, values).
        """
        texts, labels = _labelled_pair(part, where, classes, values)
        return cls(list(texts), labels, where, RowNames.of(texts))

    @classmethod
    def without_labels(cls, texts: Any, where: str) -> LabelledTexts:
        """Texts alone."""
        check_listed(texts, where)
        return cls(list(texts), None, where, RowNames.of(texts))


def _labelled_pair(
    part: Any, where: str, classes: Sequence[str] | None, values: bool
) -> tuple[Sequence[str], list[Any]]:
    if not isinstance(part, tuple | list) or len(part) != 2 or any(isinstance(one, str) for one in part):
        raise TypeError(f"{where} must be a pair: (texts, labels)")
    texts, labels = part
    check_listed(texts, f"{where}, the texts")
    if len(texts) != len(labels):
        raise ValueError(f"{where}: {len(texts)} texts but {len(labels)} labels")
    if values:
        numbers = labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels
        return texts, list(numbers.to_numpy() if hasattr(numbers, "to_numpy") else numbers)
    rows = label_rows(labels, where)
    if getattr(labels, "ndim", 1) == 2 and labels.shape[1] > 1:
        rows = marked(rows, range(labels.shape[1]) if classes is None else classes, where)
    return texts, rows


def check_texts(texts: Sequence[Any], where: str, rows: RowNames = BY_NUMBER) -> None:
    """That all are strings, and none is empty."""
    if isinstance(texts, str):
        raise TypeError(f"{where} is one string: give a list of texts")
    empty = []
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{where}, {rows(row)}: {text!r} ({type(text).__name__}) is not a text")
        if not text or text.isspace():
            empty.append(row)
    if empty:
        raise ValueError(f"{where}: empty text in {rows.some(empty)}; leave such rows out")


def check_lengths(texts: Any, offsets: np.ndarray, where: str, rows: RowNames = BY_NUMBER) -> None:
    """That the tokeniser found something in each text."""
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        text = texts[int(empty[0])]
        shown = f": {text!r}" if isinstance(text, str) else ""
        raise ValueError(f"{where}: the tokeniser finds nothing in {rows.some(empty.tolist())}{shown}")


def tell_unread(
    encoded: Sequence[np.ndarray], marks: Collection[int], where: str, rows: RowNames = BY_NUMBER
) -> None:
    """Warn of texts without any word of the vocabulary, such as ones in another language: all are alike to a
    model, and it answers them as surely as others.

    Args:
        encoded: the ids of each text.
        marks: ids that rules put there.
        where: what the texts are.
        rows: what they are called.
    """
    nothing = [UNKNOWN_ID, PADDING_ID, *marks]
    unread = [row for row, ids in enumerate(encoded) if np.isin(ids, nothing).all()]
    if unread:
        log.warning(
            "%s: the vocabulary knows no word of %s, whose answers mean nothing", where, rows.some(unread)
        )
