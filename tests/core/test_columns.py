"""The coding of columns that tables and ratings share."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from zoo.data.columns.category_column import MISSING, CategoryColumn
from zoo.data.columns.codes import code_values, smallest_int
from zoo.data.columns.kinds import holds_dates, holds_numbers, is_flag, is_missing, is_text, object_kind
from zoo.data.columns.number_column import NumberColumn
from zoo.data.columns.statistics import CategoryStatistics, NumberStatistics

SCRIPT = """
import pkgutil, sys
import zoo.data.columns as folder
for room in pkgutil.walk_packages(folder.__path__, folder.__name__ + "."):
    __import__(room.name)
assert "torch" not in sys.modules
"""


def test_no_room_imports_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_distinct_value_is_coded_once() -> None:
    asked: list = []

    def code(distinct: list) -> list[int]:
        asked.extend(distinct)
        return [{"a": 1, "b": 2}.get(value, 9) for value in distinct]

    codes, unknown = code_values(pd.Series(["b", None, "z", "a", "z", "b"]), code, 0, 9)
    assert codes.tolist() == [2, 0, 9, 1, 9, 2]
    assert codes.dtype == np.int64
    assert unknown == {"z": 2}
    assert asked == ["b", "z", "a"]
    assert code_values(pd.Series(["z"]), code, 0)[1] == {}
    empty, none = code_values(pd.Series([], dtype="float64"), code, 0, 9)
    assert (empty.tolist(), none) == ([], {})


def test_categories_that_no_row_has_are_not_counted_as_unknown() -> None:
    values = pd.Series(pd.Categorical(["a"], ["a", "never"]))
    assert code_values(values, lambda distinct: [1, 9][: len(distinct)], 0, 9)[1] == {}


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([1, 2.5], (True, False, False, False)),
        ([True, None], (True, True, False, True)),
        (["a", None], (False, False, False, True)),
        (pd.to_datetime(["2020-01-01"]), (False, False, True, False)),
        (pd.Categorical(["a"]), (False, False, False, False)),
    ],
)
def test_kinds_of_values(values, kinds) -> None:
    column = pd.Series(values)
    assert (holds_numbers(column), is_flag(column), holds_dates(column), is_text(column)) == kinds


def test_kinds_of_objects_and_gaps() -> None:
    assert object_kind(pd.Series([1, None, 2.5], dtype=object)) == "numbers"
    assert object_kind(pd.Series([1, 2j], dtype=object)) == "complex"
    assert object_kind(pd.Series([pd.Timestamp("2020-01-01"), None], dtype=object)) == "dates"
    assert object_kind(pd.Series(["a", 1], dtype=object)) == "text"
    assert all(map(is_missing, (None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT"))))
    assert not any(map(is_missing, (0, "", False)))


def test_pieces_teach_what_the_whole_column_teaches() -> None:
    values = pd.Series([3.0, None, 1.0, 8.0, 3.0], name="x")
    whole = NumberColumn.learn(values, scale=True)
    pieces = NumberStatistics("x")
    for part in (values[:2], values[2:]):
        pieces.add(part.to_numpy())
    found = pieces.column(scale=True)
    assert (found.median, found.missing_seen) == (whole.median, True)
    assert (found.mean, found.std) == pytest.approx((whole.mean, whole.std))
    words = pd.Series(["b", "a", None, "b"], name="w")
    collected = CategoryStatistics("w")
    collected.add(words[:1])
    collected.add(words[1:])
    assert collected.column(1, None) == CategoryColumn.learn(words, 1, None)


def test_codes_have_room_for_missing_rare_and_unknown() -> None:
    column = CategoryColumn.learn(pd.Series(["a", "a", "b"], name="w"), 2, None)
    codes, unknown = column.encode(pd.Series([None, "a", "b", "z"]))
    assert codes.tolist() == [MISSING, 1, column.rare_code, column.unknown_code]
    assert unknown == {"z": 1}
    assert [column.encode_one(value) for value in (None, "a", "b", "z")] == codes.tolist()
    assert smallest_int(column.n_codes) == np.int8
