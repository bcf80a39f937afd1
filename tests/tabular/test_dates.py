"""Golden values of date parts, at every resolution, with gaps and time zones."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_tabular import add_datepart

PARTS = [
    "Year", "Month", "Week", "Day", "Dayofweek", "Dayofyear", "Is_month_end", "Is_month_start",
    "Is_quarter_end", "Is_quarter_start", "Is_year_end", "Is_year_start", "Elapsed",
]  # fmt: skip
GOLDEN = {
    "2015-07-31": [2015, 7, 31, 31, 4, 212, True, False, False, False, False, False, 1438300800],
    "2016-01-01": [2016, 1, 53, 1, 4, 1, False, True, False, True, False, True, 1451606400],
    "2018-12-31": [2018, 12, 1, 31, 0, 365, True, False, True, False, True, False, 1546214400],
    "1969-12-31": [1969, 12, 1, 31, 2, 365, True, False, True, False, True, False, -86400],
    "2000-02-29": [2000, 2, 9, 29, 1, 60, True, False, False, False, False, False, 951782400],
}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_golden_values_at_every_resolution(unit: str) -> None:
    dates = np.array(list(GOLDEN), dtype=f"datetime64[{unit}]")
    df = pd.DataFrame({"Date": dates, "Sales": range(len(GOLDEN))})
    out = add_datepart(df, "Date")
    assert list(out.columns) == ["Sales", *PARTS]
    assert out[PARTS].to_numpy(dtype=object).tolist() == list(GOLDEN.values())
    assert list(df.columns) == ["Date", "Sales"], "the caller's frame changed"


@pytest.mark.parametrize("make", [str, dt.date.fromisoformat, pd.Timestamp])
def test_text_and_python_dates_are_parsed(make) -> None:
    out = add_datepart(pd.DataFrame({"Date": [make(day) for day in GOLDEN]}), "Date", drop=False)
    assert list(out.columns) == ["Date", *PARTS]
    assert out[PARTS].to_numpy(dtype=object).tolist() == list(GOLDEN.values())


def test_missing_dates_are_missing_everywhere() -> None:
    out = add_datepart(pd.DataFrame({"Date": pd.to_datetime(["2015-07-31", None])}), "Date", time=True)
    assert out.iloc[1].isna().all()
    assert out.iloc[0, :13].tolist() == [2015, 7, 31, 31, 4, 212, True, *[False] * 5, 0]
    assert out["Elapsed"].iloc[0] == 1438300800


def test_time_zone_gives_local_parts_and_utc_seconds() -> None:
    stamp = pd.Timestamp("2015-07-31 23:30:15", tz="America/New_York")  # already August in UTC
    out = add_datepart(pd.DataFrame({"soldDate": [stamp]}), "soldDate", time=True)
    row = out.iloc[0]
    assert (row["soldMonth"], row["soldDay"], row["soldHour"], row["soldMinute"], row["soldSecond"]) == (
        7,
        31,
        23,
        30,
        15,
    )
    assert row["soldElapsed"] == stamp.timestamp()


def test_arrow_dates_and_repeated_index() -> None:
    column = pd.Series(pd.to_datetime(list(GOLDEN)), index=[0] * len(GOLDEN))
    out = add_datepart(pd.DataFrame({"Date": column.astype("timestamp[us][pyarrow]")}), "Date")
    assert out["Elapsed"].tolist() == [row[-1] for row in GOLDEN.values()]


def test_empty_frame_keeps_its_shape() -> None:
    out = add_datepart(pd.DataFrame({"Date": pd.Series([], dtype="datetime64[ns]")}), "Date")
    assert list(out.columns) == PARTS
    assert len(out) == 0


@given(st.lists(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)), min_size=1, max_size=20))
def test_parts_agree_with_the_standard_library(stamps: list[dt.datetime]) -> None:
    out = add_datepart(pd.DataFrame({"date": pd.Series(stamps, dtype="datetime64[us]")}), "date")
    for stamp, row in zip(stamps, out.itertuples(), strict=True):
        assert (row.Year, row.Month, row.Day) == (stamp.year, stamp.month, stamp.day)
        assert (row.Week, row.Dayofweek) == (stamp.isocalendar().week, stamp.weekday())
        assert row.Dayofyear == stamp.timetuple().tm_yday
        assert row.Is_month_end == ((stamp + dt.timedelta(days=1)).month != stamp.month)
        since = stamp.replace(microsecond=0) - dt.datetime(1970, 1, 1)
        assert row.Elapsed == since.days * 86400 + since.seconds


def test_errors_say_what_to_do() -> None:
    df = pd.DataFrame({"Date": ["2015-07-31", "soon"], "Code": [20150731, 1]})
    with pytest.raises(ValueError, match=r"no column 'Dat' \(did you mean 'Date'\?\)"):
        add_datepart(df, "Dat")
    with pytest.raises(ValueError, match="column 'Date': cannot read 'soon' as a date"):
        add_datepart(df, "Date")
    with pytest.raises(TypeError, match="column 'Code' holds numbers"):
        add_datepart(df, "Code")
    with pytest.raises(TypeError, match=r"expected a pandas DataFrame .*, got list"):
        add_datepart([1], "Date")  # type: ignore[arg-type]


def test_a_column_that_is_there_already_is_not_replaced() -> None:
    dates = pd.to_datetime(["2015-07-31", None])
    df = add_datepart(pd.DataFrame({"Date": dates}), "Date", drop=False)
    pd.testing.assert_frame_equal(add_datepart(df, "Date", drop=False), df)
    with pytest.raises(ValueError, match="column 'Year' is there already, with other values"):
        add_datepart(df.assign(Year=1), "Date")
    with pytest.raises(ValueError, match="column 'Year' is there already"):
        add_datepart(df.assign(date=pd.to_datetime(["2016-07-31", None])), "date")


def test_days_of_arrow_and_columns_without_any_date() -> None:
    days = [dt.date.fromisoformat(day) for day in GOLDEN]
    out = add_datepart(pd.DataFrame({"Date": pd.Series([*days, None], dtype="date32[pyarrow]")}), "Date")
    assert out["Elapsed"].dropna().tolist() == [row[-1] for row in GOLDEN.values()]
    assert out.iloc[-1].isna().all()
    for nothing in ([np.nan, np.nan], [None, None], [pd.NaT, pd.NaT]):
        empty = add_datepart(pd.DataFrame({"Date": nothing}), "Date")
        assert list(empty.columns) == PARTS
        assert empty.isna().all().all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["2015-07-31 23:30+02:00", "2015-07-31 23:30+03:00"],
            r"'2015-07-31 23:30\+03:00' has another.*utc=True",
        ),
        (["03/04/2015", "25/12/2015"], "'25/12/2015' is not written like '03/04/2015'.*format="),
        (["2015-07-31", "31 July 2015"], "'31 July 2015' is not written like '2015-07-31'.*format="),
    ],
)
def test_dates_that_are_not_written_alike_give_one_line(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"column 'Date': {message}") as caught:
        add_datepart(pd.DataFrame({"Date": texts}), "Date")
    assert "\n" not in str(caught.value)
