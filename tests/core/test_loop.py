import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.core.helpers import DigitsNet, digits, digits_data, digits_learner, same, weights
from zoo import (
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    Learner,
    ModelData,
    NonFiniteLossError,
    TensorLoader,
    fit,
    set_lrs,
)
from zoo.engine.callback import EVENTS
from zoo.metrics import accuracy


def test_bare_fit_equals_a_hand_written_loop_bit_for_bit():
    def make():
        torch.manual_seed(3)
        net = DigitsNet(dropout=0.0)
        return net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    data = digits_data()
    ours, opt = make()
    fit(ours, ModelData(data.train_dl), 2, opt, F.cross_entropy)
    theirs, opt = make()
    for epoch in range(2):
        data.train_dl.set_epoch(epoch)
        theirs.train()
        for x, y in data.train_dl:
            F.cross_entropy(theirs(x), y).backward()
            opt.step()
            opt.zero_grad()
    assert same(weights(ours), weights(theirs))


def test_bare_fit_continues_and_rates_can_change_between_calls():
    net = DigitsNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    first = fit(net, digits_data(), 1, opt, nn.CrossEntropyLoss(), [accuracy])
    set_lrs(opt, 0.01)
    second = fit(net, digits_data(), 1, opt, lambda preds, y: F.cross_entropy(preds, y), [accuracy])
    assert second[0]["valid_loss"] < first[0]["valid_loss"]
    assert list(second[0]) == ["epoch", "train_loss", "valid_loss", "accuracy", "seconds"]


def test_plain_torch_loaders_and_no_validation():
    x, y = digits()
    loader = DataLoader(TensorDataset(x, y), batch_size=100, shuffle=True)
    net = DigitsNet()
    rows = fit(net, ModelData(loader), 2, torch.optim.Adam(net.parameters()), F.cross_entropy)
    assert len(rows) == 2
    assert "valid_loss" not in rows[0]


class Journal(Callback):
    def __init__(self):
        self.events = []


def _note(name):
    def method(self, state):
        self.events.append(name)

    return method


for _event in EVENTS:
    setattr(Journal, _event, _note(_event))


def test_events_come_in_the_documented_order():
    x, y = digits()
    loader = TensorLoader(x[:32], y[:32], bs=32)
    learn = digits_learner()
    learn.data = ModelData(loader, loader)
    journal = Journal()
    learn.fit(0.1, 1, cycle_len=1, callbacks=[journal])
    batch = ["before_batch", "after_predict", "after_loss"]
    assert journal.events == [
        "before_fit",
        "before_epoch",
        "before_train",
        *batch,
        "after_backward",
        "before_step",
        "after_step",
        "after_batch",
        "cleanup_batch",
        "after_train",
        "before_validate",
        *batch,
        "after_batch",
        "cleanup_batch",
        "after_validate",
        "after_cycle",
        "after_epoch",
        "cleanup_epoch",
        "after_fit",
        "cleanup_fit",
    ]


@pytest.mark.parametrize(
    ("error", "epochs", "steps"), [(CancelBatch, 2, 36), (CancelEpoch, 2, 18), (CancelFit, 0, 5)]
)
def test_cancelling_leaves_exactly_one_level(error, epochs, steps):
    class Cancel(Callback):
        taken = 0
        cleaned = 0
        finished = 0

        def after_loss(self, state):
            if state.training and state.batch_index == 5 and state.epoch == 0:
                raise error

        def after_step(self, state):
            self.taken += 1

        def after_fit(self, state):
            self.finished += 1

        def cleanup_fit(self, state):
            self.cleaned += 1

    cancel = Cancel()
    learn = digits_learner()
    history = learn.fit(0.01, 2, callbacks=[cancel])
    total = len(learn.data.train_dl)
    expected = {CancelBatch: 2 * total - 1, CancelEpoch: 5 + total, CancelFit: 5}[error]
    assert (len(history), cancel.taken) == (epochs, expected)
    assert (cancel.finished, cancel.cleaned) == (1, 1)


def test_a_callback_may_change_loss_gradients_and_rates():
    class Meddle(Callback):
        order = 200

        def after_loss(self, state):
            state.loss = state.loss * 2

        def after_backward(self, state):
            for param in state.model.parameters():
                param.grad.zero_()

        def before_batch(self, state):
            if state.training:
                state.opt.set_lrs(0.5)

    learn = digits_learner(wd=0.0)
    before = learn.model.head.weight.detach().clone()
    learn.fit(0.01, 1, callbacks=[Meddle()])
    assert torch.equal(learn.model.head.weight, before)
    assert set(learn.sched.lrs) == {0.5}


