"""Processes that are killed and started again end where uninterrupted ones do, bit for bit."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.core import resume_runs
from tests.core.helpers import DigitsNet, digits_data, digits_learner, same, weights
from tests.core.processes import live, ranks, start
from zoo import Callback, Learner, TensorLoader
from zoo.callbacks import EMA, Accumulate
from zoo.storage.archive import ArchiveError
from zoo.storage.checkpoint import CheckpointFolder, read_tree, write_tree


def train(*args: Any, **options: Any) -> int | None:
    """The exit code of a process that runs `resume_runs.train`."""
    return live(resume_runs.train, *args, **options)


def assert_equal(a: Any, b: Any, place: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_equal(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{place}/{number}")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, place
        assert torch.equal(a, b), place
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b), place
    else:
        assert a == b, place


@pytest.mark.parametrize("name", resume_runs.RUNS)
def test_killed_at_random_batches_it_ends_as_if_nothing_had_happened(name, tmp_path):
    assert train(name, tmp_path / "whole", tmp_path / "whole.out", seed=1, every=None, resume=False) == 0
    whole = read_tree(tmp_path / "whole.out")
    n_batches = len(whole["curves"]["losses"])
    draw = random.Random(name)
    first, second = sorted(draw.sample(range(4, n_batches), 2))
    (tmp_path / "killed").mkdir()
    assert train(name, tmp_path / "killed", seed=1, kill_at=first) == -signal.SIGKILL
    # later processes begin with other random numbers: what counts comes from the checkpoint
    assert train(name, tmp_path / "killed", seed=2, kill_at=second) == -signal.SIGKILL
    assert train(name, tmp_path / "killed", tmp_path / "killed.out", seed=3) == 0
    assert_equal(whole, read_tree(tmp_path / "killed.out"))
    if name == "early_stopping":
        logs = [(tmp_path / kind / "log.csv").read_text().splitlines() for kind in ("whole", "killed")]
        assert [line.rsplit(",", 1)[0] for line in logs[0]] == [line.rsplit(",", 1)[0] for line in logs[1]]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_killed_while_a_checkpoint_is_written_the_one_before_it_is_used(number, tmp_path):
    assert train("sgdr", tmp_path / "whole", tmp_path / "whole.out", seed=1, every=None) == 0
    assert train("sgdr", tmp_path / "killed", seed=1, kill_writing=number) == -signal.SIGKILL
    folder = tmp_path / "killed" / "models" / "checkpoints" / "DigitsNet"
    assert len(list(folder.glob(".fit*.tmp"))) == 1
    assert len(list(folder.glob("fit*"))) == min(number - 1, 2)
    # without a checkpoint it begins anew, so it needs the same random numbers
    assert train("sgdr", tmp_path / "killed", tmp_path / "killed.out", seed=1) == 0
    assert_equal(read_tree(tmp_path / "whole.out"), read_tree(tmp_path / "killed.out"))
    assert not list(folder.glob(".fit*"))


def test_killed_from_outside_at_any_moment_again_and_again(tmp_path):
    assert train("tables", tmp_path / "whole", tmp_path / "whole.out", seed=1, every=None) == 0
    kills, draw = 0, random.Random(0)
    for _ in range(100):
        process = start(
            resume_runs.train, "tables", tmp_path / "killed", tmp_path / "killed.out", seed=1, every=1
        )
        seen, left = sorted(tmp_path.glob("killed/models/checkpoints/*/fit*")), draw.randint(1, 6)
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            now = sorted(tmp_path.glob("killed/models/checkpoints/*/fit*"))
            left -= now != seen
            seen = now
            if left == 0:
                time.sleep(draw.random() * 0.05)
                os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
                break
            time.sleep(0.005)
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            break
    assert kills >= 4
    assert_equal(read_tree(tmp_path / "whole.out"), read_tree(tmp_path / "killed.out"))


@pytest.mark.parametrize("name", ["sgdr", "plain_loader"])
def test_two_processes_of_which_one_is_killed_go_on_together(name, tmp_path):
    def together(*args: Any, **options: Any) -> list[int | None]:
        return ranks(resume_runs.train_together, name, *args, **options)

    assert together(tmp_path / "whole", tmp_path / "whole.out", seed=1) == [0, 0]
    first, second = together(tmp_path / "killed", seed=1, kill_at=21)
    assert first != 0
    assert second == -signal.SIGKILL
    assert together(tmp_path / "killed", tmp_path / "killed.out", seed=2) == [0, 0]
    assert_equal(read_tree(tmp_path / "whole.out"), read_tree(tmp_path / "killed.out"))
    # the checkpoint of two processes is none for one
    assert train(name, tmp_path / "killed", seed=3) == 1


class Fail(Callback):
    def __init__(self, batch: int, error: type[BaseException] = RuntimeError) -> None:
        self.batch, self.error = batch, error

    def after_batch(self, state: Any) -> None:
        if state.training and state.batches_before + state.batch_index == self.batch:
            raise self.error("stop here")


@pytest.fixture
def whole():
    learn = digits_learner(seed=5)
    learn.fit(0.01, 3)
    return learn


def test_a_truncated_checkpoint_is_told_of_and_the_one_before_it_used(tmp_path, whole, caplog):
    with pytest.raises(RuntimeError, match="stop here"):
        digits_learner(seed=5, path=tmp_path).fit(0.01, 3, checkpoint_every=5, callbacks=[Fail(33)])
    newest, before = CheckpointFolder(tmp_path / "models" / "checkpoints" / "DigitsNet").files(0)
    assert (newest.name, before.name) == (
        "fit000-batch000000030.safetensors",
        "fit000-batch000000025.safetensors",
    )
    newest.write_bytes(newest.read_bytes()[:-100])
    learn = digits_learner(seed=6, path=tmp_path)
    learn.fit(0.01, 3, checkpoint_every=5, resume=True)
    assert same(weights(whole.model), weights(learn.model))
    assert "fit000-batch000000030.safetensors is not usable" in caplog.text
    assert "looking for the one before it" in caplog.text


@pytest.mark.parametrize("place", [200, -5])
def test_a_single_flipped_bit_is_noticed(place, tmp_path):
    file = tmp_path / "tree"
    write_tree(file, {"a": torch.arange(300), "b": [1.5, None, (True, "x")]})
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArchiveError):
        read_tree(file)


def test_a_full_disk_is_told_of_and_training_goes_on(tmp_path, whole, caplog, monkeypatch):
    original = Path.write_bytes
    count = 0

    def full(self: Path, data: bytes) -> int:
        nonlocal count
        if ".fit" in self.name:
            count += 1
            if count > 2:
                original(self, data[:1000])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    learn = digits_learner(seed=5, path=tmp_path)
    learn.fit(0.01, 3, checkpoint_every=5)
    assert same(weights(whole.model), weights(learn.model))
    assert "No space left on device" in caplog.text
    assert "fit000-batch000000010.safetensors, the one before it, stays in use" in caplog.text
    monkeypatch.undo()
    again = digits_learner(seed=6, path=tmp_path)
    again.fit(0.01, 3, checkpoint_every=5, resume=True)
    assert same(weights(whole.model), weights(again.model))
    folder = tmp_path / "models" / "checkpoints" / "DigitsNet"
    assert not list(folder.glob(".*"))


def test_a_script_with_several_fits_finds_its_place(tmp_path):
    def script(learn: Any, *, die: int | None = None) -> list[float]:
        options = {"checkpoint_every": 7, "resume": True}
        learn.freeze()
        first = learn.fit(0.01, 1, **options)
        half = weights(learn.model)
        learn.unfreeze()
        learn.fit(slice(1e-3, 1e-2), 2, cycle_len=1, **options, callbacks=[Fail(die)] if die else [])
        learn.fit_one_cycle(1, 1e-2, **options)
        return [first[0]["valid_loss"], *(float(value.sum()) for value in half.values())]

    (tmp_path / "whole").mkdir()
    whole = digits_learner(seed=5, path=tmp_path / "whole")
    at_half = script(whole)
    with pytest.raises(RuntimeError, match="stop here"):
        script(digits_learner(seed=5, path=tmp_path), die=25)
    learn = digits_learner(seed=6, path=tmp_path)
    assert script(learn) == at_half
    assert same(weights(whole.model), weights(learn.model))
    assert [row["valid_loss"] for row in whole.history] == [row["valid_loss"] for row in learn.history]
    assert [row["epoch"] for row in learn.history] == [0, 1, 2, 3]


def test_after_ctrl_c_the_same_learner_goes_on(tmp_path, whole):
    learn = digits_learner(seed=5, path=tmp_path)
    learn.fit(0.01, 3, checkpoint_every=4, callbacks=[Fail(30, KeyboardInterrupt)])
    assert len(learn.history) == 1
    rows = learn.fit(0.01, 3, checkpoint_every=4, resume=True)
    assert same(weights(whole.model), weights(learn.model))
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    learn.fit(0.01, 1)
    assert [row["epoch"] for row in learn.history] == [0, 1, 2, 3]


def test_what_is_asked_for_must_be_what_was_begun(tmp_path):
    with pytest.raises(RuntimeError, match="stop here"):
        digits_learner(seed=5, path=tmp_path).fit(0.01, 3, checkpoint_every=5, callbacks=[Fail(33)])
    learn = digits_learner(seed=5, path=tmp_path)
    before = weights(learn.model)
    with pytest.raises(ValueError, match=r"other arguments \(lrs \[0.01, 0.01, 0.01\] instead of \[0.02"):
        learn.fit(0.02, 3, resume=True)
    with pytest.raises(ValueError, match="epochs 3 instead of 4"):
        learn.fit(0.01, 4, resume=True)
    learn.data.train_dl = TensorLoader(*learn.data.train_dl.tensors, bs=10, shuffle=True, seed=1)
    with pytest.raises(ValueError, match="schedule Constant"):
        learn.fit(0.01, 3, resume=True)
    assert same(before, weights(learn.model))
    assert not learn.history
    with pytest.raises(ValueError, match="checkpoint_every must be"):
        learn.fit(0.01, 3, checkpoint_every=0)


def test_another_model_is_refused_and_nothing_changed(tmp_path):
    with pytest.raises(RuntimeError, match="stop here"):
        digits_learner(seed=5, path=tmp_path).fit(0.01, 3, checkpoint_every=5, callbacks=[Fail(33)])
    learn = Learner(digits_data(path=tmp_path), DigitsNet(width=16), device="cpu", progress=False)
    before = weights(learn.model)
    with pytest.raises(ValueError, match=r"of another model than this DigitsNet.*body\.0\.bias"):
        learn.fit(0.01, 3, resume=True)
    assert same(before, weights(learn.model))


def test_two_learners_of_one_process_do_not_take_each_others_end(tmp_path):
    digits_learner(seed=5, path=tmp_path).fit(0.01, 1, checkpoint_every=5, resume=True)
    with pytest.raises(ValueError, match="another learner of this process: give every learner a path"):
        digits_learner(seed=6, path=tmp_path).fit(0.01, 1, checkpoint_every=5, resume=True)


def test_the_place_is_told_and_a_finished_fit_is_not_run_again(tmp_path, capsys, whole):
    with pytest.raises(RuntimeError, match="stop here"):
        digits_learner(seed=5, path=tmp_path).fit(0.01, 3, checkpoint_every=5, callbacks=[Fail(33)])
    learn = digits_learner(seed=5, path=tmp_path, progress=True)
    learn.fit(0.01, 3, checkpoint_every=5, resume=True)
    told = capsys.readouterr().out
    assert told.startswith("going on from epoch 1, batch 11 of 19 (checkpoint of 2")
    assert len(told.splitlines()) == 4
    digits_learner(path=tmp_path / "other", progress=True).fit(0.01, 1, resume=True)
    assert capsys.readouterr().out.startswith("no checkpoint yet: training begins anew\n")


def test_only_the_newest_checkpoints_are_kept_and_a_fresh_run_replaces_older_ones(tmp_path):
    folder = CheckpointFolder(tmp_path / "models" / "checkpoints" / "DigitsNet")
    learn = digits_learner(path=tmp_path)
    learn.fit(0.01, 1, checkpoint_every=5)
    learn.fit(0.01, 1, checkpoint_every=5)
    assert [file.name for file in folder.files(0)] == ["fit000-done.safetensors"]
    assert len(folder.files(1)) == 2
    digits_learner(path=tmp_path).fit(0.01, 1, checkpoint_every=50)
    assert [file.name for file in sorted(folder.path.iterdir())] == ["fit000-done.safetensors"]


def test_states_that_cannot_be_written_name_their_place(tmp_path):
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"thing": [1, object()]}

    with pytest.raises(TypeError, match=r"at /processes/0/callbacks/\d+/2/thing/1 there is a object"):
        digits_learner(path=tmp_path).fit(0.01, 1, checkpoint_every=5, callbacks=[Odd()])


class Lazy(torch.nn.Module):
    """Keeps a buffer that is made by the first batch, and a plain number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)
        self.register_buffer("mean", None)
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mean is None:
            self.mean = torch.zeros(64)
        if self.training:
            self.seen += 1
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.layer(x - self.mean) / (1 + 0.01 * self.seen)

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": self.seen}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


