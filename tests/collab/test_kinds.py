"""Kinds of ids that users of other libraries reported."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoo import load_data, load_learner
from zoo_collab import CollabFilterDataset
from zoo_collab.pairs.ids import IdMap

BIG = 10**18


def test_large_ids_are_never_rounded() -> None:
    ids = IdMap.fit(range(BIG, BIG + 8), "user")
    assert ids.encode([BIG, None, BIG + 7, 1.5, str(BIG + 3)], warn=False).tolist() == [1, 0, 8, 0, 4]
    assert ids.encode(pd.Series([BIG, pd.NA, BIG + 7], dtype="Int64"), warn=False).tolist() == [1, 0, 8]
    for rounded in (pd.Series([float(BIG), np.nan]), np.array([float(BIG)]), [float(BIG)]):
        with pytest.raises(ValueError, match=r"user: .* came as a float"):
            ids.encode(rounded)


def test_whole_numbers_from_a_column_with_gaps_find_their_ids() -> None:
    assert IdMap.fit(["1", "2"]).encode([1.0, None, 2, "2"], warn=False).tolist() == [1, 0, 2, 2]
    assert IdMap.fit([1, 2]).encode(pd.Series([1.0, np.nan, 2.0]), warn=False).tolist() == [1, 0, 2]
    assert IdMap.fit(["1.0", "1"]).encode([1.0], warn=False).tolist() == [2]


def test_a_column_of_a_csv_file_is_of_one_kind(tmp_path: Path) -> None:
    numbers = [str(i % 50) for i in range(300_000)]
    mixed = [("u" if i % 2 else "") + str(i % 50) for i in range(200_000)]
    frame = pd.DataFrame({"user": numbers + mixed, "item": 1, "rating": 3.5})
    frame.loc[::7, "rating"] = 1.0
    frame.to_csv(tmp_path / "r.csv", index=False)
    table = CollabFilterDataset.from_csv(tmp_path, "r.csv", "user", "item", "rating")
    assert table.users.nunique() == 75
    assert {type(value) for value in table.users.unique()} == {str}


def test_a_separator_of_several_characters_is_read_without_noise(tmp_path: Path) -> None:
    (tmp_path / "r.dat").write_text("u::i::r\n1::7::3.5\n2::8::4\n")
    table = CollabFilterDataset.from_csv(tmp_path, "r.dat", "u", "i", "r", sep="::")
    assert table.ratings.tolist() == [3.5, 4.0]


def test_halves_of_surrogate_pairs_in_ids_and_titles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = chr(0xD83D)
    users = pd.Series(["a", f"b{half}"] * 8, dtype=object)
    frame = pd.DataFrame({"u": users, "i": [1, 2, 3, 4] * 4, "r": [1.0, 2.0, 3.0, 4.0] * 4})
    table = CollabFilterDataset.from_data_frame(tmp_path, frame, "u", "i", "r", item_titles={1: f"x{half}"})
    learn = table.get_learner(4, progress=False, device="cpu")
    assert learn.data.titles[1] == "x\ufffd"
    with caplog.at_level(logging.WARNING):
        expected = learn.predict_batch([(f"b{half}", 1)])
    assert "not seen" not in caplog.text
    learn.export(tmp_path / "a.zip")
    again = load_learner(tmp_path / "a.zip", device="cpu")
    assert again.predict_batch([("b\ufffd", 1)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        (["1.10", "1.1", "1.2"], ["1.1", "1.10", "1.2"]),
        (["9007199254740993", "9007199254740992", "1.5"], ["1.5", "9007199254740992", "9007199254740993"]),
        (["12E4", "120E3", "7E1"], ["120E3", "12E4", "7E1"]),
        (["true", "True", "false"], ["True", "false", "true"]),
        (["1.0", "2.0", "10.0"], [1, 2, 10]),
        (["001", "2", "10"], [1, 2, 10]),
    ],
    ids=["fractions", "large", "exponents", "truths", "whole", "zeros"],
)
def test_ids_of_a_csv_file_never_pass_through_floats(tmp_path: Path, written: list, ids: list) -> None:
    lines = [f"{user},{number % 7},{number % 5 + 1}" for number, user in enumerate(written * 10)]
    (tmp_path / "r.csv").write_text("\n".join(["user,item,stars", *lines]) + "\n")
    data = CollabFilterDataset.from_csv(tmp_path, "r.csv", "user", "item", "stars").get_data()
    assert data.users.ids == ids
    assert all(name in data.users for name in written if name not in ("001", "1.0", "2.0", "10.0"))


def test_an_id_that_reads_as_missing_is_told_with_the_way_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("country,item,stars\n" + "NA,1,3\nUS,2,4\n" * 9)
    with pytest.raises(ValueError, match=r"no id in row 0 .* dtype=\{'country': str\} keeps them"):
        CollabFilterDataset.from_csv(tmp_path, "r.csv", "country", "item", "stars")


def test_column_names_come_back_as_they_were(tmp_path: Path) -> None:
    for names in ([("a", "u"), ("a", "i"), ("b", "s")], list(np.arange(3))):
        columns = [np.arange(40) % 5, np.arange(40) % 7, np.arange(40) % 4 + 1.0]
        frame = pd.DataFrame(dict(zip(names, columns, strict=True)))
        data = CollabFilterDataset(tmp_path, frame, *names).get_data()
        again = load_data(data.save(tmp_path / f"kept {type(names[0]).__name__}"))
        assert again.columns == tuple(data.columns)
        assert len(next(iter(again.batches_from_raw(frame)))) == 2
