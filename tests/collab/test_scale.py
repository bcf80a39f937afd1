"""Many ratings: Parquet to memory maps, and tables that are trained by the rows of a batch."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

from tests.collab.test_learner import simulated
from tests.core.processes import equal, ranks
from zoo import RowAdamW, get_cv_idxs, load_learner
from zoo.callbacks import Accumulate
from zoo.storage.checkpoint import read_tree, write_tree
from zoo_collab import CollabFilterDataset, EmbeddingDotBias, by_time, by_user, by_user_time, leave_one_out
from zoo_collab.model.choice import MANY_NUMBERS
from zoo_collab.pairs import seen, stream
from zoo_collab.pairs.seen import SeenPairs, counts_of

NAMES = ("who", "film", "stars")


def stamped(n_users=40) -> pd.DataFrame:
    frame = simulated(n_users)
    return frame.assign(when=np.random.default_rng(0).permutation(len(frame)))


def both(tmp_path, frame, files="ratings.parquet", names=NAMES, **options):
    """A table of a frame, and the same from a file."""
    frame.to_parquet(tmp_path / "ratings.parquet", row_group_size=100)
    return (
        CollabFilterDataset(tmp_path, frame, *names, **options),
        CollabFilterDataset.from_parquet(tmp_path, files, *names, **options),
    )


def same_data(one, other):
    assert one.users.ids == other.users.ids
    assert one.items.ids == other.items.ids
    assert [type(i) for i in one.users.ids] == [type(i) for i in other.users.ids]
    assert (one.y_range, one.rating_range, one.mean) == (other.y_range, other.rating_range, other.mean)
    for pairs in ("seen", "seen_valid"):
        assert torch.equal(getattr(one, pairs).starts, getattr(other, pairs).starts)
        assert torch.equal(getattr(one, pairs).items, getattr(other, pairs).items)
    assert torch.equal(one.item_counts, other.item_counts)
    assert one.titles == other.titles
    for kind in ("train_dl", "valid_dl"):
        first, second = getattr(one, kind), getattr(other, kind)
        assert (first is None) == (second is None)
        for a, b in zip(first.tensors, second.tensors, strict=True) if first is not None else ():
            assert torch.equal(a, b.to(a.dtype))


@pytest.mark.parametrize(
    "split",
    [None, [5, 1, 300], by_time(0.2), by_user_time(share=0.2), leave_one_out(3), by_user(0.2, 1)],
    ids=["none", "rows", "by_time", "by_user_time", "leave_one_out", "by_user"],
)
def test_it_is_the_table_that_a_frame_makes(tmp_path, split, monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 64)
    monkeypatch.setattr(seen, "_AT_ONCE", 50)
    one, other = both(tmp_path, stamped(), time_col="when")
    assert repr(one) == repr(other)
    same_data(one.get_data(split, seed=1), other.get_data(split, seed=1))


@pytest.mark.parametrize(
    ("users", "kind"),
    [
        (lambda n: n.astype(str), str),
        (lambda n: [f"é{k}漢" for k in n], str),
        (lambda n: n.astype(np.int16), int),
        (lambda n: n.astype(np.uint64) + 2**63, int),
        (lambda n: n / 4, float),
        (lambda n: pd.Categorical(n.astype(str)), str),
        (lambda n: pd.to_datetime(n, unit="h"), pd.Timestamp),
    ],
    ids=["text", "unicode", "int16", "uint64", "float", "category", "time"],
)
def test_ids_of_every_kind(tmp_path, users, kind):
    frame = stamped()
    frame["who"] = users(frame["who"].to_numpy())
    one, other = both(tmp_path, frame)
    first, second = one.get_data([1, 2], seed=1), other.get_data([1, 2], seed=1)
    same_data(first, second)
    assert isinstance(second.users.ids[0], kind)


def test_several_files_and_a_folder(tmp_path):
    frame = stamped()
    (tmp_path / "parts").mkdir()
    frame[:200].to_parquet(tmp_path / "parts" / "a.parquet")
    narrow = frame[200:].astype({"who": np.int32, "stars": np.float64})
    narrow.to_parquet(tmp_path / "parts" / "b.parquet")
    whole = CollabFilterDataset(tmp_path, frame, *NAMES)
    for files in ("parts", ["parts/a.parquet", "parts/b.parquet"], tmp_path / "parts"):
        table = CollabFilterDataset.from_parquet(tmp_path, files, *NAMES)
        same_data(whole.get_data([7], seed=1), table.get_data([7], seed=1))


@pytest.mark.parametrize("rule", ["keep", "last", "mean", "error"])
def test_repeated_pairs(tmp_path, rule, monkeypatch, caplog):
    monkeypatch.setattr(seen, "_AT_ONCE", 50)
    frame = stamped()
    frame = pd.concat(
        [frame, frame[:50].assign(stars=1.0, when=frame["when"][:50] + 1000)], ignore_index=True
    )
    frame.to_parquet(tmp_path / "ratings.parquet")
    if rule == "error":
        with pytest.raises(ValueError, match="50 of 530 rows repeat"):
            CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES, duplicates=rule)
        return
    one, other = both(tmp_path, frame, time_col="when", duplicates=rule)
    assert len(other) == (530 if rule == "keep" else 480)
    if rule == "keep":
        assert caplog.text.count("50 of 530 rows repeat") == 2
    held = [520, 3, 60]
    same_data(one.get_data(held, seed=1), other.get_data(held, seed=1))


def test_the_files_are_read_once(tmp_path, monkeypatch):
    both(tmp_path, stamped())
    folders = list((tmp_path / "ratings").iterdir())
    assert len(folders) == 1
    assert sorted(file.name for file in folders[0].iterdir()) == [
        "items.i32", "items.i32.ids", "meta.json", "ratings.f32", "users.i32", "users.i32.ids",
    ]  # fmt: skip
    written = []
    write = stream._write
    monkeypatch.setattr(stream, "_write", lambda *args: (written.append(1), write(*args)))
    again = CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)
    assert len(again) == 480
    assert not written
    file = tmp_path / "ratings.parquet"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))  # of the same size
    CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)
    assert written == [1]
    stamped(30).to_parquet(file)  # other ratings under the same name
    os.utime(file, ns=(0, 10**18))
    assert len(CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)) == 360
    assert written == [1, 1]
    assert list((tmp_path / "ratings").iterdir()) == folders
    assert len(again.get_data().train_dl.tensors[0]) == 480  # what was open stays what it was
    CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES, time_col="when")
    assert len(list((tmp_path / "ratings").iterdir())) == 2


def test_half_a_folder_never_appears(tmp_path, monkeypatch):
    stamped().to_parquet(tmp_path / "ratings.parquet", row_group_size=100)
    monkeypatch.setattr(stream, "ROWS", 100)
    check = stream.checked_ratings

    def fails(frame, *rest):
        if frame.index[0] >= 300:
            raise OSError(28, "No space left on device")
        return check(frame, *rest)

    monkeypatch.setattr(stream, "checked_ratings", fails)
    with pytest.raises(OSError, match="No space left"):
        CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)
    assert not list((tmp_path / "ratings").iterdir())
    monkeypatch.undo()
    table = CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)
    file = next((tmp_path / "ratings").iterdir()) / "ratings.f32"
    del table
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"ratings\.f32 is damaged"):
        CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)


def test_the_data_are_memory_maps_of_32_bits_and_writing_reaches_no_file(tmp_path):
    _, table = both(tmp_path, stamped())
    data = table.get_data([1, 2], seed=1)
    assert [t.dtype for t in data.train_dl.tensors] == [torch.int32, torch.int32, torch.float32]
    assert isinstance(table.ratings, np.memmap)
    table.ratings[0] = 77.0
    data.train_dl.tensors[2][0] = 77.0
    again = CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES)
    assert again.ratings.max() <= 5
    assert not [file for file in table._stored.folder.iterdir() if file.name.startswith("tmp")]


def test_errors_name_the_file_the_column_and_the_row(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 64)
    frame = stamped()

    def made(changed, name="ratings.parquet"):
        changed.to_parquet(tmp_path / name, index=False)
        return CollabFilterDataset.from_parquet(tmp_path, name, *NAMES, time_col="when")

    far, gap = np.where(frame.index == 130, np.inf, 3.0), frame["who"].where(frame.index != 200)
    cases = [
        (frame.assign(stars=far), r"ratings.parquet: column 'stars' holds inf in row 130"),
        (frame.assign(who=gap.astype("Int64")), r"column 'who' has no id in row 200"),
        (frame.assign(film=frame["film"].where(frame.index != 70)), r"column 'film' has no id in row 70"),
        (frame.assign(when=frame["when"].where(frame.index != 90)), r"column 'when' has no time in row 90"),
        (frame.drop(columns="film"), r"has no column 'film'.*Its columns: who"),
        (frame.rename(columns={"stars": "Stars"}), r"no column 'stars' .did you mean 'Stars'"),
        (frame[:0], "no rows"),
    ]  # fmt: skip
    for changed, message in cases:
        with pytest.raises(ValueError, match=message):
            made(changed)
    with pytest.raises(ValueError, match=r"in row 5, outside the range \(3, 5\)"):
        frame.assign(stars=np.where(frame.index == 5, 1.0, 4.0)).to_parquet(tmp_path / "low.parquet")
        CollabFilterDataset.from_parquet(tmp_path, "low.parquet", *NAMES, rating_range=(3, 5))
    with pytest.raises(FileNotFoundError, match=r"no ratings file .*.*did you mean 'low.parquet'"):
        CollabFilterDataset.from_parquet(tmp_path, "lo.parquet", *NAMES)
    (tmp_path / "text.parquet").write_text("who,film")
    with pytest.raises(ValueError, match=r"text.parquet cannot be read as Parquet"):
        CollabFilterDataset.from_parquet(tmp_path, "text.parquet", *NAMES)
    frame.assign(who=frame["who"].astype(str)).to_parquet(tmp_path / "other.parquet")
    frame.to_parquet(tmp_path / "ratings.parquet")
    with pytest.raises(ValueError, match=r"other.parquet: column 'who' holds large_string, in .* int64"):
        CollabFilterDataset.from_parquet(tmp_path, ["ratings.parquet", "other.parquet"], *NAMES)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no file that ends in \.parquet"):
        CollabFilterDataset.from_parquet(tmp_path, "none", *NAMES)
    with pytest.raises(ValueError, match="three columns"):
        CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", "who", "who", "stars")


def test_blocks_of_pairs_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 3000).astype(np.int32), rng.integers(0, 50, 3000).astype(np.int32)
    users[users == 7] = 8  # one without rows
    whole = SeenPairs.from_pairs(users, items, 31)
    monkeypatch.setattr(seen, "_AT_ONCE", 90)
    parts = SeenPairs.from_pairs(users, items, 31)
    assert torch.equal(whole.starts, parts.starts)
    assert torch.equal(whole.items, parts.items)
    assert parts.of(8).tolist() == sorted(set(items[(users == 8) & (items > 0)].tolist()))
    assert np.array_equal(counts_of(users, 31), np.bincount(users, minlength=31))


def test_a_fit_from_a_file_is_the_fit_from_a_frame(tmp_path):
    found = []
    for table in both(tmp_path, stamped()):
        learn = table.get_learner(
            5, get_cv_idxs(480, seed=0), bs=32, sparse=True, seed=1, progress=False, device="cpu"
        )
        learn.fit_one_cycle(3, 2e-2)
        found.append((learn.history[-1]["rmse"], learn.recommend([3, 13], n=4)))
    assert found[0][0] == found[1][0]
    pd.testing.assert_frame_equal(found[0][1], found[1][1])


# -- tables by rows


def table_of(frame, tmp_path="."):
    return CollabFilterDataset(tmp_path, frame, *NAMES)


def test_sparse_is_chosen_by_size_and_optimizer(monkeypatch):
    table = table_of(stamped())
    learn = table.get_learner(5, bs=2, device="cpu")
    assert not learn.model.user_factors.sparse
    assert learn.opt_fn is torch.optim.AdamW
    monkeypatch.setitem(MANY_NUMBERS, "cpu", 200)
    learn = table.get_learner(5, bs=2, device="cpu")
    assert all(table.sparse for table in learn.model.modules() if isinstance(table, torch.nn.Embedding))
    assert learn.opt_fn is RowAdamW
    assert not table.get_learner(5, bs=32, device="cpu").model.user_factors.sparse  # a batch reads most rows
    assert not table.get_learner(5, bs=2, device="cpu", sparse=False).model.user_factors.sparse
    assert not table.get_learner(5, bs=2, device="cpu", opt_fn=torch.optim.SGD).model.user_factors.sparse
    assert table.get_learner(5, bs=2, device="cpu", opt_fn=RowAdamW).model.user_factors.sparse
    forced = table.get_learner(5, bs=64, device="cpu", sparse=True, hidden=[8])
    assert forced.model.item_factors.sparse
    assert forced.opt_fn is RowAdamW
    own = EmbeddingDotBias(41, 21, 4, sparse=True)
    assert table.get_learner(model=own, device="cpu").opt_fn is RowAdamW
    with pytest.raises(ValueError, match="sparse= is of the models that get_learner makes"):
        table.get_learner(model=own, sparse=True)
    with pytest.raises(TypeError, match="sparse is True, False, or None"):
        table.get_learner(5, sparse="auto")


@pytest.mark.parametrize("hidden", [None, [8]])
def test_everything_works_on_tables_by_rows(tmp_path, hidden):
    table = table_of(stamped(), tmp_path)
    options = {"sparse": True, "hidden": hidden, "seed": 1, "progress": False, "device": "cpu", "wd": 0.02}
    learn = table.get_learner(5, get_cv_idxs(480, seed=0), bs=32, **options)
    learn.lr_find()
    learn.fit_one_cycle(20, 2e-2, clip=1.0, callbacks=[Accumulate(2)])
    assert learn.history[-1]["valid_loss"] < 0.5 * table.ratings.var()
    learn.fit(1e-2, 2, cycle_len=1, cycle_mult=2)
    learn.save("rows")
    predictions = learn.predict()
    dense = table.get_learner(5, get_cv_idxs(480, seed=0), bs=32, **{**options, "sparse": False})
    dense.load("rows")
    np.testing.assert_allclose(dense.predict(), predictions, rtol=1e-6)
    learn.export(tmp_path / "model.zip")
    again = load_learner(tmp_path / "model.zip", device="cpu")
    assert again.recommend([3], n=3)["item"].tolist() == learn.recommend([3], n=3)["item"].tolist()


def test_rows_are_as_good_as_whole_tables_on_real_ratings(tmp_path, data_dir):
    """MovieLens small, the latest ratings of each user held out: the same settings, the same error."""
    frame = pd.read_csv(data_dir("ml-latest-small") / "ratings.csv")
    frame.to_parquet(tmp_path / "ratings.parquet")
    names = ("userId", "movieId", "rating")
    table = CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *names, time_col="timestamp")
    split, found = by_user_time(share=0.2)(table), []
    for sparse in (False, True):
        learn = table.get_learner(30, split, 256, sparse=sparse, seed=2, progress=False, device="cpu")
        learn.fit_one_cycle(3, 1e-2)
        found.append(learn.history[-1]["rmse"])
    assert found[0] < 0.95
    assert found[1] < found[0] + 0.01


def two_processes(folder):
    import zoo

    rank = zoo.distributed.rank()
    table = CollabFilterDataset.from_parquet(folder, "ratings.parquet", *NAMES)
    write_tree(folder / f"rank{rank}.safetensors", trained(table))


def trained(table):
    learn = table.get_learner(
        5, get_cv_idxs(480, seed=0), bs=30, sparse=True, seed=1, progress=False, device="cpu", wd=0.02
    )
    learn.fit_one_cycle(3, 2e-2)
    return {"weights": dict(learn.model.state_dict()), "rmse": [row["rmse"] for row in learn.history]}


def test_two_processes_train_as_one(tmp_path):
    stamped().to_parquet(tmp_path / "ratings.parquet")
    assert ranks(two_processes, tmp_path) == [0, 0]
    first, second = (read_tree(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    equal(first, second, 0.0)
    alone = trained(CollabFilterDataset.from_parquet(tmp_path, "ratings.parquet", *NAMES))
    equal(first, alone, 1e-4)
    assert len(list((tmp_path / "ratings").iterdir())) == 1
