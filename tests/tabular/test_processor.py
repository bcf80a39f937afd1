"""TableProcessor: three separate codes, JSON state, one row like many."""

from __future__ import annotations

import json
import logging
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.columns.category_column import CategoryColumn
from zoo_tabular import TableProcessor
from zoo_tabular.stream.arrow_codes import ArrowCoder

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["a", "b", "1", "", "x y"]),
    st.floats(-3, 3), st.just(float("nan")),
)  # fmt: skip
NUMBERS = st.one_of(
    st.none(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=True, allow_infinity=False, width=32).filter(lambda x: not 0 < abs(x) < 1e-6),
)


def test_missing_rare_and_unknown_are_three_codes() -> None:
    df = pd.DataFrame({"State": ["BE", "BE", "HH", "HH", "SL", None]})
    processor = TableProcessor(["State"], [], min_count=2).fit(df)
    codes = processor.transform(pd.DataFrame({"State": ["BE", "HH", "SL", "XX", None, np.nan]}))["State"]
    assert codes.tolist() == [1, 2, 3, 4, 0, 0]
    assert codes.dtype == "int8"


def test_max_levels_keeps_the_most_frequent() -> None:
    processor = TableProcessor(["x"], [], max_levels=2).fit(pd.DataFrame({"x": list("abbccc")}))
    assert processor.transform(pd.DataFrame({"x": list("abc")}))["x"].tolist() == [3, 1, 2]


@given(
    st.lists(VALUES, min_size=1),
    st.lists(NUMBERS, min_size=1),
    st.lists(st.tuples(VALUES, NUMBERS), min_size=1),
)
def test_one_row_is_coded_like_a_frame_also_after_json(categories: list, numbers: list, rows: list) -> None:
    n = max(len(categories), len(numbers))
    df = pd.DataFrame(
        {
            "c": pd.Series((categories * n)[:n], dtype=object),
            "n": pd.Series((numbers * n)[:n], dtype=object),
        }
    )
    for options in ({"scale": True}, {"na_columns": "seen", "min_count": 2}):
        fitted = TableProcessor(["c"], ["n"], **options).fit(df)
        processor = TableProcessor.from_json(fitted.to_json())
        assert processor.to_dict() == fitted.to_dict()
        test = pd.DataFrame(
            {
                "n": pd.Series([n for _, n in rows], dtype=object),
                "c": pd.Series([c for c, _ in rows], dtype=object),
            }
        )
        codes, values = processor.transform_arrays(test)
        assert np.array_equal(codes, fitted.transform_arrays(test)[0])
        for i, (c, number) in enumerate(rows):
            one_code, one_value = processor.transform_row({"n": number, "c": c, "other": object()})
            assert one_code == codes[i].tolist()
            assert np.array_equal(np.array(one_value, dtype="float32"), values[i])


@given(st.lists(st.sampled_from([1, 2, 3, 250]), min_size=1))
def test_types_of_a_column_do_not_matter(values: list[int]) -> None:
    processor = TableProcessor(["x"], []).fit(pd.DataFrame({"x": values}))
    expected = processor.transform(pd.DataFrame({"x": values}))["x"].tolist()
    for kind in ("float64", "Int64", "category", "object", "int16"):
        assert (
            processor.transform(pd.DataFrame({"x": pd.Series(values).astype(kind)}))["x"].tolist() == expected
        )
    assert processor.transform(pd.DataFrame({"x": [str(v) for v in values]}))["x"].tolist() == expected


def test_a_categorical_with_other_codes_is_coded_by_value() -> None:
    processor = TableProcessor(["x"], []).fit(pd.DataFrame({"x": ["a", "b", "c"]}))
    other = pd.Categorical(["c", "a", "b"], categories=["c", "unused", "b", "a"])
    assert processor.transform(pd.DataFrame({"x": other}))["x"].tolist() == [3, 1, 2]


def test_levels_of_an_ordered_column_keep_their_order_and_unused_ones_are_unknown() -> None:
    sizes = pd.Categorical(["small", "large"], categories=["small", "medium", "large"], ordered=True)
    processor = TableProcessor(["x"], []).fit(pd.DataFrame({"x": sizes}))
    assert processor.categories_[0].levels == ["small", "large"]
    assert processor.transform(pd.DataFrame({"x": ["medium"]}))["x"].tolist() == [4]


