"""Texts and labels out of the columns of frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.data.classes import are_marks, is_missing, is_several, marked, split_label
from zoo.data.row_names import RowNames
from zoo.errors import did_you_mean, some

if TYPE_CHECKING:
    import pandas as pd


def text_column(frame: pd.DataFrame, name: str, rows: RowNames | None = None) -> list[str]:
    """A column of strings, checked.

    Args:
        frame: has the column.
        name: of the column.
        rows: what the rows are called in errors; by the frame's index otherwise.
    """
    if name not in frame.columns:
        raise ValueError(
            f"no column {name!r}{did_you_mean(name, frame.columns)}: "
            f"the frame has {', '.join(map(str, frame.columns))}"
        )
    if list(frame.columns).count(name) > 1:
        raise ValueError(f"the frame has more than one column {name!r}: rename or drop one")
    texts = frame[name].tolist()
    names = RowNames.of(frame) if rows is None else rows
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"column {name!r}, {names(row)}: {text!r} is not a text; fill or drop such rows first"
            )
    return texts


def raw_texts(items: Any, name: str) -> list[Any]:
    """The texts that a user wants answers for, not checked yet unless they are of a frame.

    Args:
        items: a frame with the column, a series, any other iterable, or one string.
        name: of the column.
    """
    if hasattr(items, "columns"):
        return text_column(items, name)
    if isinstance(items, str):
        return [items]
    if isinstance(items, Mapping | bytes) or not isinstance(items, Iterable):
        raise TypeError(
            f"texts are given as a list, a series or a frame with the column {name!r}, not as a "
            f"{type(items).__name__}"
        )
    return list(items)


def label_cells(
    frame: pd.DataFrame,
    label: str | Sequence[str],
    delim: str | None,
    where: str,
    rows: RowNames,
    *,
    values: bool = False,
) -> list[Any]:
    """The labels of each row: cells as they are, cells cut at `delim`, or lists of the marked columns.

    With `delim` an empty text is a row without any label. Several columns are marks, or numbers if `values`.
    """
    names = [label] if isinstance(label, str) else list(label)
    for name in names:
        if name not in frame.columns:
            raise ValueError(
                f"{where}: no label column {name!r}{did_you_mean(name, frame.columns)}: "
                f"the frame has {', '.join(map(str, frame.columns))}"
            )
        if list(frame.columns).count(name) > 1:
            raise ValueError(f"{where}: the frame has more than one column {name!r}: rename or drop one")
    if values:
        if delim is not None:
            raise ValueError("label_delim splits labels, but task='regression' predicts values: leave it out")
        return frame[names].to_numpy(dtype=object).tolist()
    if not isinstance(label, str):
        marks = frame[names].to_numpy()
        if not are_marks(marks):
            raise ValueError(
                f"{where}: the label columns {some(names)} may hold only 0 and 1; to predict values give "
                "task='regression'"
            )
        return marked(marks, names, where)
    cells = frame[label].tolist()
    for row, cell in enumerate(cells):
        if not is_several(cell) and is_missing(cell) and (delim is None or not isinstance(cell, str)):
            raise ValueError(f"{where}: the label in column {label!r}, {rows(row)}, is missing")
    if delim is None:
        return cells
    if not delim:
        raise ValueError('label_delim is empty: give what stands between two labels, for example ";"')
    return [list(cell) if is_several(cell) else split_label(cell, delim) for cell in cells]