def test_buffers_made_late_and_extra_states_are_kept(tmp_path):
    def learner(seed: int) -> Learner:
        torch.manual_seed(seed)
        return Learner(digits_data(path=tmp_path), Lazy(), device="cpu", progress=False)

    whole = learner(1)
    whole.fit(0.01, 2)
    with pytest.raises(RuntimeError, match="stop here"):
        learner(1).fit(0.01, 2, checkpoint_every=5, callbacks=[Fail(23)])
    again = learner(2)
    again.fit(0.01, 2, checkpoint_every=5, resume=True)
    assert again.model.seen == whole.model.seen == 38
    assert same(
        {"mean": whole.model.mean, "weight": whole.model.layer.weight},
        {"mean": again.model.mean, "weight": again.model.layer.weight},
    )


def test_another_optimizer_clip_or_precision_is_refused_and_new_callbacks_are_told_of(tmp_path, caplog):
    with pytest.raises(RuntimeError, match="stop here"):
        digits_learner(seed=5, path=tmp_path).fit(0.01, 3, checkpoint_every=5, callbacks=[Fail(33)])
    with pytest.raises(ValueError, match="optimizer AdamW instead of Adam"):
        digits_learner(path=tmp_path, opt_fn=torch.optim.Adam, wd=0.01).fit(0.01, 3, resume=True)
    with pytest.raises(ValueError, match=r"clip None instead of 1\.0"):
        digits_learner(path=tmp_path).fit(0.01, 3, resume=True, clip=1.0)
    with pytest.raises(ValueError, match=r"precision float32 instead of torch\.bfloat16"):
        digits_learner(path=tmp_path).to_bf16().fit(0.01, 3, resume=True)
    digits_learner(path=tmp_path).fit(0.01, 3, resume=True, callbacks=[EMA(0.9)])
    assert "no state for EMA, which begin anew here" in caplog.text


def test_another_accumulation_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="stop here"):
        digits_learner(seed=5, path=tmp_path).fit(
            0.01, 3, checkpoint_every=5, callbacks=[Accumulate(2), Fail(33)]
        )
    with pytest.raises(ValueError, match=r"accumulated over 2 batches, this fit asks for Accumulate\(4\)"):
        digits_learner(path=tmp_path).fit(0.01, 3, resume=True, callbacks=[Accumulate(4)])