def test_numbers_are_filled_scaled_and_flagged() -> None:
    df = pd.DataFrame({"d": [1.0, np.nan, 3.0, 100.0], "k": [7, 7, 7, 7]})
    all_flags = TableProcessor([], ["d", "k"]).fit(df).transform(pd.DataFrame({"k": [np.nan], "d": [5]}))
    assert all_flags.to_dict("records") == [{"d": 5.0, "k": 7.0, "d_na": 0.0, "k_na": 1.0}]
    assert (all_flags.dtypes == "float32").all()
    seen = TableProcessor([], ["d", "k"], na_columns="seen", scale=True).fit(df)
    out = seen.transform(df)
    assert list(out.columns) == ["d", "k", "d_na"]
    assert abs(out["d"].mean()) < 1e-6
    assert seen.transform(pd.DataFrame({"d": [1.0], "k": [8]}))["k"].tolist() == [0.0], (
        "a constant column teaches nothing"
    )


def test_the_target_and_the_caller_s_frame_are_left_alone() -> None:
    df = pd.DataFrame({"a": ["x", None], "n": [1.0, None], "y": [object(), object()]})
    before = df.copy(deep=True)
    processor = TableProcessor(["a"], ["n"]).fit(df, y=df["y"])
    processor.transform(df)
    processor.transform(df.drop(columns="y"))
    pd.testing.assert_frame_equal(df, before)
    assert json.loads(processor.to_json())["version"] == 1


def test_columns_are_found_and_their_order_is_fixed() -> None:
    df = pd.DataFrame(
        {"n": [1.0], "b": [True], "s": ["x"], "c": pd.Categorical(["y"]), "t": pd.to_datetime(["2015-01-01"])}
    )
    processor = TableProcessor().fit(df)
    assert processor.feature_names_in_ == ["s", "c", "n", "b"]
    assert list(processor.transform(df[["t", "c", "b", "s", "n"]]).columns) == processor.feature_names_out_


def test_unknown_values_are_counted_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    processor = TableProcessor(["Store"], []).fit(pd.DataFrame({"Store": [1, 2]}))
    with caplog.at_level(logging.WARNING, "zoo_tabular"):
        processor.transform(pd.DataFrame({"Store": [9, 9, 1]}))
        processor.transform_row({"Store": 8})
    assert [record.getMessage().split("column: ")[1] for record in caplog.records] == [
        "'Store': 2 (9)",
        "'Store': 1 (8)",
    ]
    processor.unknown = "error"
    with pytest.raises(ValueError, match=r"not seen in training, by column: 'Store': 2 \(9\)"):
        processor.transform(pd.DataFrame({"Store": [9, 9, 1]}))
    with pytest.raises(ValueError, match=r"'Store': 1 \(8\)"):
        processor.transform_row({"Store": 8})


def test_errors_say_what_to_do() -> None:
    df = pd.DataFrame({"StoreType": ["a", "b"], "Distance": [1.0, 2.0]})
    processor = TableProcessor(["StoreType"], ["Distance"], extra="error").fit(df)
    with pytest.raises(ValueError, match=r"no column 'StoreType' \(did you mean 'storetype'\?\)"):
        processor.transform(df.rename(columns={"StoreType": "storetype"}))
    with pytest.raises(ValueError, match="no value for 'Distance'"):
        processor.transform_row({"StoreType": "a"})
    with pytest.raises(ValueError, match="not there when fitted: 'Sales'"):
        processor.transform(df.assign(Sales=1))
    with pytest.raises(ValueError, match="column 'Distance' is used as numbers but holds 'far'"):
        processor.transform(df[["StoreType"]].assign(Distance=["far", 1]))
    with pytest.raises(ValueError, match="column 'Distance' holds numbers, got 'far'"):
        processor.transform_row({"StoreType": "a", "Distance": "far"})
    with pytest.raises(ValueError, match="holds 1 infinite values"):
        processor.transform(df.assign(Distance=[np.inf, 1]))
    with pytest.raises(ValueError, match="column names must be unique, repeated: StoreType"):
        processor.fit(df.set_axis(["StoreType", "StoreType"], axis=1))
    with pytest.raises(ValueError, match="has no rows"):
        TableProcessor().fit(df.iloc[:0])
    with pytest.raises(ValueError, match="call fit first"):
        TableProcessor().transform(df)
    with pytest.raises(ValueError, match="call fit first"):
        TableProcessor().transform_row({"StoreType": "a"})
    with pytest.raises(ValueError, match="unknown must be one of"):
        TableProcessor(unknown="ignore").fit(df)


