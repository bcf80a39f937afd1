"""Ratings tables into loaders of indexes, and what goes wrong with them."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_collab import CollabFilterDataset, IdMap
from zoo_collab.data.collab_data import CollabData
from zoo_collab.pairs.seen import SeenPairs


def ratings() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "who": ["ann", "ann", "bob", "cid", "bob", "dee"],
            "film": [70, 90, 90, 70, 30, 20],
            "stars": [4.0, 2.5, 5.0, 1.0, 3.0, 0.5],
        },
        index=[10, 11, 12, 13, 14, 15],
    )


def dataset(df: pd.DataFrame | None = None, **options) -> CollabFilterDataset:
    return CollabFilterDataset.from_data_frame(
        ".", ratings() if df is None else df, "who", "film", "stars", **options
    )


@pytest.mark.parametrize(
    "ids",
    [
        [5, -3, 99],
        ["x", "7", "ü"],
        [1.5, 2.0],
        [True, False],
        [1, "1", 2.5, False],
        [pd.Timestamp("2020-01-01"), pd.Timestamp("2021-05-05 10:00")],
    ],
)
def test_ids_of_any_type_survive_json_with_their_type(ids):
    saved = IdMap(ids, "col")
    loaded = IdMap.from_json(json.loads(json.dumps(saved.to_json())))
    assert loaded.ids == ids
    assert [type(a) for a in loaded.ids] == [type(a) for a in saved.ids]
    assert loaded.encode(ids).tolist() == list(range(1, len(ids) + 1))
    assert loaded.decode([0, 1]) == [None, ids[0]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.lists(st.integers(-(2**40), 2**40)))
def test_known_ids_are_contiguous_from_one_and_all_others_are_zero(ids, others):
    index = IdMap.fit(ids)
    codes = index.encode(ids)
    assert sorted(set(codes.tolist())) == list(range(1, len(set(ids)) + 1))
    for value, code in zip(others, index.encode(others, warn=False), strict=True):
        assert (code == 0) == (value not in set(ids))


def test_numbers_arriving_as_text_find_their_ids_and_the_unknown_are_reported(caplog):
    assert IdMap([3, 4]).encode(["4", "x", 3]).tolist() == [2, 0, 1]
    assert IdMap([10, 7]).encode(["1_0", "007", " 7", "7"], warn=False).tolist() == [0, 0, 0, 2]
    assert IdMap(["3", "4"]).encode([4, 9]).tolist() == [2, 0]
    assert "1 of 2 values were not seen in training" in caplog.text
    assert "9" in caplog.text


def test_ids_that_json_cannot_keep_are_refused():
    with pytest.raises(TypeError, match=r"got \(1, 2\) of type tuple; convert the column"):
        IdMap([(1, 2)])


def test_loaders_hold_indexes_and_validation_only_ids_are_unknown():
    df = ratings()
    before = df.copy()
    data = dataset(df, item_titles={70: "Seven", 90: "Nine"}).get_data(val_idxs=[5], bs=2)
    pd.testing.assert_frame_equal(df, before)
    assert data.users.ids == ["ann", "bob", "cid"]
    assert data.items.ids == [30, 70, 90]
    assert data.titles[1:] == ["30", "Seven", "Nine"]
    assert data.rating_range == (1.0, 5.0)
    assert data.y_range == pytest.approx((0.6, 5.4))
    users, items, stars = next(iter(data.valid_dl))
    assert (users.tolist(), items.tolist(), stars.tolist()) == ([0], [0], [0.5])
    rows = {
        tuple(row)
        for u, i, r in data.train_dl
        for row in zip(u.tolist(), i.tolist(), r.tolist(), strict=True)
    }
    assert rows == {(1, 2, 4.0), (1, 3, 2.5), (2, 3, 5.0), (3, 2, 1.0), (2, 1, 3.0)}


def test_no_validation_rows_trains_on_everything_and_boolean_masks_work():
    assert dataset().get_data().valid_dl is None
    mask = np.array([False, True, False, False, False, True])
    assert dataset().get_data(mask).valid_dl.n_rows == 2
    with pytest.raises(ValueError, match="holds all 6 rows: nothing is left"):
        dataset().get_data(~(mask & ~mask))
    with pytest.raises(ValueError, match="one true or false for each of the 6 rows, got 5"):
        dataset().get_data(mask[:5])


def test_test_rows_may_lack_ratings():
    test = pd.DataFrame({"who": ["ann", "zoe"], "film": [90, 70]})
    users, items, stars = next(iter(dataset().get_data(test_df=test).test_dl))
    assert (users.tolist(), items.tolist()) == ([1, 0], [4, 3])
    assert stars.isnan().all()


def test_validation_rows_come_in_the_order_of_their_row_numbers():
    table = dataset()
    learn = table.get_learner(2, [4, 1, 2, 4], device="cpu", progress=False)
    _, stars = learn.predict_with_targs()
    assert stars.ravel().tolist() == [3.0, 2.5, 5.0]
    assert learn.data.train_dl.n_rows == 3


def test_seen_pairs_of_several_users_as_a_mask():
    seen = SeenPairs.from_pairs(np.array([2, 1, 2, 0, 2]), np.array([3, 1, 1, 2, 3]), n_users=4)
    assert seen.of(2).tolist() == [1, 3]
    mask = seen.mask(torch.tensor([2, 0, 3, 1, 2]), 5)
    assert mask.nonzero().tolist() == [[0, 1], [0, 3], [3, 1], [4, 1], [4, 3]]


def test_from_csv_reads_relative_to_path(tmp_path):
    ratings().to_csv(tmp_path / "r.csv", index=False)
    table = CollabFilterDataset.from_csv(tmp_path, "r.csv", "who", "film", "stars")
    assert repr(table) == (
        "CollabFilterDataset: 6 ratings by 4 users (who) of 4 items (film), stars from 0.5 to 5"
    )
    with pytest.raises(FileNotFoundError, match=r"nope\.csv"):
        CollabFilterDataset.from_csv(tmp_path, "nope.csv", "who", "film", "stars")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename(columns={"film": "films"}), r"no column 'film' \(did you mean 'films'\?\)"),
        (
            lambda d: d.assign(who=d["who"].where(d.index != 12)),
            r"column 'who' has no id in row 12 \(1 such rows\)",
        ),
        (lambda d: d.assign(stars=d["stars"].where(d.index != 13)), r"column 'stars' holds nan in row 13"),
        (
            lambda d: d.assign(stars=["4", "2", "five", "1", "2", "3"]),
            r"holds 'five' in row 12, which is not a finite",
        ),
        (
            lambda d: d.assign(stars=[4, 2, 7, 1, 2, 3]),
            r"holds 7 in row 12, outside the range \(0.5, 5\) you gave",
        ),
        (lambda d: d.iloc[:0], "no rows"),
        (lambda d: d.assign(stars=pd.Timestamp("2020-01-01")), "column 'stars' holds points in time"),
        (lambda d: pd.concat([d, d[["who"]]], axis=1), "has 2 columns 'who'; rename all but one"),
    ],
)
def test_a_bad_table_is_one_clear_error(change, message):
    with pytest.raises(ValueError, match=message):
        dataset(change(ratings()), rating_range=(0.5, 5))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="holds 5 in row 12, outside the range"):
        dataset().get_learner(4, y_range=(0, 4.5))
    with pytest.raises(ValueError, match="row numbers from 0 to 5"):
        dataset().get_data([6])
    with pytest.raises(ValueError, match="holds all 6 rows"):
        dataset().get_data(range(6))
    with pytest.raises(ValueError, match="every training rating is 3; give y_range"):
        dataset(ratings().assign(stars=3)).get_data()
    with pytest.raises(ValueError, match="item_titles has no column 'title'"):
        dataset(item_titles=pd.DataFrame({"film": [1], "name": ["a"]}))
    with pytest.raises(ValueError, match="three columns"):
        CollabFilterDataset.from_data_frame(".", ratings(), "who", "who", "stars")


def test_state_round_trip_and_a_state_that_does_not_fit_is_refused():
    data = dataset(item_titles=pd.Series({70: "Seven"})).get_data()
    state, tensors = data.export_state()
    again = CollabData.from_state(json.loads(json.dumps(state)), tensors)
    assert (again.users.ids, again.items.ids, again.titles) == (data.users.ids, data.items.ids, data.titles)
    ((users, items),) = again.batches_from_raw([("bob", 30), ("nobody", 70)])
    assert (users.tolist(), items.tolist()) == ([2, 0], [2, 3])
    with pytest.raises(ValueError, match="do not belong together"):
        CollabData.from_state({**state, "titles": state["titles"][1:]}, tensors)
    with pytest.raises(ValueError, match="outside the item ids"):
        CollabData.from_state(state, {**tensors, "seen_items": tensors["seen_items"] + 99})


def from_text(folder, text: str, **options) -> CollabFilterDataset:
    (folder / "r.csv").write_text(text, encoding="utf-8")
    return CollabFilterDataset.from_csv(folder, "r.csv", "who", "film", "stars", **options)


def test_csv_ids_keep_their_writing_when_read_as_text(tmp_path):
    text = "who;film;stars\n001;NA;3\n1;nan;4\n"
    table = from_text(tmp_path, text, sep=";", dtype={"who": str, "film": str})
    assert table.users.tolist() == ["001", "1"]
    assert table.items.tolist() == ["NA", "nan"]
    with pytest.raises(ValueError, match="column 'film' has no id in row 0"):
        from_text(tmp_path, text, sep=";")
    with pytest.raises(ValueError, match="column 'who' has no id in row 0"):
        from_text(tmp_path, "who,film,stars\n,1,3\n", dtype={"who": str})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"r\.csv: cannot be read as a CSV file separated by ',': No columns"),
        ("who,film,stars\n1,2,3\n2,3,4,5,6\n", r"r\.csv: cannot be read .* line 3"),
        ("who,film,stars\n1,2,3,4\n2,3,4,5\n", r"r\.csv: cannot be read .* line 2, saw 4"),
        ("who,who,film,stars\n1,2,3,4\n", r"r\.csv has 2 columns 'who'"),
    ],
)
def test_a_bad_csv_file_is_one_error_that_names_it(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        from_text(tmp_path, text)


def test_repeated_pairs_and_titles_of_other_items_are_reported_once(caplog):
    dataset(item_titles={70: "Seven", 999: "other"}).get_data()
    assert not caplog.records
    twice = pd.concat([ratings(), ratings().head(2)])
    dataset(twice, item_titles={"A": "b"}).get_data()
    repeats, titles = (record.getMessage() for record in caplog.records)
    assert "2 of 8 rows repeat an earlier (who, film) pair" in repeats
    assert "none of its 1 ids is an item of the training rows" in titles


def test_constant_ratings_train_with_a_range_of_their_own():
    data = dataset(ratings().assign(stars=3)).get_data(y_range=(0, 5))
    assert data.y_range == data.rating_range == (0, 5)


def test_every_keyword_stands_in_the_signature_and_a_misspelt_one_is_refused(tmp_path):
    table = {"item_titles", "title_col", "rating_range"}
    for function in (CollabFilterDataset, CollabFilterDataset.from_data_frame, CollabFilterDataset.from_csv):
        assert table <= set(inspect.signature(function).parameters)
    for function in (CollabFilterDataset.from_data_frame, CollabFilterDataset.from_csv):
        assert all(f"{name}: " in function.__doc__ for name in table)
    learner = inspect.signature(CollabFilterDataset.get_learner).parameters
    assert {"metrics", "clip", "device", "precision", "progress", "layer_groups"} <= set(learner)
    assert list(learner)[1:5] == ["n_factors", "val_idxs", "bs", "opt_fn"]
    with pytest.raises(TypeError, match=r"from_data_frame\(\) got .* \(did you mean 'item_titles'\?\)"):
        CollabFilterDataset.from_data_frame(".", ratings(), "who", "film", "stars", item_title={})
    with pytest.raises(TypeError, match=r"get_learner\(\) got .* 'metric' \(did you mean 'metrics'\?\)"):
        dataset().get_learner(4, metric=[])
