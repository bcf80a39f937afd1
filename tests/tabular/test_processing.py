"""train_cats, apply_cats, proc_df: codes that agree, gaps that change no shape, nothing mutated."""

from __future__ import annotations

import logging
import statistics
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor

from zoo_tabular import add_datepart, apply_cats, proc_df, train_cats


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


@pytest.mark.parametrize(
    ("train", "test", "codes"),
    [
        (["0", "a", "0"], [0, 0], [0, 0]),
        (["0", "a", "0"], [0.0, None], [0, -1]),
        (["0", "a", "0"], pd.Categorical([0, 7], categories=[7, 0]), [0, -1]),
        (pd.Categorical([3, 5]), ["5", "3"], [1, 0]),
        (pd.Categorical([3, 5]), np.array([5, 3], dtype="float32"), [1, 0]),
        (pd.Categorical([1.5, 2.5]), [Decimal("2.5"), Decimal("1.50")], [1, 0]),
        (pd.Categorical(pd.to_datetime(["2020-01-02"])), ["2020-01-02", date(2020, 1, 2)], [0, 0]),
        (pd.Categorical(["0", 0, "a"], categories=["0", 0, "a"]), [0, "0", "a"], [1, 0, 2]),
        (pd.Categorical(["b", "a"], categories=["b", "a"]), ["a", "b"], [1, 0]),
        (["true", "false"], [True, False], [1, 0]),
        (pd.Categorical(np.array([0.1, 0.2], dtype="float32")), [0.2, 0.1], [1, 0]),
        (pd.Categorical([0.1, 0.2]), np.array([0.2, 0.1], dtype="float32"), [1, 0]),
    ],
)
def test_categories_of_another_type_are_met_by_value(train: object, test: object, codes: list) -> None:
    like = train_cats(pd.DataFrame({"H": train}))
    df = pd.DataFrame({"H": pd.Series(test, dtype=object) if isinstance(test, list) else test})
    assert apply_cats(df, like)["H"].cat.codes.tolist() == codes


def test_values_that_apply_cats_loses_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    like = train_cats(pd.DataFrame({"a": ["x", "y"], "b": ["u", None]}))
    with caplog.at_level(logging.WARNING, "zoo_tabular"):
        apply_cats(pd.DataFrame({"a": ["x", None], "b": pd.Categorical([None, "u"], ["zz", "u"])}), like)
        assert not caplog.records
        apply_cats(pd.DataFrame({"a": ["z", "z"], "b": pd.Categorical(["u", "v"])}), like)
    [record] = caplog.records
    assert record.getMessage().endswith("become missing, by column: 'a': 2 ('z'); 'b': 1 ('v')")
    with pytest.raises(TypeError, match="column 'a' holds list values, which cannot be categories"):
        apply_cats(pd.DataFrame({"a": [["x"], ["y"]]}), like)


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


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ([10, 9, 100], [10, 9, 100], "int64"),
        ([Decimal("1.5"), Decimal("2.5"), Decimal("10.5")], [1.5, 2.5, 10.5], "float64"),
        ([np.float32(10), 9, True], [10.0, 9.0, 1.0], "float64"),
        ([np.int16(10), np.bool_(True), 2], [10, 1, 2], "int64"),
        ([2**70, 1, 2], [2.0**70, 1.0, 2.0], "float64"),
    ],
)
def test_targets_of_number_objects_stay_numbers(values: list, expected: list, kind: str) -> None:
    df = pd.DataFrame({"x": [1, 2, 3], "y": pd.Series(values, dtype=object)})
    for na_dict in (None, {"x": 2.0}):
        y = proc_df(df, "y", na_dict=na_dict)[1]
        assert (y.tolist(), y.dtype) == (expected, kind)


def test_targets_of_arrow_decimals_are_numbers() -> None:
    y = pd.array([Decimal("1.5"), Decimal("10.5")], dtype=pd.ArrowDtype(pa.decimal128(8, 2)))
    assert proc_df(pd.DataFrame({"x": [1, 2], "y": y}), "y")[1].tolist() == [1.5, 10.5]


def test_targets_that_are_no_finite_numbers_are_refused() -> None:
    inf = float("inf")
    for values in (np.array([1.0, inf]), np.array([1.0, -inf], "float32"), pd.Series([1, inf], dtype=object),
                   pd.array([1.0, inf], dtype="Float64")):  # fmt: skip
        with pytest.raises(ValueError, match="column 'y' holds 1 infinite values"):
            proc_df(pd.DataFrame({"x": [1, 2], "y": values}), "y")
    for values in (np.array([1j, 2]), pd.Series([1j, 2], dtype=object)):
        for target in ("y", None):
            with pytest.raises(TypeError, match="column 'y' holds complex numbers"):
                proc_df(pd.DataFrame({"x": [1, 2], "y": values}), target)
    huge = pd.DataFrame({"x": [1, 2], "y": pd.Series([10**400, 1], dtype=object)})
    with pytest.raises(ValueError, match="column 'y' holds a whole number, which is too large"):
        proc_df(huge, "y")


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


