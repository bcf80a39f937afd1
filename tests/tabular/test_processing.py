"""train_cats, apply_cats, proc_df: codes that agree, gaps that change no shape, nothing mutated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_tabular import apply_cats, proc_df, train_cats


def raw() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "StoreType": ["c", "a", None, "b"],
            "Distance": [10.0, np.nan, 30.0, 50.0],
            "Promo": [1, 0, 1, 0],
            "Sales": [5, 6, 7, 8],
        },
        index=[3, 3, 1, 0],
    )


def test_golden_frame() -> None:
    df = raw()
    before = df.copy()
    frame, y, nas = proc_df(train_cats(df), "Sales")
    assert list(frame.columns) == ["StoreType", "Distance", "Promo", "Distance_na", "Promo_na"]
    assert frame["StoreType"].tolist() == [3, 1, 0, 2]
    assert frame["Distance"].tolist() == [10, 30, 30, 50]
    assert frame["Distance_na"].tolist() == [False, True, False, False]
    assert y.tolist() == [5, 6, 7, 8]
    assert nas == {"Distance": 30.0, "Promo": 0.5}
    assert frame.index.tolist() == [3, 3, 1, 0]
    pd.testing.assert_frame_equal(df, before)


def test_gap_first_seen_in_the_test_set_keeps_the_columns() -> None:
    train = train_cats(raw())
    frame, _, nas = proc_df(train, "Sales")
    test = pd.DataFrame({"StoreType": ["a"], "Distance": [1.0], "Promo": [np.nan]})
    coded, y, same = proc_df(apply_cats(test, train), na_dict=nas)
    assert y is None
    assert list(coded.columns) == list(frame.columns)
    assert coded.iloc[0].tolist() == [1, 1.0, 0.5, False, True]
    assert same == nas


def test_categories_with_other_codes_are_recoded_by_value() -> None:
    train = train_cats(raw())
    for test in (
        pd.Categorical(["c", "zz", "a", None]),
        pd.Categorical(["c", "zz", "a", None], categories=["zz", "c", "q", "a"]),
        ["c", "zz", "a", None],
    ):
        applied = apply_cats(pd.DataFrame({"StoreType": test}), train)
        assert applied["StoreType"].cat.codes.tolist() == [2, -1, 0, -1]
        assert applied["StoreType"].dtype == train["StoreType"].dtype


def test_scaling_is_reused_on_the_test_set() -> None:
    frame, _, nas, mapper = proc_df(train_cats(raw()), "Sales", do_scale=True)
    assert abs(frame["Distance"].mean()) < 1e-12
    assert np.isclose(frame["Distance"].std(ddof=0), 1)
    test = raw().drop(columns=["Sales", "StoreType"]).iloc[:1]
    coded, _, _, again = proc_df(test, na_dict=nas, do_scale=True, mapper=mapper)
    assert coded["Distance"].iloc[0] == frame["Distance"].iloc[0]
    assert again == mapper


def test_dummies_skipped_ignored_and_subset() -> None:
    frame, _, _ = proc_df(raw(), "Sales", skip_flds=["Promo"], ignore_flds=["Distance"], max_n_cat=3)
    assert list(frame.columns) == ["Distance", "StoreType_a", "StoreType_b", "StoreType_c", "StoreType_nan"]
    assert frame["StoreType_nan"].tolist() == [False, False, True, False]
    assert np.isnan(frame["Distance"].iloc[1])
    small, y, _ = proc_df(raw(), "Sales", subset=2)
    _, y2, _ = proc_df(raw(), "Sales", subset=2)
    assert len(small) == len(y) == 2
    assert y.tolist() == y2.tolist() == sorted(y)


def test_more_than_127_levels_do_not_overflow() -> None:
    df = train_cats(pd.DataFrame({"Name": [f"{i:04d}" for i in range(300)]}))
    frame, _, _ = proc_df(df)
    assert frame["Name"].tolist() == list(range(1, 301))


def test_text_targets_become_codes() -> None:
    assert proc_df(pd.DataFrame({"x": [1.0, 2, 3], "y": ["no", "yes", "no"]}), "y")[1].tolist() == [0, 1, 0]


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1),
    st.lists(st.sampled_from("abcz"), min_size=1),
)
def test_same_value_same_code(train_values: list, test_values: list) -> None:
    train = train_cats(pd.DataFrame({"x": train_values, "n": 1.0}))
    test = apply_cats(pd.DataFrame({"x": test_values, "n": 1.0}), train) if len(train["x"].dropna()) else None
    if test is None:
        return
    known = dict(zip(train["x"], proc_df(train)[0]["x"], strict=True))
    for value, code in zip(test_values, proc_df(test)[0]["x"], strict=True):
        assert code == known.get(value, 0)


def test_mixed_types_are_named() -> None:
    with pytest.warns(UserWarning, match="column 'StateHoliday' mixes int and str"):
        train_cats(pd.DataFrame({"StateHoliday": [0, "0", "a"]}))


def test_errors_say_what_to_do() -> None:
    df = raw()
    with pytest.raises(ValueError, match=r"no column 'sales' \(did you mean 'Sales'\?\)"):
        proc_df(df, "sales")
    with pytest.raises(ValueError, match="target 'Sales' is missing in 2 of 4 rows"):
        proc_df(df.assign(Sales=[1, None, None, 2]), "Sales")
    with pytest.raises(ValueError, match="the data frame has no rows"):
        proc_df(df.iloc[:0], "Sales")
    with pytest.raises(ValueError, match="column 'StoreType' holds text; call apply_cats"):
        proc_df(df, "Sales", na_dict={})
    with pytest.raises(ValueError, match="column 'Day' is datetime"):
        proc_df(df.assign(Day=pd.Timestamp("2015-01-01")), "Sales")
    with pytest.raises(ValueError, match="no category column; call train_cats"):
        apply_cats(df, df)
