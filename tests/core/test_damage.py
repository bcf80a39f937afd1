"""Damaged files are refused, those of others are never taken for one's own, nothing whole is given up."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from tests.core.helpers import digits, digits_learner
from zoo.callbacks import SaveBest
from zoo.data import intact
from zoo.folders import atomic_folder
from zoo.storage import resume
from zoo.storage.archive import ArchiveError, load_state
from zoo.storage.files import atomic_write


def flip(file: Path, place: int = -2) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 0x40
    file.write_bytes(data)


def rows(n: int = 40, falling: bool = False) -> zoo.ModelData:
    targets = torch.arange(n)
    return zoo.ModelData(
        zoo.TensorLoader(torch.arange(float(n)), targets.flip(0) if falling else targets, bs=8)
    )


def learner(path: Path, model: nn.Module | None = None, loss=nn.functional.mse_loss, scale: float = 1.0):
    torch.manual_seed(0)
    x = torch.randn(64, 4) * scale
    data = zoo.ModelData(zoo.TensorLoader(x, x.sum(1, keepdim=True), bs=8, shuffle=True, seed=0), path=path)
    net = nn.Linear(4, 1) if model is None else model
    return zoo.Learner(data, net, loss_fn=loss, device="cpu", progress=False, seed=0)


# -- prepared data


def test_another_byte_or_array_in_prepared_data_is_found(tmp_path: Path) -> None:
    folder = rows().save(tmp_path / "one")
    flip(folder / "train.0.npy")
    with pytest.raises(ArchiveError, match=r"train.0.npy is damaged: it is not the array that was saved"):
        zoo.load_data(folder)
    folder, other = rows().save(tmp_path / "one"), rows(falling=True).save(tmp_path / "two")
    shutil.copy(other / "train.1.npy", folder)
    with pytest.raises(ArchiveError, match=r"train.1.npy is damaged"):
        zoo.load_data(folder)


def test_other_values_in_the_description_of_prepared_data_are_found(tmp_path: Path) -> None:
    folder = rows().save(tmp_path / "one")
    file = folder / "data.json"
    text = file.read_text()
    assert json.loads(text)["arrays"] == {"train.0": "float32", "train.1": "int64"}
    file.write_text(text.replace('"bs": 8', '"bs": 9'))
    with pytest.raises(ArchiveError, match=r"data.json is damaged.*remove the entry sha256"):
        zoo.load_data(folder)
    first, _, rest = file.read_text().split("\n", 2)
    file.write_text(f"{first}\n{rest}")
    assert zoo.load_data(folder).train_dl.bs == 9


def test_large_arrays_are_sampled_and_read_as_a_whole_when_asked_for(tmp_path: Path) -> None:
    folder = zoo.ModelData(zoo.TensorLoader(torch.zeros(700_000), bs=8)).save(tmp_path / "large")
    file = folder / "train.0.npy"
    flip(file, place=100_000)  # between two blocks
    zoo.load_data(folder)
    with pytest.raises(ArchiveError, match="is damaged"):
        zoo.load_data(folder, verify=True)
    flip(file, place=100_000)
    zoo.load_data(folder, verify=True)
    flip(file, place=-1)
    with pytest.raises(ArchiveError, match="is damaged"):
        zoo.load_data(folder)
    assert intact.sample_digest(file) != intact.file_digest(file)


# -- exports and weights


def test_damaged_exports_are_refused(tmp_path: Path) -> None:
    folder = digits_learner().export(tmp_path / "model")
    for name, place in (("model.safetensors", -1), ("preprocess.json", 20), ("config.json", -12)):
        flip(folder / name, place)
        with pytest.raises(ArchiveError):
            zoo.load_learner(folder, device="cpu")
        flip(folder / name, place)
    zoo.load_learner(folder, device="cpu")


def test_the_weights_of_another_export_are_refused(tmp_path: Path) -> None:
    one, other = (digits_learner(seed=seed).export(tmp_path / str(seed)) for seed in (0, 1))
    shutil.copy(other / "model.safetensors", one)
    with pytest.raises(ArchiveError, match=r"model.safetensors is not what was exported"):
        zoo.load_learner(one, device="cpu")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    learn = learner(tmp_path)
    file = learn.save("m")
    flip(file)
    with pytest.raises(ArchiveError, match=r"m.safetensors is damaged: its contents do not match"):
        learn.load("m")


class Buffers(nn.Module):
    def __init__(self, **buffers: torch.Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_views_that_mean_something_else_come_back_beside_what_they_view(tmp_path: Path, dtype) -> None:
    z = torch.tensor([1 + 2j, 3 - 1j], dtype=dtype)
    buffers = {"z": z, "conjugate": z.conj(), "pairs": torch.view_as_real(z), "again": z}
    found = load_state(learner(tmp_path, Buffers(**buffers)).save("m"))
    for name, value in buffers.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_the_one_name_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be called '__metadata__'"):
        learner(tmp_path, Buffers(__metadata__=torch.ones(2))).save("m")
    assert not list(tmp_path.rglob("*.safetensors"))


class Beside(nn.Module):
    """Weights of its own beside a part that is called `module`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1, 4)), nn.Parameter(torch.zeros(1))
        self.module = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x) + x @ self.weight.T


