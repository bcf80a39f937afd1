"""Files know what their numbers stand for, and come back into the models they fit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from zoo.callbacks import EMA
from zoo.storage.archive import load_state, save_state

OPTIONS = {"device": "cpu", "progress": False, "seed": 0}


def learner(path: Path, model: nn.Module | None = None, classes: list[str] | None = None) -> zoo.Learner:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    data = zoo.ModelData(
        zoo.TensorLoader(x, (x.sum(1) > 0).long(), bs=16, shuffle=True, seed=0),
        zoo.TensorLoader(x, (x.sum(1) > 0).long(), bs=16),
        path=path,
    )
    data.classes = classes
    return zoo.Learner(data, nn.Linear(4, 2) if model is None else model, **OPTIONS)


def test_weights_of_other_classes_are_refused_by_name_and_place(tmp_path) -> None:
    learner(tmp_path, classes=["bad", "good"]).save("m")
    other = learner(tmp_path, classes=["good", "bad"])
    before = copy.deepcopy(other.model.state_dict())
    with pytest.raises(ValueError, match=r"classes \(number 0 is 'bad' there, 'good' here") as error:
        other.load("m")
    assert "same order" in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in other.model.state_dict().items())
    learner(tmp_path, classes=["bad", "good"]).load("m")
    learner(tmp_path).load("m")  # data that name no classes contradict nothing


def test_differences_beyond_the_first_values_and_in_number_are_told(tmp_path) -> None:
    many = [f"class {number}" for number in range(30)]
    learner(tmp_path, nn.Linear(4, 30), classes=many).save("m")
    with pytest.raises(ValueError, match="not among the first 20"):
        learner(tmp_path, nn.Linear(4, 30), classes=[*many[:-2], many[-1], many[-2]]).load("m")
    with pytest.raises(ValueError, match="30 there, 29 here"):
        learner(tmp_path, nn.Linear(4, 30), classes=many[:-1]).load("m")


def test_snapshots_and_checkpoints_of_other_classes_are_refused(tmp_path) -> None:
    first = learner(tmp_path, classes=["a", "b"])
    first.fit(0.1, 2, cycle_len=1, cycle_save_name="s", checkpoint_every=2)
    other = learner(tmp_path, classes=["b", "a"])
    with pytest.raises(ValueError, match=r"s_cyc_0.*classes"):
        zoo.Ensemble.from_snapshots(other, "s")
    other.path = tmp_path
    with pytest.raises(ValueError, match=r"checkpoint.*classes"):
        in_another_process(tmp_path).fit(0.1, 2, cycle_len=1, checkpoint_every=2, resume=True)


def in_another_process(path: Path) -> zoo.Learner:
    from zoo.storage import resume

    resume._finished_here.clear()  # as in another process
    return learner(path, classes=["b", "a"])


def test_files_of_older_versions_load_with_one_warning(tmp_path) -> None:
    learn = learner(tmp_path, classes=["a", "b"])
    for name in ("old", "s_cyc_0", "s_cyc_1"):
        save_state(tmp_path / f"models/{name}.safetensors", learn.model.state_dict())
    with pytest.warns(UserWarning, match=r"older zoo.*classes") as told:
        learn.load("old")
    assert len(told) == 1
    with pytest.warns(UserWarning, match="older zoo") as told:
        zoo.Ensemble.from_snapshots(learn, "s")
    assert len(told) == 1
    learner(tmp_path).load("old")  # nothing to compare: no warning


def test_names_may_be_paths_and_nothing_else(tmp_path) -> None:
    learn = learner(tmp_path)
    assert learn.save(Path("x")) == learn.save("x") == tmp_path / "models/x.safetensors"
    file = learn.save("x")
    for name in ("x", Path("x"), "x.safetensors", file, str(file), file.with_suffix("")):
        learn.load(name)
    with pytest.raises(TypeError, match="write '64'"):
        learn.save(64)
    with pytest.raises(TypeError, match="write '64'"):
        learn.load(64)
    with pytest.raises(ValueError, match="need a name"):
        learn.save("")
    with pytest.raises(FileNotFoundError, match="did you mean 'x'"):
        learn.load(Path("xx"))


def test_a_relative_path_that_save_returned_can_be_loaded(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    learn = learner(Path("here"))
    assert learn.load(learn.save("m")) is learn


class Lazy(nn.Module):
    """A buffer that is made by the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("mean", None)
        self.register_buffer("grid", torch.ones(1, 4).expand(3, 4))

    def forward(self, x):
        if self.mean is None:
            self.mean = x.detach().mean(0)
        return self.layer(x - self.mean + self.grid[0] - 1)


