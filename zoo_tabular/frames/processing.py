"""From a raw frame to a frame of numbers: categories, missing values, scaling. No torch here."""

from __future__ import annotations

import logging
import numbers
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import did_you_mean, some
from zoo_tabular.frames.checks import check_columns, check_frame, fresh, is_flag, is_text, name_list
from zoo_tabular.frames.columns import CategoryColumn, factorize, object_kind, to_floats, without_unused

log = logging.getLogger("zoo_tabular")

SUBSET_SEED = 42


def smallest_int(largest: int) -> np.dtype:
    """The smallest signed integer type that holds 0..largest."""
    return next(
        np.dtype(kind) for kind in ("int8", "int16", "int32", "int64") if largest <= np.iinfo(kind).max
    )


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
            out[name] = _category(df[name], "train_cats", ordered=True)
    return out


def _category(values: pd.Series, where: str, *, ordered: bool) -> pd.Categorical[Any]:
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
    codes, distinct = factorize(without_unused(values))
    plain = factorize(pd.Series(pd.Categorical([], levels)))[1]
    exact = {level: code for code, level in enumerate(plain)}
    column = CategoryColumn.of_counts(str(values.name), plain, [1] * len(plain), 0, True, 1, None)
    places = {column.unknown_code: -1}
    for code, level in enumerate(plain):  # levels such as 0 and "0" share one code of the column
        places.setdefault(column.code(level), code)
    found = [exact[value] if value in exact else places[column.code(value)] for value in distinct]
    counts = np.bincount(codes + 1, minlength=len(distinct) + 1)[1:].tolist()
    lost = {
        value: count
        for value, code, count in zip(distinct, found, counts, strict=True)
        if code == -1 and count
    }
    return np.array([*found, -1], dtype="int64")[codes], lost  # code -1, missing, reads the last entry


def told_counts(unknown: Mapping[str, Mapping[Any, int]]) -> str:
    """Values with their counts, by column, in words."""
    return "; ".join(
        f"{name!r}: {sum(counts.values())} ({some(map(repr, counts), 3)})" for name, counts in unknown.items()
    )


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
            values, category = pd.Series(_category(values, where, ordered=False)), True
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