def test_no_tensor_takes_the_name_of_another_one(tmp_path: Path) -> None:
    file = learner(tmp_path, Beside()).save("m")
    with pytest.raises(ValueError, match=r"not in the model: .*module.weight"):
        learner(tmp_path).load(file)
    learner(tmp_path, Beside()).load(file)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (torch.tensor([0.5, 1.7]), torch.tensor([0, 0])),
        (torch.tensor([300, 1000]), torch.tensor([0, 0], dtype=torch.int8)),
        (torch.tensor([1e10, 1.0], dtype=torch.float64), torch.tensor([0, 0], dtype=torch.float16)),
        (torch.tensor([0.5 + 2j]), torch.tensor([0.0])),
        (torch.tensor([2**24 + 1]), torch.tensor([0.0])),
    ],
    ids=["fractions", "range", "overflow", "imaginary", "precision"],
)
def test_values_that_the_format_of_the_model_cannot_hold_are_refused(tmp_path: Path, there, here) -> None:
    learner(tmp_path, Buffers(x=there)).save("m")
    learn = learner(tmp_path, Buffers(x=here))
    before = learn.model.layer.weight.clone()
    with pytest.raises(ValueError, match=r"values would be lost: x \(torch"):
        learn.load("m")
    assert torch.equal(before, learn.model.layer.weight)
    assert torch.equal(learn.model.x, torch.zeros_like(learn.model.x))


def test_formats_that_only_round_or_hold_everything_are_taken(tmp_path: Path) -> None:
    learner(tmp_path, Buffers(x=torch.tensor([1.1, float("inf")]), n=torch.tensor([3.0]))).save("m")
    short = Buffers(x=torch.zeros(2, dtype=torch.bfloat16), n=torch.zeros(1, dtype=torch.int64))
    net = learner(tmp_path, short).load("m").model
    assert net.x.tolist() == [1.1015625, float("inf")]
    assert net.n.tolist() == [3]


class Pair(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.b(self.a(x)))


def test_two_tensors_of_a_file_do_not_become_one(tmp_path: Path) -> None:
    learner(tmp_path, Pair(tied=False)).save("two")
    tied = learner(tmp_path, Pair(tied=True))
    with pytest.raises(ValueError, match=r"different ones there: a.weight and b.weight"):
        tied.load("two")
    tied.save("one")
    assert torch.equal(learner(tmp_path, Pair(tied=False)).load("one").model.b.weight, tied.model.a.weight)
    learner(tmp_path, Pair(tied=True)).load("one")


def test_lazy_modules_get_their_shapes_from_the_file(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(1))

    trained = learner(tmp_path, net())
    trained.fit(0.01, 1)
    trained.save("m")
    fresh = learner(tmp_path, net()).load("m")
    x = torch.ones(2, 4)
    assert torch.equal(trained.model.eval()(x), fresh.model.eval()(x))


# -- what is killed in the middle, and what the file system does


KILLED = """
import os, sys
from pathlib import Path
import torch, zoo
folder, when = Path(sys.argv[1]), sys.argv[2]
data = zoo.ModelData(zoo.TensorLoader(torch.arange(4.0), bs=2))
data.save(folder)
moves, real = [], Path.replace
def replace(self, target):
    moves.append(target)
    if when == "moves" and len(moves) == 2:
        os._exit(9)
    return real(self, target)
Path.replace = replace
if when == "fsync":
    os.fsync = lambda handle: os._exit(9)
zoo.ModelData(zoo.TensorLoader(torch.arange(6.0), bs=2)).save(folder)
"""


@pytest.mark.parametrize("when", ["moves", "fsync"])
def test_a_killed_replacement_leaves_the_older_folder_and_nothing_for_long(tmp_path: Path, when: str) -> None:
    folder = tmp_path / "x"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), when], check=False)
    assert killed.returncode == 9
    assert [len(batch[0]) for batch in zoo.load_data(folder).train_dl] == [2, 2]
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(folder):
        raise RuntimeError("stop")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert [len(batch[0]) for batch in zoo.load_data(folder).train_dl] == [2, 2]


def test_an_export_whose_replacement_was_killed_is_found(tmp_path: Path) -> None:
    first, second, x = digits_learner(), digits_learner(seed=1), digits()[0][:4]
    folder = first.export(tmp_path / "model")
    folder.rename(tmp_path / ".model.00000000-1-abcd.tmp.old")
    for learn in (first, second):
        found = zoo.load_learner(folder, device="cpu").predict_array(x)
        assert found == pytest.approx(learn.predict_array(x), abs=1e-6)
        second.export(folder)