def test_buffers_that_are_none_or_expanded_come_back_everywhere(tmp_path) -> None:
    fresh = learner(tmp_path, Lazy())
    fresh.save("fresh")
    fresh.lr_find(num_it=4)
    assert fresh.model.mean is None
    assert fresh.model.grid.stride() == (0, 1)
    fresh.find_batch_size(max_bs=16)
    fresh.summary()
    assert fresh.model.mean is None
    fresh.fit(0.01, 2, cycle_len=1, cycle_save_name="s", checkpoint_every=2, callbacks=[EMA(0.9)])
    assert fresh.model.mean is not None
    fresh.save("done")
    mean = fresh.model.mean.clone()
    other = learner(tmp_path, Lazy())
    other.load("done")
    torch.testing.assert_close(other.model.mean, mean)
    assert zoo.Ensemble.from_snapshots(fresh, "s").predict().shape == (64, 2)
    again = learner(tmp_path, Lazy())
    zoo.Ensemble.from_snapshots(again, "s")
    assert again.model.mean is None
    other.load("fresh")
    assert other.model.mean is None


@pytest.mark.parametrize("wrap", [lambda net: torch.compile(net, backend="eager"), nn.DataParallel])
def test_wrapped_models_have_the_names_of_the_raw_model_both_ways(tmp_path, wrap) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    wrapped = learner(tmp_path, wrap(copy.deepcopy(net)))
    wrapped.save("w")
    assert set(load_state(tmp_path / "models/w.safetensors")) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    raw = learner(tmp_path, copy.deepcopy(net)).load("w")
    raw.save("r")
    wrapped.load("r")
    save_state(tmp_path / "models/old.safetensors", wrapped.model.state_dict())  # as it was written before
    learner(tmp_path, copy.deepcopy(net)).load("old")
    inside = learner(tmp_path, nn.Sequential(wrap(copy.deepcopy(net)[0]), copy.deepcopy(net)[1]))
    inside.load("r").save("inside")
    raw.load("inside")


def test_a_wrapped_model_resumes_from_the_checkpoint_of_the_raw_one(tmp_path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    raw = learner(tmp_path, copy.deepcopy(net))
    raw.fit(0.1, 1, checkpoint_every=2)
    from zoo.callbacks.checkpoint import learner_state, restore_learner

    wrapped = learner(tmp_path, torch.compile(copy.deepcopy(net), backend="eager"))
    wrapped.fit(0.1, 1)
    restore_learner(wrapped, learner_state(raw))
    for name, value in raw.model.state_dict().items():
        assert torch.equal(value, wrapped.model._orig_mod.state_dict()[name])


FORMATS = [
    torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.uint8, torch.int16,
    torch.uint16, torch.uint32, torch.uint64, torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)], ids=str)
def test_buffers_of_every_format_come_back(tmp_path, dtype, shape) -> None:
    net = nn.Linear(4, 2)
    net.register_buffer("extra", torch.ones(shape).to(dtype))
    learner(tmp_path, net).save("m")
    other = nn.Linear(4, 2)
    other.register_buffer("extra", torch.zeros(shape).to(dtype))
    learner(tmp_path, other).load("m")
    assert other.extra.dtype == dtype
    assert torch.equal(other.extra, net.extra)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.empty(2, device="meta"), "meta"),
    ],
)
def test_formats_that_no_file_holds_are_named_before_anything_is_written(tmp_path, value, what) -> None:
    learn = learner(tmp_path)
    learn.model.register_buffer("extra", value)
    with pytest.raises(TypeError, match=f"extra is a tensor .*{what}"):
        learn.save("m")
    assert not list(tmp_path.rglob("*.safetensors"))
