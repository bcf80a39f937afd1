"""Data that are not one tensor: targets of several parts, ragged ones, outputs with names, streams."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from zoo import Learner, ModelData, TensorLoader, fit
from zoo.callbacks import EMA, EarlyStopping
from zoo.data.answers.nested import join
from zoo.metrics import MisfitError


def learner(data, model, **options):
    options = {"loss_fn": nn.MSELoss(), "progress": False, "device": "cpu", **options}
    return Learner(data, model, **options)


def weighted(preds, target):
    return ((preds - target[0]).square() * target[1][:, None]).mean()


X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
Y, W = X.sum(1, keepdim=True), torch.rand(50, generator=torch.Generator().manual_seed(1))


def test_targets_of_several_parts_are_measured_and_predicted():
    rows = [(X[i], (Y[i], W[i])) for i in range(50)]
    data = ModelData(DataLoader(rows, 16), DataLoader(rows, 16))
    seen = []

    def error(preds, target):
        seen.append([tuple(part.shape) for part in target])
        return float((preds - target[0]).abs().mean())

    learn = learner(data, nn.Linear(4, 1), loss_fn=weighted, metrics=[error])
    row = learn.fit(0.05, 1)[0]
    assert seen[-1] == [(50, 1), (50,)]
    preds, (y, w) = learn.predict_with_targs()
    assert np.array_equal(learn.predict(), preds)
    assert np.array_equal(y, Y.numpy())
    assert np.array_equal(w, W.numpy())
    assert row["error"] == pytest.approx(float(np.abs(preds - y).mean()), rel=1e-5)
    assert learn.evaluate()["error"] == pytest.approx(row["error"])


def test_ragged_and_named_targets():
    def collate(rows):
        xs, ys = zip(*rows, strict=True)
        return torch.stack(xs), list(ys)

    ragged = [(X[i], torch.full((1 + i % 3,), float(i))) for i in range(50)]
    data = ModelData(DataLoader(ragged, 7, collate_fn=collate), DataLoader(ragged, 7, collate_fn=collate))

    def loss(preds, target):
        return torch.stack([(p - t).square().mean() for p, t in zip(preds, target, strict=True)]).mean()

    counts = []
    learn = learner(
        data, nn.Linear(4, 1), loss_fn=loss, metrics=[lambda p, t: counts.append((len(p), len(t))) or 0.0]
    )
    learn.fit(1e-4, 1)
    assert counts[-1] == (50, 50)
    preds, targets = learn.predict_with_targs()
    assert preds.shape == (50, 1)
    assert [len(one) for one in targets] == [1 + i % 3 for i in range(50)]
    named = [(X[i], {"y": Y[i], "w": W[i]}) for i in range(50)]
    learn = learner(
        ModelData(None, DataLoader(named, 16)),
        nn.Linear(4, 1),
        loss_fn=lambda p, t: (p - t["y"]).square().mean(),
    )
    assert np.array_equal(learn.predict_with_targs()[1]["y"], Y.numpy())


def test_lists_of_batches_are_told_apart_by_their_rows():
    one_row = [[torch.zeros(5)], [torch.zeros(2)]]
    assert [len(row) for row in join(one_row, [1, 1])] == [5, 2]
    columns = [[torch.zeros(2), torch.ones(2)], [torch.zeros(1), torch.ones(1)]]
    assert [part.shape for part in join(columns, [2, 1])] == [(3,), (3,)]
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\), cannot be joined"):
        join([torch.zeros(2, 3), torch.zeros(2, 4)])


Named = namedtuple("Named", ["loss", "logits"])


@dataclass
class Output:
    loss: object
    logits: torch.Tensor


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Named(None, p),
        lambda p: {"loss": None, "logits": p},
        lambda p: Output(None, p),
        lambda p: (p, None),
    ],
)
def test_the_logits_of_an_output_are_its_predictions(make):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 1)

        def forward(self, x):
            return make(self.linear(x))

    loader = TensorLoader(X, Y, bs=16)
    learn = learner(ModelData(loader, loader), Net(), metrics=["rmse"])
    learn.fit(0.01, 1)
    assert np.allclose(learn.predict(), learn.model.linear(X).detach().numpy(), atol=1e-6)


def test_outputs_of_several_tensors_are_predicted_in_their_form():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            out = self.linear(x)
            return {"mean": out[:, :1], "width": out[:, 1:]}

    loader = TensorLoader(X, Y, bs=16)
    learn = learner(ModelData(loader, loader), Two(), loss_fn=lambda p, t: (p["mean"] - t).square().mean())
    learn.metrics = [lambda p, t: float((p["mean"] - t).abs().mean())]
    learn.fit(0.01, 1)
    found = learn.predict()
    assert {name: part.shape for name, part in found.items()} == {"mean": (50, 1), "width": (50, 1)}


def test_a_float64_model_predicts_float64():
    class Exact(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x):
            return 1e9 + x / 8 + self.w

    x = torch.arange(64, dtype=torch.float64)[:, None]
    learn = learner(ModelData(None, TensorLoader(x, 1e9 + x / 8, bs=16)), Exact())
    preds, targets = learn.predict_with_targs()
    assert preds.dtype == np.float64
    assert np.array_equal(preds, targets)


class Stream(IterableDataset):
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(40):
            x = torch.randn(4, generator=generator)
            yield x, x.sum()[None]


def test_streams_train_at_a_constant_rate_and_say_what_needs_a_length():
    data = ModelData(DataLoader(Stream(), 16), DataLoader(Stream(), 16))
    assert repr(data) == "ModelData(train stream, valid stream)"
    learn = learner(data, nn.Linear(4, 1), metrics=["rmse"], progress=True)
    rows = learn.fit(0.05, 3)
    assert [len(learn.sched.losses), len(learn.sched.lrs)] == [9, 9]
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]
    assert learn.predict().shape == (40, 1)
    assert len(learn.lr_find(num_it=7).lrs) == 7
    for call in (lambda: learn.fit_one_cycle(1, 0.1), lambda: learn.fit(0.1, 1, cycle_len=1)):
        with pytest.raises(
            TypeError, match=r"has no length, which a schedule needs: fit\(lr, epochs\) at a constant"
        ):
            call()
    with pytest.raises(ValueError, match="no length, so say where to stop: max_bs"):
        learn.find_batch_size()
    assert learn.find_batch_size(max_bs=16).bs == 16
    opt = torch.optim.SGD(learn.model.parameters(), lr=0.01)
    assert len(fit(learn.model, data, 2, opt, nn.functional.mse_loss)) == 2


def test_a_stream_that_can_be_read_once_is_refused():
    batches = [(X[:25], Y[:25]), (X[25:], Y[25:])]
    with pytest.raises(TypeError, match="can be passed over once only"):
        learner(ModelData(iter(batches)), nn.Linear(4, 1)).fit(0.1, 2)

    class Once:
        def __init__(self):
            self.batches = iter(batches)

        def __iter__(self):
            yield from self.batches

    with pytest.raises(ValueError, match="yielded no batches in epoch 1: an iterator is used up"):
        learner(ModelData(Once()), nn.Linear(4, 1)).fit(0.1, 2)


def test_a_single_callback_is_no_list():
    loader = TensorLoader(X, Y, bs=16)
    learn = learner(ModelData(loader, loader), nn.Linear(4, 1))
    message = r"callbacks must be a list, such as callbacks=\[EMA\(\)\]"
    opt = torch.optim.SGD(learn.model.parameters(), lr=0.01)
    for call in (
        lambda: learn.fit(0.05, 1, callbacks=EMA(0.9)),
        lambda: learn.fit_one_cycle(1, 0.05, callbacks=EMA(0.9)),
        lambda: learn.show_loop(EMA(0.9)),
        lambda: learner(learn.data, learn.model, callbacks=EMA(0.9)),
        lambda: fit(learn.model, learn.data, 1, opt, nn.functional.mse_loss, callbacks=EMA(0.9)),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(TypeError, match=r"such as callbacks=\[EarlyStopping\(\)\]"):
        learn.callbacks = EarlyStopping()  # type: ignore[assignment]


def test_a_loss_may_hold_a_frozen_network():
    class Perceptual(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, preds, targets):
            return (self.net(preds) - self.net(targets)).square().mean()

    loader = TensorLoader(X, Y, bs=16)
    frozen = nn.Linear(1, 3).requires_grad_(False)
    learn = learner(ModelData(loader, loader), nn.Linear(4, 1), loss_fn=Perceptual(frozen))
    before = frozen.weight.clone()
    rows = learn.fit(0.05, 2)
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]
    assert torch.equal(before, frozen.weight)
    with pytest.raises(ValueError, match=r"freeze them with requires_grad_\(False\)"):
        learner(learn.data, nn.Linear(4, 1), loss_fn=Perceptual(nn.Linear(1, 3)))


# -- scores of predictions in parts


class _Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        scores = self.layer(x)
        return {"kind": scores, "size": scores.sum(1)}


def _right_kind(preds, targets):
    truth = targets["kind"] if isinstance(targets, dict) else targets[0]
    return (preds["kind"].argmax(1) == truth).float().mean()


@pytest.mark.parametrize("form", [dict, tuple, list])
def test_the_score_of_predictions_in_parts_is_that_of_the_evaluation(form):
    torch.manual_seed(0)
    x = torch.randn(50, 3)
    parts = [(row, {"kind": row.argmax(), "size": row.sum()}) for row in x]
    if form is not dict:
        parts = [(row, form(target.values())) for row, target in parts]
    loader = DataLoader(parts, batch_size=16)

    def loss(preds, targets):
        return preds["size"].square().mean()

    learn = Learner(
        ModelData(loader, loader), _Heads(), device="cpu", progress=False, loss_fn=loss, metrics=[_right_kind]
    )
    wanted = learn.evaluate()["_right_kind"]
    assert 0 < wanted < 1
    assert learn.score(*learn.predict_with_targs()) == {"_right_kind": pytest.approx(wanted)}
    for metric in ("accuracy", "f1", "rmse", "fbeta", "auc", "perplexity"):
        with pytest.raises((MisfitError, TypeError), match=r"got parts \(kind, size\): use a function"):
            learn.score(*learn.predict_with_targs(), metrics=[metric])
        with pytest.raises((MisfitError, TypeError), match=r"got parts \(kind, size\): use a function"):
            learn.evaluate(metrics=[metric])
    with pytest.raises((MisfitError, TypeError), match=r"got parts \(kind, size\)"):
        learn.fit(0.1, 1, metrics=["accuracy"])
    assert learn.history == []
