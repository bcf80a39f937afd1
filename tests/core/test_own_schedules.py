"""Own schedules in `fit`, and rates that others change during a fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import zoo
from tests.core.helpers import weights
from zoo.callbacks import ReduceLROnPlateau
from zoo.schedules import Constant, Cosine, Exponential, Linear, OneCycle, Phases, Poly, Steps

BATCHES = 4


def learner(path: Path | None = None, **options: object) -> zoo.Learner:
    torch.manual_seed(0)
    x = torch.randn(BATCHES * 8, 4)
    y = x.sum(1, keepdim=True)
    train = zoo.TensorLoader(x, y, bs=8, shuffle=True, seed=0)
    data = zoo.ModelData(train, zoo.TensorLoader(x, y), path=path)
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    options = {"device": "cpu", "progress": False, **options}
    return zoo.Learner(data, net, loss_fn=nn.MSELoss(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "factors"),
    [
        (lambda progress: 1 - progress, [1 - t / 8 for t in range(8)]),
        (Linear(1, 0), [1 - t / 8 for t in range(8)]),
        (Poly(1, 0, power=2), [(1 - t / 8) ** 2 for t in range(8)]),
        (Exponential(1, 0.01), [0.01 ** (t / 8) for t in range(8)]),
        (Cosine(1, 0), [(1 + np.cos(np.pi * t / 8)) / 2 for t in range(8)]),
        (Steps((0.5, 0.75)), [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ([(1, Linear(0, 1)), (3, Linear(1, 0))], [0, 0.5, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (Phases((1, lambda progress: 0.5), (1, Cosine(1, 1))), [0.5] * 4 + [1] * 4),
        (partial(OneCycle, pct_start=0.5, moms=None), [OneCycle(8, 0.5).lr(t) for t in range(8)]),
        (Constant(8), [1] * 8),
        (partial(lr_scheduler.StepLR, step_size=1, gamma=0.5), [1] * 4 + [0.5] * 4),
        (partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 1 / (1 + epoch)), [1] * 4 + [0.5] * 4),
        (lr_scheduler.CosineAnnealingLR, [1] * 4 + [0.5] * 4),
    ],
)
def test_every_kind_of_schedule_at_every_step(given: object, factors: list[float]) -> None:
    learn = learner(opt_fn=torch.optim.SGD)
    learn.fit(0.1, 2, schedule=given)
    assert learn.sched.lrs == pytest.approx([0.1 * factor for factor in factors])
    assert learn.sched.plot_lr() is not None


def test_torch_schedulers_that_set_rates_themselves_serve_groups_and_momenta() -> None:
    learn = learner(opt_fn=partial(torch.optim.SGD, momentum=0.9), layer_groups=lambda m: [[m[0]], [m[1]]])
    learn.fit([0.01, 0.1], 2, schedule=lr_scheduler.OneCycleLR)
    weight = nn.Parameter(torch.zeros(()))
    opt = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    plain = lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=8)
    rates, momenta = [], []
    for _ in range(8):
        rates.append(opt.param_groups[0]["lr"])
        momenta.append(opt.param_groups[0]["momentum"])
        opt.step()
        plain.step() if len(rates) < 8 else None
    assert learn.sched.lrs == pytest.approx(rates)
    assert learn.sched.momenta == pytest.approx(momenta)
    sequence = lambda optimizer: lr_scheduler.SequentialLR(  # noqa: E731
        optimizer,
        [lr_scheduler.ConstantLR(optimizer, 0.1, 100), lr_scheduler.ExponentialLR(optimizer, 0.5)],
        milestones=[1],
    )
    learn.fit([0.01, 0.1], 2, schedule=sequence)
    assert learn.sched.lrs == pytest.approx([0.01] * 4 + [0.1] * 4)
    assert learn.opt.lrs == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Constant(7), "for 7 steps, the fit has 8"),
        (lambda progress: -1.0, "at least 0"),
        (lambda progress: "fast", "at least 0"),
        ("cosine", "takes a function of progress"),
        ([(0, Linear(0, 1))], "positive length"),
        ([Linear(0, 1)], "pairs of a positive length"),
        (zoo.schedules.CosineRestarts, "cannot be|needs at least|object is not"),
        (lr_scheduler.ReduceLROnPlateau, "callbacks=\\[zoo.callbacks.ReduceLROnPlateau"),
        (lambda o: lr_scheduler.StepLR(o, 1), "must call its argument `optimizer`"),
        (lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer), "callbacks="),
        (partial(lr_scheduler.OneCycleLR, max_lr=0.5), "is not the rate of the fit, 0.1"),
        (partial(lr_scheduler.OneCycleLR, total_steps=5), "ended after 5 steps, the fit has 8"),
        (lambda progress: float(np.random.default_rng().random()), "pure function"),
        (lr_scheduler.StepLR(torch.optim.SGD([nn.Parameter(torch.ones(1))]), 1), "give the class StepLR"),
    ],
)
def test_what_is_no_schedule_is_refused_before_the_fit(given: object, message: str) -> None:
    learn = learner()
    before = weights(learn.model)
    with pytest.raises((ValueError, TypeError), match=message):
        learn.fit(0.1, 2, schedule=given)
    assert all(torch.equal(before[name], value) for name, value in weights(learn.model).items())
    with pytest.raises(ValueError, match="not both"):
        learn.fit(0.1, 2, cycle_len=1, schedule=Linear(1, 0))


class Stop(zoo.Callback):
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def after_batch(self, state: zoo.callbacks.base.Callback) -> None:
        if state.training and state.batches_before + state.batch_index == self.batch:
            raise RuntimeError("killed")


def halving(event: str) -> zoo.Callback:
    def halve(self: object, state: object) -> None:
        zoo.set_lrs(state.opt, [lr / 2 for lr in state.opt.lrs])

    return type("Halving", (zoo.Callback,), {event: halve})()


@pytest.mark.parametrize("event", ["before_epoch", "after_train", "after_validate", "after_epoch"])
def test_rates_that_a_callback_changes_are_kept(event: str) -> None:
    learn = learner(opt_fn=torch.optim.SGD)
    learn.fit(0.1, 3, callbacks=[halving(event)])
    at_start = event == "before_epoch"
    # the change before the first batch of all is made before a rate is in force
    expected = [0.05, 0.025, 0.0125] if at_start else [0.1, 0.05, 0.025]
    assert learn.sched.lrs == pytest.approx(np.repeat(expected, BATCHES))


def test_rates_changed_in_the_param_groups_and_by_torch_schedulers_are_kept() -> None:
    class ByHand(zoo.Callback):
        def after_batch(self, state: object) -> None:
            if state.training:
                state.opt.param_groups[0]["lr"] *= 0.5

    learn = learner(opt_fn=torch.optim.SGD)
    learn.fit(0.1, 1, callbacks=[ByHand()])
    assert learn.sched.lrs == pytest.approx([0.1, 0.05, 0.025, 0.0125])

    class Torch(zoo.Callback):
        def before_fit(self, state: object) -> None:
            self.scheduler = lr_scheduler.ExponentialLR(state.opt.opt, 0.1)

        def after_epoch(self, state: object) -> None:
            self.scheduler.step()

    learn.fit(0.1, 3, callbacks=[Torch()])
    assert learn.sched.lrs == pytest.approx(np.repeat([0.1, 0.01, 0.001], BATCHES))


def test_under_a_schedule_a_lowered_rate_is_a_factor_and_a_raised_one_is_refused() -> None:
    learn = learner(opt_fn=torch.optim.SGD)
    learn.fit(0.1, 2, schedule=Linear(1, 0), callbacks=[halving("after_epoch")])
    factors = np.array([1 - t / 8 for t in range(8)]) * np.repeat([1, 0.5], 4)
    assert learn.sched.lrs == pytest.approx(0.1 * factors)

    class Double(zoo.Callback):
        def after_epoch(self, state: object) -> None:
            zoo.set_lrs(state.opt, [lr * 2 for lr in state.opt.lrs])

    with pytest.raises(ValueError, match="raised a learning rate"):
        learn.fit(0.1, 2, cycle_len=1, callbacks=[Double()])
    learn.fit(0.1, 2, callbacks=[Double()])
    assert learn.sched.lrs == pytest.approx(np.repeat([0.1, 0.2], BATCHES))


def test_skipped_batches_are_no_changes_of_rates() -> None:
    class Skip(zoo.Callback):
        def before_batch(self, state: object) -> None:
            if state.training and state.batch_index % 2:
                raise zoo.callbacks.CancelBatch

    learn = learner(opt_fn=torch.optim.SGD)
    learn.fit(0.1, 2, schedule=Linear(0, 1), callbacks=[Skip()])
    assert learn.sched.lrs == pytest.approx([0.1 * t / 8 for t in (0, 2, 4, 6)])


def test_a_plateau_lowers_the_rates_and_waits_again() -> None:
    class Losses(zoo.Callback):
        order = -1

        def after_epoch(self, state: object) -> None:
            state.row["valid_loss"] = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0][state.epoch]

    plateau = ReduceLROnPlateau(patience=2, factor=0.5, min_lr=0.04)
    learn = learner(opt_fn=torch.optim.SGD)
    learn.fit(0.1, 8, callbacks=[Losses(), plateau])
    assert plateau.reductions == [3, 6]
    assert learn.sched.lrs[::BATCHES] == pytest.approx([0.1] * 4 + [0.05] * 3 + [0.04])
    for options in ({"factor": 1.0}, {"patience": 0}, {"min_lr": -1.0}, {"cooldown": -1}):
        with pytest.raises(ValueError, match="ReduceLROnPlateau"):
            ReduceLROnPlateau(**options)
    with pytest.raises(ValueError, match="max"):
        ReduceLROnPlateau("accuracy")


@pytest.mark.parametrize("batch", [5, 7, 10])
def test_a_fit_with_changed_rates_or_a_schedule_is_gone_on_with_bit_for_bit(
    tmp_path: Path, batch: int
) -> None:
    def run(path: Path, kill: bool, **options: object) -> tuple[dict, list[float]]:
        learn = learner(path, seed=1)
        extra = [Stop(batch)] if kill else []
        callbacks = [halving("after_epoch"), ReduceLROnPlateau(patience=1), *extra]
        learn.fit(0.1, 3, callbacks=callbacks, checkpoint_every=1, resume=True, **options)
        return weights(learn.model), learn.sched.lrs

    for number, options in enumerate(({}, {"schedule": lambda progress: 1 - progress})):
        whole = run(tmp_path / f"whole{number}", False, **options)
        broken = tmp_path / f"broken{number}"
        with pytest.raises(RuntimeError, match="killed"):
            run(broken, True, **options)
        again = run(broken, False, **options)
        assert again[1] == whole[1]
        assert all(torch.equal(again[0][name], value) for name, value in whole[0].items())
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "other", True, schedule=lambda progress: 1 - progress)
    with pytest.raises(ValueError, match="schedule"):
        run(tmp_path / "other", False, schedule=lambda progress: 1 - progress**2)


def test_rates_and_epochs_in_the_wrong_order_are_told() -> None:
    learn = learner()
    with pytest.raises(ValueError, match="fit takes the rate first"):
        learn.fit(1, 1e-2)
    with pytest.raises(ValueError, match="fit_one_cycle takes the epochs first"):
        learn.fit_one_cycle(1e-2, 3)
    with pytest.warns(UserWarning, match="learning rate of 2"):
        learn.fit(2, 1)
    with pytest.warns(UserWarning, match="learning rate of 2"):
        learn.fit_one_cycle(1, 2)
    learner(opt_fn=torch.optim.Adadelta).fit(1, 1)  # its usual rate


@pytest.mark.parametrize("event", ["before_fit", "before_epoch", "before_train"])
@pytest.mark.parametrize("options", [{}, {"schedule": Linear(1, 0)}, {"cycle_len": 1}])
def test_a_rate_that_is_lowered_before_the_first_batch_counts(event: str, options: dict) -> None:
    class Once(zoo.Callback):
        def halve(self, state: object) -> None:
            if state.step == 0:
                zoo.set_lrs(state.opt, [lr / 2 for lr in state.opt.lrs])

    plain, halved = learner(opt_fn=torch.optim.SGD), learner(opt_fn=torch.optim.SGD)
    plain.fit(0.1, 2, **options)
    callback = type("Halving", (Once,), {event: Once.halve})()
    halved.fit(0.1, 2, callbacks=[callback], **options)
    assert halved.sched.lrs == pytest.approx([lr / 2 for lr in plain.sched.lrs])


def test_schedulers_inside_of_others_move_as_they_do_alone() -> None:
    learn = learner(opt_fn=torch.optim.SGD)
    chained = lambda optimizer: lr_scheduler.ChainedScheduler(  # noqa: E731
        [lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=8), lr_scheduler.ConstantLR(optimizer, 1.0, 99)]
    )
    learn.fit(0.1, 2, schedule=chained)
    inside = learn.sched.lrs
    learn.fit(0.1, 2, schedule=lr_scheduler.OneCycleLR)
    assert inside == pytest.approx(learn.sched.lrs)


def test_a_rate_in_a_tensor_stays_one() -> None:
    learn = learner(opt_fn=partial(torch.optim.Adam, lr=torch.tensor(1e-3), foreach=False))
    learn.fit(0.1, 1, schedule=Linear(1, 0))
    assert isinstance(learn.opt.param_groups[0]["lr"], torch.Tensor)
    assert learn.sched.lrs == pytest.approx([0.1, 0.075, 0.05, 0.025])