FLAGS = {
    "bool": [True, False, True],
    "boolean": pd.array([True, False, True], dtype="boolean"),
    "bool[pyarrow]": pd.array([True, False, True], dtype="bool[pyarrow]"),
    "object": np.array([True, False, True], dtype=object),
}


@pytest.mark.parametrize("trained", FLAGS)
@pytest.mark.parametrize(
    "gap",
    [
        pd.array([None, True], dtype="boolean"),
        pd.array([None, True], dtype="bool[pyarrow]"),
        np.array([None, True], dtype=object),
        [np.nan, 1.0],
    ],
)
def test_a_true_false_column_is_a_number_with_or_without_gaps(trained: str, gap: object) -> None:
    frame, _, nas = proc_df(pd.DataFrame({"x": [1, 2, 3], "f": FLAGS[trained]}))
    assert nas == {"x": 2.0, "f": 1.0}
    assert frame[["f", "f_na"]].values.tolist() == [[1, False], [0, False], [1, False]]
    test, _, same = proc_df(pd.DataFrame({"x": [1, 2], "f": gap}), na_dict=nas)
    assert list(test.columns) == list(frame.columns)
    assert test[["f", "f_na"]].values.tolist() == [[1.0, True], [1.0, False]]
    assert same == nas


def test_a_missing_date_first_seen_in_the_test_set_keeps_the_columns() -> None:
    train = add_datepart(
        pd.DataFrame({"Date": pd.date_range("2015-01-01", periods=9), "x": range(9)}), "Date"
    )
    test = add_datepart(pd.DataFrame({"Date": pd.to_datetime(["2015-01-31", None]), "x": [1, 2]}), "Date")
    frame, _, nas = proc_df(train)
    coded, _, _ = proc_df(test, na_dict=nas)
    assert list(coded.columns) == list(frame.columns)
    assert coded["Is_month_end_na"].tolist() == [False, True]
    forest = RandomForestRegressor(2, random_state=0).fit(frame, range(9))
    assert np.isfinite(forest.predict(coded)).all()


def test_categories_that_are_numbers_may_have_gaps() -> None:
    for levels, values, codes in (([1, 2, 3], [2, None, 1, 9], [1, -1, 0, -1]),
                                  ([False, True], [True, None, False], [1, -1, 0])):  # fmt: skip
        train = pd.DataFrame({"s": pd.Categorical(levels)})
        test = pd.DataFrame({"s": pd.Categorical(values)})
        assert apply_cats(test, train)["s"].cat.codes.tolist() == codes
    assert proc_df(test, na_dict={"s": 0.5})[0].values.tolist() == [[1, False], [0.5, True], [0, False]]


def test_no_column_is_made_twice() -> None:
    cases = [
        (pd.DataFrame({"A_b": [10.0, 20.0], "A": ["b", "c"]}), "column 'A' would make a second column 'A_b'"),
        (
            pd.DataFrame({"A": ["b", "c"], "A_b": [10.0, 20.0]}),
            "column 'A_b' would make a second column 'A_b'",
        ),
        (pd.DataFrame({"A": ["nan", None]}), "second column 'A_nan'"),
        (pd.DataFrame({"A": pd.Categorical([1, "1"], categories=[1, "1"])}), "second column 'A_1'"),
        (pd.DataFrame({"A": [1.0, 2.0], "A_na": [1.0, 2.0]}), "second column 'A_na'"),
    ]
    for df, message in cases:
        with pytest.raises(ValueError, match=message):
            proc_df(df, max_n_cat=5)


def test_the_test_frame_must_be_like_the_training_frame() -> None:
    x = pd.DataFrame({"x": [1.0, 2.0]})
    cases = [
        (
            lambda: proc_df(x.assign(z=5.0), na_dict={"x": 2.0}),
            "column 'z' holds numbers, but na_dict has no",
        ),
        (lambda: proc_df(x, na_dict={"x": 2.0, "xx": 1.0}), "na_dict: the data frame has no column 'xx'"),
        (lambda: proc_df(x, "x", skip_flds=["x"]), "'x' is the target and cannot be in skip_flds"),
        (lambda: proc_df(x, "x", ignore_flds=["x"]), "'x' is the target and cannot be in skip_flds"),
        (
            lambda: proc_df(x.assign(y=["b", "c"]), "y", na_dict={"x": 2.0}),
            "target 'y' holds text.*train_cats",
        ),
        (lambda: proc_df(x.assign(x=["far", "1"]), na_dict={"x": 2.0}), "used as numbers but holds 'far'"),
        (lambda: proc_df(x.assign(x=[np.inf, 1])), "column 'x' holds 1 infinite values"),
        (
            lambda: proc_df(x.assign(x=pd.array([np.inf, None], dtype="Float64"))),
            "column 'x' holds 1 infinite",
        ),
        (lambda: proc_df(x.set_axis([0], axis=1)), r"proc_df: column names must be text, got 0: rename"),
        (lambda: train_cats(x.set_axis([("a", 1)], axis=1)), r"column names must be text, got \('a', 1\)"),
    ]
    for action, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            action()
        assert "\n" not in str(caught.value)


