"""A target is brought to another scale and predictions back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo_tabular import ColumnarModelData
from zoo_tabular.frames.target.transforms import TargetTransform


@pytest.mark.parametrize("name", ["standardize", ["standardize"], ["standardize", "log"]])
def test_a_constant_target_is_not_divided_by_rounding_errors(name) -> None:
    y = np.full(200, 1e6 + 0.1)
    assert y.std() > 0, "rounding alone"
    columns = np.stack([y, np.arange(1.0, 201.0)], 1)[
        :, : 1 if name in ("standardize", ["standardize"]) else 2
    ]
    transform = TargetTransform(name).fit(columns)
    assert transform.std[0] == 1.0
    np.testing.assert_allclose(transform.forward(columns)[:, 0], 0.0, atol=1e-6)


def test_validation_rows_beside_constant_training_rows_have_a_finite_loss(tmp_path) -> None:
    df = pd.DataFrame({"x": np.arange(300.0), "y": np.r_[np.full(200, 1e6 + 0.1), np.full(100, 0.2)]})
    df.iloc[:200].to_parquet(tmp_path / "train.parquet")
    df.iloc[200:].to_parquet(tmp_path / "valid.parquet")
    whole = ColumnarModelData.from_data_frame(
        tmp_path, range(200, 300), df, "y", [], target_transform="standardize"
    )
    streamed = ColumnarModelData.from_parquet(
        tmp_path, tmp_path / "valid.parquet", tmp_path / "train.parquet", "y", [],
        target_transform="standardize",
    )  # fmt: skip
    for md in (whole, streamed):
        assert md.target.std == [1.0]
        assert md.target.mean == pytest.approx([1e6 + 0.1])