def test_numbers_that_float32_cannot_hold_are_refused() -> None:
    df = pd.DataFrame({"d": [1.0, 2.0, 4.0]})
    for options in ({}, {"scale": True}):
        processor = TableProcessor([], ["d"], **options).fit(df)
        for value in (1e300, -1e308, "1e300"):
            message = r"column 'd' holds -?1e\+30[08], which is too large"
            with pytest.raises(ValueError, match=message):
                processor.transform_row({"d": value})
            with pytest.raises(ValueError, match=message):
                processor.transform(pd.DataFrame({"d": [1.0, value]}))
        assert np.isfinite(processor.transform(pd.DataFrame({"d": [1e30]}))["d"]).all()
        with pytest.raises(ValueError, match=r"column 'd' holds 1e\+300, which is too large"):
            TableProcessor([], ["d"], **options).fit(pd.DataFrame({"d": [1.0, 1e300]}))
    tiny = TableProcessor([], ["d"], scale=True).fit(pd.DataFrame({"d": [0, 1e-38]}))
    with pytest.raises(ValueError, match=r"column 'd' holds 2, which is too large for float32 \(scaled"):
        tiny.transform_row({"d": 2})
    with pytest.raises(ValueError, match="too large"):
        processor.transform_row({"d": 10**400})


def test_categories_of_numbers_and_true_false_with_gaps_are_numbers() -> None:
    for values in (pd.Categorical([1, None, 0]), np.array([True, None, False], dtype=object)):
        processor = TableProcessor([], ["x"]).fit(pd.DataFrame({"x": values}))
        assert processor.transform(pd.DataFrame({"x": values})).values.tolist() == [[1, 0], [0.5, 1], [0, 0]]
    assert processor.transform(pd.DataFrame({"x": pd.Categorical([None])})).values.tolist() == [[0.5, 1]]


def test_dates_and_numbers_meet_the_text_that_spells_them() -> None:
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"])
    dates = TableProcessor(["x"], []).fit(pd.DataFrame({"x": days}))
    texts = TableProcessor(["x"], []).fit(pd.DataFrame({"x": days.strftime("%Y-%m-%d")}))
    for processor in (dates, texts, TableProcessor.from_json(dates.to_json())):
        for day in ("2020-01-02", days[1], days[1].date(), days[1].to_datetime64()):
            assert processor.transform_row({"x": day})[0] == [2]
            frame = pd.DataFrame({"x": pd.Series([day], dtype=object)})
            assert processor.transform(frame)["x"].tolist() == [2]
        assert processor.transform_row({"x": "soon"})[0] == [5]
    floats = TableProcessor(["x"], []).fit(pd.DataFrame({"x": ["1.0", "2.0", "02", "z"]}))
    assert floats.categories_[0].levels == ["02", "1.0", "2.0", "z"]
    rows = [("1.0", 2), (1.0, 2), (1, 2), (2, 6), ("z", 4)]  # "02" and "2.0" both spell 2
    assert [floats.transform_row({"x": value})[0][0] for value, _ in rows] == [code for _, code in rows]


def test_decimals_are_numbers() -> None:
    processor = TableProcessor(["x"], []).fit(pd.DataFrame({"x": [1, 2.5]}))
    values = [Decimal(1), Decimal("2.50"), Decimal(7), Decimal("nan")]
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    assert processor.transform(frame)["x"].tolist() == [1, 2, 4, 0]
    assert [processor.transform_row({"x": value})[0][0] for value in values] == [1, 2, 4, 0]
    of_decimals = TableProcessor(["x"], []).fit(frame)
    assert TableProcessor.from_json(of_decimals.to_json()).categories_[0].levels == [1, 2.5, 7]


@pytest.mark.parametrize("names", [["a", "a_na"], ["a_na", "a"]])
def test_columns_made_twice_are_refused(names: list[str]) -> None:
    df = pd.DataFrame({"a": [1.0, None], "a_na": [0.0, 1.0]})
    for processor in (TableProcessor([], names), TableProcessor(["a_na"], ["a"], na_columns="seen")):
        with pytest.raises(ValueError, match="column 'a' would make a second column 'a_na'"):
            processor.fit(df)
        with pytest.raises(ValueError, match="column 'a' would make a second column 'a_na'"):
            processor.fit_stream([df])
    filled = TableProcessor([], names, na_columns="seen").fit(df.fillna(0))
    assert filled.feature_names_out_ == names