def test_only_text_becomes_categories() -> None:
    df = pd.DataFrame(
        {
            "d": [date(2020, 1, 1), None],
            "flag": pd.Series([True, None], dtype=object),
            "n": pd.Series([1.5, None], dtype=object),
            "money": [Decimal("2.5"), Decimal("3.5")],
            "t": ["a", None],
            "mixed": pd.Series(["a", True], dtype=object),
            "nothing": pd.Series([None, None], dtype=object),
        }
    )
    with pytest.warns(UserWarning, match="column 'mixed' mixes"):
        train = train_cats(df)
    assert [kind == "category" for kind in train.dtypes] == [False] * 4 + [True] * 3
    frame, _, nas = proc_df(train, skip_flds=["d"])
    assert nas == {"flag": 1.0, "n": 1.5, "money": 3.0}
    test = apply_cats(df.drop(columns="d"), train)
    pd.testing.assert_frame_equal(proc_df(test, na_dict=nas)[0], frame)


def test_dates_of_every_type_are_refused_or_categories() -> None:
    days = pd.to_datetime(["2020-01-02", "2020-01-01"])
    for values in ([date(2020, 1, 2), date(2020, 1, 1)], days, days - days[1]):
        for kind in (None, object):
            df = train_cats(pd.DataFrame({"d": pd.Series(values, dtype=kind)}))
            with pytest.raises(ValueError, match=r"column 'd' is (date|timedelta).*use add_datepart"):
                proc_df(df)
            assert proc_df(df.astype("category"))[0]["d"].tolist() == [2, 1]


GAPPY = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=8)


def test_a_constant_column_is_not_scaled_by_rounding() -> None:
    frame = pd.DataFrame({"x": [838861.0166806267] * 5})
    _, _, nas, mapper = proc_df(frame, do_scale=True)
    assert mapper["x"][1] == 1.0
    again, *_ = proc_df(frame + 3.0, do_scale=True, na_dict=nas, mapper=mapper)
    assert again["x"].tolist() == pytest.approx([3.0] * 5)


@given(GAPPY, GAPPY, st.booleans())
def test_numbers_agree_with_the_plain_computation(train: list, test: list, scale: bool) -> None:
    def frame(values: list) -> pd.DataFrame:
        return pd.DataFrame({"x": pd.Series(values, dtype="Float64"), "y": range(len(values))})

    _, y, nas, *rest = proc_df(frame(train), "y", do_scale=scale)
    again, _, _, *_ = proc_df(frame(test), "y", do_scale=scale, na_dict=nas, mapper=rest[0] if rest else None)
    present = [value for value in train if value is not None]
    median = statistics.median(present) if present else 0.0
    filled = [median if value is None else value for value in train]
    mean = statistics.fmean(filled) if scale else 0.0
    spread = (statistics.pstdev(filled) or 1.0) if scale else 1.0
    expected = [((median if value is None else value) - mean) / spread for value in test]
    assert y.tolist() == list(range(len(train)))
    assert again["x_na"].tolist() == [value is None for value in test]
    if spread > max(1e-100, 1e-6 * max(map(abs, filled), default=0.0)):  # else rounding decides
        assert again["x"].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(
    st.lists(st.none() | st.sampled_from("cabd"), min_size=1),
    st.lists(st.none() | st.sampled_from("abcxyz"), min_size=1),
    st.permutations("abcxyz"),
)
def test_categories_agree_with_the_plain_computation(train: list, test: list, levels: list) -> None:
    first = train_cats(pd.DataFrame({"x": pd.Series(train, dtype=object)}))
    known = sorted({value for value in train if value is not None})
    expected = [known.index(value) if value in known else -1 for value in test]
    forms = [
        pd.Series(test, dtype=object),
        pd.Series(test, dtype="string"),
        pd.Categorical(test, categories=levels),
    ]
    for form in forms:
        assert apply_cats(pd.DataFrame({"x": form}), first)["x"].cat.codes.tolist() == expected
    codes = proc_df(apply_cats(pd.DataFrame({"x": forms[0]}), first), na_dict={})[0]["x"]
    assert codes.tolist() == [code + 1 for code in expected]