def test_what_killed_writers_left_is_swept_and_what_others_are_writing_is_not(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "w") as temporary:
        start = temporary.name.rpartition("-")[0]
        temporary.write_text("1")
    host = start.split(".")[2].split("-")[0]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [
        f".w.{host}-{gone.pid}-abcd.tmp", f".w.{host}-{os.getppid()}-abcd.tmp", ".w.00000000-1-abcd.tmp",
        f".w.x.{host}-{gone.pid}-abcd.tmp", ".w.abcdefgh.tmp", ".w.hijk.tmp",
    ]  # fmt: skip
    for name in left:
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / ".w.hijk.tmp", (0, 0))
    with atomic_write(tmp_path / "w") as temporary:
        temporary.write_text("2")
    assert (tmp_path / "w").read_text() == "2"
    assert {file.name for file in tmp_path.iterdir()} == {"w", *left[1:]}  # a change of times is recent


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    learn = learner(tmp_path / "project")
    link, behind = learn.save("w"), tmp_path / "disk" / "w.safetensors"
    link.rename(behind)
    link.symlink_to(behind)
    old = behind.read_bytes()
    learn.fit(0.01, 1)
    learn.save("w")
    assert link.is_symlink()
    assert behind.read_bytes() != old


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_errors_of_the_disk_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = learner(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    for write, name in ((learn.save, "w"), (learn.data.save, str(tmp_path / "prepared"))):
        with pytest.raises(OSError, match=f"No space left on device.*{name}"):
            write(name)


def test_a_full_disk_ends_no_fit_that_saves_on_the_way(tmp_path: Path, monkeypatch, caplog) -> None:
    learn = learner(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    learn.fit(0.01, 2, cycle_len=1, cycle_save_name="s")
    learn.fit(0.01, 1, callbacks=[SaveBest("b", "train_loss")])
    assert len(learn.history) == 3
    assert "s_cyc_1 could not be saved" in caplog.text
    assert "the weights b could not be saved" in caplog.text


class Stop(zoo.Callback):
    def __init__(self) -> None:
        self.left = 6

    def after_batch(self, state) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupted(path: Path) -> None:
    learner(path).fit(0.01, 3, checkpoint_every=2, resume=True, callbacks=[Stop()])
    resume._finished_here.clear()  # as in another process


def test_checkpoints_that_cannot_be_read_for_a_moment_are_not_given_up(tmp_path: Path, monkeypatch) -> None:
    interrupted(tmp_path)
    before = {file.name for file in tmp_path.rglob("*.safetensors")}
    assert len(before) == 2

    def stale(self: Path) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle", str(self))

    with monkeypatch.context() as moment:
        moment.setattr(Path, "read_bytes", stale)
        with pytest.raises(OSError, match="Stale file handle"):
            learner(tmp_path).fit(0.01, 3, checkpoint_every=2, resume=True)
        learner(tmp_path).fit(0.01, 1, checkpoint_every=3)  # a fit of its own leaves them, too
    assert before <= {file.name for file in tmp_path.rglob("*.safetensors")}


def test_a_fit_with_another_loss_is_not_gone_on_with(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(ValueError, match=r"loss torch.nn.functional.mse_loss instead of .*l1_loss"):
        learner(tmp_path, loss=nn.functional.l1_loss).fit(0.01, 3, checkpoint_every=2, resume=True)
    learner(tmp_path).fit(0.01, 3, checkpoint_every=2, resume=True)


def test_other_rows_are_told_when_a_fit_goes_on(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.warns(UserWarning, match="of a fit on other training rows"):
        learner(tmp_path, scale=5.0).fit(0.01, 3, checkpoint_every=2, resume=True)


class Spectrum(zoo.Callback):
    def __init__(self) -> None:
        self.values, self.came_back = np.fft.fft(np.arange(3.0)), False

    def state_dict(self):
        return {"spectrum": self.values}

    def load_state_dict(self, state) -> None:
        np.testing.assert_array_equal(state["spectrum"], self.values)
        assert state["spectrum"].dtype == np.complex128
        self.came_back = True


def test_complex_arrays_of_callbacks_come_back(tmp_path: Path) -> None:
    class Ended(Exception):
        pass

    class EndAt(zoo.Callback):
        def after_batch(self, state) -> None:
            if state.training and state.batch_index == 3:
                raise Ended

    with pytest.raises(Ended):
        learner(tmp_path).fit(0.01, 1, checkpoint_every=2, callbacks=[Spectrum(), EndAt()])
    resume._finished_here.clear()
    spectrum = Spectrum()
    learner(tmp_path).fit(0.01, 1, checkpoint_every=2, resume=True, callbacks=[spectrum])
    assert spectrum.came_back
