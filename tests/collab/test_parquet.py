"""Parquet files of pairs without ratings, of dates, and of what is no row of a table."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from tests.collab.test_scale import NAMES, same_data, stamped
from zoo_collab import CollabFilterDataset, by_time, by_user_time
from zoo_collab.pairs import stream


def weighed() -> pd.DataFrame:
    frame = stamped()
    return frame.assign(plays=1 + frame["when"] % 7)


@pytest.mark.parametrize("split", [None, [5, 1, 300], by_time(0.2), by_user_time()])
@pytest.mark.parametrize(
    "options", [{}, {"weight_col": "plays"}, {"weight_col": "plays", "duplicates": "sum"}]
)
def test_pairs_without_ratings_are_those_of_a_frame(tmp_path, monkeypatch, options, split):
    monkeypatch.setattr(stream, "ROWS", 64)
    frame = weighed()
    frame = pd.concat([frame, frame[:30].assign(when=frame["when"][:30] + 1000)], ignore_index=True)
    frame.to_parquet(tmp_path / "pairs.parquet", row_group_size=100)
    made = (
        CollabFilterDataset(tmp_path, frame, "who", "film", time_col="when", **options),
        CollabFilterDataset.from_parquet(
            tmp_path, "pairs.parquet", "who", "film", time_col="when", **options
        ),
    )
    assert repr(made[0]) == repr(made[1])
    assert made[1].is_implicit
    one, other = (table.get_data(split, seed=1) for table in made)
    same_data(one, other)
    assert torch.equal(one.weights, other.weights)


def test_weights_lie_where_ratings_would(tmp_path):
    frame = weighed()
    frame.to_parquet(tmp_path / "pairs.parquet")
    table = CollabFilterDataset.from_parquet(tmp_path, "pairs.parquet", "who", "film", weight_col="plays")
    assert isinstance(table.ratings, np.memmap)
    assert table.ratings.tolist() == frame["plays"].tolist()
    assert "weights.f32" in {file.name for file in table._stored.folder.iterdir()}
    # the same names in other roles are other data
    timed = CollabFilterDataset.from_parquet(tmp_path, "pairs.parquet", "who", "film", time_col="plays")
    rated = CollabFilterDataset.from_parquet(tmp_path, "pairs.parquet", "who", "film", "plays")
    both = CollabFilterDataset.from_parquet(
        tmp_path, "pairs.parquet", "who", "film", time_col="plays", weight_col="plays"
    )
    assert (timed.ratings == 1).all()
    assert timed.times.tolist() == both.times.tolist() == both.ratings.tolist() == rated.ratings.tolist()
    assert not rated.is_implicit
    assert len(list((tmp_path / "ratings").iterdir())) == 4


def test_a_learner_of_pairs_from_a_file(tmp_path):
    weighed().to_parquet(tmp_path / "pairs.parquet")
    found = []
    for table in (
        CollabFilterDataset(tmp_path, weighed(), "who", "film", weight_col="plays"),
        CollabFilterDataset.from_parquet(tmp_path, "pairs.parquet", "who", "film", weight_col="plays"),
    ):
        learn = table.get_learner(5, [3, 60, 100], bs=32, seed=1, progress=False, device="cpu")
        learn.fit_one_cycle(1, 2e-2)
        found.append((learn.history[-1]["valid_loss"], learn.recommend([3, 13], n=4)))
    assert found[0][0] == found[1][0]
    pd.testing.assert_frame_equal(found[0][1], found[1][1])


def test_options_of_pairs_are_refused_as_of_a_frame(tmp_path):
    frame = weighed()
    frame.assign(plays=frame["plays"] - (frame.index == 70) * 99).to_parquet(tmp_path / "pairs.parquet")
    read = CollabFilterDataset.from_parquet
    cases = [
        ({"weight_col": "plays"}, r"pairs.parquet: column 'plays' holds the weight -\d+ in row 70;"),
        ({"weight_col": "play"}, r"no column 'play' \(did you mean 'plays'\?\)"),
        ({"rating_range": (1, 5)}, "rating_range= belongs to ratings, and rating_col is None"),
        ({"rating_col": "stars", "weight_col": "plays"}, "weight_col='plays' says how much a pair without"),
        ({"rating_col": "film"}, "user, item and rating need three columns"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            read(tmp_path, "pairs.parquet", "who", "film", **options)


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns", "UTC")])
def test_dates_of_every_kind_are_times(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(stream, "ROWS", 64)
    frame = stamped()
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(int(day)) for day in frame["when"]]
    table = pa.Table.from_pandas(frame).set_column(3, "when", pa.array(days, pa.date32()).cast(kind))
    parquet.write_table(table, tmp_path / "dated.parquet")
    read = CollabFilterDataset.from_parquet(tmp_path, "dated.parquet", *NAMES, time_col="when")
    as_numbers = CollabFilterDataset(tmp_path, frame, *NAMES, time_col="when")
    assert read.dated
    same_data(read.get_data(by_time(0.2), seed=1), as_numbers.get_data(by_time(0.2), seed=1))
    own = CollabFilterDataset(tmp_path, frame.assign(when=days), *NAMES, time_col="when")  # dates of Python
    assert own.dated
    assert own.times.tolist() == read.times.tolist()
    assert own.times[frame["when"] == 0] == [pd.Timestamp("2020-01-01").value // 1000]


def test_cells_of_several_values_are_refused_by_name(tmp_path):
    frame = stamped()
    n = len(frame)
    for column in ("who", "film", "stars", "when"):
        for cells, told in (
            ([[1, 2]] * n, r"list<element: int64>"),
            ([{"id": 1}] * n, r"struct<id: int64>"),
        ):
            given = pa.Table.from_pandas(frame)
            at = given.schema.names.index(column)
            file = tmp_path / "cells.parquet"
            parquet.write_table(given.set_column(at, column, pa.array(cells)), file)
            with pytest.raises(ValueError, match=rf"cells\.parquet: column '{column}' holds {told}, several"):
                CollabFilterDataset.from_parquet(tmp_path, "cells.parquet", *NAMES, time_col="when")
    assert not (tmp_path / "ratings").exists()


def test_numbers_of_two_widths_are_the_same_numbers_in_several_files(tmp_path):
    frame = stamped()
    (tmp_path / "parts").mkdir()
    frame[:200].astype({"stars": np.int64}).to_parquet(tmp_path / "parts" / "a.parquet")
    frame[200:].astype({"when": np.float32}).to_parquet(tmp_path / "parts" / "b.parquet")
    table = CollabFilterDataset.from_parquet(tmp_path, "parts", *NAMES, time_col="when")
    assert table.times.tolist() == frame["when"].tolist()
    assert table.ratings[200:].tolist() == frame["stars"][200:].tolist()
    frame[200:].assign(when=pd.Timestamp("2020-01-01")).to_parquet(tmp_path / "parts" / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: column 'when' holds timestamp.* dates and numbers"):
        CollabFilterDataset.from_parquet(tmp_path, "parts", *NAMES, time_col="when")


def test_two_columns_of_one_name_are_refused(tmp_path):
    given = pa.Table.from_pandas(stamped())
    parquet.write_table(given.append_column("film", given["film"]), tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"twice\.parquet has 2 columns 'film'"):
        CollabFilterDataset.from_parquet(tmp_path, "twice.parquet", *NAMES)


def test_what_other_tools_keep_beside_the_rows_is_left_out(tmp_path):
    frame = stamped()
    for name in ("day=1/a.parquet", "day=2/b.parquet"):
        (tmp_path / "parts" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "parts" / "_log").mkdir()
    frame[:200].to_parquet(tmp_path / "parts" / "day=1" / "a.parquet")
    frame[200:].to_parquet(tmp_path / "parts" / "day=2" / "b.parquet")
    frame[:0].astype(object).to_parquet(tmp_path / "parts" / "day=1" / "0.parquet")  # no rows, no types
    pd.DataFrame({"add": [1]}).to_parquet(tmp_path / "parts" / "_log" / "check.parquet")
    (tmp_path / "parts" / "day=1" / "._a.parquet").write_bytes(b"x")
    same_data(
        CollabFilterDataset(tmp_path, frame, *NAMES).get_data([7], seed=1),
        CollabFilterDataset.from_parquet(tmp_path, "parts", *NAMES).get_data([7], seed=1),
    )
    with pytest.raises(ValueError, match=r"a\.parquet is given twice, and its rows would count twice"):
        CollabFilterDataset.from_parquet(tmp_path, ["parts/day=1/a.parquet", "parts"], *NAMES)
    for files in (None, 3):
        with pytest.raises(TypeError, match="files is a Parquet file, a folder or a list of files, not"):
            CollabFilterDataset.from_parquet(tmp_path, files, *NAMES)  # type: ignore[arg-type]


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "ratings.parquet"
    stamped(200).to_parquet(file)
    bad = bytearray(file.read_bytes())
    bad[60:900] = bytes(840)
    file.write_bytes(bad)
    with pytest.raises(ValueError, match=r"ratings\.parquet cannot be read as Parquet, it is damaged"):
        CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)


def test_dates_in_a_dictionary_are_dates(tmp_path):
    frame = stamped()
    days = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["when"] // 9, unit="D"))
    for when in (days.astype("category"), days.dt.date.astype("category")):
        coded = frame.assign(when=when)
        coded.to_parquet(tmp_path / "coded.parquet")
        read = CollabFilterDataset.from_parquet(tmp_path, "coded.parquet", *NAMES, time_col="when")
        for table in (CollabFilterDataset(tmp_path, coded, *NAMES, time_col="when"), read):
            assert table.dated
            late = by_time(after="2020-02-10")(table)
            assert late.tolist() == np.flatnonzero(days > "2020-02-10").tolist()
