"""Unknown levels: their row is trained, they are counted once a call, and they can be refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import load_learner
from zoo_tabular import ColumnarModelData, TabularLearner

STORES, DAYS = 120, 60


def sales(stores: range, seed: int) -> pd.DataFrame:
    """Days of stores whose level depends on their size and, for a part, on the store alone."""
    rng = np.random.default_rng(seed)
    store = np.repeat(np.array(stores), DAYS)
    own = 2 + rng.normal(0, 0.3, len(stores)).repeat(DAYS)  # a mean that only the rows of stores can carry
    size = rng.uniform(-1, 1, len(stores)).repeat(DAYS)
    day = np.tile(np.arange(DAYS) % 7, len(stores))
    value = 5 + own + 0.5 * size + 0.2 * (day == 0) + rng.normal(0, 0.05, len(store))
    return pd.DataFrame({"Store": store, "Size": size, "Day": day, "Sales": np.exp(value)})


@pytest.fixture(scope="module")
def learn() -> TabularLearner:
    md = ColumnarModelData.from_data_frame(
        ".", None, sales(range(STORES), 0), "Sales", ["Store", "Day"], 128, cont_flds=["Size"],
        target_transform="log", seed=0,
    )  # fmt: skip
    made = md.get_learner(szs=[32], progress=False, device="cpu", seed=0)
    made.fit(0.01, 1, cycle_len=4)
    return made


def rms(learn: TabularLearner, rows: pd.DataFrame) -> float:
    return float(np.sqrt(np.mean(np.square(np.log(learn.predict_batch(rows) / rows["Sales"])))))


def test_strange_stores_are_forecast_better_than_with_a_random_row(learn: TabularLearner) -> None:
    strange = sales(range(1000, 1040), 1)
    column = learn.data.processor.categories_[0]
    table = learn.model.embeddings.table(0).detach()
    trained = table[column.unknown_code].clone()
    torch.manual_seed(0)
    error, draws = rms(learn, strange), []
    try:
        for _ in range(20):
            table[column.unknown_code] = torch.randn_like(trained)
            draws.append(rms(learn, strange))
        table[column.unknown_code] = table[1 : len(column.levels) + 1].mean(0)
        mean_row = rms(learn, strange)
    finally:
        table[column.unknown_code] = trained
    assert trained.abs().max() > 0.01, "the row has moved from where it began"
    assert error < np.mean(draws) - 0.02
    assert error < np.quantile(draws, 0.25)
    assert error < mean_row + 0.05
    assert error < 0.45, "not far from what a store's own part leaves open, 0.3"


def test_each_call_counts_its_unknown_values_once(
    learn: TabularLearner, caplog: pytest.LogCaptureFixture
) -> None:
    rows = sales(range(1000, 1090), 1)  # more than one batch
    assert len(rows) > 4096
    calls = [
        (lambda: learn.predict_batch(rows), "'Store': 5400 (1000, 1001, 1002"),
        (lambda: learn.predict_one(rows.iloc[0]), "'Store': 1 (1000"),
        (lambda: learn.predict_one({"Store": 3, "Day": 9, "Size": 0.0}), "'Day': 1 (9)"),
        (lambda: learn.predict_batch([{"Store": 7777, "Day": 1, "Size": 0.0}] * 2), "'Store': 2 (7777)"),
        (lambda: learn.data.set_test(rows), "'Store': 5400"),
    ]
    for call, told in calls:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "zoo_tabular"):
            call()
        assert len(caplog.records) == 1
        assert told in caplog.records[0].getMessage()


def test_unknown_values_can_be_refused_also_after_loading(learn: TabularLearner, tmp_path: Path) -> None:
    strict = load_learner(learn.export(tmp_path / "model"), device="cpu")
    strict.data.processor.unknown = "error"
    again = load_learner(strict.export(tmp_path / "strict"), device="cpu")
    for one in (strict, again):
        row = {"Store": 7777, "Day": 1, "Size": 0.0}
        with pytest.raises(ValueError, match=r"'Store': 1 \(7777\)"):
            one.predict_one(row)
        with pytest.raises(ValueError, match=r"'Store': 2 \(7777\)"):
            one.predict_batch([row, row])
        assert one.predict_one(row | {"Store": 3}) > 0
