"""The values of a column as places among its distinct values. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import some


def without_unused(values: pd.Series) -> pd.Series:
    """The column itself, or if it has more categories than rows, without those that no row has."""
    if isinstance(values.dtype, pd.CategoricalDtype) and len(values) < len(values.dtype.categories):
        return values.cat.remove_unused_categories()
    return values


def factorize(values: pd.Series) -> tuple[np.ndarray, list]:
    """Position of each row's value among the distinct values (-1 where missing), and these values."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy().astype("int64"), _plain(values.cat.categories)
    try:
        objects = pd.api.types.is_object_dtype(values.dtype)  # as they are: an index would convert them
        codes, distinct = pd.factorize(values.to_numpy() if objects else values)
    except TypeError as error:  # unhashable
        kinds = sorted({type(value).__name__ for value in values if not isinstance(value, Hashable)})
        if not kinds:
            raise
        raise TypeError(no_category(str(values.name), some(kinds))) from error
    return codes, _plain(distinct)


def code_values(
    values: pd.Series, code: Callable[[list], Iterable[int]], missing: int, unknown: int | None = None
) -> tuple[np.ndarray, dict[Any, int]]:
    """Codes of a column, for which every distinct value is looked at once.

    Args:
        values: the column.
        code: gives the codes of distinct values, none of them missing.
        missing: the code of missing values.
        unknown: the code of values that have none of their own.

    Returns:
        Codes of shape (rows,), int64; and the unknown values with the number of their rows.

    Example:
        >>> values, known = pd.Series(["a", "z", None, "z"]), {"a": 1}
        >>> code_values(values, lambda distinct: [known.get(value, 2) for value in distinct], 0, 2)
        (array([1, 2, 0, 2]), {'z': 2})
    """
    codes, distinct = factorize(values)
    found = list(code(distinct))
    lookup = np.array([*found, missing], dtype="int64")  # code -1, missing, reads the last entry
    if unknown is None or unknown not in found:
        return lookup[codes], {}
    counts = np.bincount(codes + 1, minlength=len(distinct) + 1)[1:].tolist()
    strange = {
        value: count
        for value, place, count in zip(distinct, found, counts, strict=True)
        if place == unknown and count
    }
    return lookup[codes], strange


def no_category(name: str, kinds: str) -> str:
    return f"column {name!r} holds {kinds} values, which cannot be categories: make text of them"


def _plain(distinct: Iterable) -> list:
    """Values as Python has them, but for float32, which knows how few digits it has."""
    if str(getattr(distinct, "dtype", "")) in ("float32", "Float32", "float[pyarrow]"):
        return list(np.asarray(distinct, dtype="float32"))
    return (
        distinct.tolist()
        if isinstance(distinct, np.ndarray) and distinct.dtype.kind in "biufO"
        else list(distinct)
    )


def smallest_int(largest: int) -> np.dtype:
    """The smallest signed integer type that holds 0..largest."""
    return next(
        np.dtype(kind) for kind in ("int8", "int16", "int32", "int64") if largest <= np.iinfo(kind).max
    )


def told_counts(unknown: Mapping[str, Mapping[Any, int]]) -> str:
    """Values with their counts, by column, in words."""
    return "; ".join(
        f"{name!r}: {sum(counts.values())} ({some(map(repr, counts), 3)})" for name, counts in unknown.items()
    )
