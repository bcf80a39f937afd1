"""Reads the target of a table: numbers, classes, or several labels. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.classes import are_marks, names_once, names_without_rows
from zoo.data.columns.kinds import holds_numbers
from zoo.errors import some
from zoo_tabular.frames.frame_checks import check_columns
from zoo_tabular.frames.target.classes import check_classes, sort_classes


@dataclass(frozen=True)
class Truth:
    """Targets as a model takes them.

    Attributes:
        values: float of shape (rows, columns) for numbers (float64) and labels (float32), int64 class numbers
            (rows,).
        task: "regression", "classification" or "multilabel".
        classes: names of classes or labels.
        n_out: outputs that a model needs.
    """

    values: np.ndarray
    task: str
    classes: list[str] | None
    n_out: int

    def rows(self, rows: np.ndarray) -> Truth:
        """The same for some of the rows."""
        return replace(self, values=self.values[rows])

    def check_classes_trained(self, train_rows: np.ndarray) -> None:
        """Raise when a class has no training row."""
        if self.task == "classification" and self.classes is not None:
            absent = list(map(repr, names_without_rows(self.values, self.classes, train_rows)))
            if absent:
                raise ValueError(
                    f"class {some(absent)} occurs only in validation rows: there is nothing to learn it from"
                )


def read_truth(df: Any, y: Any, *, is_reg: bool, is_multi: bool) -> tuple[Truth, list[str]]:
    """The target of one frame, or of several that belong together.

    Args:
        df: a frame, or a list of frames.
        y: column names or values; a list of as many for a list of frames.
        is_reg: numbers are predicted.
        is_multi: several 0/1 columns may hold at once.

    Returns:
        The target of all rows, and the names of columns that hold it (which are no features).
    """
    pairs = list(zip(df, y, strict=True)) if isinstance(df, list) else [(df, y)]
    parts = [_columns(frame, part) for frame, part in pairs]
    names = parts[0][1]
    if any(part.shape[1] != parts[0][0].shape[1] for part, _, _ in parts):
        raise ValueError("the targets to train and to validate on have different numbers of columns")
    table = pd.concat(
        [part.set_axis(range(part.shape[1]), axis=1) for part, _, _ in parts], ignore_index=True
    )
    gaps = int(table.isna().any(axis=1).sum())
    if gaps:
        label = f" {some(map(repr, names))}" if names else ""
        raise ValueError(
            f"the target{label} is missing in {gaps} of {len(table)} rows: drop those rows first"
        )
    if is_multi:
        return _labels(table, parts[0][2]), names
    if is_reg:
        return _numbers(table), names
    return _classes(table), names


def read_columns(df: pd.DataFrame, y: Any) -> pd.DataFrame:
    """The target of one frame as a frame of one column or more; raises where it does not fit the rows."""
    return _columns(df, y)[0]


def _columns(df: pd.DataFrame, y: Any) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The target as a frame of one column or more, the names it has in `df`, and its own names."""
    if isinstance(y, str) or (
        isinstance(y, list | tuple) and len(y) and all(isinstance(name, str) for name in y)
    ):
        names = [y] if isinstance(y, str) else list(y)
        if isinstance(y, str) or len(names) != len(df) or all(name in df.columns for name in names):
            check_columns(df, names, "target")
            return df[names], names, names
    if isinstance(y, pd.DataFrame):
        table = y
    elif isinstance(y, pd.Series):
        table = y.to_frame()
    else:
        tensor: Any = y
        values = tensor.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
        if values.ndim not in (1, 2):
            raise ValueError(f"the target must have the shape (rows,) or (rows, columns), got {values.shape}")
        table = pd.DataFrame(values if values.ndim == 2 else values[:, None])
    if len(table) != len(df):
        raise ValueError(f"the target has {len(table)} rows, the data frame has {len(df)}")
    if isinstance(y, pd.Series | pd.DataFrame):
        _check_order(df.index, y.index)
    named = [name for name in table.columns if isinstance(name, str) and name in df.columns]
    return table, named, [str(name) for name in table.columns]


def _check_order(rows: pd.Index, target: pd.Index) -> None:
    """Raise when a target has the labels of the rows in another order; other labels mean row by row."""
    if rows.equals(target) or not (rows.is_unique and target.is_unique) or not target.isin(rows).all():
        return
    place = int(np.flatnonzero(np.asarray(rows != target))[0])
    raise ValueError(
        f"the target has the index of the data frame in another order: row {place} is {rows[place]} in the "
        f"frame and {target[place]} in the target. Pass y.loc[df.index] to go by the index, or an array, "
        "y.to_numpy(), to go row by row"
    )


def _numbers(table: pd.DataFrame) -> Truth:
    for name in table.columns:
        if not holds_numbers(table[name]):
            raise ValueError(
                f"the target holds {table[name].dtype}, not numbers: pass is_reg=False to predict classes"
            )
    values = table.to_numpy(dtype="float64")
    if not np.isfinite(values).all():
        raise ValueError(
            f"the target holds {int((~np.isfinite(values)).sum())} infinite values: clean them first"
        )
    return Truth(values, "regression", None, values.shape[1])


def _labels(table: pd.DataFrame, names: Sequence[str]) -> Truth:
    try:
        values = table.to_numpy(dtype="float32")
    except (TypeError, ValueError):
        cells = table.to_numpy(dtype=object).ravel()
        bad = next((cell for cell in cells if isinstance(cell, str)), cells[0])
        raise ValueError(
            f"multi-label targets must be 0 or 1 in every column, got {bad!r}: make one 0/1 column a label, "
            "or pass is_reg=False for classes"
        ) from None
    if not are_marks(values):
        raise ValueError("multi-label targets must be 0 or 1 in every column")
    return Truth(values, "multilabel", [str(name) for name in names] or None, values.shape[1])


def _classes(table: pd.DataFrame) -> Truth:
    if table.shape[1] != 1:
        raise ValueError(
            f"classes need one target column, got {table.shape[1]}; pass is_multi=True for labels"
        )
    column = table[0]
    declared = isinstance(column.dtype, pd.CategoricalDtype)
    if declared:
        column = column.cat.remove_unused_categories()
        levels = list(column.cat.categories)
        levels = levels if column.cat.ordered else sort_classes(levels)
        codes = pd.Index(levels).get_indexer(column.cat.categories)[column.cat.codes]
    else:
        codes, distinct = pd.factorize(column, sort=True)
        levels = list(distinct)
    check_classes(levels, len(table), declared)
    named = names_once(levels)
    if len(named) < len(levels):  # such as 1 and "1", which are one class everywhere
        place = {id(level): number for number, same in enumerate(named.values()) for level in same}
        codes = np.array([place[id(level)] for level in levels])[codes]
    return Truth(codes.astype("int64"), "classification", list(named), len(named))
