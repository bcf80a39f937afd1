"""Accumulated gradients are those of the large batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.core.going_on import identical, in_one_go_and_in_two
from tests.core.helpers import digits, digits_learner, same, weights
from zoo import Callback, CancelBatch, Learner, ModelData, TensorLoader, fit
from zoo.callbacks import Accumulate


def learner(bs: int, rows: int = 1000, **options) -> Learner:
    torch.manual_seed(0)
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))
    data = ModelData(
        TensorLoader(x[:rows], y[:rows], bs=bs, shuffle=True, seed=1),
        TensorLoader(x[1200:], y[1200:], bs=300),
    )
    return Learner(data, net, device="cpu", progress=False, **options)


class Steps(Callback):
    order = 99

    def __init__(self) -> None:
        self.rows, self.taken, self.losses = 0, [], []

    def after_backward(self, state) -> None:
        self.rows += state.rows
        self.losses.append(state.loss.item())

    def after_step(self, state) -> None:
        self.taken.append(self.rows)
        self.rows = 0


def close(a: nn.Module, b: nn.Module, tolerance: float = 2e-6) -> bool:
    ours, theirs = weights(a), weights(b)
    return all(torch.allclose(ours[name], theirs[name], atol=tolerance, rtol=0) for name in ours)


@pytest.mark.parametrize("rows", [960, 1000, 1110])  # whole; a short last update; one with a short last batch
@pytest.mark.parametrize("clip", [None, 0.05])
def test_equals_the_large_batch(rows: int, clip: float | None) -> None:
    sgd = {"opt_fn": torch.optim.SGD, "clip": clip}
    large, small, steps = learner(160, rows, **sgd), learner(40, rows, **sgd), Steps()
    large.fit(0.5, 2)
    small.fit(0.5, 2, callbacks=[Accumulate(4), steps])
    assert steps.taken == [*[160] * (rows // 160), *([rows % 160] if rows % 160 else [])] * 2
    assert close(large.model, small.model)
    assert small.history[-1]["valid_loss"] == pytest.approx(large.history[-1]["valid_loss"], abs=1e-5)
    plain = learner(40, rows, **sgd)
    plain.fit(0.5, 2)
    assert not close(large.model, plain.model, 1e-2)


def test_short_batches_count_by_their_rows() -> None:
    """Batches of very different sizes, a mean over batches would be far off."""
    x, y = digits()
    sizes = [3, 100, 7, 50]
    batches, start = [], 0
    for size in sizes:
        batches.append((x[start : start + size], y[start : start + size]))
        start += size

    def trained(loader: list, callbacks: list) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Linear(64, 10)
        fit(
            net,
            ModelData(loader),
            1,
            torch.optim.SGD(net.parameters(), lr=1.0),
            F.cross_entropy,
            (),
            callbacks,
        )
        return net

    whole = trained([(x[:start], y[:start])], [])
    assert close(whole, trained(batches, [Accumulate(4)]), 1e-6)
    assert close(whole, trained(batches, [Accumulate(100)]), 1e-6)


def test_the_loss_that_is_shown_is_the_plain_one() -> None:
    learn, steps = learner(40, 1110, opt_fn=torch.optim.SGD), Steps()
    learn.fit(0.0, 1, callbacks=[Accumulate(4), steps])
    plain = learner(40, 1110, opt_fn=torch.optim.SGD)
    plain.fit(0.0, 1)
    assert learn.sched.losses == plain.sched.losses == pytest.approx(steps.losses)
    assert len(learn.sched.losses) == 28


def test_what_others_add_to_the_loss_is_weighed_too() -> None:
    class Decay(Callback):
        order = 10

        def after_loss(self, state) -> None:
            if state.training:
                state.loss = state.loss + 0.3 * state.model[0].weight.square().sum()

    large, small = (learner(bs, 1110, opt_fn=torch.optim.SGD) for bs in (160, 40))
    large.fit(0.2, 1, callbacks=[Decay()])
    small.fit(0.2, 1, callbacks=[Decay(), Accumulate(4)])
    assert close(large.model, small.model)


@pytest.mark.parametrize("switch", ["to_bf16", "to_fp16"])
def test_with_short_formats(switch: str) -> None:
    options = {"opt_fn": torch.optim.SGD, "clip": 0.1}
    large, small = (getattr(learner(bs, 1000, **options), switch)() for bs in (160, 40))
    large.fit(0.5, 2)
    small.fit(0.5, 2, callbacks=[Accumulate(4)])
    assert close(large.model, small.model, 1e-3)


@pytest.mark.parametrize("event", ["before_batch", "after_loss", "after_backward", "before_step"])
def test_a_cancelled_batch_leaves_the_rest_right(event: str) -> None:
    """Before the backward pass only that batch is left out, afterwards what had been gathered as well."""

    class Cancel(Callback):
        order = 98

    def cancel(self, state) -> None:
        if state.training and state.batch_index == 5:
            raise CancelBatch

    setattr(Cancel, event, cancel)
    learn, steps = learner(40, 400, opt_fn=torch.optim.SGD), Steps()
    learn.fit(0.5, 1, callbacks=[Accumulate(4), Cancel(), steps])

    # the batches 0-3, then either 4, 6, 7, 8 and 9, or 6-9
    kept = (
        [0, 1, 2, 3, 4, 6, 7, 8, 9] if event in ("before_batch", "after_loss") else [0, 1, 2, 3, 6, 7, 8, 9]
    )
    if event == "before_step":  # not due at batch 5
        kept = list(range(10))
    order = learn.data.train_dl.order
    x, y = digits()
    large = learner(160)
    rows = [order[40 * batch : 40 * batch + 40] for batch in kept]
    updates = [torch.cat(rows[start : start + 4]) for start in range(0, len(rows), 4)]
    large.data = ModelData([(x[part], y[part]) for part in updates])
    large.opt_fn = torch.optim.SGD
    large.fit(0.5, 1)
    assert close(large.model, learn.model)


def test_in_the_finder_and_no_trace() -> None:
    part = Accumulate(3)
    learn = learner(40, 400, callbacks=[part])
    before, state = weights(learn.model), part.state_dict()
    found = learn.lr_find(1e-4, 1.0, num_it=12)
    assert len(found.lrs) == 12
    assert same(before, weights(learn.model))
    assert part.state_dict() == state
    steps = Steps()
    learn.fit(0.01, 1, callbacks=[steps])
    assert steps.taken == [120, 120, 120, 40]


@pytest.mark.parametrize("at", [1, 4, 9, 18, 19, 27])
@pytest.mark.parametrize("switch", ["to_fp32", "to_fp16"])
def test_goes_on_bit_for_bit_from_any_batch(at: int, switch: str) -> None:
    def make() -> tuple[Learner, list[Callback]]:
        return getattr(digits_learner(clip=0.1), switch)(), [Accumulate(4)]

    whole, resumed = in_one_go_and_in_two(
        make, lambda learn, callbacks: learn.fit_one_cycle(2, 0.02, callbacks=callbacks), at
    )
    assert identical(whole, resumed)


def test_mistakes_are_explained() -> None:
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="whole number of batches"):
            Accumulate(wrong)  # type: ignore[arg-type]
    learn = learner(40, opt_fn=torch.optim.LBFGS)
    with pytest.raises(ValueError, match="LBFGS evaluates the loss of a batch itself"):
        learn.fit(0.1, 1, callbacks=[Accumulate(2)])
    learn.fit(0.1, 1, callbacks=[Accumulate(1)])
