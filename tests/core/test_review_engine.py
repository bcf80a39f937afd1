"""Unusual loaders, optimizers, models and callbacks in fits that are killed, cancelled or shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from tests.core import review_runs
from tests.core.helpers import digits, digits_learner, same, weights
from tests.core.processes import ranks
from zoo import Callback, CancelBatch, CancelEpoch, Learner, ModelData, TensorLoader
from zoo.callbacks import Accumulate, CSVLogger
from zoo.storage.checkpoint import read_tree, write_tree

X, Y = digits()
ROWS = TensorDataset(X[:200], Y[:200])


class Killed(BaseException):
    """Nothing of the fit catches it, as nothing catches SIGKILL."""


class Kill(Callback):
    order = 2000

    def __init__(self, at: int | None) -> None:
        self.at = at

    def after_batch(self, state) -> None:
        if state.training and state.batches_before + state.batch_index + 1 == self.at:
            raise Killed


def learner(loader: Any, path: Path, **options: Any) -> Learner:
    torch.manual_seed(3)
    model = options.pop("model", None) or nn.Sequential(nn.Linear(64, 16), nn.Dropout(0.1), nn.Linear(16, 10))
    data = ModelData(loader, TensorLoader(X[200:300], Y[200:300], bs=50), path=path)
    return Learner(data, model, loss_fn=nn.CrossEntropyLoss(), device="cpu", progress=False, **options)


Script = Callable[[Path, dict[int, int]], Learner]


def two_fits(make_loader: Callable[[], Any], **options: Any) -> Script:
    def script(path: Path, kills: dict[int, int]) -> Learner:
        learn = learner(make_loader(), path, **options)
        for number in range(2):
            kill = Kill(kills.get(number))
            learn.fit(0.01, 2, checkpoint_every=3, resume=True, callbacks=[kill])
        return learn

    return script


def check_goes_on(script: Script, tmp_path: Path, *kills: tuple[int, int]) -> None:
    """A script that is killed in fit number ... at batch ..., and run again, ends as a whole one."""
    (tmp_path / "whole").mkdir()
    whole = script(tmp_path / "whole", {})
    for fit, batch in kills:
        folder = tmp_path / f"{fit}-{batch}"
        folder.mkdir()
        with pytest.raises(Killed):
            script(folder, {fit: batch})
        again = script(folder, {})
        assert same(weights(whole.model), weights(again.model)), (fit, batch)
        assert [row["train_loss"] for row in whole.history] == [row["train_loss"] for row in again.history]
        groups = [
            [{**group, "params": None} for group in one.opt.param_groups]  # type: ignore[union-attr]
            for one in (whole, again)
        ]
        assert groups[0] == groups[1]


class OwnBatches:
    """A batch sampler with a generator under a name of its own."""

    def __init__(self) -> None:
        self.draws = torch.Generator().manual_seed(5)

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(200, generator=self.draws).tolist()
        yield from (order[start : start + 32] for start in range(0, 192, 32))


class Shuffled(IterableDataset):
    def __init__(self) -> None:
        self.draws = torch.Generator().manual_seed(6)

    def __len__(self) -> int:
        return 200

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (ROWS[int(row)] for row in torch.randperm(200, generator=self.draws))


class OneArgument:
    """A loader with torch's usual `set_epoch(epoch)`."""

    epoch = 0

    def __len__(self) -> int:
        return 6

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(200, generator=torch.Generator().manual_seed(self.epoch))
        return ((X[rows], Y[rows]) for rows in order[:192].split(32))


def weighted() -> DataLoader:
    draws = torch.Generator().manual_seed(4)
    return DataLoader(ROWS, 32, sampler=WeightedRandomSampler(range(1, 201), 200, generator=draws))


@pytest.mark.parametrize(
    "make_loader",
    [
        lambda: DataLoader(ROWS, 32, shuffle=True, generator=torch.Generator().manual_seed(3)),
        weighted,
        lambda: DataLoader(ROWS, batch_sampler=OwnBatches()),
        lambda: DataLoader(Shuffled(), 32),
        OneArgument,
        lambda: [(X[start : start + 32], Y[start : start + 32]) for start in range(0, 192, 32)],
    ],
    ids=["generator", "weighted", "batch sampler", "iterable", "set_epoch", "list"],
)
def test_loaders_with_generators_of_their_own_go_on(make_loader, tmp_path):
    check_goes_on(two_fits(make_loader), tmp_path, (0, 8), (1, 1), (1, 8))


