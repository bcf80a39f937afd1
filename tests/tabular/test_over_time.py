"""Forecasts beside what came."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.tabular.known import assert_same, known_frame, known_learner, state
from tests.tabular.test_dependence import classifier
from zoo import load_learner
from zoo_tabular import residuals


def valid_frame() -> pd.DataFrame:
    return known_frame()[400:].assign(Date=lambda df: df["Date"].dt.strftime("%Y-%m-%d"))


def test_rows_and_sums_over_time(tmp_path) -> None:
    learn = known_learner(tmp_path)
    df = valid_frame()
    copy, before = df.copy(), state(learn)
    found = learn.residuals(df, "Sales", "Date")
    assert_same(before, state(learn))
    pd.testing.assert_frame_equal(df, copy)
    frame = found.frame
    assert frame.index.equals(df.index)
    assert np.allclose(frame["actual"], df["Sales"], rtol=1e-6)
    assert np.allclose(frame["forecast"], learn.predict(), atol=1e-5)
    assert np.allclose(frame["error"], frame["forecast"] - frame["actual"])
    assert np.allclose(frame["percent"], 100 * frame["error"] / frame["actual"])
    days = found.by_time()
    assert days["rows"].sum() == 200
    assert days["actual"].sum() == pytest.approx(df["Sales"].sum(), rel=1e-6)
    weeks = found.by_time("week")
    assert (weeks.index.day_of_week == 0).all()
    assert weeks["forecast"].sum() == pytest.approx(days["forecast"].sum())
    dark = found.by_time(where={"Shade": "dark"})
    assert dark["rows"].sum() == (df["Shade"] == "dark").sum()
    assert found.by_time(where=(df["Shade"] == "dark").to_numpy())["rows"].sum() == dark["rows"].sum()


def test_groups_and_worst_rows(tmp_path) -> None:
    learn = known_learner(tmp_path)
    df = valid_frame()
    df.loc[450, "Sales"] = 5.0
    found = residuals(learn, df, df["Sales"], "Date")
    worst = found.worst(3)
    assert worst.index[0] == 450
    assert worst["actual"].iloc[0] == pytest.approx(5.0)
    assert worst["Size"].iloc[0] == df["Size"][450]
    groups = found.by_group("Kind")
    assert groups["rows"].sum() == 200
    assert groups["mean_percent"].is_monotonic_decreasing
    assert groups.index.isna().sum() == 1
    assert len(found.by_group(["Kind", "Shade"])) == 8
    assert abs(found.worst(1, by="error")["error"].iloc[0]) == found.frame["error"].abs().max()
    assert len(found.worst(1000)) == 200


def test_targets_of_zero_have_no_percent(tmp_path) -> None:
    learn = known_learner(tmp_path)
    found = learn.residuals(valid_frame().assign(Sales=0.0), "Sales", "Date")
    assert found.frame["percent"].isna().all()
    assert len(found.worst(2)) == 2
    found.plot()[0].get_figure().canvas.draw()


def test_log_targets_classes_several_outputs_and_archives(tmp_path) -> None:
    logged = known_learner(tmp_path, transform="log")
    logged.model.output.weight.data[:] = 0.0
    logged.model.output.bias.data[:] = 3.0
    frame = logged.residuals(valid_frame(), "Sales", "Date").frame
    assert np.allclose(frame["forecast"], np.exp(3.0))
    assert np.allclose(frame["actual"], valid_frame()["Sales"], rtol=1e-5)

    both = known_learner(tmp_path, n_out=2)
    both.export(tmp_path / "both.zip")
    df = valid_frame().assign(Other=lambda df: -df["Sales"])
    second = load_learner(tmp_path / "both.zip", device="cpu").residuals(
        df, ["Sales", "Other"], "Date", output=1, unit="loss"
    )
    assert second.answer == "loss"
    assert np.allclose(second.frame["actual"], df["Other"])
    assert np.allclose(second.frame["forecast"], both.predict()[:, 1], atol=1e-4)

    df = known_frame(400).assign(Answer=lambda df: np.where(df["Size"] > 10, "large", "small"))[300:]
    shares = classifier(tmp_path).residuals(df, "Answer", "Date", output="large")
    assert shares.answer == "probability of large"
    assert set(shares.frame["actual"]) == {0.0, 1.0}
    assert shares.by_time("month")["actual"].between(0, 1).all()
    axes = shares.plot("week")
    assert "mean per week" in axes[0].get_ylabel()
    assert axes[1].get_ylabel() == "too high (+),\ntoo low (-), points"


def test_two_panels(tmp_path) -> None:
    learn = known_learner(tmp_path)
    found = learn.residuals(valid_frame(), "Sales", "Date")
    upper, lower = found.plot("week", where={"Shade": "dark"})
    assert upper.get_title().startswith("Sales, Shade dark: what came and what was forecast")
    assert upper.get_ylabel() == "Sales\nsum per week"
    upper.get_figure().canvas.draw()
    assert found.plot(title="mine", ax=[upper, lower])[0] is upper
    assert upper.get_title() == "Mine"
    one = learn.residuals(valid_frame()[:1], "Sales", "Date")
    one.plot()[0].get_figure().canvas.draw()
    assert "mean absolute error" in repr(found)


def test_bad_arguments(tmp_path) -> None:
    learn = known_learner(tmp_path)
    df = valid_frame()
    found = learn.residuals(df, "Sales", "Date")
    for call, message in (
        (lambda: learn.residuals(df, "Sales", "Dat"), r"no column 'Dat' \(did you mean 'Date'"),
        (lambda: learn.residuals(df, "Sale", "Date"), "Sale"),
        (lambda: learn.residuals(df.assign(Date=None), "Sales", "Date"), "200 of 200 rows have no 'Date'"),
        (lambda: learn.residuals(df[:0], "Sales", "Date"), "no rows"),
        (lambda: found.by_time("dy"), r"got 'dy' \(did you mean 'day'"),
        (lambda: found.by_time(where={"Shade": "pink"}), "no row has"),
        (lambda: found.by_time(where=[True]), "a mask of 200"),
        (lambda: found.worst(by="size"), "by must be 'percent' or 'error'"),
        (lambda: found.by_group("Nobody"), "no column 'Nobody'"),
        (lambda: found.by_group([]), "by_group: name at least one column"),
        (lambda: learn.residuals(df, "Sales", "Size"), "column 'Size' holds float64, no dates"),
        (lambda: learn.residuals(df.assign(Date="x"), "Sales", "Date"), "column 'Date' holds no dates"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_what_came_is_what_the_frame_says(tmp_path) -> None:
    """Whatever the scale that the model learned on, to the last digit; and 0 stays 0."""
    df = valid_frame()
    df["Sales"] = np.round(df["Sales"] * 1e7) / 1e2
    df.iloc[0, df.columns.get_loc("Sales")] = 0.0
    for transform in ("standardize", "log1p"):
        found = known_learner(tmp_path, transform=transform).residuals(df, "Sales", "Date")
        assert found.frame["actual"].tolist() == df["Sales"].tolist()
        assert np.isnan(found.frame["percent"].iloc[0])


def test_arrow_tables_will_do(tmp_path) -> None:
    import pyarrow as pa

    learn = known_learner(tmp_path)
    df = valid_frame().reset_index(drop=True)
    table = pa.Table.from_pandas(df)
    expected, found = (learn.residuals(one, "Sales", "Date").worst(3) for one in (df, table))
    assert np.array_equal(found["forecast"], expected["forecast"])
    assert found["Kind"].astype(object).tolist() == expected["Kind"].tolist()
    again = learn.importance(table, "Sales", columns=["Size"], n_repeats=2).frame
    pd.testing.assert_frame_equal(again, learn.importance(df, "Sales", columns=["Size"], n_repeats=2).frame)


def test_several_values_of_a_column(tmp_path) -> None:
    found = known_learner(tmp_path).residuals(valid_frame(), "Sales", "Date")
    one, two, both = (found.by_time(where={"Kind": which})["rows"].sum() for which in ("a", "b", ["a", "b"]))
    assert both == one + two
    assert "Kind a, b" in found.plot(where={"Kind": ["a", "b"]})[0].get_title()


def test_any_unit_may_be_named(tmp_path) -> None:
    """A regression stays one when its answer is called a probability."""
    found = known_learner(tmp_path).residuals(valid_frame(), "Sales", "Date", unit="probability of rain")
    assert found.by_time("year")["actual"].sum() == pytest.approx(valid_frame()["Sales"].sum())


def spans(days: pd.DatetimeIndex) -> pd.DataFrame:
    """One row a day, each of 10."""
    return pd.DataFrame({"Kind": "a", "Shade": "dark", "Size": 10.0, "Noise": 0.0, "Idle": 0.0, "Date": days})


def test_periods_in_part_are_told(tmp_path) -> None:
    """A week of one Saturday is no collapse."""
    learn = known_learner(tmp_path)
    days = spans(pd.date_range("2024-03-09", "2024-04-03")).assign(Sales=10.0)  # from Saturday to Wednesday
    found = learn.residuals(days, "Sales", "Date")
    weeks = found.by_time("week")
    assert weeks["days"].tolist() == [2, 7, 7, 7, 3]
    assert weeks["partial"].tolist() == [True, False, False, False, True]
    assert found.by_time("month")["partial"].tolist() == [True, True]
    assert not found.by_time("day")["partial"].any()
    upper, lower = found.plot("week")
    hollow = [line for line in upper.get_lines() if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [2, 2]
    assert "hollow: part of a week" in [text.get_text() for text in upper.get_legend().get_texts()]
    assert [bar.get_facecolor()[3] for bar in lower.patches] == [0, 1, 1, 1, 0]
    whole = learn.residuals(days[2:-3], "Sales", "Date").plot("week")[0]
    assert len(whole.get_legend().get_texts()) == 2


@pytest.mark.parametrize(
    ("days", "per"),
    [
        (pd.bdate_range("2024-03-04", "2024-03-29"), "week"),  # nothing happens at weekends
        (pd.date_range("2024-03-04", "2024-03-25", freq="7D"), "week"),  # one row a week
        (pd.date_range("2023-12-01", "2024-02-29"), "month"),  # February is short
        (pd.date_range("2024-03-04", "2024-03-11", freq="7D"), "week"),
        (pd.date_range("2024-03-04", "2024-03-10"), "week"),
    ],
)
def test_periods_that_are_whole_in_their_way(tmp_path, days, per) -> None:
    found = known_learner(tmp_path).residuals(spans(days).assign(Sales=10.0), "Sales", "Date")
    assert not found.by_time(per)["partial"].any()


def test_one_row_is_called_so(tmp_path) -> None:
    one = known_learner(tmp_path).residuals(valid_frame()[:1], "Sales", "Date")
    assert "(1 row, " in one.plot()[0].get_title()
    assert ", 1 row, " in repr(one)