def test_values_that_cannot_be_levels_are_named() -> None:
    with pytest.raises(TypeError, match="column 'x' holds list values, which cannot be categories"):
        TableProcessor(["x"], []).fit(pd.DataFrame({"x": [[1], [2]]}))


def test_one_row_of_a_column_of_many_categories_looks_at_its_own_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = [f"{i:04d}" for i in range(5000)]
    big = pd.DataFrame({"c": pd.Categorical(levels, categories=levels[::-1])})
    processor = TableProcessor(["c"], []).fit(big)
    assert processor.transform(big)["c"].tolist() == list(range(1, 5001))
    code, asked = CategoryColumn.code, []
    monkeypatch.setattr(CategoryColumn, "code", lambda self, value: asked.append(value) or code(self, value))
    assert processor.transform(big[7:10])["c"].tolist() == [8, 9, 10]
    assert processor.transform(big[:0])["c"].tolist() == []
    assert processor.transform(pd.DataFrame({"c": pd.Categorical([None], levels)}))["c"].tolist() == [0]
    assert sorted(asked) == levels[7:10]


def codes_on_all_paths(processor: TableProcessor, values: pd.Series) -> list[int]:
    """Codes of a column, made sure to be the same from a frame, an Arrow table, and single rows."""
    df = pd.DataFrame({"c": values})
    codes = processor.transform(df)["c"].tolist()
    arrow = ArrowCoder(processor)
    for batch in pa.Table.from_pandas(df).to_batches():
        assert arrow(batch)[0][:, 0].tolist() == codes
    assert [processor.transform_row({"c": value})[0][0] for value in df["c"]] == codes
    assert TableProcessor.from_json(processor.to_json()).transform(df)["c"].tolist() == codes
    return codes


def fitted_on(values: Any) -> list[TableProcessor]:
    """Processors that saw a column as a frame, and as pieces of a stream of Arrow tables."""
    df = pd.DataFrame({"c": values})
    table = pa.Table.from_pandas(df)
    whole, streamed = TableProcessor(["c"], []).fit(df), TableProcessor(["c"], []).fit_stream([table, table])
    assert whole.categories_[0].levels == streamed.categories_[0].levels
    return [whole, streamed]


@pytest.mark.parametrize("spelling", [("false", "true"), ("False", "True"), ("FALSE", "TRUE")])
@pytest.mark.parametrize("kind", ["bool", "boolean"])
def test_true_and_false_meet_the_text_that_spells_them(spelling: tuple[str, str], kind: str) -> None:
    text, flags = pd.Series([*spelling, *spelling]), pd.Series([False, True, False, True], dtype=kind)
    for processor in fitted_on(text) + fitted_on(flags):
        assert codes_on_all_paths(processor, text) == [1, 2, 1, 2]
        assert codes_on_all_paths(processor, flags) == [1, 2, 1, 2]
    [three, _] = fitted_on([0, 1, 2])
    assert codes_on_all_paths(three, text) == [5] * 4, "not the text of whole numbers"
    [both, _] = fitted_on(["true", "false", "1.0"])
    assert [both.transform_row({"c": value})[0] for value in (1.0, True, False)] == [[1], [1], [2]]
    [unclear, _] = fitted_on(["true", "True"])
    assert unclear.transform_row({"c": True})[0] == [4]


def test_float32_meets_the_numbers_that_were_meant() -> None:
    short = np.array([0.1, 0.2, 0.3, 5, 123456792], dtype="float32")
    forms = {
        "float32": pd.Series(short),
        "Float32": pd.Series(short, dtype="Float32"),
        "arrow": pd.Series(short, dtype=pd.ArrowDtype(pa.float32())),
        "category": pd.Series(pd.Categorical(short)),
        "float64": pd.Series([0.1, 0.2, 0.3, 5, 123456792]),
        "widened": pd.Series(short.astype("float64")),
        "object": pd.Series(list(short), dtype=object),
    }
    for trained in forms:
        for processor in fitted_on(forms[trained]) if trained != "object" else []:
            if trained != "widened":
                assert processor.categories_[0].levels == [0.1, 0.2, 0.3, 5, 123456792]
            for values in forms.values():
                assert codes_on_all_paths(processor, values) == [1, 2, 3, 4, 5], trained
            assert codes_on_all_paths(processor, pd.Series([5, 123456792])) == [4, 5]
    [text, _] = fitted_on(["0.1", "0.2", "0.3", "5", "123456792", "z"])
    for values in forms.values():
        assert codes_on_all_paths(text, values) == [1, 2, 3, 5, 4]


