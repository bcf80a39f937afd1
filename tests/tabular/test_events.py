"""Days since and until events, against a slow and plain computation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_tabular import add_elapsed, add_event_counts

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.booleans()), min_size=1, max_size=30)


def frame(rows: list[tuple[int, int, bool]]) -> pd.DataFrame:
    store, day, promo = zip(*rows, strict=True)
    dates = pd.Timestamp("2015-01-01") + pd.to_timedelta(list(day), unit="D")
    return pd.DataFrame({"Store": store, "Date": dates, "Promo": promo}, index=[7] * len(rows))


@given(ROWS)
def test_elapsed_agrees_with_the_plain_computation(rows: list[tuple[int, int, bool]]) -> None:
    out = add_elapsed(frame(rows), ["Promo"], "Date", "Store")
    for (store, day, _), after, before in zip(rows, out["AfterPromo"], out["BeforePromo"], strict=True):
        hits = [d for s, d, happened in rows if s == store and happened]
        past, coming = [day - d for d in hits if d <= day], [d - day for d in hits if d >= day]
        assert after == min(past) if past else np.isnan(after)
        assert before == min(coming) if coming else np.isnan(before)


@given(ROWS, st.integers(1, 9))
def test_counts_agree_with_the_plain_computation(rows: list[tuple[int, int, bool]], days: int) -> None:
    out = add_event_counts(frame(rows), "Promo", "Date", "Store", days=days)
    for (store, day, _), back, ahead in zip(rows, out["Promo_bw"], out["Promo_fw"], strict=True):
        hits = {d for s, d, happened in rows if s == store and happened}
        assert back == len([d for d in hits if day - days < d <= day])
        assert ahead == len([d for d in hits if day <= d < day + days])


def test_groups_of_several_columns_and_fill() -> None:
    df = pd.DataFrame(
        {"State": ["BE", "BE", "HH", None], "Store": [1, 1, 1, 1], "Day": ["2015-01-01", "2015-01-05"] * 2,
         "Promo": [1.0, np.nan, 0.0, 1.0]}
    )  # fmt: skip
    out = add_elapsed(df, "Promo", "Day", ["State", "Store"], fill=-1)
    assert out["AfterPromo"].tolist() == [0, 4, -1, 0]
    assert out["BeforePromo"].tolist() == [0, -1, -1, 0]
    assert list(df.columns) == ["State", "Store", "Day", "Promo"]


def test_one_series_without_groups_and_an_empty_frame() -> None:
    df = pd.DataFrame({"Day": ["2015-01-03", "2015-01-01"], "Sale": [False, True]})
    assert add_elapsed(df, "Sale", "Day")["AfterSale"].tolist() == [2, 0]
    empty = pd.DataFrame({"Day": pd.to_datetime([]), "Sale": pd.Series([], dtype=bool)})
    assert len(add_event_counts(add_elapsed(empty, "Sale", "Day"), "Sale", "Day")) == 0


def test_errors_say_what_to_do() -> None:
    df = pd.DataFrame({"Day": ["2015-01-03", None], "Holiday": ["0", "a"]})
    with pytest.raises(ValueError, match="column 'Day' has no date in 1 of 2 rows"):
        add_elapsed(df, "Holiday", "Day")
    with pytest.raises(ValueError, match="event column 'Holiday' holds '0', 'a'; make it true/false first"):
        add_elapsed(df.assign(Day="2015-01-03"), "Holiday", "Day")
    with pytest.raises(ValueError, match=r"no column 'Holidays' \(did you mean 'Holiday'\?\)"):
        add_event_counts(df, "Holidays", "Day")
    with pytest.raises(ValueError, match="days is the length of the window"):
        add_event_counts(df, "Holiday", "Day", days=0)
    for days in (1.5, 2.0, True, "7", None):
        with pytest.raises(ValueError, match="length of the window, a whole number of at least 1, got"):
            add_event_counts(df, "Holiday", "Day", days=days)  # type: ignore[arg-type]


def test_days_may_be_of_numpy() -> None:
    df = frame([(0, 0, True), (0, 1, False), (0, 3, True)])
    expected = add_event_counts(df, "Promo", "Date", days=3)
    pd.testing.assert_frame_equal(add_event_counts(df, "Promo", "Date", days=np.int8(3)), expected)


def test_columns_that_are_there_are_not_replaced() -> None:
    df = pd.DataFrame({"Day": ["2015-01-01", "2015-01-03"], "Sale": [True, False], "Fair": [False, True]})
    with pytest.raises(ValueError, match=r"add_elapsed: column 'BeforeSale' is there.*rename or drop"):
        add_elapsed(df.assign(BeforeSale=5.0), "Sale", "Day")
    with pytest.raises(ValueError, match="add_event_counts: column 'Sale_fw' is there already"):
        add_event_counts(df.assign(Sale_fw=9), "Sale", "Day")
    once = add_event_counts(add_elapsed(df, "Sale", "Day"), "Sale", "Day")
    more = add_event_counts(add_elapsed(once, "Fair", "Day"), "Fair", "Day")
    assert more.columns[-4:].tolist() == ["AfterFair", "BeforeFair", "Fair_bw", "Fair_fw"]
    pd.testing.assert_frame_equal(add_event_counts(add_elapsed(once, "Sale", "Day"), "Sale", "Day"), once)
