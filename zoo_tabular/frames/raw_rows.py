"""Raw rows in any form as a frame: arrays, dicts, lists of dicts. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import some
from zoo_tabular.frames.date_columns import DateColumn, with_parts
from zoo_tabular.frames.frame_checks import check_frame


def frame_of_items(items: Any, names: list[str], dates: Sequence[DateColumn] = ()) -> pd.DataFrame:
    """Raw rows in any form as a frame: a frame (of pandas, polars or Arrow), a series, an array, or a list of
    dicts; with what is read of dates in parts."""
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
        given = [one for one in dates if any(one.name in row for row in items)]
        made = {part for one in given for part in one.parts}
        names = [*(name for name in names if name not in made), *(one.name for one in given)]
        for number, row in enumerate(items):
            absent = [name for name in names if name not in row]
            if absent:
                raise ValueError(f"row {number} has no value for {some(map(repr, absent))}")
        frame = pd.DataFrame({name: [row[name] for row in items] for name in names})
    elif hasattr(items, "__arrow_c_stream__") or hasattr(items, "__arrow_c_array__"):
        frame = items
    else:
        raise TypeError(f"expected a data frame, a dict, or a list of dicts, got {type(items).__name__}")
    return with_parts(check_frame(frame, "predict", empty_ok=False), dates)


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
