"""Text columns as categories, with the same codes in every frame. No torch here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.category_column import CategoryColumn
from zoo.data.columns.codes import code_values, factorize, told_counts, without_unused
from zoo.data.columns.kinds import is_text, object_kind
from zoo.errors import some
from zoo_tabular.frames.frame_checks import check_frame, fresh

log = logging.getLogger("zoo_tabular")


def ordered_levels(values: Iterable[object], column: str, where: str) -> list:
    """Distinct values in order; a mix of types that has no order is sorted as text, with a warning."""
    distinct = list(values)
    try:
        return sorted(distinct)  # type: ignore[type-var]
    except TypeError:
        kinds = sorted({type(value).__name__ for value in distinct})
        warnings.warn(
            f"{where}: column {column!r} mixes {' and '.join(kinds)} values, for example "
            f"{some(map(repr, distinct), 3)}; 0 and '0' are two levels: convert the column to one type first",
            stacklevel=4,
        )
        return sorted(distinct, key=lambda value: (str(value), type(value).__name__))


def train_cats(df: pd.DataFrame) -> pd.DataFrame:
    """Turn every text column into an ordered category column, levels sorted.

    Args:
        df: any frame; it is not changed.

    Returns:
        A new frame; numbers, true/false and dates, also as Python objects, and columns that are categories
        already stay as they are. (`proc_df` makes numbers of the first two and refuses dates: use
        `add_datepart`, or make them categories by `astype("category")`.)

    Example:
        >>> import pandas as pd
        >>> train_cats(pd.DataFrame({"StoreType": ["c", "a", None]}))["StoreType"].cat.codes.tolist()
        [1, 0, -1]
    """
    df = check_frame(df, "train_cats")
    out = fresh(df)
    for name in df.columns:
        if is_text(df[name]) and object_kind(df[name]) == "text":
            out[name] = as_category(df[name], "train_cats", ordered=True)
    return out


def as_category(values: pd.Series, where: str, *, ordered: bool) -> pd.Categorical[Any]:
    """A column as categories whose levels are sorted."""
    codes, distinct = factorize(values)
    levels = ordered_levels(distinct, str(values.name), where)
    place = {level: code for code, level in enumerate(levels)}
    places = np.array([*(place[value] for value in distinct), -1], dtype="int64")
    return pd.Categorical.from_codes(places[codes], categories=pd.Index(levels), ordered=ordered)


def apply_cats(df: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Give the category columns of `like` to the columns of the same name in `df`, so that codes agree.

    Values are matched by value, as `TableProcessor` does: a column that is a category with other codes is
    re-coded, and 0, 0.0 and "0" meet, unless `like` has several of them. A value that `like` does not know
    becomes missing (code -1), which `proc_df` turns into code 0; one logged warning counts them.

    Args:
        df: frame to convert, such as the test set; it is not changed.
        like: frame that went through `train_cats`.

    Returns:
        A new frame.

    Example:
        >>> import pandas as pd
        >>> train = train_cats(pd.DataFrame({"StoreType": ["a", "b", "c"]}))
        >>> test = pd.DataFrame({"StoreType": pd.Categorical(["c", "zz", "a"])})
        >>> apply_cats(test, train)["StoreType"].cat.codes.tolist()
        [2, -1, 0]
    """
    df = check_frame(df, "apply_cats")
    like = check_frame(like, "apply_cats: like")
    known = [name for name in like.columns if isinstance(like[name].dtype, pd.CategoricalDtype)]
    if not known:
        raise ValueError("apply_cats: the second frame has no category column; call train_cats on it first")
    out = fresh(df)
    lost: dict[str, dict[Any, int]] = {}
    for name in known:
        if name in df.columns:
            levels = like[name].cat.categories
            codes, strange = _codes_like(df[name], levels)
            if strange:
                lost[name] = strange
            out[name] = pd.Categorical.from_codes(
                codes, dtype=pd.CategoricalDtype(levels, like[name].cat.ordered)
            )
    if lost:
        log.warning(
            "apply_cats: values that the second frame does not have become missing, by column: %s",
            told_counts(lost),
        )
    return out


def _codes_like(values: pd.Series, levels: pd.Index) -> tuple[np.ndarray, dict[Any, int]]:
    """Places of values among levels (-1 for missing and unknown ones), and the unknown values, counted."""
    plain = factorize(pd.Series(pd.Categorical([], levels)))[1]
    exact = {level: code for code, level in enumerate(plain)}
    column = CategoryColumn.of_counts(str(values.name), plain, [1] * len(plain), 0, True, 1, None)
    places = {column.unknown_code: -1}
    for code, level in enumerate(plain):  # levels such as 0 and "0" share one code of the column
        places.setdefault(column.code(level), code)

    def place(distinct: list) -> Iterator[int]:
        return (exact[value] if value in exact else places[column.code(value)] for value in distinct)

    return code_values(without_unused(values), place, -1, -1)