def test_the_same_instants_meet_in_every_time_zone() -> None:
    moments = pd.Series(pd.date_range("2020-10-24 22:00", periods=4, freq="h", tz="UTC"))
    berlin = moments.dt.tz_convert("Europe/Berlin")
    for trained in (moments, berlin):
        for processor in fitted_on(trained):
            assert processor.categories_[0].levels[0] == "2020-10-24T22:00:00+00:00"
            for values in (moments, berlin, berlin.astype(object), moments.astype("category")):
                assert codes_on_all_paths(processor, values) == [1, 2, 3, 4]
            assert processor.transform_row({"c": "2020-10-25T00:00:00+02:00"})[0] == [1]
            assert processor.transform_row({"c": "2020-10-24T22:00:00"})[0] == [6], "no time zone"
    [text, _] = fitted_on([moment.isoformat() for moment in berlin] + ["z"])
    assert codes_on_all_paths(text, moments) == [1, 2, 4, 3], "+01:00 comes before +02:00 in text"


def test_saved_states_with_wide_floats_and_local_times_still_meet_their_values() -> None:
    def loaded(kind: str, levels: list) -> TableProcessor:
        state = TableProcessor(["c"], []).fit(pd.DataFrame({"c": [1]})).to_dict()
        state["categories"][0] |= {"kind": kind, "levels": levels}
        return TableProcessor.from_dict(state)

    wide = loaded("number", [float(np.float32(0.1)), 0.5])
    for values in (np.array([0.1, 0.5], dtype="float32"), [float(np.float32(0.1)), 0.5], [0.1, 0.5]):
        assert codes_on_all_paths(wide, pd.Series(values)) == [1, 2]
    local = loaded("date", ["2020-10-25T00:00:00+02:00"])
    assert codes_on_all_paths(local, pd.Series(pd.to_datetime(["2020-10-24T22:00:00+00:00"]))) == [1]


def test_values_of_one_row_that_cannot_be_levels_are_named() -> None:
    processor = TableProcessor(["k"], []).fit(pd.DataFrame({"k": [1, 2]}))
    for value in ([1], {"a": 1}, np.array([1, 2])):
        with pytest.raises(TypeError, match=r"column 'k' holds .* values, which cannot be categories"):
            processor.transform_row({"k": value})


def test_whole_numbers_beyond_float64_are_levels() -> None:
    for levels in ([10**400, 1], [10**400, "a"]):
        df = pd.DataFrame({"k": pd.Series(levels, dtype=object)})
        processor = TableProcessor(["k"], []).fit(df)
        processor = TableProcessor.from_json(processor.to_json())
        codes = processor.transform(df)["k"].tolist()
        assert sorted(codes) == [1, 2]
        assert [processor.transform_row({"k": value})[0][0] for value in levels] == codes
        assert processor.transform_row({"k": 10**401})[0] == [4]
    with pytest.raises(ValueError, match="column 'k' holds a whole number, which is too large"):
        TableProcessor([], ["k"]).fit(pd.DataFrame({"k": pd.Series([10**400, 1], dtype=object)}))
    near = TableProcessor(["k"], []).fit(pd.DataFrame({"k": [2**60, 2**60 + 1]}))
    assert near.transform(pd.DataFrame({"k": [str(2**60 + 1), str(2**60)]}))["k"].tolist() == [2, 1]


def test_options_of_a_fitted_processor_are_checked_as_they_are_set():
    processor = TableProcessor().fit(pd.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="unknown must be one of"):
        processor.unknown = "eror"
    with pytest.raises(AttributeError, match=r"no setting 'unknwon' \(did you mean 'unknown'"):
        processor.unknwon = "error"
    processor.unknown = "error"
    for again in (
        processor,
        TableProcessor.from_json(processor.to_json()),
        pickle.loads(pickle.dumps(processor)),
    ):
        with pytest.raises(ValueError, match="were not seen in training"):
            again.transform(pd.DataFrame({"a": ["z"], "b": [1.0]}))
