"""Gradient boosting of trees on the columns of a table, to compare a network with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.quick_models import (
    FitRows,
    QuickModel,
    check_task,
    class_answers,
    class_row_weights,
    rows_of,
    told_rows,
)
from zoo_tabular.data.row_weights import split_weights
from zoo_tabular.frames.processor import TableProcessor

if TYPE_CHECKING:
    from zoo_tabular.data.columnar import ColumnarModelData

ROWS = 100_000  # training rows that trees look at, so that they take seconds
LEVELS = 254  # of a category column that the trees take as it is; scikit-learn has 255 bins
TREES = 1500  # of all rounds together, for many classes or targets
MEAN_CLASSES = 10  # of which the means of levels are taken
STOPPING_ROWS = 1000  # fewer are all fitted to, and none kept for stopping early


def boosting_models(
    data: ColumnarModelData, task: str | None, class_weights: Tensor | None = None
) -> list[QuickModel]:
    """Constants and boosted trees for a table; see `ModelData.quick_models`.

    Raises:
        ValueError: without training or validation rows, and for rows that are their own target.
    """
    task = check_task(data, task)
    codes, numbers, targets = (part.numpy() for part in rows_of(data.train_dl, ROWS))
    valid_codes, valid_numbers, _ = rows_of(data.valid_dl)
    values, weights = split_weights(targets, task, data.n_out)
    by_class = class_row_weights(values, class_weights) if task == "classification" else None
    if by_class is not None:
        weights = by_class if weights is None else weights * by_class
    rows = FitRows(
        task, (codes, numbers), (valid_codes.numpy(), valid_numbers.numpy()), values, data.n_out, weights,
        told_rows(len(values), data.train_dl),
    )  # fmt: skip
    trees = QuickModel("gradient boosting", lambda: _boosted(rows, data.processor), rows.note)
    return [rows.constant(), trees]


def _boosted(rows: FitRows, processor: TableProcessor) -> Tensor:
    """Answers of trees. They wait for the slowest thread at every node: on cores that others use as well, one
    thread for each is ten times slower than half as many."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    def fitted(make: Any, target: np.ndarray, features: np.ndarray, flags: list[bool]) -> Any:
        stops = len(target) >= STOPPING_ROWS and (rows.task == "regression" or _all_twice(target))
        model = make(
            max_iter=_rounds(rows), learning_rate=0.1, early_stopping=stops, validation_fraction=0.1,
            categorical_features=flags, random_state=0,
        )  # fmt: skip
        with threadpool_limits(max(1, torch.get_num_threads() // 2), user_api="openmp"):
            return model.fit(features, target, sample_weight=rows.weights)

    wide = [i for i, column in enumerate(processor.categories_) if len(column.levels) > LEVELS]
    if rows.task != "regression":
        train, valid, flags = _features(rows, processor, wide, rows.targets)
        return class_answers(
            rows, lambda target: fitted(HistGradientBoostingClassifier, target, train, flags), (valid,)
        )
    answers = []
    for target in rows.outputs.T.astype("float64"):
        train, valid, flags = _features(rows, processor, wide, target)
        answers.append(fitted(HistGradientBoostingRegressor, target, train, flags).predict(valid))
    return torch.from_numpy(np.stack(answers, 1).astype("float32"))


def _rounds(rows: FitRows) -> int:
    per_round = rows.n_out if rows.n_out > 2 or rows.task == "multilabel" else 1
    return int(min(200, max(20, TREES // per_round)))


def _all_twice(target: np.ndarray) -> bool:
    """Whether every class has the two rows that a split by classes needs."""
    return int(np.unique(target, return_counts=True)[1].min()) >= 2


def _features(
    rows: FitRows, processor: TableProcessor, wide: list[int], target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[bool]]:
    """Training and validation rows as trees take them: levels as numbers of categories, gaps as NaN.

    Columns of more levels than trees take are read as the mean target of their levels (Micci-Barreca 2001),
    which for training rows is taken from other rows.

    Returns:
        Both as float arrays, and which columns are categories.
    """
    columns = processor.categories_
    kept = [i for i in range(len(columns)) if i not in wide]
    parts = [
        np.concatenate([_levels(codes[:, kept], [columns[i] for i in kept]), _numbers(numbers, processor)], 1)
        for codes, numbers in (rows.inputs, rows.valid_inputs)
    ]
    flags = [True] * len(kept) + [False] * (parts[0].shape[1] - len(kept))
    for column in wide:
        levels = [codes[:, column].astype("int64") for codes in (rows.inputs[0], rows.valid_inputs[0])]
        for label in _numbers_of(rows, target):
            made = _means(levels[0], levels[1], label)
            parts = [np.concatenate([part, new[:, None]], 1) for part, new in zip(parts, made, strict=True)]
            flags.append(False)
    return parts[0], parts[1], flags


def _numbers_of(rows: FitRows, target: np.ndarray) -> list[np.ndarray]:
    """What the mean of a level is taken of: the target, each label, or each frequent class."""
    if rows.task != "classification":
        return list(target.reshape(len(target), -1).T.astype("float64"))
    frequent = np.argsort(-np.bincount(target), kind="stable")[: MEAN_CLASSES if rows.n_out > 2 else 1]
    return [(target == number).astype("float64") for number in frequent]


def _means(train: np.ndarray, valid: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean label of each row's level, drawn to the mean of all as by ten rows more.

    Training rows take it from the other four fifths of the rows, so that none sees its own label.
    """
    size, middle = int(max(train.max(), valid.max())) + 1, label.mean()
    folds = np.random.default_rng(0).integers(5, size=len(train))
    cells = folds * size + train
    counts = np.bincount(cells, minlength=5 * size).reshape(5, size)
    sums = np.bincount(cells, weights=label, minlength=5 * size).reshape(5, size)
    all_counts, all_sums = counts.sum(0), sums.sum(0)
    others = (all_sums - sums + 10 * middle) / (all_counts - counts + 10)
    return others[folds, train], ((all_sums + 10 * middle) / (all_counts + 10))[valid]


def _levels(codes: np.ndarray, columns: list[Any]) -> np.ndarray:
    """Codes as numbers of levels; missing and unknown ones are gaps."""
    found = codes.astype("float64")
    for i, column in enumerate(columns):
        found[(codes[:, i] == 0) | (codes[:, i] == column.unknown_code), i] = np.nan
    return found


def _numbers(numbers: np.ndarray, processor: TableProcessor) -> np.ndarray:
    """Number columns with their gaps; the columns that tell of gaps are not needed then."""
    names = processor.number_names_
    found = numbers[:, : len(processor.numbers_)].astype("float64")
    for i, column in enumerate(processor.numbers_):
        name = f"{column.name}_na"
        if name in names[len(processor.numbers_) :]:
            found[numbers[:, names.index(name, len(processor.numbers_))] > 0.5, i] = np.nan
    return found
