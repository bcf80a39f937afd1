"""The target of a table is read alike from frames and from files."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from zoo_tabular import ColumnarModelData


def every_way(path: Path, y: Any) -> list[ColumnarModelData]:
    """Data that learn classes from an Arrow table, the frame that pandas makes of it, a file."""
    table = pa.table({"x": np.arange(float(len(y))), "y": y})
    pq.write_table(table, path / "a.parquet", row_group_size=100)
    options: dict[str, Any] = {"is_reg": False, "shuffle": False}
    return [
        ColumnarModelData.from_data_frame(path, None, table, "y", [], **options),
        ColumnarModelData.from_data_frame(path, None, table.to_pandas(), "y", [], **options),
        ColumnarModelData.from_parquet(path, None, path / "a.parquet", "y", [], **options),
    ]


WORDS = np.array(["low", "high", "low", "mid"])[np.arange(300) % 4]


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (WORDS, ["high", "low", "mid"]),
        (pd.Categorical(WORDS, ["low", "mid", "high"]), ["high", "low", "mid"]),
        (pd.Categorical(WORDS, ["low", "mid", "high", "top"], ordered=True), ["low", "mid", "high"]),
        (np.arange(300) % 3, ["0", "1", "2"]),
        (np.float32([0.5, 1, 10] * 100), ["0.5", "1", "10"]),
        ([Decimal("0.50"), Decimal("1.00"), Decimal("10.00")] * 100, ["0.5", "1", "10"]),
        (np.arange(300) % 2 == 0, ["False", "True"]),
    ],
    ids=["text", "categories", "ordered", "whole", "fractions", "decimals", "flags"],
)
def test_classes_have_the_same_names_and_order_from_frames_and_files(
    tmp_path: Path, y: Any, classes: list[str]
) -> None:
    every = every_way(tmp_path, y)
    found = [torch.cat([batch[2] for batch in md.train_dl]) for md in every]
    assert [md.classes for md in every] == [classes] * 3
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("y", "told"),
    [
        ([datetime.date(2015, 1, 1 + day % 5) for day in range(300)], "the target holds dates"),
        (pd.to_datetime(["2015-07-31", "2015-08-01"] * 150), "the target holds dates"),
        (pd.to_datetime(["2015-07-31", "2015-08-01"] * 150, utc=True), "the target holds dates"),
        (pd.to_timedelta([1, 2] * 150, unit="h"), "the target holds dates"),
        (np.arange(300) / 7, "300 different numbers with fractions in 300 rows"),
        ([Decimal(cents) / 100 for cents in range(300)], "300 different numbers with fractions in 300 rows"),
        (["a"] * 300, "only one class, 'a'"),
        (np.arange(1_500), "1500 classes in 1500 rows; pass is_reg=True"),
    ],
    ids=["days", "times", "zones", "durations", "fractions", "decimals", "one", "many"],
)
def test_targets_that_are_no_classes_are_refused_from_frames_and_files(
    tmp_path: Path, y: Any, told: str
) -> None:
    table = pa.table({"x": np.arange(float(len(y))), "y": y})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    for rows in (table, table.to_pandas()):
        with pytest.raises(ValueError, match=told):
            ColumnarModelData.from_data_frame(tmp_path, None, rows, "y", [], is_reg=False)
    with pytest.raises(ValueError, match=told):
        ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "a.parquet", "y", [], is_reg=False)


def test_what_its_owner_calls_categories_are_classes() -> None:
    days = pd.Categorical(pd.to_datetime(["2015-08-01", "2015-07-31"] * 150))
    sizes = pd.Categorical(np.arange(300) % 50 / 4)
    for y, n in ((days, 2), (sizes, 50)):
        df = pd.DataFrame({"x": np.arange(300.0), "y": y})
        for rows in (df, pa.Table.from_pandas(df)):
            md = ColumnarModelData.from_data_frame(".", None, rows, "y", [], is_reg=False)
            assert md.classes is not None
            assert len(md.classes) == md.n_out == n