def test_interrupt_keeps_history_and_cleans_up():
    class Interrupt(Callback):
        cleaned = False

        def after_batch(self, state):
            if state.training and state.epoch == 1 and state.batch_index == 3:
                raise KeyboardInterrupt

        def cleanup_fit(self, state):
            self.cleaned = True

    learn = digits_learner()
    callback = Interrupt()
    rows = learn.fit(0.01, 5, callbacks=[callback])
    assert len(rows) == len(learn.history) == 1
    assert callback.cleaned
    assert all(param.grad is None for param in learn.model.parameters())
    assert len(learn.fit(0.01, 1)) == 1
    assert [row["epoch"] for row in learn.history] == [0, 1]


def test_an_error_in_one_cleanup_does_not_hide_the_others():
    ran = []

    class Bad(Callback):
        def cleanup_fit(self, state):
            ran.append("bad")
            raise RuntimeError("first")

    class Good(Callback):
        def cleanup_fit(self, state):
            ran.append("good")

    with pytest.raises(RuntimeError, match="first"):
        digits_learner().fit(0.01, 1, callbacks=[Bad(), Good()])
    assert ran == ["bad", "good"]


def test_the_callers_callback_list_is_never_changed():
    mine = [Callback()]
    learn = digits_learner()
    learn.fit(0.01, 1, callbacks=mine)
    assert len(mine) == 1
    assert learn.callbacks == []


def test_non_finite_loss_stops_before_the_weights_are_touched():
    class Poison(Callback):
        order = -200

        def after_loss(self, state):
            if state.training and state.batch_index == 4:
                self.before = weights(state.model)
                state.loss = state.loss * float("nan")

    poison = Poison()
    learn = digits_learner()
    with pytest.raises(NonFiniteLossError, match="epoch 0, batch 4"):
        learn.fit(0.01, 1, callbacks=[poison])
    assert same(poison.before, weights(learn.model))


def test_the_deferred_guard_skips_updates_on_the_device_and_names_the_batch():
    from zoo.engine.finite import FiniteGuard
    from zoo.engine.state import State

    net = nn.Linear(2, 1)
    opt = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    state = State(net, None, opt, nn.functional.mse_loss, torch.device("cpu"), epoch=2, training=True)
    guard = FiniteGuard(every=4)
    guard.before_fit(state)
    guard.deferred = True
    before = None
    with pytest.raises(NonFiniteLossError, match="epoch 2, batch 1"):
        for batch in range(8):
            state.batch_index = batch
            state.loss = net(torch.ones(1, 2)).sum() * (float("inf") if batch == 1 else 1.0)
            guard.after_loss(state)
            state.loss.backward()
            opt.step()
            opt.zero_grad()
            before = net.weight.detach().clone() if batch == 0 else before
    assert torch.equal(net.weight, before)
    guard.cleanup_fit(state)
    assert not hasattr(opt, "found_inf")


def test_metrics_see_the_whole_set_and_never_change_training():
    def needs_everything(preds, targets):
        assert len(preds) == 597
        torch.rand(3)  # a metric that draws random numbers
        return preds.shape[0]

    plain = digits_learner()
    plain.fit(0.01, 2, metrics=[])
    measured = digits_learner()
    rows = measured.fit(0.01, 2, metrics=[needs_everything, accuracy])
    assert rows[-1]["needs_everything"] == 597
    assert same(weights(plain.model), weights(measured.model))


def test_validation_loss_is_the_mean_over_rows_not_over_batches():
    x, y = digits()
    learn = digits_learner()
    learn.data = ModelData(TensorLoader(x, y, bs=64), TensorLoader(x[:70], y[:70], bs=64))
    value = learn.evaluate()["valid_loss"]
    learn.model.eval()
    assert value == pytest.approx(F.cross_entropy(learn.model(x[:70]), y[:70]).item(), rel=1e-6)


def test_validation_loss_counts_rows_also_where_targets_are_no_tensor():
    rows = [(torch.zeros(1), {"far": torch.full((1,), 100.0 if i >= 8 else 0.0)}) for i in range(10)]
    loader = DataLoader(rows, batch_size=4)  # type: ignore[arg-type]
    learn = Learner(
        ModelData(loader, loader),
        nn.Identity(),
        loss_fn=lambda preds, target: (preds - target["far"]).abs().mean(),
        device="cpu",
    )
    assert learn.evaluate()["valid_loss"] == pytest.approx(20.0)


def test_batches_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match=r"must yield tuples \(inputs\.\.\., target\)"):
        learn = digits_learner()
        learn.data = ModelData([torch.zeros(4, 64)])
        learn.fit(0.1, 1)


def test_smoothed_loss_is_debiased():
    learn = digits_learner()
    learn.fit(0.01, 1)
    assert learn.sched.smooth_losses[0] == pytest.approx(learn.sched.losses[0])
    average = 0.0
    for loss in learn.sched.losses:
        average = 0.98 * average + 0.02 * loss
    expected = average / (1 - 0.98 ** len(learn.sched.losses))
    assert learn.history[0]["train_loss"] == pytest.approx(expected)
    assert math.isfinite(expected)
