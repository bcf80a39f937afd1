"""Gradient boosting on the columns of a table, beside the network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.losses import CrossEntropyFlat
from zoo.metrics import mae
from zoo_tabular import ColumnarModelData, TabularLearner, TabularRegressor, class_weights
from zoo_tabular.metrics import in_units


def sales(n: int = 1500) -> pd.DataFrame:
    """The target jumps with the category and with gaps, which only trees that see both can follow."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"Kind": rng.choice(list("abcd"), n), "Size": rng.normal(size=n), "Idle": rng.normal(size=n)}
    )
    df.loc[rng.random(n) < 0.3, "Size"] = np.nan
    height = df["Kind"].map({"a": 1.0, "b": 5.0, "c": 2.0, "d": 9.0}) + df["Size"].fillna(6.0)
    df["Sales"] = np.exp(height / 5)
    return df


def made(df: pd.DataFrame, y="Sales", cats=("Kind",), **options) -> ColumnarModelData:
    return ColumnarModelData.from_data_frame(".", range(1000, 1500), df, y, list(cats), 64, seed=1, **options)


def learner(md: ColumnarModelData, **options) -> TabularLearner:
    return md.get_learner(progress=False, device="cpu", seed=0, **options)


def test_regression_on_a_log_scale_with_gaps_and_categories() -> None:
    md = made(sales(), target_transform="log")
    learn = md.get_learner(
        progress=False, device="cpu", seed=0, metrics=[*md.default_metrics(), in_units(mae, md)]
    )
    found = learn.baseline()
    assert found.name == "gradient boosting"
    assert list(found.metrics) == list(learn.evaluate())
    assert found.metrics["exp_rmspe"] < 0.06 < 0.5 < found.reference.metrics["exp_rmspe"]
    truth = sales()["Sales"].to_numpy()[1000:]
    assert found.predictions.shape == learn.predict().shape
    assert found.metrics["mae"] == pytest.approx(np.abs(found.predictions - truth).mean(), rel=1e-3)


def test_unknown_and_rare_levels_and_columns_of_many_levels() -> None:
    df = sales()
    df["Shop"] = [f"shop {i % 400}" for i in range(1500)]
    df["Sales"] *= 1 + (np.arange(1500) % 400 > 200) * 5.0
    df.loc[1490:, "Kind"] = "new"
    md = made(df, cats=["Kind", "Shop"], min_count=2, target_transform="log")
    found = learner(md).baseline()
    assert found.metrics["exp_rmspe"] < 0.75 * found.reference.metrics["exp_rmspe"]


def test_classes_several_labels_and_several_targets() -> None:
    df = sales()
    df["Level"] = pd.cut(df.pop("Sales"), [0, 2, 4, 8, 100]).astype(str)
    found = learner(made(df, "Level", is_reg=False)).baseline()
    assert found.metrics["accuracy"] > 0.9
    assert np.exp(found.predictions).sum(1) == pytest.approx(np.ones(500), abs=1e-5)

    df = sales()
    labels = pd.DataFrame({"high": df["Sales"] > 3, "gap": df["Size"].isna()}).astype(int)
    found = (
        made(df.drop(columns="Sales"), labels, is_multi=True)
        .get_learner(progress=False, device="cpu")
        .baseline()
    )
    assert found.metrics["accuracy_thresh"] > 0.95

    df["Other"] = -df["Sales"]
    found = (
        made(df, ["Sales", "Other"], target_transform="standardize")
        .get_learner(progress=False, device="cpu")
        .baseline()
    )
    assert found.predictions.shape == (500, 2)
    assert found.predictions[:, 0] == pytest.approx(-found.predictions[:, 1], rel=0.05)
    assert found.metrics["rmse"] < 0.2


def test_class_weights_and_row_weights_count_here_too() -> None:
    df = sales()
    df["Big"] = df.pop("Sales") > 6
    md = made(df, "Big", is_reg=False)
    plain = learner(md).baseline().reference
    weighted = learner(md, loss_fn=CrossEntropyFlat(weight=class_weights(md))).baseline().reference
    assert plain.metrics["valid_loss"] < 0.6
    assert weighted.metrics["valid_loss"] == pytest.approx(np.log(2), abs=1e-4)

    frame = pd.DataFrame({"x": np.arange(40.0)})
    target = np.where(np.arange(40) % 2, 3.0, 1.0)
    model = TabularRegressor(epochs=1, device="cpu", target_transform="none")
    model.fit(frame, target, sample_weight=np.where(target > 2, 3.0, 1.0))
    data = model.learner_.data
    data.valid_dl = made(sales()).valid_dl
    data.valid_dl.tensors = tuple(part[:2] for part in data.train_dl.tensors)
    mean = data.quick_models()[0].answers()
    assert mean.flatten().tolist() == pytest.approx([2.5, 2.5])


def test_rows_that_are_their_own_target_have_no_baseline() -> None:
    from zoo_tabular.autoencoder import AutoencoderData

    data = AutoencoderData.from_frame(".", range(10), sales(100), ["Kind"])
    with pytest.raises(ValueError, match="'autoencoder'"):
        data.quick_models()


def test_streamed_rows(tmp_path) -> None:
    df = sales()
    df["Held"] = np.arange(1500) >= 1000
    df.to_parquet(tmp_path / "rows.parquet")
    from pyarrow.dataset import field

    md = ColumnarModelData.from_parquet(
        tmp_path, field("Held"), tmp_path / "rows.parquet", "Sales", ["Kind"], 64, target_transform="log",
        cont_flds=["Size", "Idle"],
    )  # fmt: skip
    learn = learner(md)
    state = torch.get_rng_state()
    assert learn.baseline().metrics["exp_rmspe"] < 0.06
    assert torch.equal(state, torch.get_rng_state())
