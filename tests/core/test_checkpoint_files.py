"""What a checkpoint holds can be read again, and no file that cannot be read is lost."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo.storage import resume
from zoo.storage.archive import ArchiveError
from zoo.storage.checkpoint import CheckpointFolder, read_tree, write_tree

OPTIONS = {"device": "cpu", "progress": False, "seed": 0}


def there_and_back(path: Path, value: Any) -> Any:
    write_tree(path / "tree.safetensors", {"value": value})
    return read_tree(path / "tree.safetensors")["value"]


VALUES = [
    {("a", 1): 2, (): 3, (1, (2, None)): "x"},
    {1: "a", 1.5: "b", None: "c", False: "d", "$odd": "e"},
    {np.int64(3): 1, (np.int32(4), np.str_("a")): 2},
    (1, [2, (3,)], {}),
    [math.inf, -math.inf, 10**30, -0.0, 1e-320],
    {"é\ud83d": "\ud83d and ß", "\x00": ""},
    {1, 2, ("a", 3)},
    frozenset({"a"}),
    b"\x00\xff",
    Path("a/b"),
    1 + 2j,
    torch.float16,
    torch.device("cpu"),
    torch.Size([2, 3]),
    OrderedDict(b=1, a=2),
    [],
    np.float32(0.5),
    np.bool_(True),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_as_they_were(tmp_path, value) -> None:
    found = there_and_back(tmp_path, value)
    assert found == value
    plain = value.item() if isinstance(value, np.generic) else value
    assert type(found) is (dict if isinstance(plain, dict) else type(plain))
    if isinstance(value, dict):
        assert list(found) == list(value)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, 3, dtype=torch.complex128) * (1 + 2j),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.arange(6.0).view(2, 3).t(),
        torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        torch.tensor(3, dtype=torch.uint64),
        torch.empty(0, 3),
        torch.ones(1, 3).expand(4, 3),
        torch.arange(10.0)[::2],
        torch.tensor([math.nan, math.inf]),
    ],
    ids=lambda tensor: f"{tensor.dtype}{tuple(tensor.shape)}",
)
def test_tensors_come_back_with_format_and_dense_layout(tmp_path, tensor) -> None:
    found = there_and_back(tmp_path, [tensor])[0]
    assert found.dtype == tensor.dtype
    assert torch.equal(found.nan_to_num(7), tensor.resolve_conj().nan_to_num(7))
    dense = tensor.numel() == tensor.untyped_storage().nbytes() // tensor.element_size()
    assert not dense or found.stride() == tensor.stride()


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3)[:, ::-1], np.arange(3, dtype=">i4"), np.array(1)]
)
def test_arrays_of_any_layout_come_back(tmp_path, array) -> None:
    found = there_and_back(tmp_path, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


class Colour(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")
ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"rate": object()}, "/value/rate there is a object"),
        ({"c": Colour.RED}, "/value/c there is a Colour: keep its .value"),
        ([Point(1, 2)], "/value/0 there is a Point"),
        ({Path("a"): 1}, "/value there is the key PosixPath"),
        ({(1, b"x"): 1}, "/value there is the key b'x'"),
        (np.datetime64("2020-01-01"), "/value there is a datetime64"),
        (np.longdouble(1), "/value there is a longdouble"),
        (np.array(["a"]), "the array at /value"),
        (np.ma.masked_array([1], [True]), "it is masked"),
        (torch.eye(2).to_sparse(), "the tensor at /value: it is a tensor torch.sparse_coo"),
        (torch.empty(2, device="meta"), "the tensor at /value: it is a tensor on the meta device"),
        (torch.Generator(), "/value there is a Generator"),
        (ITSELF, "contain themselves"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_what_would_not_come_back_is_refused_by_place(tmp_path, value, said) -> None:
    with pytest.raises(TypeError) as error:
        write_tree(tmp_path / "tree.safetensors", {"value": value})
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


def test_long_lists_do_not_outgrow_the_header(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("zoo.storage.checkpoint._LONG", 1000)
    assert there_and_back(tmp_path, list(range(2000))) == list(range(2000))
    file = tmp_path / "tree.safetensors"
    data = file.read_bytes()
    assert len(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["zoo.tree"]) == 0
    file.write_bytes(data.replace(b"1999", b"1998"))
    with pytest.raises(ArchiveError, match="digest"):
        read_tree(file)


# -- the folder


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_damaged_files_are_set_aside_when_a_fit_goes_on(tmp_path, caplog) -> None:
    folder = CheckpointFolder(tmp_path)
    for batches in (1, 2):
        folder.write({"n": batches}, 0, batches)
    newest = tmp_path / "fit000-batch000000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    found = CheckpointFolder(tmp_path).read(0)
    assert found is not None
    assert found[1] == {"n": 1}
    assert names(tmp_path) == ["fit000-batch000000001.safetensors", f"unreadable-{newest.name}"]
    assert f"kept as unreadable-{newest.name}" in caplog.text


def test_a_new_run_removes_old_checkpoints_but_none_that_it_cannot_read(tmp_path) -> None:
    folder = CheckpointFolder(tmp_path)
    for fit, batches in ((0, 5), (1, 6), (2, 7)):
        folder.write({}, fit, batches)
    damaged = tmp_path / "fit001-batch000000006.safetensors"
    damaged.write_bytes(b"not one")
    foreign = tmp_path / "fitness.safetensors"
    foreign.write_bytes(b"of the user")
    CheckpointFolder(tmp_path).write({}, 0, 3, anew=True)
    assert names(tmp_path) == [
        "fit000-batch000000003.safetensors", "fitness.safetensors", f"unreadable-{damaged.name}",
    ]  # fmt: skip
    assert (tmp_path / f"unreadable-{damaged.name}").read_bytes() == b"not one"


def test_a_file_of_a_newer_version_is_never_replaced(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("zoo.storage.checkpoint.FORMAT_VERSION", 99)
        CheckpointFolder(tmp_path).write({"from": "the future"}, 0, 4)
    CheckpointFolder(tmp_path).write({}, 0, 4, anew=True)
    kept = tmp_path / "unreadable-fit000-batch000000004.safetensors"
    assert kept.is_file()
    with pytest.raises(ArchiveError, match="newer zoo"):
        read_tree(kept)


class Holds(zoo.Callback):
    """A callback with a state of its own."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def learner(path: Path, model: nn.Module | None = None, **options: Any) -> zoo.Learner:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    data = zoo.ModelData(zoo.TensorLoader(x, x.sum(1), bs=8, shuffle=True, seed=0), path=path)
    return zoo.Learner(data, nn.Linear(4, 1) if model is None else model, **{**OPTIONS, **options})


