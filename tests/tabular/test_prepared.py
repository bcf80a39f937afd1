"""Coded tables on disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.core.test_prepared import assert_same_batches
from zoo import load_data, load_learner
from zoo.data.loaders.batches import device_batches
from zoo_tabular import AutoencoderData, ColumnarModelData, write_partitioned


def sales(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"Store": rng.integers(1, 5, n), "Day": rng.choice(["mo", "tu", None], n), "Sales": rng.random(n) + 1}
    )
    df["Km"] = np.where(rng.random(n) < 0.2, np.nan, rng.random(n))
    df["Kind"] = rng.choice(["a", "b", "c"], n)
    return df


def regression(path, **options):
    return ColumnarModelData.from_data_frame(
        path, range(30, 40), sales(), "Sales", ["Store", "Day", "Kind"], 8, sales(5),
        target_transform="log", seed=3, **options,
    )  # fmt: skip


def classification(path):
    return ColumnarModelData.from_data_frame(
        path, range(30, 40), sales(), "Kind", ["Store", "Day"], 8, is_reg=False, seed=3
    )


def autoencoder(path):
    return AutoencoderData.from_frame(
        path, range(30, 40), sales(), ["Store", "Day", "Kind"], 8, swap_noise=0.4, seed=3
    )


def as_trained_on(data) -> list:
    data.train_dl.set_epoch(1)
    return [part for batch in device_batches(data.train_dl, torch.device("cpu"), True) for part in batch]


@pytest.mark.parametrize("make", [regression, classification, autoencoder])
def test_batches_noise_and_what_was_learned_come_back(tmp_path, make):
    data = make(tmp_path)
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert type(loaded) is type(data)
    for left, right in zip(as_trained_on(data), as_trained_on(loaded), strict=True):
        assert torch.equal(left, right)
    for one in (data, loaded):
        one.train_dl.batch_transform = None
    assert_same_batches(data, loaded)
    assert loaded.export_state() == data.export_state()
    assert loaded.path == data.path


def test_loaded_tables_train_predict_raw_rows_and_export(tmp_path):
    data = regression(tmp_path, cat_dropout=0.3)
    loaded = load_data(data.save(tmp_path / "prepared"))
    answers = []
    for one in (data, loaded):
        learn = one.get_learner(szs=[8], seed=0, device="cpu", progress=False)
        learn.fit(0.01, 2)
        answers.append((learn.predict(True), learn.predict_batch(sales(7))))
    for left, right in zip(*answers, strict=True):
        np.testing.assert_array_equal(left, right)
    opened = load_learner(learn.export(tmp_path / "sales.zip"), device="cpu")
    np.testing.assert_allclose(opened.predict_batch(sales(7)), answers[1][1], rtol=1e-6)


def test_how_unknown_categories_are_taken_is_kept(tmp_path):
    data = regression(tmp_path)
    data.processor.unknown = "error"
    loaded = load_data(data.save(tmp_path / "prepared"))
    with pytest.raises(ValueError, match="Store"):
        list(loaded.batches_from_raw(sales(1).assign(Store=99)))


def test_tables_that_are_read_from_files_are_not_kept(tmp_path):
    source = write_partitioned(sales(), tmp_path / "files", ["Store"])
    data = ColumnarModelData.from_parquet(tmp_path, None, source, "Sales", ["Store", "Day", "Kind"], 8)
    with pytest.raises(TypeError, match=r"train_dl can't be kept: it is a .*ParquetLoader"):
        data.save(tmp_path / "prepared")


@pytest.mark.parametrize(
    "labels",
    [[f"order {n}" for n in range(60)], range(60), range(100, 160), pd.date_range("2020", periods=60)],
    ids=["text", "none", "numbers", "dates"],
)  # fmt: skip
def test_prepared_tables_know_their_rows_and_the_leak_of_time(tmp_path, labels):
    df = pd.DataFrame(
        {"d": pd.date_range("2020", periods=60), "a": ["x", "y"] * 30, "y": np.linspace(0, 1, 60) ** 2},
        index=pd.Index(labels),
    )
    with pytest.warns(UserWarning, match="among training rows in time"):
        data = ColumnarModelData.from_data_frame(tmp_path, range(0, 60, 4), df, "y", ["a"], 16, cont_flds=[])
    again = load_data(data.save(tmp_path / "kept"))
    assert again.time_leak == data.time_leak
    assert [again.row_name(part, 3).replace(" 00:00:00", "") for part in ("train", "valid")] == [
        data.row_name(part, 3).replace("Timestamp(", "").replace(" 00:00:00", "").replace("'))", "')")
        for part in ("train", "valid")
    ]
    assert "leak of time" in str(again.check())
