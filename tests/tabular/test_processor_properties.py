"""Any frame of any types: the same codes and numbers from every form of the same values."""

from __future__ import annotations

import datetime
import logging
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo_tabular import TableProcessor, apply_cats, proc_df, train_cats

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NAMES = st.sampled_from(
    ["Store", "", " ", "a b", "ключ", "x_na", "index", "0", "name", "dtype", "size", "{x}"]
)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Unknown values are told of in a test of their own."""
    logging.getLogger("zoo_tabular").setLevel(logging.ERROR)
    yield
    logging.getLogger("zoo_tabular").setLevel(logging.NOTSET)


def columns(n: int) -> st.SearchStrategy[pd.Series]:
    """Columns of `n` rows of any type that frames hold, with and without gaps."""

    def lists(values: st.SearchStrategy) -> st.SearchStrategy[list]:
        return st.lists(values, min_size=n, max_size=n)

    def gaps(values: st.SearchStrategy) -> st.SearchStrategy[list]:
        return lists(st.none() | values)

    small = st.integers(0, 9)
    text = st.sampled_from(["a", "b", "ä", "1", "1.0", "2020-01-01", "", "nan"])
    moments = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)).map(
        lambda t: t.replace(microsecond=0)
    )
    mixed = st.one_of(small, st.floats(-3, 3), st.booleans(), text)
    return st.one_of(
        st.builds(lambda v, kind: pd.Series(v).astype(kind), lists(small), st.sampled_from(INTS)),
        st.builds(
            lambda v, kind: pd.Series(v, dtype="float64").astype(kind),
            gaps(st.floats(-1e6, 1e6, width=32)),
            st.sampled_from(["float32", "float64", "Float32", "Float64"]),
        ),
        st.builds(lambda v: pd.Series(v, dtype="Int64"), gaps(st.integers(-(2**62), 2**62))),
        st.builds(lambda v: pd.Series(v, dtype="boolean"), gaps(st.booleans())),
        st.builds(lambda v: pd.Series(v, dtype=bool), lists(st.booleans())),
        st.builds(lambda v: pd.Series(v, dtype=object), gaps(mixed)),
        st.builds(
            lambda v, kind: pd.Series(v, dtype=kind),
            gaps(text),
            st.sampled_from(["object", "string", "string[pyarrow]", pd.ArrowDtype(pa.string())]),
        ),
        st.builds(
            lambda v, ordered: pd.Series(
                pd.Categorical(v, categories=["b", "a", "ä", "never"], ordered=ordered)
            ),
            gaps(st.sampled_from(["a", "b", "ä"])),
            st.booleans(),
        ),
        st.builds(
            lambda v, unit, zone: pd.Series(v, dtype="datetime64[us]").dt.as_unit(unit).dt.tz_localize(zone),
            gaps(moments),
            st.sampled_from(["s", "ms", "us", "ns"]),
            st.sampled_from([None, "UTC"]),
        ),
        st.builds(
            lambda v, kind: pd.Series(v, dtype=pd.ArrowDtype(kind)),
            gaps(small),
            st.sampled_from([pa.int8(), pa.int64(), pa.float32()]),
        ),
    )


@st.composite
def frames(draw: st.DrawFn, min_rows: int = 1) -> pd.DataFrame:
    n = draw(st.integers(min_rows, 6))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    index = draw(
        st.sampled_from(
            [
                pd.RangeIndex(n),
                pd.Index([7] * n, name="Store"),
                pd.MultiIndex.from_product([["x"], [1] * n], names=["a", "b"]),
                pd.date_range("2020-01-01", periods=n),
            ]
        )
    )
    df = pd.DataFrame({name: draw(columns(n)).array for name in names}, index=index)
    df.attrs["source"] = "till"
    return df


def fitted(df: pd.DataFrame, **options: Any) -> TableProcessor:
    """Every column as a category, those that hold numbers as numbers too, under another name."""
    return TableProcessor(list(df.columns), [], **options).fit(df)


def numbers_of(df: pd.DataFrame) -> list[str]:
    kinds = pd.api.types
    return [
        name
        for name in df.columns
        if kinds.is_numeric_dtype(df[name].dtype) and f"{name}_na" not in df.columns
    ]


def same(one: tuple, other: tuple) -> None:
    assert np.array_equal(one[0], other[0])
    assert one[0].dtype == other[0].dtype
    assert one[1].tobytes() == other[1].tobytes()


@FEW
@given(frames(), frames(), st.integers(1, 2), st.sampled_from(["all", "seen"]), st.booleans())
def test_the_state_survives_json_bit_for_bit(
    df: pd.DataFrame, test: pd.DataFrame, min_count: int, na_columns: str, scale: bool
) -> None:
    numbers = numbers_of(df)
    processor = TableProcessor(
        [name for name in df.columns if name not in numbers], numbers,
        min_count=min_count, na_columns=na_columns, scale=scale,
    ).fit(df)  # fmt: skip
    again = TableProcessor.from_json(processor.to_json())
    assert again.to_json() == processor.to_json()
    same(processor.transform_arrays(df), again.transform_arrays(df))
    categories = TableProcessor.from_json(fitted(df).to_json())
    other = test.reindex(columns=df.columns)
    same(fitted(df).transform_arrays(other), categories.transform_arrays(other))


@FEW
@given(frames(), st.data())
def test_rows_are_coded_alone_as_together(df: pd.DataFrame, data: st.DataObject) -> None:
    numbers = numbers_of(df)
    processor = TableProcessor([n for n in df.columns if n not in numbers], numbers, scale=True).fit(df)
    codes, values = processor.transform_arrays(df)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(df)), st.integers(0, len(df)))))
    same((codes[start:stop], values[start:stop]), processor.transform_arrays(df.iloc[start:stop]))
    for i in range(len(df)):
        code, number = processor.transform_row({name: df[name].iloc[i] for name in df.columns})
        assert code == codes[i].tolist()
        assert np.array_equal(np.array(number, dtype="float32"), values[i])


@FEW
@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_columns_does_not_matter(df: pd.DataFrame, random: Any) -> None:
    processor = fitted(df)
    names = list(df.columns)
    random.shuffle(names)
    out = processor.transform(df[names].assign(more=1))
    assert list(out.columns) == processor.feature_names_out_ == list(df.columns)
    pd.testing.assert_frame_equal(out, processor.transform(df))
    assert out.index.equals(df.index)


@FEW
@given(frames())
def test_nothing_handed_in_is_changed(df: pd.DataFrame) -> None:
    before, levels = df.copy(deep=True), [list(getattr(kind, "categories", [])) for kind in df.dtypes]
    processor = fitted(df)
    processor.transform(df)
    processor.transform_arrays(df.iloc[:0])
    pd.testing.assert_frame_equal(df, before)
    assert df.attrs == {"source": "till"}
    assert [list(getattr(kind, "categories", [])) for kind in df.dtypes] == levels


@FEW
@given(st.lists(st.integers(0, 99), min_size=1), st.lists(st.integers(0, 120) | st.none(), min_size=1))
def test_codes_depend_on_values_and_not_on_types(train: list, test: list) -> None:
    forms: dict[str, Any] = {
        "float64": lambda v: pd.Series(v, dtype="float64"),
        "Int64": lambda v: pd.Series(v, dtype="Int64"),
        "UInt8": lambda v: pd.Series(v, dtype="UInt8"),
        "object": lambda v: pd.Series(v, dtype=object),
        "category": lambda v: pd.Series(pd.Categorical(v)),
        "arrow": lambda v: pd.Series(v, dtype=pd.ArrowDtype(pa.int32())),
        "arrow floats": lambda v: pd.Series(v, dtype=pd.ArrowDtype(pa.float64())),
        "dictionary": lambda v: pd.Series(
            pd.array(v, dtype="Int64"), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.int64()))
        ),
        "text": lambda v: pd.Series([None if x is None else str(x) for x in v], dtype=object),
    }
    expected = None
    for fit_form in forms:
        if fit_form == "text":  # text levels are in the order of text
            continue
        processor = TableProcessor(["x"], []).fit(pd.DataFrame({"x": forms[fit_form](train)}))
        for form, make in forms.items():
            codes = processor.transform_arrays(pd.DataFrame({"x": make(test)}))[0].tolist()
            expected = codes if expected is None else expected
            assert codes == expected, (fit_form, form)
    known = {value: code for code, value in enumerate(sorted(set(train)), 1)}
    assert expected == [[0 if x is None else known.get(x, len(known) + 2)] for x in test]


@FEW
@given(
    st.lists(st.sampled_from("abcd") | st.none(), min_size=1),
    st.lists(st.sampled_from("abcdez") | st.none()),
    st.integers(1, 3),
)
def test_missing_rare_and_unknown_follow_their_definition(train: list, test: list, min_count: int) -> None:
    processor = TableProcessor(["x"], [], min_count=min_count).fit(
        pd.DataFrame({"x": pd.Series(train, dtype=object)})
    )
    kept = sorted(level for level in set(train) - {None} if train.count(level) >= min_count)
    codes = processor.transform_arrays(pd.DataFrame({"x": pd.Series(test, dtype=object)}))[0][:, 0].tolist()
    for value, code in zip(test, codes, strict=True):
        if value is None:
            assert code == 0
        elif value in kept:
            assert code == kept.index(value) + 1
        else:
            assert code == len(kept) + (1 if value in train else 2)


def table() -> pa.Table:
    """Arrow columns of every kind, with gaps."""
    day = datetime.date(2020, 1, 2)
    return pa.table(
        {
            "id": pa.array([2**60 + 1, None, 2**60]),
            "kind": pa.array(["a", None, "b"]),
            "grade": pa.array(["x", "y", None]).dictionary_encode(),
            "day": pa.array([day, None, datetime.date(2021, 1, 1)]),
            "moment": pa.array([1, None, 2], pa.timestamp("ms", "UTC")),
            "open": pa.array([True, None, False]),
            "price": pa.array([1.5, None, float("nan")]),
            "exact": pa.array(["1.5", "2.5", None]).cast(pa.decimal128(8, 2)),
            "count": pa.array([1, 2, 3], pa.uint8()),
        }
    )


CATEGORIES, NUMBERS = ["id", "kind", "grade", "day", "moment"], ["open", "price", "exact", "count"]


def test_arrow_data_are_read_like_frames() -> None:
    rows = table()
    processor = TableProcessor(CATEGORIES, NUMBERS).fit(rows)
    expected = processor.transform(rows)
    assert expected["id"].tolist() == [2, 0, 1], "whole numbers with gaps keep all their digits"
    assert expected["open"].tolist() == [1, 0.5, 0]
    assert expected["exact"].tolist() == [1.5, 2.5, 2.0]
    frame = rows.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    frame["exact"] = frame["exact"].astype("float64")
    pd.testing.assert_frame_equal(processor.transform(frame), expected)
    for form in (rows.to_batches()[0], rows.slice(0, 3).combine_chunks()):
        pd.testing.assert_frame_equal(processor.transform(form), expected)
        assert TableProcessor(CATEGORIES, NUMBERS).fit(form).to_json() == processor.to_json()
    assert TableProcessor().fit(rows).feature_names_in_ == ["kind", "grade", "id", *NUMBERS]
    nothing = processor.transform(rows.slice(0, 0))
    assert nothing.shape == (0, len(expected.columns))


def test_functions_take_arrow_data_and_give_frames() -> None:
    rows = table().select(["kind", "grade", "open", "price", "count"])
    frame = rows.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    pd.testing.assert_frame_equal(train_cats(rows), train_cats(frame))
    pd.testing.assert_frame_equal(apply_cats(rows, train_cats(rows)), apply_cats(frame, train_cats(frame)))
    (ours, y, nas), (theirs, _, their_nas) = proc_df(rows, "count"), proc_df(frame, "count")
    pd.testing.assert_frame_equal(ours, theirs)
    assert (y.tolist(), nas) == ([1, 2, 3], their_nas)


def test_polars_frames_are_read_like_frames_of_pandas() -> None:
    polars = pytest.importorskip("polars")
    rows = polars.from_arrow(table())
    expected = TableProcessor(CATEGORIES, NUMBERS).fit(table())
    processor = TableProcessor(CATEGORIES, NUMBERS).fit(rows)
    assert processor.to_json() == expected.to_json()
    pd.testing.assert_frame_equal(processor.transform(rows), expected.transform(table()))
    streamed = TableProcessor(CATEGORIES, NUMBERS).fit_stream([rows[:1], rows[1:]])
    assert streamed.feature_names_out_ == expected.feature_names_out_
    assert [c.levels for c in streamed.categories_] == [c.levels for c in expected.categories_]
    with pytest.raises(TypeError, match="got LazyFrame"):
        processor.transform(rows.lazy())


def test_a_model_is_trained_and_asked_with_arrow_data(tmp_path: Any) -> None:
    from zoo_tabular import ColumnarModelData

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"kind": list("abcd") * 10, "size": rng.normal(size=40), "price": rng.normal(size=40)}
    )
    rows = pa.Table.from_pandas(frame)
    found = []
    for form in (frame, rows):
        md = ColumnarModelData.from_data_frame(tmp_path, [1, 2], form, "price", ["kind"], 8, form, seed=0)
        learn = md.get_learner(szs=[4], progress=False, device="cpu", seed=0)
        assert len(learn.predict(is_test=True)) == 40
        found.append(next(iter(md.valid_dl)))
        answers = learn.predict_batch(frame)
        assert np.array_equal(learn.predict_batch(rows), answers)
        assert np.array_equal(learn.predict_batch(rows.to_batches()[0]), answers)
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_what_is_no_frame_is_told() -> None:
    processor = TableProcessor([], ["x"]).fit(pd.DataFrame({"x": [1.0]}))
    strange: list[Any] = [[1], pa.array([1]), pd.Series([1.0], name="x"), np.ones((1, 1)), None]
    for rows in strange:
        with pytest.raises(TypeError, match=r"expected a .*[Ff]rame"):
            processor.transform(rows)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(ValueError, match="column names must be unique, repeated: x"):
        processor.transform(twice)