def test_the_first_write_refuses_a_state_and_leaves_older_checkpoints(tmp_path) -> None:
    learner(tmp_path).fit(0.1, 1, checkpoint_every=2)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.safetensors")}
    with pytest.raises(TypeError, match=r"/callbacks/.*/value there is a object"):
        learner(tmp_path).fit(0.1, 1, checkpoint_every=2, callbacks=[Holds(object())])
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.safetensors")} == before


class Killed(Exception):
    """The process came to its end."""


class KillAt(zoo.Callback):
    order = 2000

    def __init__(self, batch: int | None) -> None:
        self.batch, self.done = batch, 0

    def after_batch(self, state: Any) -> None:
        self.done += 1
        if self.done == self.batch:
            raise Killed


def resumed(path: Path, make: Any, **options: Any) -> zoo.Learner:
    """A learner whose fit was ended in the middle and gone on with by another one."""
    with pytest.raises(Killed):
        make(path).fit(0.01, 2, checkpoint_every=3, resume=True, callbacks=[KillAt(11)], **options)
    resume._finished_here.clear()
    learn = make(path)
    learn.fit(0.01, 2, checkpoint_every=3, resume=True, callbacks=[KillAt(None)], **options)
    return learn


@pytest.mark.parametrize("name", ["MADGRAD", "SOAP"])
def test_optimizers_with_states_of_their_own_go_on_bit_for_bit(tmp_path, name) -> None:
    optimizers = pytest.importorskip("pytorch_optimizer")

    def make(path: Path) -> zoo.Learner:
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
        return learner(path, net, opt_fn=getattr(optimizers, name))

    whole = make(tmp_path / "whole")
    whole.fit(0.01, 2, checkpoint_every=3, callbacks=[KillAt(None)])
    again = resumed(tmp_path / "again", make)
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    again.lr_find(num_it=3)  # a twin in the same state


def test_an_optimizers_own_tensor_stays_on_its_device_and_layouts_follow_the_parameters() -> None:
    conv = nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)
    opt = zoo.LayerOptimizer(torch.optim.Adam, [conv], 0.1)
    conv(torch.ones(1, 2, 3, 3)).sum().backward()
    opt.step()
    plain = nn.Conv2d(2, 2, 3)
    other = zoo.LayerOptimizer(torch.optim.Adam, [plain], 0.1)
    other.load_state_dict(opt.state_dict())
    assert other.opt.state[plain.weight]["exp_avg"].stride() == plain.weight.stride()
    torch.testing.assert_close(
        other.opt.state[plain.weight]["exp_avg"], opt.opt.state[conv.weight]["exp_avg"], rtol=0, atol=0
    )


class Best(zoo.Callback):
    """Remembers the loss of each batch by its place."""

    def __init__(self) -> None:
        self.best: dict[tuple[int, int], float] = {}

    def after_batch(self, state: Any) -> None:
        if state.training:
            self.best[state.epoch, state.batch_index] = float(state.loss.detach())

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class Kill(zoo.Callback):
    order = 2000

    def __init__(self, live: bool) -> None:
        self.live = live

    def after_batch(self, state: Any) -> None:
        if self.live and state.training and (state.epoch, state.batch_index) == (1, 3):
            raise Killed


def test_a_wrapped_optimizer_and_places_as_keys_go_on_bit_for_bit(tmp_path: Path) -> None:
    optimizers = pytest.importorskip("pytorch_optimizer")

    def run(path: Path, kill: bool = False) -> tuple[zoo.Learner, Best]:
        resume._finished_here.clear()  # as in another process
        torch.manual_seed(0)
        x = torch.randn(64, 4)
        data = zoo.ModelData(zoo.TensorLoader(x, x.sum(1), bs=8, shuffle=True, seed=0), path=path)
        learn = zoo.Learner(
            data,
            nn.Linear(4, 1),
            opt_fn=lambda p: optimizers.Lookahead(torch.optim.SGD(p, lr=0.1, momentum=0.9)),
            **OPTIONS,
        )
        best = Best()
        learn.fit(0.01, 3, checkpoint_every=1, resume=True, callbacks=[best, Kill(kill)])
        return learn, best

    whole, all_of_it = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "broken", kill=True)
    again, found = run(tmp_path / "broken")
    assert torch.equal(whole.model.weight, again.model.weight)
    assert found.best == all_of_it.best
    assert len(found.best) == 24
