"""Labels as users write them, in a table, a list or an array, as targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.classes import (
    Classes,
    Labels,
    are_numbers,
    check_enough,
    class_name,
    is_missing,
    is_several,
    label_rows,
    names_with_rows,
    names_without_rows,
    split_label,
)

log = logging.getLogger(__name__)


def encode_labels(
    labels: Sequence[Any] | np.ndarray | pd.Series,
    *,
    cat_separator: str | None = " ",
    classes: Sequence[str] | None = None,
    origin: str = "labels",
) -> Labels:
    """Turn raw labels into targets.

    One cell with several labels makes the whole set multi-label.

    Args:
        labels: one label a row (text or numbers); or text with several labels; or a list of labels a row; or
            a rows x classes array of 0/1.
        cat_separator: splits the text of a cell; None never splits.
        classes: names in the order wanted; default: the labels seen, alphabetically (numbers by value).
        origin: named in errors.

    >>> encode_labels(["cat", "dog", "cat"]).y
    array([0, 1, 0])
    >>> encode_labels(["clear", "haze water"]).y
    array([[1., 0., 0.],
           [0., 1., 1.]], dtype=float32)
    """
    rows = label_rows(labels, origin)
    chosen = None if classes is None else Classes.given(classes)
    if rows and all(isinstance(row, list | tuple) for row in rows):
        if len(rows[0]) > 1 and _is_indicator(rows):
            return _encode_matrix(np.asarray(rows, np.float32), chosen, origin)
        if len(rows[0]) == 1 and _is_indicator(rows):
            raise ValueError(
                f"{origin}: rows like {rows[0]!r} can mean a class number or a 0/1 column; pass plain "
                "numbers for single labels, or an array of rows x classes"
            )
    listed = any(is_several(row) for row in rows)
    cells = [_trimmed(row) if listed else split_label(row, cat_separator) for row in rows]
    multi = listed or any(len(cell) > 1 for cell in cells)
    if chosen is None:
        chosen = Classes.found(cells, several=True, by_value=not listed and are_numbers(rows))
    if multi:
        y = chosen.marks(cells, origin)
    else:
        y = chosen.numbers([cell[0] if cell else None for cell in cells], origin)
    check_enough(chosen.names, f"{origin}: there are", least=1)
    return Labels(y, chosen.names, multi)


def _is_indicator(rows: list[Any]) -> bool:
    """Whether all rows are equally long lists of the numbers 0 and 1."""
    width = len(rows[0])
    return all(
        len(row) == width
        and all(isinstance(v, int | float | np.number | np.bool_) and v in (0, 1) for v in row)
        for row in rows
    )


def _trimmed(row: Any) -> list[Any]:
    """The labels of a row that may be a list of them, without blanks around; a missing row has none."""
    if not is_several(row):
        return split_label(row, None)
    return [v if is_several(v) or is_missing(v) else class_name(v).strip() for v in row]


def _encode_matrix(values: np.ndarray, classes: Classes | None, origin: str) -> Labels:
    names = [str(i) for i in range(values.shape[1])] if classes is None else classes.names
    if len(names) != values.shape[1]:
        raise ValueError(f"{origin}: {values.shape[1]} label columns but {len(names)} class names")
    return Labels(values, names, True)


def classes_without_rows(labels: Labels, rows: np.ndarray) -> list[str]:
    """Names of the classes that none of these rows has."""
    return names_without_rows(labels.y, labels.classes, rows)


def classes_with_rows(labels: Labels, rows: np.ndarray) -> list[str]:
    """Names of the classes that some of these rows have."""
    return names_with_rows(labels.y, labels.classes, rows)
