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
    check_enough,
    class_name,
    is_missing,
    is_number,
    is_several,
    label_rows,
    names_with_rows,
    names_without_rows,
    split_label,
)
from zoo.vision.files.names import tell_look_alikes

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
    _check_kind(rows, classes is not None, origin)
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
        names = {name for cell in cells for name in cell if not is_missing(name)}
        by_value = not listed and bool(names) and all(is_number(class_name(name)) for name in names)
        chosen = Classes.found(cells, several=True, by_value=by_value)
    if multi and not listed:
        _tell_several(rows, cells, cat_separator, origin)
    if multi:
        y = chosen.marks(cells, origin)
    else:
        y = chosen.numbers([cell[0] if cell else None for cell in cells], origin)
    check_enough(chosen.names, f"{origin}: there are", least=1)
    if classes is None:
        tell_look_alikes(chosen.names, origin)
    return Labels(y, chosen.names, multi)


def _check_kind(rows: Sequence[Any], chosen: bool, origin: str) -> None:
    """Refuse what is no label: numbers to predict, coordinates, Python lists as text.

    Raises:
        ValueError: tells what it looks like, and what to do.
    """
    texts = [row for row in rows if isinstance(row, str)]
    listed = [row for row in texts if row.strip().startswith("[") and row.strip().endswith("]")]
    if listed and len(listed) == len(texts):
        raise ValueError(
            f"{origin}: the labels are Python lists as text, such as {listed[0]!r}: pass lists, for a column "
            "df[column].map(ast.literal_eval), or text with labels separated by cat_separator"
        )
    numbers = [part for row in texts for part in row.split()]
    lengths = {len(row.split()) for row in texts}
    all_numbers = len(texts) == len(rows) and not chosen and all(map(is_number, numbers))
    broken = all_numbers and not all(float(number).is_integer() for number in numbers)
    if all_numbers and max(lengths, default=0) > 1 and (broken or len(lengths) == 1):
        first = next(row for row in texts if len(row.split()) > 1)
        raise ValueError(
            f"{origin}: cells such as {first!r} hold numbers, not labels: for points or boxes use Items with "
            "points_by or boxes_by; for labels that are numbers name them, classes=[...]"
        )
    plain = [row for row in rows if not is_missing(row)]
    values = {float(row) for row in plain if is_number(class_name(row))} if are_values(plain) else set()
    if not chosen and len(values) > max(5, len(plain) // 2) and not all(v.is_integer() for v in values):
        raise ValueError(
            f"{origin}: these look like values to predict, not classes: {len(values)} different numbers in "
            f"{len(plain)} rows. For values use Items with label_by_column(..., values=True) or "
            "label_by(values, target=coded_values()); to keep them as classes name these, classes=[...]"
        )


def are_values(rows: Sequence[Any]) -> bool:
    """Whether all rows are numbers, or texts of numbers."""
    return bool(rows) and all(
        not is_several(row) and not isinstance(row, bool | np.bool_) and is_number(class_name(row))
        for row in rows
    )


def _tell_several(rows: Sequence[Any], cells: Sequence[Any], separator: str | None, origin: str) -> None:
    """Say that one cell with several labels makes every picture one that may have several."""
    several = [number for number, cell in enumerate(cells) if len(cell) > 1]
    few = len(several) * 2 < len(cells)  # else it is meant so
    log.log(
        logging.WARNING if few else logging.INFO,
        "%s: row %d holds several labels (%r), so every picture may have several; cat_separator=None keeps "
        "cells whole",
        origin,
        several[0],
        rows[several[0]],
    )


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
