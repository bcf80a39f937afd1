"""Averages of the weights: what they are, who sees them, what is left as it was."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, TensorDataset

from tests.core.going_on import identical, in_one_go_and_in_two
from tests.core.helpers import DigitsNet, digits, digits_data, digits_learner, same, weights
from zoo import Callback, Learner, ModelData, NonFiniteLossError, fit
from zoo.callbacks import EMA, SWA, Accumulate, EarlyStopping, SaveBest
from zoo.engine.loop import Loop
from zoo.engine.speed import is_compiled
from zoo.engine.state import State
from zoo.schedules import CosineRestarts

KINDS = [lambda: EMA(0.9), lambda: SWA(0.5)]


class Keep(Callback):
    """The raw weights after every step and at the end of every training pass."""

    order = -150

    def __init__(self) -> None:
        self.steps: list[dict] = []
        self.epochs: list[dict] = []
        self.rates: list[float] = []

    def after_step(self, state) -> None:
        self.steps.append(weights(state.model))

    def before_step(self, state) -> None:
        self.rates.append(state.opt.param_groups[-1]["lr"])

    def after_train(self, state) -> None:
        self.epochs.append(weights(state.model))


def filled(values: dict) -> nn.Module:
    net = DigitsNet()
    net.load_state_dict(values)
    return net


def params(values: dict) -> dict:
    return {name: values[name] for name, _ in DigitsNet().named_parameters()}


def test_swa_equals_torch_with_statistics() -> None:
    learn, keep = digits_learner(), Keep()
    learn.fit(0.01, 5, callbacks=[SWA(2), keep])
    theirs = AveragedModel(DigitsNet(), multi_avg_fn=get_swa_multi_avg_fn())
    for epoch in (2, 3, 4):
        theirs.update_parameters(filled(keep.epochs[epoch]))
    for part in theirs.module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    loader = digits_data().train_dl
    loader.set_epoch(0)
    update_bn(loader, theirs)
    assert same(weights(theirs.module), weights(learn.model))


def test_ema_equals_torch_and_its_warm_up_the_formula() -> None:
    for warm_up in (False, True):
        learn, keep = digits_learner(), Keep()
        start = weights(learn.model)
        learn.fit(0.01, 2, callbacks=[EMA(0.97, warm_up=warm_up, fix_bn=False), keep])
        if not warm_up:
            theirs = AveragedModel(filled(start), multi_avg_fn=get_ema_multi_avg_fn(0.97))
            theirs.n_averaged += 1  # it begins at the first weights instead of copying the next
            for step in keep.steps:
                theirs.update_parameters(filled(step))
            expected = params(weights(theirs.module))
            assert same(expected, params(weights(learn.model)))
            continue
        mean = {name: value.double() for name, value in params(start).items()}
        for t, step in enumerate(keep.steps, 1):
            decay = min(0.97, (1 + t) / (10 + t))
            mean = {name: decay * mean[name] + (1 - decay) * step[name].double() for name in mean}
        ours = params(weights(learn.model))
        assert all(torch.allclose(mean[name].float(), ours[name], atol=1e-6) for name in mean)


@pytest.mark.parametrize("make", KINDS)
def test_training_itself_is_untouched(make) -> None:
    """Dropout, the order of rows, running statistics in training: as without averaging."""
    plain, averaged = Keep(), Keep()
    digits_learner(seed=3).fit(0.01, 4, callbacks=[plain])
    learn = digits_learner(seed=3)
    before = torch.get_rng_state()
    learn.fit(0.01, 4, callbacks=[averaged, make()])
    assert identical(plain.steps, averaged.steps)
    assert not torch.equal(before, torch.get_rng_state())
    assert not same(weights(learn.model), averaged.steps[-1])


def test_plain_loaders_keep_their_order_too() -> None:
    def trained(callbacks: list) -> list:
        torch.manual_seed(0)
        x, y = digits()
        generator = torch.Generator().manual_seed(5)
        loader = DataLoader(TensorDataset(x[:300], y[:300]), 50, shuffle=True, generator=generator)
        net, keep = DigitsNet(), Keep()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        fit(net, ModelData(loader), 3, opt, F.cross_entropy, (), [*callbacks, keep])
        return keep.steps

    assert identical(trained([]), trained([SWA(0.0)]))
    assert identical(trained([]), trained([EMA(0.8)]))


@pytest.mark.parametrize("make", KINDS)
def test_validation_and_savers_see_what_stays(tmp_path, make) -> None:
    learn = digits_learner(path=tmp_path)
    seen: list[dict] = []

    class Look(Callback):
        def after_epoch(self, state) -> None:
            seen.append(weights(state.model))

    learn.fit(0.02, 4, callbacks=[make(), Look(), SaveBest("best")])
    assert same(seen[-1], weights(learn.model))
    assert learn.evaluate()["valid_loss"] == learn.history[-1]["valid_loss"]
    assert not any(module.training for module in learn.model.modules())
    best = min(learn.history, key=lambda row: row["valid_loss"])
    assert learn.load("best").evaluate()["valid_loss"] == best["valid_loss"]


def test_early_stopping_restores_averages() -> None:
    learn = digits_learner()
    stop = EarlyStopping(patience=2, min_delta=10.0)
    learn.fit(0.02, 9, callbacks=[EMA(0.9), stop])
    assert len(learn.history) == 3
    assert learn.evaluate()["valid_loss"] == learn.history[0]["valid_loss"]


def test_averages_validate_better_than_weights_in_motion() -> None:
    def last(callbacks: list) -> float:
        learn = digits_learner(opt_fn=torch.optim.SGD)
        learn.fit(2.0, 8, callbacks=callbacks)
        return learn.history[-1]["valid_loss"]

    raw = last([])
    assert last([EMA(0.95)]) < raw
    assert last([SWA(0.5)]) < raw


def test_frozen_parameters_and_statistics_are_left_alone() -> None:
    for make in KINDS:
        learn = digits_learner()
        learn.fit(0.02, 1)
        learn.freeze()
        before = weights(learn.model)
        averaged = make()
        learn.fit(0.02, 3, callbacks=[averaged])
        after = weights(learn.model)
        assert all(torch.equal(before[name], after[name]) for name in before if "head" not in name)
        assert not torch.equal(before["head.weight"], after["head.weight"])
        assert averaged.state_dict()["average"] == {}  # nothing outlives the fit


def test_groups_whose_statistics_are_fixed_keep_them() -> None:
    learn = digits_learner()
    learn.fit(0.02, 1)
    learn.bn_freeze(True)
    before = weights(learn.model)
    learn.fit(0.02, 2, callbacks=[SWA(0.0)])
    after = weights(learn.model)
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(("epoch", "batch"), [(0, 4), (3, 2)])
def test_interrupt_leaves_averages_and_an_error_the_raw_weights(make, epoch: int, batch: int) -> None:
    class End(Callback):
        order = 200

        def __init__(self, error: type[BaseException]) -> None:
            self.error = error

        def after_batch(self, state) -> None:
            if state.training and (state.epoch, state.batch_index) == (epoch, batch):
                raise self.error

    keep, learn = Keep(), digits_learner()
    learn.fit(0.02, 4, callbacks=[keep, make(), End(KeyboardInterrupt)])
    found = weights(learn.model)
    assert all(torch.isfinite(value).all() for value in found.values())
    averaged = isinstance(make(), EMA) or epoch > 2
    assert same(found, keep.steps[-1]) != averaged
    learn.fit(0.02, 1)

    keep, learn = Keep(), digits_learner()
    with pytest.raises(NonFiniteLossError):
        learn.fit(0.02, 4, callbacks=[keep, make(), End(NonFiniteLossError)])
    assert same(weights(learn.model), keep.steps[-1])


def test_interrupt_inside_validation_and_in_the_pass_for_statistics() -> None:
    class End(Callback):
        in_finder = True  # and so runs in the pass for the statistics as well

        def before_batch(self, state) -> None:
            if not state.training and state.n_batches == self.n and state.epoch == self.epoch:
                raise KeyboardInterrupt

    learn = digits_learner()
    end = End()
    end.n, end.epoch = len(learn.data.valid_dl), 1
    learn.callbacks.append(end)
    learn.fit(0.02, 3, callbacks=[EMA(0.9)])
    assert len(learn.history) == 2
    assert "valid_loss" not in learn.history[1]

    learn = digits_learner()
    end.n, end.epoch = len(learn.data.train_dl), 0
    keep = Keep()
    learn.callbacks.append(end)
    with pytest.raises(KeyboardInterrupt):  # once in the last epoch, once more in the end
        learn.fit(0.02, 1, callbacks=[average := EMA(0.9), keep])
    assert not average.state_dict()["average"]
    assert not average._raw
    found, raw = weights(learn.model), keep.epochs[-1]
    assert all(torch.equal(found[name], raw[name]) for name in raw if "running" in name)
    assert not torch.equal(found["head.weight"], raw["head.weight"])
    assert learn.model.body[1].momentum == 0.1  # type: ignore[union-attr, index]


def test_an_evaluation_inside_an_epoch_sees_averages_and_puts_the_weights_back() -> None:
    torch.manual_seed(0)
    net, data = DigitsNet(), digits_data()
    opt = torch.optim.SGD(net.parameters(), lr=0.5)
    state = State(net, data, opt, F.cross_entropy, torch.device("cpu"))
    found: list[tuple[float, float]] = []

    class Evaluate(Callback):
        order = 500

        def after_batch(self, state) -> None:
            if not state.training or state.batch_index != 9:
                return
            kept = state.loader, state.n_batches, state.batch_index
            before = weights(net)
            loss = loop.validate(data.valid_dl)["valid_loss"]
            assert same(before, weights(net))
            net.eval()
            with torch.no_grad():
                raw = F.cross_entropy(net(digits()[0][1200:]), digits()[1][1200:]).item()
            net.train()
            found.append((loss, raw))
            state.training = True
            state.loader, state.n_batches, state.batch_index = kept

    loop = Loop(state, [EMA(0.9), Evaluate()])
    loop.fit(2)
    assert len(found) == 2
    assert all(loss != pytest.approx(raw, rel=1e-4) for loss, raw in found)


def test_the_rate_of_the_averaging_phase() -> None:
    def rates(learn: Learner, epochs: int, *callbacks: Callback) -> list[float]:
        keep = Keep()
        learn.fit(0.01, epochs, callbacks=[keep, *callbacks])
        return keep.rates

    n = 19
    assert rates(digits_learner(), 4, SWA(0.5, lr=0.003)) == [0.01] * 2 * n + [0.003] * 2 * n
    cyclic = rates(digits_learner(), 5, SWA(1, every=2, lr=0.003, low=0.1))
    cycle = [0.003 * (1 - (i + 1) / (2 * n) * 0.9) for i in range(2 * n)]
    assert cyclic == pytest.approx([0.01] * n + cycle * 2)
    learn = digits_learner()
    learn.fit(0.01, 2, callbacks=[SWA(0, lr=slice(1e-4, 1e-2))])

    net = nn.Linear(64, 10)
    opt, keep = torch.optim.SGD(net.parameters(), lr=0.1), Keep()
    fit(net, digits_data(), 2, opt, F.cross_entropy, callbacks=[SWA(1, lr=0.5), keep])
    assert keep.rates == [0.1] * n + [0.5] * n
    assert opt.param_groups[0]["lr"] == 0.1


def test_cycle_ends_of_the_fit_are_averaged() -> None:
    learn, keep = digits_learner(), Keep()
    learn.fit(0.02, 3, cycle_len=1, cycle_mult=2, callbacks=[SWA(1, every="cycle", fix_bn=False), keep])
    assert CosineRestarts((1, 2, 4)).cycle_ends() == [1, 3, 7]
    mean = (keep.epochs[2]["head.weight"] + keep.epochs[6]["head.weight"]) / 2
    assert torch.allclose(mean, learn.model.head.weight, atol=1e-7)  # type: ignore[arg-type, union-attr]


def test_in_the_bare_fit_and_without_validation() -> None:
    for make in KINDS:
        torch.manual_seed(0)
        net, keep = DigitsNet(), Keep()
        opt = torch.optim.SGD(net.parameters(), lr=0.5)
        fit(net, ModelData(digits_data().train_dl), 4, opt, F.cross_entropy, (), [keep, make()])
        found, raw = weights(net), keep.epochs[-1]
        assert not torch.equal(found["head.weight"], raw["head.weight"])
        assert not torch.equal(found["body.1.running_mean"], raw["body.1.running_mean"])
        x, _ = digits()
        again = copy.deepcopy(net)
        update_bn(
            torch.utils.data.DataLoader(x[:1200], 1200), again
        )  # whole data: close to the mean of batches
        assert torch.allclose(again.body[1].running_mean, net.body[1].running_mean, atol=0.05)


def test_with_short_formats_and_accumulation() -> None:
    learn = digits_learner().to_fp16()
    ema = EMA(0.9)
    learn.fit(0.02, 3, callbacks=[ema, Accumulate(3)])
    assert learn.model.head.weight.dtype == torch.float32  # type: ignore[union-attr]
    assert ema._count == 21 - learn._autocast.skipped  # type: ignore[union-attr]
    assert learn.evaluate()["valid_loss"] == learn.history[-1]["valid_loss"]


def test_mistakes_are_explained() -> None:
    for decay in (-0.1, 1.0, 2):
        with pytest.raises(ValueError, match="decay must be at least 0 and below 1"):
            EMA(decay)
    for start in (-1, 1.5, True):
        with pytest.raises(ValueError, match="start is a share"):
            SWA(start)
    for every in (0, 1.5, "epoch"):
        with pytest.raises(ValueError, match="every is a whole number"):
            SWA(every=every)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lr cannot be given"):
        SWA(every="cycle", lr=0.1)
    with pytest.raises(ValueError, match="give lr with it"):
        SWA(low=0.1)
    with pytest.raises(ValueError, match="of a fit of 3 epochs"):
        digits_learner().fit(0.01, 3, callbacks=[SWA(3)])
    net = nn.Linear(64, 10)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="needs layer groups"):
        fit(net, digits_data(), 1, opt, F.cross_entropy, callbacks=[SWA(0, lr=slice(0.1, 0.2))])


@pytest.mark.parametrize("make", [*KINDS, lambda: SWA(1, every=2, lr=0.01, low=0.5)])
@pytest.mark.parametrize("at", [5, 19, 50, 76])
def test_goes_on_bit_for_bit_from_any_batch(make, at: int) -> None:
    whole, resumed = in_one_go_and_in_two(
        lambda: (digits_learner(), [make()]),
        lambda learn, callbacks: learn.fit_one_cycle(4, 0.02, callbacks=callbacks),
        at,
    )
    assert identical(whole, resumed)


def test_swa_that_would_never_average_is_refused_before_the_fit() -> None:
    learn = digits_learner()
    with pytest.raises(ValueError, match=r"no weights would be averaged.*begins with epoch 3.*every 3"):
        learn.fit(0.01, 4, callbacks=[SWA(0.75, every=3)])
    assert not learn.history


def test_swa_over_cycles_tells_when_none_ended(caplog) -> None:
    digits_learner().fit(0.01, 2, callbacks=[SWA(0, every="cycle")])
    assert "SWA averaged nothing: no cycle ended" in caplog.text
    caplog.clear()
    digits_learner().fit(0.01, 2, cycle_len=1, callbacks=[SWA(0, every="cycle")])
    assert not caplog.text


def test_statistics_of_a_compiled_model_are_recomputed_uncompiled() -> None:
    compiled: list[bool] = []

    def backend(graph, inputs):
        compiled.append(any(module.momentum is None for module in learn.model.modules() if is_norm(module)))
        return graph.forward

    def is_norm(module: nn.Module) -> bool:
        return isinstance(module, nn.BatchNorm1d)

    learn = digits_learner().compile(backend=backend)
    learn.fit(0.01, 1, callbacks=[EMA(0.9)])
    assert compiled
    assert not any(compiled)
    plain = digits_learner()
    plain.fit(0.01, 1, callbacks=[EMA(0.9)])
    assert torch.allclose(
        learn.model.body[1].running_var, plain.model.body[1].running_var, rtol=1e-4, atol=1e-6
    )
    assert is_compiled(learn.model)
