"""Targets that come with raw rows, as a trained model knows them: its names, its order, its classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.classes import Classes
from zoo.errors import did_you_mean, some
from zoo_tabular.frames.frame_checks import check_frame
from zoo_tabular.frames.target.values import read_columns, read_truth


def model_targets(learn: Any, df: pd.DataFrame, target: Any) -> Tensor:
    """Targets of raw rows on the scale on which the model learned, as its loaders give them."""
    data, values = learn.data, true_values(learn, df, target)
    if data.task == "classification":
        return torch.from_numpy(values)
    scaled = values if data.task == "multilabel" else data.target.forward(values)
    return torch.from_numpy(
        np.array(scaled, dtype="float32")
    )  # a copy: pandas may hand out what is read-only


def true_values(learn: Any, df: pd.DataFrame, target: Any) -> np.ndarray:
    """Targets of raw rows as the user gives them: numbers or labels of shape (rows, outputs), class numbers
    (rows,).

    Args:
        learn: a learner of a table, also a loaded one, or an ensemble of such.
        df: raw rows.
        target: names of columns of `df`, a series or frame, or an array. Several targets with the names that
            the model knows are brought into its order; arrays and other columns of `df` must be in it.

    Raises:
        ValueError: for other names, rows in another order by their index, classes that the model lacks.
    """
    data = learn.data
    if not isinstance(target, pd.DataFrame) and hasattr(target, "columns"):
        target = check_frame(target, "the target")  # of polars or Arrow
    if data.task == "classification":
        table = read_columns(df, target)
        if table.shape[1] != 1:
            raise ValueError(f"the target has {table.shape[1]} columns, the classes need one")
        return _class_numbers(table.iloc[:, 0], data.classes)
    names = data.classes if data.task == "multilabel" else data.target.names
    if data.n_out > 1 and names:
        target = _in_order(df, target, names)
    truth, _ = read_truth(df, target, is_reg=data.task == "regression", is_multi=data.task == "multilabel")
    if truth.n_out != data.n_out:
        raise ValueError(f"the target has {truth.n_out} columns, the model predicts {data.n_out}")
    return truth.values


def _in_order(df: pd.DataFrame, target: Any, names: list[str]) -> Any:
    """Several targets in the order of the model, where they have names."""
    if isinstance(target, pd.DataFrame):
        given = [str(name) for name in target.columns]
    elif isinstance(target, list | tuple) and target and all(isinstance(name, str) for name in target):
        given = list(target)
    else:
        return target
    if names == [str(place) for place in range(len(names))]:  # the model learned from an array
        return target
    if not isinstance(target, pd.DataFrame) and not set(given) & set(names):
        return target  # other columns, chosen one by one
    if sorted(given) != sorted(names):
        lacking = [f"{name!r}{did_you_mean(name, given)}" for name in names if name not in given]
        extra = [repr(name) for name in given if name not in names]
        repeated = [repr(name) for name in dict.fromkeys(given) if given.count(name) > 1]
        what = [("lacks", lacking), ("has besides", extra), ("repeats", repeated)]
        said = "; it ".join(f"{verb} {some(which)}" for verb, which in what if which)
        raise ValueError(
            f"the target {said}; the model predicts {some(map(repr, names), 12)}: give these columns, or an "
            "array in this order"
        )
    return target.set_axis(given, axis=1)[names] if isinstance(target, pd.DataFrame) else list(names)


def _class_numbers(values: pd.Series, classes: list[str]) -> np.ndarray:
    codes, levels = pd.factorize(values, use_na_sentinel=False)
    places = Classes(classes).place
    found = [places(level) for level in levels]
    strange = sorted(str(level) for level, place in zip(levels, found, strict=True) if place is None)
    if strange:
        raise ValueError(
            f"the target holds {some(map(repr, strange))}, which is none of the classes {classes}"
        )
    return np.array(found, dtype="int64")[codes]
