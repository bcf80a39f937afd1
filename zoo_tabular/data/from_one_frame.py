"""One call from a frame to data: kinds of columns guessed and told, the newest rows held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from zoo.data.splits import get_cv_idxs
from zoo_tabular.data.fit_length import auto_batch_size
from zoo_tabular.frames.dates import as_datetimes
from zoo_tabular.frames.frame_checks import check_columns, check_frame
from zoo_tabular.frames.guess import date_names, guess_table, guess_target

Made = TypeVar("Made")
_BY_TIME, _AT_RANDOM = 0.1, 0.2


def data_from_one_frame(
    make: Callable[..., Made],
    df: Any,
    y: str,
    path: Any,
    val_idxs: Sequence[int] | np.ndarray | None,
    valid_pct: float | None,
    bs: int | None,
    seed: int | None,
    columns: dict[str, Any],
    options: dict[str, Any],
    show: bool,
) -> Made:
    """See `ColumnarModelData.from_frame`; `make` is its `from_data_frame`."""
    df = check_frame(df, "from_frame", empty_ok=False)
    if not isinstance(y, str):
        raise TypeError(f"from_frame: y is the name of the target column, got {type(y).__name__}")
    check_columns(df, [y], "target")
    gaps = int(df[y].isna().sum())
    if gaps:
        raise ValueError(f"the target {y!r} is missing in {gaps} of {len(df)} rows: drop those rows first")
    held = np.zeros(len(df), dtype=bool)
    how = "as you said"
    if val_idxs is not None:
        if valid_pct is not None:
            raise ValueError("from_frame: val_idxs and valid_pct both say what is held out: give one of them")
        held[np.asarray(val_idxs)] = True
    else:
        if valid_pct is not None and not 0 < valid_pct < 1:
            raise ValueError(f"valid_pct is a share of the rows, above 0 and below 1, got {valid_pct!r}")
        held, how = held_out(df, y, columns, valid_pct, seed)
    guess = guess_table(df[~held], y, **columns)
    parsed = {name: as_datetimes(df, name, "from_frame") for name in guess.date_flds}
    df = df.assign(**parsed)  # once, and not wherever they are read
    if show:
        print(f"{guess}\n{int(held.sum()):,} of {len(df):,} rows are held out: {how}")
    data: Any = make(
        path, np.flatnonzero(held) if val_idxs is None else val_idxs, df, y, guess.cat_flds,
        auto_batch_size(len(df) - int(held.sum())) if bs is None else bs,
        cont_flds=guess.cont_flds, date_flds=guess.date_flds, is_reg=guess.task == "regression",
        target_transform=guess.target_transform, seed=seed, **options,
    )  # fmt: skip
    data.guess = guess
    return data


def held_out(
    df: pd.DataFrame,
    target: str,
    columns: Mapping[str, Any],
    share: float | None = None,
    seed: int | None = None,
) -> tuple[np.ndarray, str]:
    """Which rows validate, where nobody says: those of the latest days, where there is a date (a tenth);
    otherwise a fifth at random, of each class alike.

    Args:
        df: the rows.
        target: column to predict.
        columns: what is known of kinds and task, as of `guess_table`.
        share: of the rows.
        seed: of the draw.

    Returns:
        A true/false mask, and how it came about.
    """
    held = np.zeros(len(df), dtype=bool)
    kinds = {kind: columns[kind] for kind in ("cat_flds", "cont_flds", "date_flds", "drop")}
    for name in date_names(df.drop(columns=target), kinds):
        dates = as_datetimes(df, name, "from_frame")
        days = dates.dt.normalize() if dates.dt.tz is None else dates.dt.tz_localize(None).dt.normalize()
        first = days.quantile(1 - (share or _BY_TIME), interpolation="higher")
        rows = (days >= first).to_numpy()
        if days.nunique() > 10 and 0 < rows.sum() < 0.5 * len(df):
            return rows, f"those from {first.date()} on, by {name!r}"
    task = guess_target(df[target], columns["task"], None)[0]
    classes = df[target] if task == "classification" else None
    counts = None if classes is None else classes.value_counts()
    stratified = counts is not None and counts.min() >= 2 and len(counts) < 0.1 * len(df)
    pct = share or _AT_RANDOM
    if stratified:
        codes = pd.factorize(df[target])[0]
        order = np.random.default_rng(42 if seed is None else seed).permutation(len(df))
        place = pd.Series(order).groupby(codes[order]).cumcount().to_numpy()
        size = np.bincount(codes)[codes[order]]
        held[order[place < np.maximum(1, np.floor(pct * size))]] = True
        return held, f"{pct:.0%} at random, of each class alike"
    held[get_cv_idxs(len(df), pct, seed=42 if seed is None else seed)] = True
    if counts is not None:  # a class of which a single row exists is learned, not judged
        held &= ~classes.isin(counts.index[counts < 2]).to_numpy()  # type: ignore[union-attr]
    return held, f"{pct:.0%} at random"
