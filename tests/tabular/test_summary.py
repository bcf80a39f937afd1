"""The summary of a frame: every kind of column, odd frames, and real data."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from zoo_tabular import summarize


def row(values: object, **options: int) -> dict:
    return summarize(pd.DataFrame({"c": values}), **options).iloc[0].to_dict()


def test_a_number_column_with_gaps() -> None:
    found = row([3.0, 1.0, np.nan, 3.0, 10.0])
    assert found == {
        "dtype": "float64", "count": 4, "missing": 1, "missing_share": 0.2, "distinct": 3, "min": 1.0,
        "median": 3.0, "max": 10.0, "most_frequent": 3.0, "most_frequent_share": 0.5,
        "examples": [3.0, 1.0, 10.0],
    }  # fmt: skip
    assert row([1, 2, 3, 10])["median"] == 2.5
    assert row(pd.array([1, None, 2**53 + 1], dtype="Int64"))["max"] == 2**53 + 1
    assert row([1, 5], n_examples=1)["examples"] == [1]


def test_counts_agree_with_pandas_on_random_columns() -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"i": rng.integers(-50, 50, 999), "f": rng.normal(size=999).round(1)})
    df["f"] = df["f"].mask(rng.random(999) < 0.3)
    df["t"] = pd.Series(rng.choice(list("abc"), 999)).mask(rng.random(999) < 0.2)
    df["d"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 400, 999), unit="D")
    found = summarize(df)
    assert found.index.tolist() == ["i", "f", "t", "d"]
    for name in df:
        assert found.loc[name, "count"] == df[name].count()
        assert found.loc[name, "distinct"] == df[name].nunique()
        assert found.loc[name, "most_frequent_share"] == df[name].value_counts(normalize=True).max()
    for name in ("i", "f", "d"):
        for field in ("min", "median", "max"):
            assert found.loc[name, field] == getattr(df[name], field)()


def test_text_flags_dates_durations_and_categories() -> None:
    text = row(["b", "a", "b", None])
    assert (text["min"], text["median"], text["max"], text["most_frequent"]) == (None, None, None, "b")
    flag = row(pd.array([True, False, True, None], dtype="boolean"))
    assert (flag["min"], flag["median"], flag["max"], flag["missing"]) == (0, 1.0, 1, 1)
    assert flag["most_frequent"] is True
    assert row([True, None, False])["distinct"] == 2
    day = row(pd.to_datetime(["2020-01-01", None, "2020-01-03"]).tz_localize("Europe/Berlin"))
    assert day["median"] == pd.Timestamp("2020-01-02", tz="Europe/Berlin")
    assert day["max"] == pd.Timestamp("2020-01-03", tz="Europe/Berlin")
    assert row(pd.to_timedelta([1, 3], unit="h"))["median"] == pd.Timedelta(hours=2)
    assert row([datetime.date(2020, 1, 1), datetime.date(2020, 1, 3)])["max"] == datetime.date(2020, 1, 3)
    kinds = pd.Categorical(["m", "s", "m"], categories=["unused", "s", "m"], ordered=True)
    ordered = row(kinds)
    assert (ordered["min"], ordered["max"], ordered["distinct"], ordered["examples"]) == (
        "s",
        "m",
        2,
        ["m", "s"],
    )
    assert row(kinds.as_unordered())["min"] is None


def test_mixed_unhashable_and_exotic_values() -> None:
    lists = row([[1], [1], None, {"a": 2}])
    assert (lists["distinct"], lists["missing"], lists["most_frequent"]) == (2, 1, "[1]")
    assert row([1, "a", None])["min"] is None
    assert row([Decimal("1.5"), Decimal("2.5")])["median"] == Decimal("2")
    assert row([1 + 2j, 3j])["min"] is None
    assert row([(1, 2), (1, 2)])["most_frequent"] == (1, 2)
    assert row(pd.period_range("2020", periods=2, freq="M"))["distinct"] == 2
    assert row([np.inf, 1.0, -np.inf])["median"] == 1.0


def test_odd_frames() -> None:
    none = row([None, None])
    assert (none["count"], none["distinct"], none["most_frequent"], none["examples"]) == (0, 0, None, [])
    assert math.isnan(none["most_frequent_share"])
    assert none["missing_share"] == 1.0
    assert row([])["missing_share"] == 0.0
    assert summarize(pd.DataFrame()).shape == (0, 11)
    twice = pd.DataFrame([[1, 2.5]], columns=["a", "a"])
    assert summarize(twice)["min"].tolist() == [1, 2.5]
    assert summarize(pd.DataFrame([[1, 2]]))["max"].tolist() == [1, 2]
    assert summarize(pa.table({"a": [3, None, 1]})).loc["a", ["missing", "max"]].tolist() == [1, 3]
    with pytest.raises(TypeError, match=r"expected a pandas DataFrame .*got list"):
        summarize([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_examples must be a whole number of at least 0, got -1"):
        summarize(twice, -1)


def test_the_frame_stays_as_it_is() -> None:
    df = pd.DataFrame({"a": [2.0, None], "b": ["x", "y"], "c": [[1], [2]]})
    before = df.copy(deep=True)
    summarize(df)
    pd.testing.assert_frame_equal(df, before)


def test_real_stores(data_dir) -> None:
    stores = pd.read_csv(Path(data_dir("rossmann")) / "store.csv")
    found = summarize(stores)
    assert found.loc["Store", ["distinct", "min", "max"]].tolist() == [1115, 1, 1115]
    assert found.loc["CompetitionDistance", ["missing", "median"]].tolist() == [3, 2325.0]
    assert found.loc["StoreType", "most_frequent"] == "a"


def test_no_torch_is_needed() -> None:
    script = "import sys; from zoo_tabular import summarize; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
