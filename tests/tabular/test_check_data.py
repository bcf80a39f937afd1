"""Planted faults of a table are found; a clean one has none."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from zoo import check_data
from zoo.data.check.report import Finding
from zoo_tabular import (
    ColumnarModelData,
    TabularClassifier,
    TabularRegressor,
    TimeLeakWarning,
    add_datepart,
    class_weights,
)


def clean(n: int = 1000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"Kind": rng.choice(list("abcd"), n), "Size": rng.normal(size=n), "Age": rng.integers(18, 80, n)},
        index=[f"r{i}" for i in range(n)],
    )
    df["Sales"] = df["Size"] + df["Kind"].map({"a": 1, "b": 2, "c": 0, "d": 5}) + rng.normal(size=n)
    return df


def made(df: pd.DataFrame, cats=("Kind",), y="Sales", **options) -> ColumnarModelData:
    return ColumnarModelData.from_data_frame(".", range(700, 1000), df, y, list(cats), 64, **options)


def found(md: ColumnarModelData) -> dict[tuple[str, str], Finding]:
    return {(one.what, one.where): one for one in check_data(md).findings}


def test_a_clean_table_has_no_findings() -> None:
    df = clean()
    before = df.copy()
    report = made(df).check()
    assert not report.findings, report
    assert dict(report.rows) == {"train": 700, "valid": 300}
    pd.testing.assert_frame_equal(df, before)
    df["High"] = df.pop("Sales") > 2
    report = made(df, y="High", is_reg=False).check()
    assert not report.findings, report
    assert set(report.classes) == {"False", "True"}


def test_rows_are_named_by_position_and_index() -> None:
    df = clean()
    df.iloc[720] = df.iloc[13]
    df.iloc[50:70] = df.iloc[80].to_list()
    by = found(made(df))
    across = by["training rows in validation", "inputs and target are equal"]
    assert (across.severity, across.count) == ("error", 1)
    assert across.examples == ("valid row 720 (index 'r720') = train row 13 (index 'r13')",)
    twice = by["training rows that occur twice", "inputs and target are equal"]
    assert (twice.severity, twice.count) == ("warning", 20)


def test_columns_with_faults() -> None:
    df = clean()
    rng = np.random.default_rng(1)
    df["Id"] = rng.permutation(1000) + 5000
    df["Code"] = [f"c{i}" for i in rng.permutation(1000)]
    df["Same"] = 1.0
    df["Gone"] = np.where(rng.random(1000) < 0.8, np.nan, rng.normal(size=1000))
    df["Late"] = np.where(np.arange(1000) >= 700, np.nan, rng.normal(size=1000))
    df["Shift"] = rng.normal(size=1000) + (np.arange(1000) >= 700) * 2.0
    df["Text"] = rng.integers(0, 40, 1000).astype(str)
    df["Place"] = np.where(np.arange(1000) >= 800, "elsewhere", "here")
    df["Copy"] = -3 * df["Sales"] + 1e-3 * rng.normal(size=1000)
    df.loc["r900":, "Kind"] = "z"
    cats = ["Kind", "Code", "Text", "Place"]
    by = found(made(df, cats))

    def told(what: str, name: str) -> Finding:
        return by.pop((what, f"column {name!r}"))

    assert told("every row has a value of its own", "Id").severity == "warning"
    assert told("every row has a value of its own", "Code").examples[0].startswith("c")
    assert told("hardly any other value", "Same").share == 1
    assert told("hardly any other value", "Place").count == 700
    assert told("mostly missing", "Gone").share == pytest.approx(0.8, abs=0.05)
    assert told("another distribution in validation", "Shift").share > 0.6
    assert told("numbers stored as text", "Text").count == 40
    assert told("values that training never shows", "Kind").share == pytest.approx(1 / 3)
    assert told("values that training never shows", "Place").severity == "warning"
    assert told("values that training never shows", "Code").share == 1
    assert told("leak of the target", "Copy").share > 0.99
    assert told("another distribution in validation", "Late").share == 0.5  # filled with the median
    assert not by, by


def test_gaps_that_differ_and_rare_levels() -> None:
    df = clean()
    df.loc["r710":, "Size"] = np.nan
    df.loc["r3", "Size"] = np.nan
    df["Kind"] = np.where(np.arange(1000) % 10 == 0, [f"k{i // 20}" for i in range(1000)], df["Kind"])
    by = found(made(df))
    assert by["missing otherwise in validation", "column 'Size'"].examples == ("train 0.1%", "valid 96.7%")
    assert by["levels of one or two rows", "column 'Kind'"].count == 35


@pytest.mark.parametrize("kind", ["category", "gap"])
def test_classes_told_by_one_column(kind: str) -> None:
    df = clean()
    df["High"] = df.pop("Sales") > 2
    if kind == "category":
        df["Copy"] = np.where(df["High"], "p", "q")
    else:
        df["Copy"] = np.where(df["High"], np.nan, df["Size"] * 2)
    cats = ["Kind", "Copy"] if kind == "category" else ["Kind"]
    by = found(made(df, cats, y="High", is_reg=False))
    assert set(by) == {("leak of the target", "column 'Copy'")}


def test_time_that_leaks_is_told_again() -> None:
    df = clean()
    df["Date"] = pd.date_range("2024-01-01", periods=1000)
    shuffled = df.sample(frac=1, random_state=0)
    with pytest.warns(TimeLeakWarning):
        md = made(shuffled, cont_flds=["Size", "Age"])
    assert ("leak of time", "split") in found(md)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ("leak of time", "split") not in found(made(df, cont_flds=["Size", "Age"]))


def test_streamed_rows_are_looked_at_too(tmp_path) -> None:
    from pyarrow.dataset import field

    df = clean().reset_index(drop=True)
    df["Held"] = np.arange(1000) >= 700
    df["Same"] = "x"
    df.iloc[720, :4] = df.iloc[13, :4]
    df.to_parquet(tmp_path / "rows.parquet")
    md = ColumnarModelData.from_parquet(
        tmp_path,
        field("Held"),
        tmp_path / "rows.parquet",
        "Sales",
        ["Kind", "Same"],
        cont_flds=["Size", "Age"],
    )
    by = found(md)
    assert by["training rows in validation", "inputs and target are equal"].count == 1
    assert ("hardly any other value", "column 'Same'") in by


@pytest.mark.parametrize("ones", [0.5, 0.6], ids=["half", "most"])
@pytest.mark.parametrize("later", [0.0, 1.0], ids=["never", "always"])
def test_drift_of_a_column_of_zeros_and_ones(ones: float, later: float) -> None:
    df = clean()
    df["Flag"] = np.where(np.arange(1000) < 700, np.arange(1000) % 10 < 10 * ones, later).astype(float)
    by = found(made(df))
    share = ones if later == 0 else 1 - ones
    drift = by["another distribution in validation", "column 'Flag'"]
    assert drift.share == pytest.approx(share, abs=0.01)
    assert len(by) == 1


@pytest.mark.parametrize("transform", [None, "log"])
def test_a_leak_is_found_whatever_the_tail_of_the_target(transform: str | None) -> None:
    df = clean()
    for seed in range(8):  # by chance the largest target may be among the rows that show what values mean
        noise = np.random.default_rng(seed).normal(size=1000)
        df["Hint"] = df["Size"] + noise
        df["Sales"] = np.exp(3 * df["Hint"])
        assert ("leak of the target", "column 'Hint'") in found(made(df, target_transform=transform))
    df["Hint"] = df["Size"] + 0.3 * noise
    assert not found(made(df, target_transform=transform))
    df["Sales"] = np.where(df["Size"] > 1.7, df["Sales"], 0.0)  # most are zero: telling which is no leak
    df["Any"] = (df["Sales"] > 0) * 1.0
    assert ("leak of the target", "column 'Any'") not in found(made(df))


def test_the_time_of_the_rows_is_no_id() -> None:
    df = clean()
    df["Date"] = pd.date_range("2024-01-01", periods=1000, freq="h")
    report = made(add_datepart(df, "Date")).check()
    assert report.ok, report
    assert not [one for one in report.findings if one.what == "every row has a value of its own"]


def test_numbered_names_are_no_fault_and_text_of_fractions_is_one() -> None:
    df = clean()
    numbers = np.random.default_rng(4).integers(0, 60, 1000)
    df["Patient"], df["Price"] = numbers.astype(str), (numbers / 4).astype(str)
    report = made(df, ["Kind", "Patient", "Price"]).check()
    by = {one.where: one.severity for one in report.findings if one.what == "numbers stored as text"}
    assert by == {"column 'Patient'": "note", "column 'Price'": "warning"}


def test_weights_of_rows_are_neither_target_nor_label() -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"x": rng.normal(size=400), "size": rng.integers(1, 4, 400) * 1.0})
    y = rng.normal(size=400)
    weighted = TabularRegressor(epochs=1).fit(df, y, sample_weight=df["size"])
    assert "leak" not in str(weighted.learner_.data.check())
    kinds = np.where(y > 0, "hi", "lo")
    data = TabularClassifier(epochs=1).fit(df, kinds, sample_weight=df["size"]).learner_.data
    report = data.check()
    total = {kind: sum(by.values()) for kind, by in report.classes.items()}
    assert total == pd.Series(kinds).value_counts().to_dict()
    shares = np.array([report.classes[kind]["train"] for kind in data.classes])
    assert class_weights(data).numpy() == pytest.approx(shares.sum() / 2 / shares)
