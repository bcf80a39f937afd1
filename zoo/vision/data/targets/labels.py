"""Labels as users write them, in a table, a list or an array, as targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from zoo.errors import did_you_mean, some

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Encoded targets: class numbers (rows,), or 0/1 per class (rows, classes) when `multi`."""

    y: np.ndarray
    classes: list[str]
    multi: bool


def read_label_table(csv: Path, *, skip_header: bool) -> pd.DataFrame:
    """A CSV of file names and labels with every cell as text (so 'NA' and '007' stay as written)."""
    if not csv.is_file():
        present = sorted(p.name for p in csv.parent.glob("*.csv")) if csv.parent.is_dir() else []
        raise FileNotFoundError(f"table {csv} does not exist{did_you_mean(csv.name, present)}")
    try:
        return pd.read_csv(csv, header=0 if skip_header else None, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as err:
        raise ValueError(f"cannot read table {csv}: {err}") from err


def table_column(frame: pd.DataFrame, column: str | int, what: str, origin: str) -> pd.Series:
    """A column by name or by position, or a `ValueError` that suggests a near miss."""
    names = [str(c) for c in frame.columns]
    if isinstance(column, str):
        if column not in names:
            raise ValueError(
                f"{origin} has no column '{column}' for the {what}{did_you_mean(column, names)}; columns: "
                f"{some(names, 10)}"
            )
        return frame.iloc[:, names.index(column)]
    if not 0 <= column < len(names):
        raise ValueError(
            f"{origin} has no column number {column} for the {what}; it has {len(names)}: {some(names, 10)} "
            "(expected a column of file names and one of labels, separated by commas)"
        )
    return frame.iloc[:, column]


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
    if rows and all(isinstance(row, list | tuple) for row in rows):
        if len(rows[0]) > 1 and _is_indicator(rows):
            return _encode_matrix(np.asarray(rows, np.float32), classes, origin)
        if len(rows[0]) == 1 and _is_indicator(rows):
            raise ValueError(
                f"{origin}: rows like {rows[0]!r} can mean a class number or a 0/1 column; pass plain "
                "numbers for single labels, or an array of rows x classes"
            )
    if any(isinstance(row, list | tuple | set | frozenset) for row in rows):
        return _encode_cells(_list_cells(rows, origin), classes, multi=True, origin=origin)
    texts = ["" if _is_missing(row) else _label_text(row) for row in rows]
    cells = [text.split(cat_separator) if cat_separator else [text] for text in texts]
    cells = [[part.strip() for part in cell if part.strip()] for cell in cells]
    missing = [i for i, cell in enumerate(cells) if not cell]
    multi = any(len(cell) > 1 for cell in cells)
    if not multi and missing:
        raise ValueError(f"{origin}: {len(missing)} rows have no label (first rows, from 0: {some(missing)})")
    numeric = bool(rows) and all(
        isinstance(row, int | float | np.number) and not isinstance(row, bool)
        for row in rows
        if not _is_missing(row)
    )
    return _encode_cells(cells, classes, multi=multi, numeric=numeric, origin=origin)


def label_rows(labels: Any, origin: str) -> list[Any]:
    """Labels of any kind as a list with one entry a row; a matrix gives a list a row, a column plain values.

    Raises:
        TypeError: a data frame, or something without rows.
        ValueError: an array of more than two dimensions.
    """
    if isinstance(labels, pd.DataFrame):
        raise TypeError(
            f"{origin}: expected one column of labels, got a data frame with the columns "
            f"{some(labels.columns)}: pass frame[column], or frame.to_numpy() and "
            "classes=list(frame.columns) for columns of 0 and 1"
        )
    if isinstance(labels, str | bytes | dict) or not hasattr(labels, "__iter__"):
        raise TypeError(f"{origin}: expected a list of labels, one a row, got a {type(labels).__name__}")
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, np.ndarray):
        if labels.ndim not in (1, 2):
            raise ValueError(f"{origin}: expected labels as rows or rows x classes, got shape {labels.shape}")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        elif labels.ndim == 2:
            _check_indicator(labels, origin)
            return labels.tolist()
    rows = [row.tolist() if isinstance(row, np.ndarray | torch.Tensor) else row for row in labels]
    return [row.decode(errors="replace") if isinstance(row, bytes) else row for row in rows]


def _is_indicator(rows: list[Any]) -> bool:
    """Whether all rows are equally long lists of the numbers 0 and 1."""
    width = len(rows[0])
    return all(
        len(row) == width
        and all(isinstance(v, int | float | np.number | np.bool_) and v in (0, 1) for v in row)
        for row in rows
    )


def _list_cells(rows: list[Any], origin: str) -> list[list[str]]:
    """Label texts of rows that are lists of labels; a missing row has none."""
    cells: list[list[str]] = []
    for i, row in enumerate(rows):
        if isinstance(row, list | tuple | set | frozenset):
            bad = [v for v in row if isinstance(v, list | tuple | set | dict) or _is_missing(v)]
            if bad:
                raise ValueError(f"{origin}: row {i} holds {bad[0]!r}, which is no label")
            cells.append([_label_text(v) for v in row])
        else:
            cells.append([] if _is_missing(row) else [_label_text(row)])
    return cells


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value == "" or bool(value != value)


def _label_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _encode_cells(
    cells: list[list[str]], classes: Sequence[str] | None, *, multi: bool, numeric: bool = False, origin: str
) -> Labels:
    seen = {label for cell in cells for label in cell}
    names = [str(c) for c in classes] if classes is not None else sorted(seen, key=float if numeric else None)
    number = {name: i for i, name in enumerate(names)}
    unknown = sorted(seen - number.keys())
    if unknown:
        raise ValueError(
            f"{origin}: label {some(map(repr, unknown))} is not among the classes {some(names, 20)}"
        )
    if not names:
        raise ValueError(f"{origin}: there are no labels")
    if not multi:
        return Labels(np.asarray([number[cell[0]] for cell in cells], np.int64), names, False)
    y = np.zeros((len(cells), len(names)), np.float32)
    for i, cell in enumerate(cells):
        y[i, [number[label] for label in cell]] = 1
    return Labels(y, names, True)


def _check_indicator(array: np.ndarray, origin: str) -> None:
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{origin}: a two-dimensional label array must hold only 0 and 1 (rows x classes)")


def _encode_matrix(array: np.ndarray, classes: Sequence[str] | None, origin: str) -> Labels:
    values = np.asarray(array, np.float32)
    names = [str(c) for c in classes] if classes is not None else [str(i) for i in range(values.shape[1])]
    if len(names) != values.shape[1]:
        raise ValueError(f"{origin}: {values.shape[1]} label columns but {len(names)} class names")
    return Labels(values, names, True)


def classes_without_rows(labels: Labels, rows: np.ndarray) -> list[str]:
    """Names of the classes that none of these rows has."""
    present = set(classes_with_rows(labels, rows))
    return [name for name in labels.classes if name not in present]


def classes_with_rows(labels: Labels, rows: np.ndarray) -> list[str]:
    """Names of the classes that some of these rows have."""
    y = labels.y[rows]
    counts = y.sum(0) if labels.multi else np.bincount(y, minlength=len(labels.classes))
    return [name for name, count in zip(labels.classes, counts.tolist(), strict=True) if count]
