"""From a frame with categories and gaps to a frame of numbers. No torch here."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.codes import smallest_int
from zoo.data.columns.floats import to_floats
from zoo.data.columns.kinds import is_flag, is_text, object_kind
from zoo.errors import did_you_mean, some
from zoo_tabular.frames.category_types import as_category
from zoo_tabular.frames.frame_checks import check_columns, check_frame, name_list

SUBSET_SEED = 42


def proc_df(
    df: pd.DataFrame,
    y_fld: str | None = None,
    skip_flds: Sequence[str] | None = None,
    ignore_flds: Sequence[str] | None = None,
    do_scale: bool = False,
    na_dict: Mapping[str, float] | None = None,
    mapper: Mapping[str, Sequence[float]] | None = None,
    max_n_cat: int | None = None,
    subset: int | None = None,
) -> tuple:
    """Split off the target and turn the rest into numbers that any model takes.

    Missing numbers are replaced by the median, and every numeric column gets a true/false partner
    `<name>_na`, whether or not this frame has gaps: so a gap that is first seen in the test set changes no
    shape. True/false columns of any type are numbers 0 and 1, Python objects that are all numbers (such as
    Decimals) are numbers. Categories become codes: missing is 0, the
    levels are 1, 2, ... in their order. Use it on the training frame, then on the test frame after
    `apply_cats(test, train)` with the returned `nas` (and `mapper`), which must name the same columns.

    Args:
        df: the frame; it is not changed.
        y_fld: name of the target column, None when there is none. Text and category targets become codes 0,
            1, ...; numbers of any type, Decimals and Python objects too, stay numbers.
        skip_flds: columns to leave out.
        ignore_flds: columns to pass through untouched; they come first in the result.
        do_scale: bring numbers to mean 0 and standard deviation 1; a fourth value, the mapper, is returned.
        na_dict: medians learned before (`nas`), for the test frame.
        mapper: means and deviations learned before, `{column: (mean, deviation)}`, to scale the test frame.
        max_n_cat: categories with at most this many levels become 0/1 columns (`<name>_<level>` and
            `<name>_nan`) instead of codes.
        subset: keep this many random rows, the same ones each time, in their order.

    Returns:
        `(frame, y, nas)`, or `(frame, y, nas, mapper)` with `do_scale`. `y` is None or an array; `nas` holds
        the median of every numeric column.

    Raises:
        ValueError: for absent columns, a target with missing values or among the columns left out, infinite
            numbers, date columns, names that would be made twice, or, in a test frame, text columns and
            numeric columns other than those of `na_dict`.
        TypeError: for complex numbers.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"StoreType": ["a", None], "Distance": [10.0, None], "Sales": [5, 6]})
        >>> frame, y, nas = proc_df(df, "Sales")
        >>> frame.values.tolist(), y.tolist(), nas
        ([[1, 10.0, False], [0, 10.0, True]], [5, 6], {'Distance': 10.0})
    """
    where = "proc_df"
    df = check_frame(df, where, empty_ok=False)
    skipped, ignored = name_list(skip_flds, where), name_list(ignore_flds, where)
    check_columns(df, skipped + ignored + ([y_fld] if y_fld is not None else []), where)
    if subset is not None:
        if subset < 1:
            raise ValueError(f"{where}: subset is a number of rows and must be positive, got {subset}")
        rows = np.random.default_rng(SUBSET_SEED).permutation(len(df))[:subset]
        df = df.iloc[np.sort(rows)]
    if y_fld is not None and y_fld in skipped + ignored:
        raise ValueError(f"{where}: {y_fld!r} is the target and cannot be in skip_flds or ignore_flds too")
    nas = dict(na_dict or {})
    check_columns(df, nas, f"{where}: na_dict")
    y = None if y_fld is None else _target(df[y_fld], y_fld, na_dict is not None)
    left_out = {*skipped, *ignored, y_fld}
    scales = {name: (float(pair[0]), float(pair[1])) for name, pair in (mapper or {}).items()}
    out: dict[str, Any] = {name: df[name].array for name in ignored}
    indicators: dict[str, np.ndarray] = {}
    for name in [name for name in df.columns if name not in left_out]:
        values = df[name]
        flag, kind, held = is_flag(values), values.dtype, object_kind(values)
        category = isinstance(kind, pd.CategoricalDtype)
        if name not in nas and is_text(values) and held == "text":
            if na_dict is not None:
                raise ValueError(
                    f"{where}: column {name!r} holds text; call apply_cats(df, train_frame) first"
                )
            values, category = pd.Series(as_category(values, where, ordered=False)), True
        if name not in nas and category:
            _add(out, _categories(values, name, max_n_cat), name)
        elif name in nas or held in ("numbers", "complex") or flag or pd.api.types.is_numeric_dtype(kind):
            if na_dict is not None and name not in nas:
                raise ValueError(
                    f"{where}: column {name!r} holds numbers, but na_dict has no median for it, so the "
                    f"training frame had no such number column{did_you_mean(name, nas)}: name it in "
                    "skip_flds, or call apply_cats if it is a category"
                )
            filled, missing, nas[name] = _fill(values, nas.get(name), flag)
            if do_scale or name in scales:
                if name not in scales:
                    if mapper is not None:
                        raise ValueError(f"{where}: the mapper has no numbers for column {name!r}")
                    constant = filled.min() == filled.max()  # its deviation may be rounding, not 0
                    scales[name] = (float(filled.mean()), 1.0 if constant else float(filled.std()) or 1.0)
                filled = (filled - scales[name][0]) / scales[name][1]
            _add(out, {name: filled}, name)
            indicators[f"{name}_na"] = missing
        else:
            raise ValueError(
                f"{where}: column {name!r} is {'dates' if held == 'dates' else kind}, neither numbers nor "
                "categories: use add_datepart for dates, or name it in skip_flds"
            )
    for name, missing in indicators.items():
        _add(out, {name: missing}, name.removesuffix("_na"))
    frame = pd.DataFrame(out, index=df.index)
    return (frame, y, nas, scales) if do_scale else (frame, y, nas)


def _add(out: dict[str, Any], made: Mapping[str, np.ndarray], source: str) -> None:
    """Add what was made of column `source`, unless another column made the same name."""
    clash = [name for name in made if name in out]
    if clash:
        raise ValueError(
            f"proc_df: column {source!r} would make a second column {some(map(repr, clash), 3)}: "
            "rename one of the two, or name it in skip_flds"
        )
    out.update(made)


def _target(values: pd.Series, name: str, test: bool) -> np.ndarray:
    missing = int(values.isna().sum())
    if missing:
        raise ValueError(
            f"proc_df: the target {name!r} is missing in {missing} of {len(values)} rows: drop those rows"
        )
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy()
    if is_flag(values):
        return values.to_numpy(dtype=bool)
    if is_text(values) and object_kind(values) not in ("numbers", "complex"):
        if test:
            raise ValueError(
                f"proc_df: the target {name!r} holds text, whose codes would not be those of training: "
                "make it a category first, with train_cats on the training frame and apply_cats here"
            )
        return np.unique(values.to_numpy().astype(str), return_inverse=True)[1]
    found = values.to_numpy()
    if found.dtype.kind in "fcO":
        floats = to_floats(values)
        found = (
            (floats if _beyond_int64(found) else found.astype("int64")) if found.dtype == object else found
        )
    return found


def _beyond_int64(found: np.ndarray) -> bool:
    """Whether an array of Python numbers holds fractions, or whole numbers that int64 has no place for."""
    whole = all(isinstance(value, numbers.Integral | np.bool_) for value in found)
    return not whole or not -(2**63) <= min(found) <= max(found) < 2**63


def _fill(values: pd.Series, median: float | None, flag: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Numbers without gaps, where the gaps were, and the median used."""
    found = to_floats(values)
    missing = np.isnan(found)
    if median is None:
        present = found[~missing]
        median = float(np.median(present)) if len(present) else 0.0
    if missing.any():
        return np.where(missing, median, found), missing, median
    if flag:
        return found.astype("int8"), missing, median
    whole = pd.api.types.is_integer_dtype(values.dtype)  # keeps what float64 would round
    return values.to_numpy() if whole else found, missing, median


def _categories(values: pd.Series, name: str, max_n_cat: int | None) -> dict[str, np.ndarray]:
    levels = values.cat.categories
    codes = values.cat.codes.to_numpy()
    if max_n_cat is None or len(levels) > max_n_cat:
        return {name: (codes.astype("int64") + 1).astype(smallest_int(len(levels)))}
    made: dict[str, np.ndarray] = {}
    for code, level in enumerate(levels):
        _add(made, {f"{name}_{level}": codes == code}, name)
    _add(made, {f"{name}_nan": codes == -1}, name)
    return made