def test_momentum_after_one_cycle_is_put_back_also_by_its_end(tmp_path):
    def script(path: Path, kills: dict[int, int]) -> Learner:
        learn = learner(TensorLoader(X[:200], Y[:200], bs=32, shuffle=True, seed=1), path)
        learn.fit_one_cycle(1, 0.01, checkpoint_every=3, resume=True)
        learn.fit(0.01, 1, checkpoint_every=3, resume=True, callbacks=[Kill(kills.get(1))])
        return learn

    check_goes_on(script, tmp_path, (1, 1), (1, 5))


def test_the_end_of_a_fit_is_restored_with_curves_and_the_models_mode(tmp_path):
    path = tmp_path / "log.csv"
    options = {"checkpoint_every": 50, "resume": True}
    whole = digits_learner(path=tmp_path, callbacks=[CSVLogger(path)])
    whole.fit(0.01, 2, **options)
    curve = whole.sched.losses
    with pytest.raises(Killed):
        whole.fit(0.01, 2, **options, callbacks=[Kill(20)])
    again = digits_learner(path=tmp_path, callbacks=[CSVLogger(path)])
    again.fit(0.01, 2, **options)
    assert again.sched.losses == curve
    assert not again.model.training
    again.fit(0.01, 2, **options)
    assert [line.split(",")[0] for line in path.read_text().split()] == ["epoch", "0", "1", "2", "3"]


class OddState(torch.optim.Optimizer):
    """Keeps a whole number, a mask and sums in double precision."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                if not state:
                    state["steps"] = torch.zeros((), dtype=torch.int64)
                    state["sums"] = torch.zeros_like(param, dtype=torch.float64)
                    state["positive"] = torch.zeros(param.shape, dtype=torch.bool)
                state["steps"] += 1
                state["sums"] = 0.9 * state["sums"] + param.grad.double() / 3
                state["positive"] |= param.grad > 0
                param.data.sub_(group["lr"] * (state["sums"] * state["positive"]).float())


def test_optimizer_states_keep_their_formats(tmp_path):
    script = two_fits(lambda: TensorLoader(X[:200], Y[:200], bs=32, shuffle=True, seed=1), opt_fn=OddState)
    check_goes_on(script, tmp_path, (0, 8), (1, 5))


def test_keys_that_look_alike_keep_their_own_tensors(tmp_path):
    tree = {1: torch.ones(2), "1": torch.zeros(2), "a": {"b": np.arange(2)}, "a/b": np.arange(3)}
    write_tree(tmp_path / "tree", tree)
    back = read_tree(tmp_path / "tree")
    assert torch.equal(back[1], torch.ones(2))
    assert torch.equal(back["1"], torch.zeros(2))
    assert back["a"]["b"].tolist() == [0, 1]
    assert back["a/b"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="/names"):
        write_tree(tmp_path / "tree", {"names": np.array(["a"])})


def raising(event: str, error: type[Exception], when: int = 1) -> Callback:
    """A callback that raises at its `when`-th call."""
    calls = [0]

    def leave(self: Callback, state: Any) -> None:
        calls[0] += 1
        if calls[0] == when:
            raise error

    return type("Raise", (Callback,), {event: leave})()


@pytest.mark.parametrize("event", ["before_step", "after_step"])
def test_a_batch_cancelled_in_the_update_of_the_remainder(event):
    learn = digits_learner()  # 19 batches: nine updates, and one of the remainder
    rows = learn.fit(0.01, 2, callbacks=[Accumulate(2), raising(event, CancelBatch, when=10)])
    assert [set(row) for row in rows] == [{"epoch", "train_loss", "valid_loss", "seconds"}] * 2
    assert all(param.grad is None for param in learn.model.parameters())


@pytest.mark.parametrize("event", ["after_validate", "after_cycle"])
def test_an_epoch_is_cancelled_in_any_of_its_events(event):
    rows = digits_learner().fit(0.01, 2, cycle_len=1, callbacks=[raising(event, CancelEpoch)])
    assert [set(row) for row in rows] == [{"epoch", "train_loss", "valid_loss", "seconds"}] * 2


def test_processes_that_saved_alone_and_loaders_that_are_shared_out_already(tmp_path):
    assert ranks(review_runs.main, tmp_path) == [0, 0]
    found = [read_tree(tmp_path / f"found{rank}.safetensors") for rank in range(2)]
    assert [one["latest weights"] for one in found] == [True, True]
    assert all("DistributedSampler" in one["refused"] for one in found)
