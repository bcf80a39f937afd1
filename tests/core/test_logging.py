"""Loggers: columns that come and go, files that cannot be written."""

import csv

import pytest

from tests.core.helpers import digits_learner
from zoo import Callback
from zoo.callbacks import CSVLogger, TensorBoardLogger
from zoo.metrics import accuracy, error_rate


class Sometimes(Callback):
    def __init__(self, epochs=(1, 3)):
        self.epochs = epochs

    def after_train(self, state):
        if state.epoch in self.epochs:
            state.row["extra"] = 1.5


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_come_and_go(tmp_path, capsys):
    path = tmp_path / "a.csv"
    learn = digits_learner(progress=True, callbacks=[CSVLogger(path)])
    learn.fit(0.01, 4, callbacks=[Sometimes()])
    assert [row["extra"] for row in table(path)] == ["", "1.5", "", "1.5"]
    assert [int(row["epoch"]) for row in table(path)] == [0, 1, 2, 3]
    headings = [line.split() for line in capsys.readouterr().out.splitlines() if "train_loss" in line]
    assert [("extra" in heading) for heading in headings] == [False, True, False, True]
    learn.fit(0.01, 1, metrics=[accuracy])
    learn.fit(0.01, 1, metrics=[error_rate])
    rows = table(path)
    assert float(rows[4]["accuracy"]) == learn.history[4]["accuracy"]
    assert [(row["accuracy"] != "", row["error_rate"] != "") for row in rows[3:]] == [
        (False, False), (True, False), (False, True)
    ]  # fmt: skip


def test_an_existing_file_goes_on_with_other_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('note,epoch\n"a, b",7\n')
    digits_learner().fit(0.01, 2, callbacks=[CSVLogger(path, append=True), Sometimes()])
    rows = table(path)
    assert [row["note"] for row in rows] == ["a, b", "", ""]
    assert [row["epoch"] for row in rows] == ["7", "0", "1"]
    assert [row["extra"] for row in rows] == ["", "", "1.5"]


def test_resuming_goes_on_after_the_lines_of_the_checkpoint(tmp_path):
    logger = CSVLogger(tmp_path / "a.csv")
    learn = digits_learner()
    learn.fit(0.01, 2, callbacks=[logger, Sometimes()])
    kept = logger.state_dict()
    learn.fit(0.01, 1, callbacks=[logger])
    again = CSVLogger(tmp_path / "a.csv")
    again.load_state_dict(kept)
    learn.fit(0.01, 1, callbacks=[again], metrics=[accuracy])
    rows = table(tmp_path / "a.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "3"]
    assert [row["extra"] for row in rows] == ["", "1.5", ""]
    assert [row["accuracy"] != "" for row in rows] == [False, False, True]


def test_a_file_that_cannot_be_written_ends_no_fit_and_loses_no_line(tmp_path, monkeypatch):
    from zoo.callbacks import logging

    path, real, broken = tmp_path / "a.csv", logging._write_lines, {1, 2}
    calls = []

    def write(file, lines, mode):
        calls.append(mode)
        if len(calls) - 1 in broken:
            with file.open(mode) as half:
                half.write("hal")
            raise OSError(28, "No space left on device")
        real(file, lines, mode)

    monkeypatch.setattr(logging, "_write_lines", write)
    learn = digits_learner()
    with pytest.warns(UserWarning, match=r"a.csv could not be written \(.*No space left") as told:
        learn.fit(0.01, 5, callbacks=[CSVLogger(path)])
    assert len(told) == 1
    assert [row["epoch"] for row in table(path)] == ["0", "1", "2", "3", "4"]
    with pytest.raises(IsADirectoryError, match="is a folder"):
        learn.fit(0.01, 1, callbacks=[CSVLogger(tmp_path)])


def test_a_locked_or_missing_file_is_made_anew_with_all_that_is_known(tmp_path):
    path = tmp_path / "a.csv"
    logger = CSVLogger(path)

    class Removes(Callback):
        order = 80

        def after_epoch(self, state):
            if state.epoch == 0:
                path.unlink()

    digits_learner().fit(0.01, 2, callbacks=[logger, Removes()])
    assert [row["epoch"] for row in table(path)] == ["1"]


def test_tensorboard_takes_text(tmp_path):
    pytest.importorskip("tensorboard")

    class Note(Callback):
        def after_train(self, state):
            state.row["note"] = "fine"

    digits_learner().fit(0.01, 1, callbacks=[Note(), TensorBoardLogger(tmp_path / "board")])
    assert list((tmp_path / "board").iterdir())


def test_a_board_that_cannot_be_written_ends_no_fit_and_is_told_once(tmp_path, monkeypatch):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    written, lost = [], {1, 2}

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, number):
            if name == "valid_loss" and len(tries) - 1 in lost:
                raise ConnectionError("the server is gone")
            written.append((name, number))

        add_text = add_scalar

        def flush(self):
            pass

        def close(self):
            if len(tries) - 1 in lost:
                raise OSError("no longer there")

    tries = []

    class Counts(Callback):
        order = 60

        def after_epoch(self, state):
            tries.append(state.epoch)

    monkeypatch.setattr(tensorboard, "SummaryWriter", Writer)
    learn = digits_learner()
    with pytest.warns(UserWarning, match=r"board could not be written \(the server is gone\)") as told:
        rows = learn.fit(0.01, 5, callbacks=[Counts(), TensorBoardLogger(tmp_path / "board")])
    assert len(told) == 1
    assert len(rows) == 5
    assert sorted({number for name, number in written if name == "valid_loss"}) == [0, 1, 2, 3, 4]
    losses = [number for name, number in written if name == "batch_loss"]
    assert sorted(set(losses)) == list(range(len(learn.sched.losses)))
    tries.clear()
    with pytest.warns(UserWarning, match="board could not be written"):
        learn.fit(0.01, 2, callbacks=[Counts(), TensorBoardLogger(tmp_path / "board")])


def test_a_file_that_cannot_be_read_ends_no_fit(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"epoch,valid_loss\n\xff\xfe,1\n")
    learn = digits_learner()
    with pytest.warns(UserWarning, match="a.csv could not be written") as told:
        assert len(learn.fit(0.01, 3, callbacks=[CSVLogger(path, append=True)])) == 3
    assert len(told) == 1
    assert path.read_bytes() == b"epoch,valid_loss\n\xff\xfe,1\n"
