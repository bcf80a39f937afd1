"""Predictions of the test pictures as a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from zoo.data.loaders.batches import n_rows
from zoo.distributed.group import write_once
from zoo.errors import did_you_mean, some
from zoo.storage.files import atomic_write
from zoo.vision.files.names import shown

Answers = Literal["probabilities", "label"]


def write_submission(
    learn: Any,
    path: str | Path,
    ids: Any = None,
    id_column: str = "id",
    target_column: str | Sequence[str] | None = None,
    *,
    answers: Answers = "probabilities",
    thresh: Any = None,
    n_aug: int = 0,
) -> pd.DataFrame:
    """Predict the test pictures and write them; see `Seeing.write_submission` for the arguments."""
    if answers not in get_args(Answers):
        raise ValueError(
            f"answers must be 'probabilities' or 'label', got {answers!r}"
            f"{did_you_mean(answers, get_args(Answers))}"
        )
    data = learn.data
    dataset = getattr(data, "test_ds", None)
    if data.test_dl is None:
        raise ValueError(
            "there are no test pictures: name their folder when the data are made (test_name=...)"
        )
    if not isinstance(id_column, str) or not id_column:
        raise TypeError(f"write_submission: id_column is the heading of the ids, got {id_column!r}")
    task = getattr(data, "task", None)
    if thresh is not None and not (task == "multilabel" and answers == "label"):
        raise ValueError(
            "thresh chooses among several labels a picture: leave it out, or use answers='label'"
        )
    values = learn.TTA(n_aug, True, log=False)[0] if n_aug else learn.predict(True, log=False)
    table, names = _table(learn, np.asarray(values), task, answers, thresh)
    if target_column is not None:
        names = [target_column] if isinstance(target_column, str) else list(target_column)
    lost = ~np.isfinite(values).reshape(len(values), -1).all(1)
    if lost.any():
        raise ValueError(
            f"write_submission: {lost.sum():,} of {len(values):,} predictions are no finite numbers, so "
            "nothing was written: the weights were lost in a fit; load or train them again"
        )
    ids = _ids(dataset, len(table)) if ids is None else _checked_ids(ids)
    if len(ids) != len(table):
        raise ValueError(f"write_submission: {len(ids)} ids for {n_rows(data.test_dl)} test pictures")
    if len(names) != table.shape[1]:
        raise ValueError(
            f"write_submission: {len(names)} headings for {table.shape[1]} columns of answers: name each in "
            "target_column"
        )
    headings = [id_column, *names]
    repeated = sorted({name for name in headings if headings.count(name) > 1})
    if repeated:
        raise ValueError(
            f"write_submission: {some(map(repr, repeated))} would head more than one column: choose another "
            "id_column, or other names in target_column"
        )
    frame = pd.DataFrame({id_column: np.asarray(ids)} | {name: table[:, i] for i, name in enumerate(names)})

    def write() -> None:
        with atomic_write(path) as temporary:
            frame.to_csv(temporary, index=False, compression="gzip" if str(path).endswith(".gz") else None)

    write_once(path, write)
    return frame


def _table(
    learn: Any, values: np.ndarray, task: str | None, answers: Answers, thresh: Any
) -> tuple[np.ndarray, list[str]]:
    """Columns of predictions and their headings."""
    classes = [str(name) for name in learn.data.classes or []]
    values = values.reshape(len(values), -1)
    if task not in ("classification", "multilabel"):
        return values, ["target"] if values.shape[1] == 1 else [f"target_{i}" for i in range(values.shape[1])]
    if answers == "probabilities":
        return values, classes
    if task == "classification":
        return np.asarray(classes, object)[values.argmax(1)][:, None], ["label"]
    calibration = getattr(learn, "calibration", None)
    if thresh is None and calibration is not None and calibration.thresholds is not None:
        chosen = values >= np.asarray(calibration.thresholds)
    else:
        chosen = values > (0.5 if thresh is None else _checked_thresholds(thresh, classes))
    said = [" ".join(name for name, on in zip(classes, row, strict=True) if on) for row in chosen]
    return np.asarray(said, object)[:, None], ["tags"]


def _checked_thresholds(thresh: Any, classes: Sequence[str]) -> np.ndarray:
    try:
        found = np.asarray(thresh, np.float64)
    except (TypeError, ValueError):
        found = np.full(0, np.nan)
    if found.shape not in ((), (len(classes),)) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(
            f"write_submission: thresh is one probability from 0 to 1, or one for each of the {len(classes)} "
            f"labels, got {thresh!r}"
        )
    return found


def _checked_ids(ids: Any) -> list[Any]:
    """One id a picture, as a list."""
    if isinstance(ids, str | bytes | set | frozenset | dict) or not hasattr(ids, "__iter__"):
        raise TypeError(f"write_submission: ids are a list, one a picture in their order, got {ids!r}")
    found = list(ids)
    if pd.isna(pd.Series(found, dtype=object)).any():
        raise ValueError("write_submission: some ids are missing (None or NaN): give one a picture")
    if len(set(found)) < len(found):
        repeated = pd.Series(found, dtype=object)
        twice = repeated[repeated.duplicated()].unique()
        raise ValueError(
            f"write_submission: ids come more than once: {some(map(repr, twice), 3)}: each picture "
            "needs its own"
        )
    return found


def _ids(dataset: Any, n: int) -> list[str]:
    """File names without their endings, which are what most tables name pictures by."""
    names = getattr(dataset, "fnames", None)
    if names is None or len(names) != n:
        raise ValueError("write_submission: these pictures have no file names: give ids, one a picture")
    if isinstance(getattr(dataset, "items", None), np.ndarray):
        return [shown(name) for name in names]
    stems = [shown(Path(name).stem) for name in names]
    if len(set(stems)) < n:
        repeated = sorted({stem for stem in stems if stems.count(stem) > 1}) if n < 5000 else []
        raise ValueError(
            "write_submission: file names without ending are not unique"
            f"{f' ({some(repeated, 3)})' if repeated else ''}: give ids, one a picture"
        )
    return stems
