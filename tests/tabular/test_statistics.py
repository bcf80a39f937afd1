"""A table that is read in pieces teaches a processor what the whole table does."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from examples.rossmann_features import CATEGORIES, NUMBERS, load_rossmann
from zoo.data.columns.arrow_values import arrow_floats
from zoo.data.columns.median import MedianSketch
from zoo.data.columns.statistics import NumberStatistics
from zoo_tabular import TableProcessor
from zoo_tabular.frames.frame_checks import check_frame


def pieces_of(df: pd.DataFrame, rows: int) -> list[pd.DataFrame]:
    return [df.iloc[start : start + rows] for start in range(0, len(df), rows)]


def arrow_pieces(df: pd.DataFrame, rows: int) -> list[pa.RecordBatch]:
    return pa.Table.from_pandas(df, preserve_index=False).to_batches(max_chunksize=rows)


def assert_same(found: TableProcessor, expected: TableProcessor) -> None:
    """The same columns with the same levels, numbers up to rounding."""
    assert found.categories_ == expected.categories_
    for one, other in zip(found.numbers_, expected.numbers_, strict=True):
        assert (one.name, one.missing_seen, one.scale) == (other.name, other.missing_seen, other.scale)
        assert one.median == other.median
        assert one.mean == pytest.approx(other.mean, rel=1e-12, abs=1e-12)
        assert one.std == pytest.approx(other.std, rel=1e-10)


@pytest.mark.parametrize("cut", [pieces_of, arrow_pieces])
@pytest.mark.parametrize(
    "options", [{}, {"min_count": 40, "max_levels": 20, "na_columns": "seen", "scale": True}]
)
def test_store_sales_in_pieces_teach_what_they_teach_whole(data_dir, cut, options) -> None:
    df, _ = load_rossmann(data_dir("rossmann"), 20_000)
    df.loc[df.index[::7], "CompetitionDistance"] = np.nan
    df.loc[df.index[5_000:5_100], "Events"] = None
    expected = TableProcessor(CATEGORIES, NUMBERS, **options).fit(df)
    found = TableProcessor(CATEGORIES, NUMBERS, **options).fit_stream(cut(df, 1_117))
    assert_same(found, expected)
    assert any(column.rare for column in found.categories_) == bool(options)
    assert TableProcessor.from_json(found.to_json()).categories_ == expected.categories_


def odd_columns() -> pd.DataFrame:
    whole = np.arange(60)
    return pd.DataFrame(
        {
            "int": whole % 5,
            "gaps": np.where(whole % 4, whole % 3, np.nan),
            "flag": pd.array([True, False, None] * 20, dtype="boolean"),
            "text": ["a", "b", None] * 20,
            "ranked": pd.Categorical(
                ["low", "high", "mid"] * 20, ["low", "mid", "high", "top"], ordered=True
            ),
            "category": pd.Categorical(["x", None, "y"] * 20),
            "day": [datetime.date(2015, 7, 1 + day % 3) for day in whole],
            "time": pd.to_datetime("2015-07-31") + pd.to_timedelta(whole % 3, unit="D"),
            "none": pd.Series([None] * 60, dtype="object"),
            "number": whole / 7,
            "number_flag": pd.array([True, None, False] * 20, dtype="boolean"),
            "empty": np.full(60, np.nan),
            "constant": np.full(60, 1e9),
        }
    )


@pytest.mark.parametrize("cut", [pieces_of, arrow_pieces])
@pytest.mark.parametrize("rows", [1, 7, 60])
def test_columns_of_every_type_and_pieces_of_any_size(cut, rows) -> None:
    df = odd_columns()
    names = list(df.columns)
    options = {"cat_names": names[:9], "cont_names": names[9:], "scale": True, "min_count": 13}
    assert_same(TableProcessor(**options).fit_stream(cut(df, rows)), TableProcessor(**options).fit(df))


def test_columns_are_chosen_as_for_a_whole_frame() -> None:
    df = odd_columns().drop(columns=["none"])
    found = TableProcessor().fit_stream(arrow_pieces(df, 20))
    assert found.feature_names_in_ == TableProcessor().fit(df).feature_names_in_


def test_columns_are_chosen_alike_from_every_container() -> None:
    table = pa.table(
        {
            "price": pa.array([Decimal("4.27"), None, Decimal("0.07")], pa.decimal128(8, 2)),
            "day": pa.array([datetime.date(2015, 7, 31), None, datetime.date(2015, 8, 1)]),
            "hour": pa.array([datetime.timedelta(hours=1), None, None]),
            "flag": pa.array([True, None, False]),
            "kind": ["a", None, "b"],
            "number": [1, None, 3],
            "none": pa.nulls(3),
        }
    )
    expected = TableProcessor().fit(table)
    assert [column.name for column in expected.categories_] == ["kind", "none"]
    assert [column.name for column in expected.numbers_] == ["price", "flag", "number"]
    frame = table.to_pandas()
    assert frame.dtypes[["price", "day", "flag"]].eq(object).all()
    assert_same(TableProcessor().fit(frame), expected)
    for pieces in ([table], table.to_batches(max_chunksize=1), [frame], [frame[:2], frame[2:]]):
        assert_same(TableProcessor().fit_stream(pieces), expected)


@pytest.mark.parametrize("kind", [pa.decimal128(8, 2), pa.decimal128(38, 20), pa.decimal256(40, 8)])
def test_decimals_become_the_nearest_numbers(kind) -> None:
    cents = [*range(0, 1000, 7), None, -427, 99999]
    values = [None if each is None else Decimal(each) / 100 for each in cents]
    expected = np.array([np.nan if value is None else float(value) for value in values])
    array = pa.array(values, kind)
    for found in (
        arrow_floats(array, "price"),
        check_frame(pa.table({"price": array}), "test")["price"].to_numpy(),
        check_frame(pa.table({"price": pa.chunked_array([array[:9], array[9:]])}), "test")["price"],
    ):
        np.testing.assert_array_equal(found, expected)


def test_medians_of_few_values_are_exact_and_of_many_within_the_stated_error() -> None:
    rng = np.random.default_rng(0)
    drifting = np.sort(rng.normal(size=400_001))  # sorted: each piece tells of its own region only
    few = rng.integers(0, 900, 400_001).astype("float64")
    sketch, counted = MedianSketch(distinct=1000, size=2000), MedianSketch(distinct=1000, size=2000)
    for start in range(0, 400_001, 3_333):
        sketch.add(drifting[start : start + 3_333])
        counted.add(few[start : start + 3_333])
    assert counted.median() == np.median(few)
    assert counted.rank_error == 0
    rank = np.searchsorted(drifting, sketch.median())
    assert 0 < sketch.rank_error < 0.01 * len(drifting)
    assert abs(rank - 200_000) <= sketch.rank_error


def test_counts_of_values_survive_the_change_to_a_sketch() -> None:
    sketch = MedianSketch(distinct=50, size=64)
    sketch.add(np.repeat(7.0, 1_000))  # most of the rows, before there are many values
    sketch.add(np.linspace(100, 200, 900))
    assert sketch.median() == 7.0


def test_large_numbers_close_together_keep_their_deviation() -> None:
    statistics = NumberStatistics("Elapsed")
    values = 1.4e9 + np.random.default_rng(0).normal(size=10_000)
    for part in np.array_split(values, 13):
        statistics.add(part)
    assert statistics.std == pytest.approx(values.std(), rel=1e-6)


def test_numbers_that_are_all_the_same_have_no_deviation() -> None:
    statistics = NumberStatistics("Price")
    for part in (np.full(200, 1e6 + 0.1), np.full(70, 1e6 + 0.1)):
        statistics.add(part)
    assert np.full(270, 1e6 + 0.1).std() > 0, "rounding alone"
    assert statistics.std == 0.0
    assert NumberStatistics("Price").std == 0.0


def test_what_is_wrong_in_a_piece_is_named() -> None:
    first = pd.DataFrame({"Kind": ["a"], "Distance": [1.0]})
    with pytest.raises(ValueError, match="no column 'Distance'"):
        TableProcessor().fit_stream([first, first[["Kind"]]])
    with pytest.raises(ValueError, match="'Distance' holds 1 infinite"):
        TableProcessor().fit_stream([first, first.assign(Distance=np.inf)])
    with pytest.raises(ValueError, match="used as numbers but holds 'far'"):
        TableProcessor([], ["Distance"]).fit_stream([first, first.assign(Distance="far")])
    with pytest.raises(ValueError, match="there are no rows"):
        TableProcessor().fit_stream([])
    with pytest.raises(ValueError, match="different orders in different pieces"):
        TableProcessor().fit_stream(
            pd.DataFrame({"k": pd.Categorical(["a"], levels, ordered=True)})
            for levels in (["a", "b"], ["b", "a"])
        )
    with pytest.raises(ValueError, match="min_count must be at least 1"):
        TableProcessor(min_count=0).fit_stream([first])


@pytest.mark.parametrize("cut", [pieces_of, arrow_pieces])
def test_orders_of_categories_are_merged_where_they_agree(cut) -> None:
    def learn(*orders: str) -> list[str]:
        frames = [
            pd.DataFrame({"Rank": pd.Categorical(list(order), list(order), ordered=True)}) for order in orders
        ]
        pieces = [piece for frame in frames for piece in cut(frame, 10)]
        return TableProcessor(["Rank"], []).fit_stream(pieces).categories_[0].levels

    assert learn("ac", "abc") == ["a", "b", "c"]
    assert learn("abc", "ac") == ["a", "b", "c"]
    assert learn("bc", "ab", "cd") == ["a", "b", "c", "d"]
    for orders in (("ab", "ac"), ("ab", "cd"), ("ab", "ba"), ("abc", "cab")):
        with pytest.raises(ValueError, match="column 'Rank': its ordered categories"):
            learn(*orders)
