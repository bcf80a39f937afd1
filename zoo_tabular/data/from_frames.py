"""Batches out of frames in memory; see `ColumnarModelData.from_data_frame`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo_tabular.data.options import PREDICT_ROWS, TablePlan
from zoo_tabular.frames.features import check_not_feature, feature_names
from zoo_tabular.frames.frame_checks import check_columns, check_frame
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.splits import split_rows, time_column, warn_if_time_leaks
from zoo_tabular.frames.target.transforms import TargetTransform, target_names
from zoo_tabular.frames.target.values import Truth, read_truth

Made = TypeVar("Made", bound="FromFrames")


class FromFrames(Protocol):
    """What data are told of the frames they were made from."""

    row_labels: dict[str, tuple[np.ndarray, pd.Index]]
    time_leak: str | None


def data_from_frame(
    make: Callable[..., Made],
    plan: TablePlan,
    path: str | Path,
    val_idxs: Sequence[int] | np.ndarray | None,
    df: pd.DataFrame,
    y: Any,
    allow_target: bool,
) -> Made:
    """See `ColumnarModelData.from_data_frame`; `make` takes the arguments of `ColumnarModelData`."""
    df = plan.with_dates(check_frame(df, plan.where, empty_ok=False))
    truth, names = read_truth(df, y, is_reg=plan.is_reg, is_multi=plan.is_multi)
    train_rows, val_rows = split_rows(val_idxs, len(df))
    time_leak = warn_if_time_leaks(df, val_rows)
    index = df.index
    cats, conts = feature_names(df, plan.cat_flds, plan.cont_flds, [*names, *plan.date_flds], plan.where)
    if not allow_target:
        check_not_feature(df, truth, conts)
    df = df[[*cats, *conts, *plan.date_flds]]
    frames = df.iloc[train_rows], df.iloc[val_rows]
    processor = plan.processor(cats, conts)
    made = _data(make, plan, path, frames, truth, target_names(y), (train_rows, val_rows), processor)
    made.row_labels = {"train": (train_rows, index[train_rows]), "valid": (val_rows, index[val_rows])}
    made.time_leak = time_leak
    return made


def data_from_two_frames(
    make: Callable[..., Made],
    plan: TablePlan,
    path: str | Path,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    targets: tuple[Any, Any],
) -> Made:
    """See `ColumnarModelData.from_data_frames`; `make` takes the arguments of `ColumnarModelData`."""
    where = plan.where
    train = plan.with_dates(check_frame(frames[0], f"{where}: trn_df", empty_ok=False))
    valid = plan.with_dates(check_frame(frames[1], f"{where}: val_df", empty_ok=False))
    trn_y, val_y = targets
    if isinstance(trn_y, str) and isinstance(val_y, str) and trn_y != val_y:
        raise ValueError(f"{where}: trn_y names {trn_y!r} and val_y {val_y!r}; both must be the same target")
    truth, names = read_truth([train, valid], [trn_y, val_y], is_reg=plan.is_reg, is_multi=plan.is_multi)
    cats, conts = feature_names(train, plan.cat_flds, plan.cont_flds, [*names, *plan.date_flds], where)
    check_columns(valid, [*cats, *conts], f"{where}: val_df")
    rows = np.arange(len(train)), np.arange(len(train), len(train) + len(valid))
    check_not_feature(train, truth.rows(rows[0]), conts)
    time, time_leak = time_column(train), None
    if time is not None and time in valid.columns:
        time_leak = warn_if_time_leaks(pd.concat([train[[time]], valid[[time]]], ignore_index=True), rows[1])
    processor = plan.processor(cats, conts)
    made = _data(make, plan, path, (train, valid), truth, target_names(trn_y), rows, processor)
    made.row_labels = {
        name: (np.arange(len(frame)), frame.index) for name, frame in (("train", train), ("valid", valid))
    }
    made.time_leak = time_leak
    return made


def _data(
    make: Callable[..., Made],
    plan: TablePlan,
    path: str | Path,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    truth: Truth,
    names: list[str] | None,
    rows: tuple[np.ndarray, np.ndarray],
    processor: TableProcessor,
) -> Made:
    """Learns what the training rows tell and codes all rows.

    Args:
        make: takes the arguments of `ColumnarModelData`.
        plan: how rows become batches.
        path: where the learner keeps its files.
        frames: rows to train on and to validate on.
        truth: the target of both.
        names: of the target columns, where they have some.
        rows: which rows of the target those are.
        processor: not fitted yet.
    """
    transform = plan.target_transform
    if transform is not None and truth.task != "regression":
        raise ValueError(f"target_transform={transform!r} needs numbers to predict; this is {truth.task}")
    truth.check_classes_trained(rows[0])
    processor.fit(frames[0])
    names = names if truth.task == "regression" else None
    target = TargetTransform(transform or "none", names=names).fit(truth.values[rows[0]])
    values = truth.values if truth.task != "regression" else target.forward(truth.values).astype("float32")
    train_dl = TensorLoader(
        *processor.transform_arrays(frames[0]), values[rows[0]], **plan.training(len(rows[0]), processor)
    )
    valid_dl = None
    if len(rows[1]):
        arrays = processor.transform_arrays(frames[1])
        valid_dl = TensorLoader(*arrays, values[rows[1]], bs=max(plan.bs, PREDICT_ROWS))
    return make(
        train_dl, valid_dl, None, path,
        processor=processor, task=truth.task, classes=truth.classes, target=target, n_out=truth.n_out,
    )  # fmt: skip
