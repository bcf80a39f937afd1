"""Checks of a ratings table; each problem is one error that names the column, the row and the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zoo.data.csv_file import check_columns
from zoo.errors import some
from zoo_collab.pairs.seen import distinct_pairs

WEIGHTS = (1e-30, 1e30)


def plain(value: Any) -> Any:
    """A numpy number as the Python number it prints like."""
    return value.item() if isinstance(value, np.generic) else value


def checked_ids(df: pd.DataFrame, column: str, where: str, hint: str = "") -> pd.Series:
    missing = df[column].isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{where}: column {column!r} has no id in row {plain(df.index[int(missing.argmax())])!r}"
            f" ({int(missing.sum())} such rows); drop them or give them an id{hint}"
        )
    return df[column].reset_index(drop=True)


def checked_ratings(
    df: pd.DataFrame, column: str, where: str, limits: tuple[float, float] | None
) -> np.ndarray:
    if df[column].dtype.kind in "mM":
        raise ValueError(
            f"{where}: column {column!r} holds points in time ({df[column].dtype}), not ratings; give a"
            " column of numbers"
        )
    numbers = pd.to_numeric(df[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{where}: column {column!r} holds {plain(df[column].iloc[row])!r}"
            f" in row {plain(df.index[row])!r}, which is not a finite number of at most 3.4e38"
            f" ({int(bad.sum())} such rows); drop or repair them"
        )
    check_limits(numbers, df.index, column, where, limits)
    return numbers.astype(np.float32)


def checked_weights(df: pd.DataFrame, column: str, where: str) -> np.ndarray:
    """How much each row counts, float32, above 0. The limits leave room for sums of as many as fit a disk."""
    check_columns(df, [column], where)
    weights = checked_ratings(df, column, where, None)
    given = pd.to_numeric(df[column]).to_numpy(dtype=np.float64)
    bad = given <= 0
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{where}: column {column!r} holds the weight {float(given[row]):g} in row "
            f"{plain(df.index[row])!r}; a pair counts more than 0 ({int(bad.sum())} such rows): drop what "
            "was not taken, what is missing from the table is what was not"
        )
    low, high = WEIGHTS
    bad = (given < low) | (given > high)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{where}: column {column!r} holds the weight {float(given[row]):g} in row "
            f"{plain(df.index[row])!r}, outside {low:g} to {high:g} ({int(bad.sum())} such rows): sums "
            "of such weights leave the range of numbers; divide the whole column by one"
        )
    return weights


def checked_relevant(relevant: Any) -> float | None:
    """The lowest rating that counts as liked; None counts all."""
    if relevant is None:
        return None
    plain = isinstance(relevant, (int, float, np.integer, np.floating)) and not isinstance(relevant, bool)
    if not plain or np.isnan(float(relevant)):
        raise ValueError(f"relevant is the lowest rating that counts as liked, a number, not {relevant!r}")
    return float(relevant)


def repeated_pairs(users: pd.Series, items: pd.Series, where: str) -> int:
    """Number of rows whose (user, item) pair stands in an earlier row already."""
    if isinstance(users.dtype, pd.CategoricalDtype) and isinstance(items.dtype, pd.CategoricalDtype):
        codes: Any = [column.array.codes for column in (users, items)]  # pyright: ignore
        if min(map(np.min, codes)) >= 0:
            pairs = distinct_pairs(codes[0] + 1, codes[1] + 1, len(users.dtype.categories) + 1)
            return len(users) - sum(map(len, pairs))
    try:
        return int(pd.DataFrame({"user": users, "item": items}).duplicated().sum())
    except TypeError:
        raise TypeError(
            f"{where}: the ids of users and items must be numbers, strings or timestamps; convert their"
            " columns with .astype(str) first"
        ) from None


def check_limits(
    ratings: np.ndarray, rows: pd.Index, column: str, where: str, limits: tuple[float, float] | None
) -> None:
    if limits is None:
        return
    low, high = limits
    if not low < high:
        raise ValueError(
            f"the range of the ratings is (lowest, highest) with lowest < highest, got {tuple(limits)}"
        )
    outside = (ratings < low) | (ratings > high)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{where}: column {column!r} holds {float(ratings[row]):g} in row {plain(rows[row])!r}, outside"
            f" the range ({low:g}, {high:g}) you gave ({int(outside.sum())} such rows);"
            " widen the range or repair the rows"
        )


def split_rows(val_idxs: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on and to hold out, checked; the latter, each once, in the order given."""
    rows = np.asarray([] if val_idxs is None else val_idxs)
    if rows.dtype == bool:
        if rows.shape != (n_rows,):
            raise ValueError(
                f"val_idxs as a mask needs one true or false for each of the {n_rows} rows, got {rows.size}"
            )
        rows = np.flatnonzero(rows)
    if rows.size and (not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() >= n_rows):
        raise ValueError(f"val_idxs must be row numbers from 0 to {n_rows - 1}, got {some(rows.ravel())}")
    rows = rows.ravel().astype(np.int64)
    held = np.zeros(n_rows, dtype=bool)
    held[rows] = True
    if held.sum() < len(rows):  # some come twice
        rows = np.array(list(dict.fromkeys(rows.tolist())), dtype=np.int64)
    if held.all():
        raise ValueError(f"val_idxs holds all {n_rows} rows: nothing is left to train on")
    return np.flatnonzero(~held), rows
