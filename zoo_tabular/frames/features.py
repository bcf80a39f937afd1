"""Which columns of a frame are features. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.kinds import holds_numbers, is_flag
from zoo.errors import some
from zoo_tabular.frames.frame_checks import check_columns, name_list
from zoo_tabular.frames.target.values import Truth


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


def check_not_feature(df: pd.DataFrame, truth: Truth, conts: Sequence[str]) -> None:
    """Raise when a number column is the target itself."""
    if truth.task != "regression" or truth.values.shape[1] != 1:
        return
    values = truth.values[:, 0]
    if len(values) < 10 or values.min() == values.max():
        return
    for name in conts:
        column = df[name]
        if not holds_numbers(column) or is_flag(column):
            continue
        if np.array_equal(column.to_numpy(dtype="float64", na_value=np.nan), values):
            raise ValueError(f"number column {name!r} equals the target: drop it, or name it as the target")
