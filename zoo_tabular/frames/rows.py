"""What a caller hands over as rows: arrays, dicts, row numbers and column names, checked. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import some
from zoo_tabular.frames.checks import check_columns, check_frame, holds_numbers, name_list


def frame_of_items(items: Any, names: list[str]) -> pd.DataFrame:
    """Raw rows in any form as a frame: a frame (of pandas, polars or Arrow), a series, an array, or a list of
    dicts."""
    if isinstance(items, pd.DataFrame):
        frame = items
    elif isinstance(items, pd.Series):
        frame = pd.DataFrame([items.to_dict()])
    elif isinstance(items, np.ndarray):
        if items.ndim != 2 or items.shape[1] != len(names):
            raise ValueError(
                f"expected an array of {len(names)} columns ({some(names)}), got shape {items.shape}"
            )
        frame = pd.DataFrame(items, columns=names)
    elif isinstance(items, list | tuple) and all(isinstance(item, Mapping) for item in items):
        for number, row in enumerate(items):
            absent = [name for name in names if name not in row]
            if absent:
                raise ValueError(f"row {number} has no value for {some(map(repr, absent))}")
        frame = pd.DataFrame({name: [row[name] for row in items] for name in names})
    elif hasattr(items, "__arrow_c_stream__") or hasattr(items, "__arrow_c_array__"):
        frame = items
    else:
        raise TypeError(f"expected a data frame, a dict, or a list of dicts, got {type(items).__name__}")
    return check_frame(frame, "predict", empty_ok=False)


def split_rows(val_idxs: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on and to validate on."""
    rows = np.asarray([] if val_idxs is None else val_idxs)
    if rows.dtype == bool:
        if len(rows) != n:
            raise ValueError(f"val_idxs: a mask of {len(rows)} values for {n} rows")
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise ValueError("val_idxs: expected row numbers (whole numbers from 0) or a true/false mask")
    rows = rows.astype("int64")
    if len(rows) and (rows.min() < 0 or rows.max() >= n):
        raise ValueError(f"val_idxs: row numbers must lie in 0..{n - 1}, got {rows.min()}..{rows.max()}")
    if len(np.unique(rows)) != len(rows):
        raise ValueError("val_idxs: a row number is repeated")
    train = np.setdiff1d(np.arange(n), rows, assume_unique=True)
    if len(train) < 2:
        raise ValueError(f"val_idxs: {len(train)} of {n} rows are left to train on, at least 2 are needed")
    return train, rows


def feature_names(
    df: pd.DataFrame, cat_flds: Any, cont_flds: Any, targets: Sequence[str], where: str
) -> tuple[list[str], list[str]]:
    """Names of the category and the number columns, checked."""
    cats = name_list(cat_flds, f"{where}: cat_flds")
    check_columns(df, cats, f"{where}: cat_flds")
    if cont_flds is None:
        conts = [name for name in df.columns if name not in cats and name not in targets]
        for name in conts:
            if not holds_numbers(df[name]):
                raise ValueError(
                    f"{where}: column {name!r} is {df[name].dtype} and not among cat_flds: list it there, "
                    "drop it, use add_datepart for dates, or name the number columns with cont_flds"
                )
    else:
        conts = name_list(cont_flds, f"{where}: cont_flds")
        check_columns(df, conts, f"{where}: cont_flds")
    leaked = [name for name in [*cats, *conts] if name in targets]
    if leaked:
        raise ValueError(f"{where}: {some(map(repr, leaked))} is the target and cannot be a feature too")
    return cats, conts


def frame_of_arrays(xs: Any, cats: Any, xs_name: str, cats_name: str) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    for letter, name, values in (("c", cats_name, cats), ("x", xs_name, xs)):
        if values is None:
            continue
        array = np.asarray(values)
        if array.ndim != 2:
            raise ValueError(f"from_arrays: {name} must have the shape (rows, columns), got {array.shape}")
        columns |= {f"{letter}{i}": array[:, i] for i in range(array.shape[1])}
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError(
            f"from_arrays: {xs_name} and {cats_name} need the same number of rows, and at least one column"
        )
    return pd.DataFrame(columns)
