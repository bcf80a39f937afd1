"""Recorded training steps train as others do. Here the processor plays the part of the GPU's graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from tests.core.recorded_operations import RecordedOperations
from zoo import Callback, Learner, ModelData, TensorLoader
from zoo.callbacks import EMA, Accumulate, Progress
from zoo.engine import cuda_graphs
from zoo.engine.cuda_graphs import WARM_UP
from zoo.metrics import accuracy

ROWS, BS = 200, 16  # 12 batches of one shape, and one of 8 rows


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setitem(cuda_graphs.RECORDINGS, "cpu", RecordedOperations)


class Net(nn.Module):
    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        layers = [nn.Linear(5, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(drop)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.body(x))


class Remembers(Net):
    """Carries what it saw to the next batch, as a recurrent model does."""

    def __init__(self) -> None:
        super().__init__()
        self._last = torch.zeros(12)

    def forward(self, x):
        body = self.body(x) + 0.1 * self._last
        self._last = body.mean(0).detach()
        return self.head(body)


def learner(graphs: bool, make: Callable[[], nn.Module] = Net, **options: Any) -> Learner:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 5, generator=generator)
    y = x[:, :3].argmax(1)
    data = ModelData(TensorLoader(x, y, bs=BS, shuffle=True, seed=0), TensorLoader(x[:50], y[:50], bs=BS))
    torch.manual_seed(0)
    net = make()
    fixed = {"device": "cpu", "precision": "fp32", "progress": False, "seed": 0, "metrics": [accuracy]}
    groups = [[net.body], [net.head]]
    return Learner(data, net, layer_groups=groups, **fixed, **options).cuda_graphs(graphs)


def graphs_of(learn: Learner) -> cuda_graphs.CudaGraphs:
    return learn._of_graphs[0]  # type: ignore[return-value]


def same(one: Learner, other: Learner) -> None:
    """Up to the rounding of rates, which are float32 in a recorded update."""
    for mine, theirs in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert one.sched.losses == pytest.approx(other.sched.losses, rel=1e-5)
    assert one.sched.lrs == other.sched.lrs
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert {**mine, "seconds": 0} == pytest.approx({**theirs, "seconds": 0}, rel=1e-4)


FITS = {
    "constant": lambda learn: learn.fit(1e-2, 3),
    "restarts": lambda learn: learn.fit(1e-2, 1, cycle_len=3),
    "rates": lambda learn: learn.fit([1e-3, 1e-2], 3, clip=0.1, wds=[0.01, 0.1], callbacks=[EMA(0.9)]),
    "one cycle": lambda learn: learn.fit_one_cycle(3, 1e-2, moms=None),
    "frozen first": lambda learn: (learn.freeze(), learn.fit(1e-2, 1), learn.unfreeze(), learn.fit(1e-3, 2)),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("opt", [torch.optim.AdamW, torch.optim.SGD], ids=["AdamW", "SGD"])
def test_recorded_fits_are_those_that_are_not(recorded, fit: str, opt: Any) -> None:
    plain, graphs = learner(False, opt_fn=opt), learner(True, opt_fn=opt)
    for learn in (plain, graphs):
        FITS[fit](learn)
    same(plain, graphs)
    epochs = 2 if fit == "frozen first" else 3
    assert graphs_of(graphs).replayed == epochs * (ROWS // BS) - WARM_UP
    assert graphs_of(graphs).updates >= graphs_of(graphs).replayed - 1


def test_momentum_that_moves_leaves_the_updates_as_they_are(recorded, caplog) -> None:
    caplog.set_level(logging.WARNING, "zoo")
    plain, graphs = learner(False), learner(True)
    for learn in (plain, graphs):
        learn.fit_one_cycle(2, 1e-2)
    same(plain, graphs)
    assert graphs_of(graphs).replayed == 2 * (ROWS // BS) - WARM_UP
    assert graphs_of(graphs).updates <= 1
    assert "moves the momentum" in caplog.text


def test_dropout_draws_anew_in_every_replay(recorded) -> None:
    plain, graphs = learner(False, lambda: Net(0.5)), learner(True, lambda: Net(0.5))
    for one in (plain, graphs):
        one.fit(1e-2, 2)
    same(plain, graphs)  # the same draws in the same order


@pytest.mark.parametrize(
    ("net", "callbacks", "reason"),
    [
        (Remembers, [], "the model keeps _last from batch to batch"),
        (Net, [Accumulate(2)], "Accumulate takes part between forward and backward pass"),
    ],
    ids=["state", "accumulation"],
)
def test_what_cannot_be_recorded_runs_as_usual_and_says_why(recorded, caplog, net, callbacks, reason) -> None:
    caplog.set_level(logging.WARNING, "zoo")
    plain, graphs = learner(False, net), learner(True, net)
    for learn in (plain, graphs):
        learn.fit(1e-2, 2, callbacks=callbacks)
    same(plain, graphs)
    assert graphs_of(graphs).replayed == graphs_of(graphs).updates == 0
    assert caplog.text.count("cuda_graphs:") == 1
    assert reason in caplog.text


def test_a_users_callback_between_the_passes_leaves_the_fit_unrecorded(recorded) -> None:
    class Doubles(Callback):
        def after_loss(self, state: Any) -> None:
            state.loss = 2 * state.loss

    plain, graphs = learner(False), learner(True)
    for learn in (plain, graphs):
        learn.fit(1e-2, 1, callbacks=[Doubles()])
    same(plain, graphs)
    assert graphs_of(graphs).replayed == 0


def test_a_bad_loss_stops_before_the_weights_are_touched(recorded) -> None:
    learn = learner(True)
    learn.fit(1e-2, 1)
    learn.data.train_dl.tensors[0][:] = float("nan")
    before = {name: value.clone() for name, value in learn.model.named_parameters()}
    with pytest.raises(FloatingPointError, match="epoch 1, batch 0"):
        learn.fit(1e-2, 1)
    assert all(torch.equal(before[name], value) for name, value in learn.model.named_parameters())


def test_the_finder_and_predictions_know_nothing_of_it(recorded) -> None:
    plain, graphs = learner(False), learner(True)
    for learn in (plain, graphs):
        learn.lr_find(num_it=30)
        learn.fit(1e-2, 1)
    same(plain, graphs)
    assert plain.predict() == pytest.approx(graphs.predict(), rel=1e-4)
    assert graphs.cuda_graphs(False).fit(1e-2, 1)


def test_on_the_processor_nothing_changes_and_that_is_told(caplog) -> None:
    plain, graphs = learner(False), learner(True)
    assert "pays on a GPU only; on cpu steps run as usual" in caplog.text
    for learn in (plain, graphs):
        learn.fit(1e-2, 2)
    same(plain, graphs)
    assert graphs_of(graphs).replayed == 0


def test_a_language_model_is_never_recorded(recorded, caplog) -> None:
    """Its state goes from batch to batch in an attribute of its own."""
    from zoo_text import Field, LanguageModelData

    caplog.set_level(logging.WARNING, "zoo")
    text = " ".join(f"w{number % 7} w{number % 11}" for number in range(800))
    data = LanguageModelData.from_texts(
        Field(tokenize="whitespace"), [text], [text[:300]], bs=4, bptt=8, min_freq=1
    )
    learn = data.get_model(emb_sz=6, n_hid=6, n_layers=1, device="cpu", progress=False, seed=0)
    learn.reg_fn = None
    learn.cuda_graphs().fit(1e-3, 1)
    assert graphs_of(learn).replayed == 0
    assert "from batch to batch" in caplog.text


def test_a_second_shape_has_an_update_of_its_own(recorded) -> None:
    plain, graphs = learner(False), learner(True)
    for learn in (plain, graphs):
        learn.fit(1e-2, 6)
    same(plain, graphs)
    short = 6 - WARM_UP  # the last batch of each epoch has 8 rows
    assert graphs_of(graphs).replayed == 6 * (ROWS // BS) - WARM_UP + short
    assert graphs_of(graphs).updates == graphs_of(graphs).replayed


@pytest.mark.parametrize(
    ("opt", "recorded_too"),
    [
        (partial(torch.optim.SGD, fused=True), True),
        (partial(torch.optim.SGD, foreach=True), False),
        (partial(torch.optim.RMSprop, foreach=False), False),
        (partial(torch.optim.AdamW, fused=True), True),
    ],
    ids=["fused SGD", "foreach SGD", "single RMSprop", "fused AdamW"],
)
def test_updates_that_read_the_rate_on_the_host_are_not_recorded(recorded, opt, recorded_too: bool) -> None:
    plain, graphs = learner(False, opt_fn=opt), learner(True, opt_fn=opt)
    for learn in (plain, graphs):
        learn.fit(1e-3, 2)
    same(plain, graphs)
    assert graphs_of(graphs).replayed > 10
    assert (graphs_of(graphs).updates > 0) == recorded_too


def test_only_a_few_shapes_are_recorded(recorded, monkeypatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_SHAPES", 1)
    graphs = learner(True)
    graphs.fit(1e-2, 6)
    assert graphs_of(graphs).replayed == 6 * (ROWS // BS) - WARM_UP


class Counts(Net):
    """Does something else from its tenth batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def forward(self, x):
        self.batches += self.training
        return super().forward(x) * (1.0 if self.batches < 10 else 0.5)


def test_a_model_that_counts_its_batches_is_not_recorded(recorded, caplog) -> None:
    plain, graphs = learner(False, Counts), learner(True, Counts)
    for learn in (plain, graphs):
        learn.fit(1e-2, 2)
    same(plain, graphs)
    assert graphs_of(graphs).replayed == 0
    assert "the model keeps batches from batch to batch, so steps run as usual" in caplog.text


def test_a_listener_that_overrides_one_of_ours_speaks_for_itself(recorded, caplog) -> None:
    class Doubles(Progress):
        def after_loss(self, state: Any) -> None:
            state.loss = 2 * state.loss

    plain, graphs = learner(False), learner(True)
    for learn in (plain, graphs):
        learn.fit(1e-2, 1, callbacks=[Doubles()])
    same(plain, graphs)
    assert graphs_of(graphs).replayed == 0
    assert "Doubles takes part" in caplog.text


def test_the_finder_is_replayed_too(recorded, caplog) -> None:
    plain, graphs = learner(False), learner(True)
    found = [learn.lr_find(num_it=40) for learn in (plain, graphs)]
    assert found[0].losses == pytest.approx(found[1].losses, rel=1e-4)
    assert graphs_of(graphs).replayed > 20
    assert caplog.text == ""
