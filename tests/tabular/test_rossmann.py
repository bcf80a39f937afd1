"""The store sales: real tables joined, a slice trained, raw days forecast."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from zoo import load_learner
from zoo_tabular import ColumnarModelData, exp_rmspe, last_days_split, rmspe

EXAMPLES = Path(__file__).parents[2] / "examples"


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def features() -> ModuleType:
    return load_example("rossmann_features")


@pytest.fixture(scope="module")
def days(features: ModuleType, data_dir: Callable[..., Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return features.load_rossmann(data_dir("rossmann", "store.csv"))


def test_features_of_known_days(days: tuple[pd.DataFrame, pd.DataFrame], features: ModuleType) -> None:
    train, coming = days
    assert (len(train), len(coming)) == (844_338, 41_088)
    assert train[features.CATEGORIES].notna().all(axis=None)
    row = train[(train["Store"] == 2) & (train["Date"] == "2015-07-31")].iloc[0]
    assert (row["Sales"], row["DayOfWeek"], row["Week"], row["State"]) == (6064, 5, 31, "TH")
    assert row["Promo2Weeks"] == 25, "since week 13 of 2010, capped"
    assert row["CompetitionMonthsOpen"] == 24, "since November 2007, capped"
    first = train[(train["Store"] == 1) & (train["Date"] == "2013-01-02")].iloc[0]
    assert (first["AfterStateHoliday"], first["BeforeStateHoliday"]) == (1, 86), (
        "after New Year, before Good Friday"
    )
    assert first["StateHoliday_bw"] == 1
    leap = train[train["Date"] == "2015-07-02"].iloc[0]  # the middle of the year
    waves = [leap[name] for name in ("Season_sin1", "Season_cos1", "Season_sin2", "Season_cos2")]
    assert waves == pytest.approx([0, -1, 0, 1], abs=0.03)


def test_days_around_a_closure_of_two_weeks(
    days: tuple[pd.DataFrame, pd.DataFrame], features: ModuleType
) -> None:
    """Store 227 was closed from 2014-08-29 to 2014-09-10, and sold nothing on its first open day."""
    store = days[0][days[0]["Store"] == 227].set_index("Date")
    gaps = store[["AfterLongClosure", "BeforeLongClosure"]]
    assert gaps.loc["2014-08-28"].tolist() == [30, 1]
    assert gaps.loc["2014-09-12"].tolist() == [2, 30]
    assert gaps.loc["2014-09-20"].tolist() == [10, 30]
    assert gaps.loc["2015-06-01"].tolist() == [30, 30]


def test_a_few_closed_days_are_no_long_closure(features: ModuleType) -> None:
    frame = pd.DataFrame({"Store": [2] * 4 + [1] * 12, "Date": pd.date_range("2015-01-01", periods=16)})
    frame["Open"] = [0.0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    before = frame.copy()
    found = features.add_closures(frame)
    pd.testing.assert_frame_equal(frame, before)
    one = found[found["Store"] == 1]
    assert one["BeforeLongClosure"].tolist() == [7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0]
    assert (found.loc[found["Store"] == 2, ["BeforeLongClosure", "AfterLongClosure"]] == 30).all(axis=None)


def test_the_spans_that_are_held_out(days: tuple[pd.DataFrame, pd.DataFrame], features: ModuleType) -> None:
    train = days[0]
    last, middle = (features.held_out_rows(train, span) for span in ("last", "2014"))
    assert np.array_equal(last, last_days_split(train, "Date", 14))
    assert len(last) == 13_420
    assert len(middle) == 38_399


def test_a_slice_trains_exports_and_forecasts_raw_days(
    days: tuple[pd.DataFrame, pd.DataFrame], features: ModuleType, tmp_path: Path
) -> None:
    train = days[0][days[0]["Store"] <= 30].reset_index(drop=True)
    test = days[1][days[1]["Store"] <= 30]
    md = ColumnarModelData.from_data_frame(
        tmp_path, last_days_split(train, "Date", 14), train, "Sales", features.CATEGORIES, 256, test,
        cont_flds=features.NUMBERS, target_transform="log", seed=0,
    )  # fmt: skip
    learn = md.get_learner(
        emb_drop=0.04, szs=[100, 50], drops=[0.001, 0.01], y_range=(0, 12), metrics=[exp_rmspe],
        progress=False, device="cpu", seed=0,
    )  # fmt: skip
    learn.fit(3e-3, 2, cycle_len=1, cycle_mult=2)
    sales, actual = learn.predict_with_targs()
    mean = train["Sales"].mean()
    assert rmspe(sales, actual) < 0.25 < rmspe(np.full_like(actual, mean), actual)
    loaded = load_learner(learn.export(tmp_path / "sales"), device="cpu")
    held_out = train.iloc[last_days_split(train, "Date", 14)]
    assert np.allclose(loaded.predict_batch(held_out), sales, rtol=1e-4)
    one = held_out.iloc[0].to_dict()
    assert loaded.predict_one(one) == pytest.approx(sales[0], rel=1e-4)
    written = learn.write_submission(tmp_path / "submission.csv", test["Id"], "Id", "Sales")
    assert len(written) == len(test)
    assert (written["Sales"] > 0).all()


def test_the_range_of_outputs_does_not_look_at_held_out_sales(features: ModuleType) -> None:
    sales = pd.Series([10.0, 100.0, 5000.0], index=[0, 0, 0])
    assert features.log_range(sales, np.array([2])) == (0, 1.2 * np.log(100.0))
