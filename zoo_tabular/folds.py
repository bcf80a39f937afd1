"""Cross-validation of a table: what is learned of columns is learned anew in every fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.folds import CrossValidation, run_folds
from zoo.learner import Learner
from zoo_tabular.data.columnar import ColumnarModelData
from zoo_tabular.frames.frame_checks import check_columns, check_frame
from zoo_tabular.frames.target.values import read_truth


def cross_validate_table(
    df: pd.DataFrame,
    y: str | Sequence[str],
    cat_flds: Sequence[str],
    folds: Any = 5,
    *,
    fit: Callable[[Learner], Any],
    groups: Any = None,
    learner: Mapping[str, Any] | None = None,
    path: str | Path | None = None,
    seed: int = 0,
    **options: Any,
) -> CrossValidation:
    """Every row of a table predicted by a learner that has not seen it; see `zoo.cross_validate`.

    Levels, medians, scales and the target's transform are those of each fold's training rows alone.

    Args:
        df: the rows; it is not changed.
        y: the target: a column name or several.
        cat_flds: category columns; may be empty.
        folds: a number (classes in equal shares), a splitter of scikit-learn, or a list of row numbers.
        fit: trains a learner, such as `lambda learn: learn.fit_one_cycle(5, 1e-2)`.
        groups: a column of `df`, or one value a row: rows of a group stay together. A column that names them
            is no feature, unless `cat_flds` or `cont_flds` says so.
        learner: arguments of `get_learner`, such as `{"szs": [200, 100]}`.
        path: a folder for what each fold gave; folds that are there are not trained again, and are refused
            where they are of other targets or columns. A warning tells of other rows, options or `fit`.
        seed: of the folds and of everything random in them.
        options: of `ColumnarModelData.from_data_frames`, such as `target_transform` or `is_reg`.

    Returns:
        Predictions out of fold, scores, the learners and their ensemble.

    Example:
        >>> df = pd.DataFrame({"Store": [1, 2] * 20, "Size": range(40), "Sales": [3, 5] * 20})
        >>> found = cross_validate_table(
        ...     df, "Sales", ["Store"], 4, fit=lambda learn: learn.fit(0.01, 1), bs=8,
        ...     learner={"szs": [4], "device": "cpu", "progress": False},
        ... )
        >>> found.predictions.shape
        (40,)
    """
    where, chosen = "cross_validate_table", dict[str, Any](learner or {})
    df = check_frame(df, where, empty_ok=False)
    names = [y] if isinstance(y, str) else list(y)
    check_columns(df, names, f"{where}: y")
    truth, _ = read_truth(
        df, y, is_reg=options.get("is_reg", True), is_multi=options.get("is_multi", False)
    )  # tells of a target that no fold could learn
    if isinstance(groups, str):
        check_columns(df, [groups], f"{where}: groups")
        features = [*cat_flds, *(options.get("cont_flds") or ())]
        df, groups = df if groups in features else df.drop(columns=groups), df[groups].to_numpy()

    def make(train: np.ndarray, valid: np.ndarray, fold: int) -> Learner:
        folder = Path("." if path is None else path) / f"fold_{fold}"
        data = ColumnarModelData.from_data_frames(
            folder, df.iloc[train], df.iloc[valid], y, y, cat_flds, **options
        )
        return data.get_learner(**chosen)

    strata = truth.values if truth.task == "classification" else None
    made_of = (df, names, list(cat_flds), options, chosen)
    return run_folds(make, df, folds, fit=fit, y=strata, groups=groups, path=path, seed=seed, made_of=made_of)
