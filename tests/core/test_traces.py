"""The finder, the search for a batch size and the summary leave no trace in any module, loss or callback."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.core.helpers import weights
from zoo.engine.traces import preserve_attributes


class Recurrent(nn.Module):
    """Keeps its state and whatever else people keep in attributes and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.l, self.o = nn.Embedding(30, 16), nn.Linear(16, 16), nn.Linear(16, 30)
        self.h = torch.zeros(8, 16)
        self.in_place = torch.zeros(2)
        self.count, self.name, self.past = 0, "a", deque([torch.zeros(1)], maxlen=3)
        self.tree: dict[str, Any] = {"sum": torch.zeros(()), "list": [1, (2.0, torch.ones(1))]}
        self.numbers, self.generator = np.zeros(3), torch.Generator().manual_seed(1)
        self.rng = np.random.default_rng(1)
        self.register_buffer("rebound", torch.zeros(1))
        self.register_buffer("later", None)

    def forward(self, x: Tensor) -> Tensor:
        h, out = self.h, []
        for t in range(x.shape[1]):
            h = torch.relu(self.l(h + self.e(x[:, t])))
            out.append(self.o(h))
        self.h = h.detach() * (1 + 0.01 * self.count) + self.later_mean() + 0.01 * float(self.rng.random())
        self.in_place += 1
        self.count += 1
        self.past.append(self.h.mean()[None])
        self.tree["sum"] = self.tree["sum"] + self.h.sum()
        self.tree["list"].append(self.count)
        self.tree["new"] = 1
        self.numbers += 1
        self.appeared = self.count
        self.rebound = self.rebound + 1
        torch.rand(1, generator=self.generator)
        return torch.stack(out, 1)

    def later_mean(self) -> Tensor:
        if self.later is None:
            self.later = torch.full((1,), 0.5)
        self.later = self.later * 0.9
        return self.later


class CountingLoss:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, preds: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(preds.flatten(0, 1), targets.flatten()) * (1 + 0.01 * self.calls)


class Step(zoo.Callback):
    in_finder = True

    def __init__(self) -> None:
        self.seen: list[int] = []

    def before_batch(self, state: Any) -> None:
        self.seen.append(state.batch_index)


def learner() -> zoo.Learner:
    torch.manual_seed(0)
    ids = torch.randint(0, 30, (64, 5))
    loader = zoo.TensorLoader(ids, ids.roll(1, 1), bs=8, seed=0)
    options: dict[str, Any] = {"device": "cpu", "progress": False, "seed": 1}
    return zoo.Learner(
        zoo.ModelData(loader, loader), Recurrent(), loss_fn=CountingLoss(), callbacks=[Step()], **options
    )


@pytest.mark.parametrize(
    "look",
    [
        lambda learn: learn.lr_find(num_it=12),
        lambda learn: learn.find_batch_size(max_bs=8),
        lambda learn: learn.summary(),
    ],
)
def test_a_fit_after_looking_is_the_same_as_one_without(look: Any) -> None:
    plain, looked = learner(), learner()
    look(looked)
    for one in (plain, looked):
        assert one.model.count == 0
        one.fit(0.01, 2)
    assert plain.history[-1]["train_loss"] == looked.history[-1]["train_loss"]
    assert all(
        torch.equal(value, weights(looked.model)[name]) for name, value in weights(plain.model).items()
    )
    one, other = plain.model, looked.model
    assert torch.equal(one.h, other.h)
    assert (one.count, one.tree, list(one.past)) == (other.count, other.tree, list(other.past))
    assert one.numbers.tolist() == other.numbers.tolist()
    assert one.generator.get_state().tolist() == other.generator.get_state().tolist()
    assert plain.loss_fn.calls == looked.loss_fn.calls
    assert plain.callbacks[0].seen == looked.callbacks[0].seen


def test_the_same_objects_are_there_again_and_what_appeared_is_gone() -> None:
    model = Recurrent()
    own = {name: vars(model)[name] for name in ("h", "in_place", "past", "tree", "numbers")}
    buffer = model.rebound
    with pytest.raises(RuntimeError, match="inside"), preserve_attributes([model]):
        model(torch.zeros(8, 3, dtype=torch.long))
        model.name = "b"
        raise RuntimeError("inside")
    assert all(vars(model)[name] is value for name, value in own.items())
    assert model.rebound is buffer
    assert model.later is None
    assert not hasattr(model, "appeared")
    assert (model.name, model.in_place.tolist(), model.tree["list"][0]) == ("a", [0.0, 0.0], 1)
    assert model.tree.keys() == {"sum", "list"}


def test_the_summary_of_a_layer_that_learns_from_its_first_batch() -> None:
    class OwnNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.means = x.mean(0)
            return self.norm((x - self.means) * self.scale)

    x = torch.randn(16, 4)
    loader = zoo.TensorLoader(x, x, bs=8)
    learn = zoo.Learner(zoo.ModelData(loader, loader), OwnNorm(), progress=False)
    before = weights(learn.model)
    assert "[-1, 4]" in repr(learn.summary())
    assert not hasattr(learn.model, "means")
    assert all(torch.equal(before[name], value) for name, value in weights(learn.model).items())
