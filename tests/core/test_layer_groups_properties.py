"""What holds of layer groups for any model, any grouping, any optimizer and any schedule."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.core.helpers import weights
from zoo import Callback, Learner, ModelData, TensorLoader
from zoo.schedules import Constant, CosineRestarts, OneCycle, cycle_lengths

ROWS, BS = 14, 4
STEPS = -(-ROWS // BS)

OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, momentum=0.9),
    "plain SGD": torch.optim.SGD,
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
    "slow AdamW": partial(torch.optim.AdamW, fused=False, foreach=False),
}

often = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass
class Case:
    """A model, its groups, the data that it reads."""

    kind: str
    net: nn.Sequential
    cuts: list[int]
    form: str
    x: Tensor = field(repr=False)

    @property
    def parts(self) -> list[nn.Sequential]:
        edges = [0, *self.cuts, len(self.net)]
        return [self.net[a:b] for a, b in itertools.pairwise(edges)]

    def learner(self, **options) -> Learner:
        groups = [list(part) for part in self.parts]
        if self.form == "names":
            spec = {f"part{number}": group for number, group in enumerate(groups)}
        elif self.form == "patterns":
            edges = [0, *self.cuts, len(self.net)]
            places = [range(a, b) for a, b in itertools.pairwise(edges)]
            spec = {f"p{n}": "|".join(map(str, place)) for n, place in enumerate(places)}
        elif self.form == "function":
            spec = lambda model: groups  # noqa: E731
        else:
            spec = groups
        y = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(1))
        data = ModelData(TensorLoader(self.x, y, bs=BS, shuffle=True, seed=2))
        options = {"loss_fn": nn.functional.mse_loss, "metrics": [], **options}
        return Learner(data, self.net, layer_groups=spec, device="cpu", progress=False, **options)


def block(draw, kind: str, width: int) -> nn.Module:
    """A layer that keeps the shape, or several of them nested."""
    sizes = {
        "flat": ["linear", "batch", "layer", "tanh", "drop"],
        "picture": ["conv", "batch", "group", "tanh"],
    }
    name = draw(st.sampled_from([*sizes[kind], "nested"]))
    if name == "nested":
        return nn.Sequential(*(block(draw, kind, width) for _ in range(draw(st.integers(1, 3)))))
    flat = kind == "flat"
    return {
        "linear": lambda: nn.Linear(width, width, bias=draw(st.booleans())),
        "conv": lambda: nn.Conv2d(width, width, 3, padding=1),
        "batch": lambda: (nn.BatchNorm1d if flat else nn.BatchNorm2d)(width, affine=draw(st.booleans())),
        "layer": lambda: nn.LayerNorm(width),
        "group": lambda: nn.GroupNorm(1, width),
        "tanh": nn.Tanh,
        "drop": lambda: nn.Dropout(0.2),
    }[name]()


@st.composite
def cases(draw, most_groups: int = 4) -> Case:
    torch.manual_seed(draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from(["numbers", "words", "pictures"]))
    width = draw(st.integers(3, 5))
    shape = "picture" if kind == "pictures" else "flat"
    n_groups = draw(st.integers(2, most_groups))
    x = {
        "numbers": torch.randn(ROWS, width),
        "words": torch.randint(0, 5, (ROWS, 3)),
        "pictures": torch.randn(ROWS, width, 4, 4),
    }[kind]
    layers: list[nn.Module] = []
    cuts: list[int] = []
    for number in range(n_groups):  # every group has a layer with weights and any others
        if number == 0 and kind == "words":
            layers += [nn.Embedding(5, width), nn.Flatten(), nn.Linear(3 * width, width)]
        else:
            layers.append(nn.Linear(width, width) if shape == "flat" else nn.Conv2d(width, width, 1))
        layers += [block(draw, shape, width) for _ in range(draw(st.integers(0, 2)))]
        cuts.append(len(layers))
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if shape == "picture" else []
    layers += [*end, nn.Linear(width, 2)]
    form = draw(st.sampled_from(["names", "lists", "function", "patterns"]))
    return Case(kind, nn.Sequential(*layers), cuts[:-1], form, x)


class Watch(Callback):
    """Notes what the optimizer gets at every step."""

    def __init__(self) -> None:
        self.lrs: list[list[float]] = []
        self.raw: list[set[float]] = []
        self.momenta: list[float] = []
        self.with_gradient: set[int] = set()
        self.moving: set[int] = set()

    def before_step(self, state):
        self.lrs.append(state.opt.lrs)
        for owner, param_group in zip(state.opt.owners, state.opt.param_groups, strict=True):
            assert param_group["lr"] == state.opt.lrs[owner]
        first = state.opt.param_groups[0]
        self.momenta.append(first["betas"][0] if "betas" in first else first.get("momentum", 0.0))
        self.with_gradient |= {id(p) for p in state.model.parameters() if p.grad is not None}
        self.moving |= {id(m) for m in state.model.modules() if _has_statistics(m) and m.training}


def _has_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def of_group(learn: Learner, index: int) -> list[Tensor]:
    """Weights and buffers of a group."""
    modules = learn.groups[index].modules
    return [*learn.groups[index].params, *(b for m in modules for b in m.buffers())]


@often
@given(cases(), st.sampled_from(sorted(OPTIMIZERS)), st.integers(-4, 3), st.floats(0, 0.5), st.booleans())
def test_frozen_groups_get_no_gradient_no_decay_and_no_drift(case, optimizer, n, wd, cycle):
    learn = case.learner(opt_fn=OPTIMIZERS[optimizer], wd=wd)
    count = len(learn.groups)
    if not -count <= n < count:
        with pytest.raises(ValueError, match=f"this model has {count} layer groups"):
            learn.freeze_to(n)
        return
    learn.fit(0.01, 1)  # the optimizer has averages by now
    learn.freeze_to(n)
    first = n % count
    assert [group.frozen for group in learn.groups] == [index < first for index in range(count)]
    kept = [[t.detach().clone() for t in of_group(learn, index)] for index in range(count)]
    averages = {
        id(p): {k: torch.as_tensor(v).clone() for k, v in learn.opt.opt.state[p].items() if v is not None}
        for index in range(first)
        for p in learn.groups[index].params
    }
    watch = Watch()
    learn.fit([0.05] * count, 2, callbacks=[watch], **({"cycle_len": 1} if cycle else {}))
    for index, group in enumerate(learn.groups):
        ids = {id(p) for p in group.params}
        if index < first:
            assert not ids & watch.with_gradient
            assert all(torch.equal(a, b) for a, b in zip(kept[index], of_group(learn, index), strict=True))
            assert all(p.grad is None for p in group.params)
            for p in group.params:
                for name, value in averages[id(p)].items():
                    assert torch.equal(torch.as_tensor(learn.opt.opt.state[p][name]), value)
        else:
            assert ids <= watch.with_gradient
            assert any(
                not torch.equal(a, b) for a, b in zip(kept[index], of_group(learn, index), strict=True)
            )
    layers = {id(m) for g in list(learn.groups)[first:] for part in g.modules for m in part.modules()}
    assert watch.moving <= layers


@often
@given(cases(), st.sampled_from(sorted(OPTIMIZERS)))
def test_unfreezing_after_a_frozen_fit_trains_everything_with_sound_averages(case, optimizer):
    learn = case.learner(opt_fn=OPTIMIZERS[optimizer], wd=0.1)
    learn.freeze()
    learn.fit(0.01, 1)
    for group in list(learn.groups)[:-1]:
        assert not any(
            learn.opt.opt.state.get(p, {}).get("momentum_buffer") is not None for p in group.params
        )
    learn.unfreeze()
    before = weights(learn.model)
    watch = Watch()
    learn.fit(slice(1e-3, 1e-2), 1, callbacks=[watch])
    assert {id(p) for p in learn.model.parameters()} == watch.with_gradient
    after = weights(learn.model)
    assert all(torch.isfinite(value).all() for value in after.values())
    trained = [
        name for name, _ in learn.model.named_parameters() if not torch.equal(before[name], after[name])
    ]
    groups = {name.split(".")[0] for name in trained}
    assert all(any(str(place) in groups for place in places) for places in _places(case))
    for p in learn.model.parameters():
        for value in learn.opt.opt.state[p].values():
            assert value is None or torch.isfinite(torch.as_tensor(value)).all()
    assert {id(m) for m in learn.model.modules() if _has_statistics(m)} == watch.moving


def _places(case: Case) -> list[range]:
    edges = [0, *case.cuts, len(case.net)]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


def rates(count: int) -> st.SearchStrategy:
    """Every way to give rates, with what each group should get."""
    one = st.floats(1e-5, 1e-1)
    return st.one_of(
        one.map(lambda lr: (lr, [lr] * count)),
        st.lists(one, min_size=count, max_size=count).map(lambda each: (each, each)),
        st.lists(one, min_size=count, max_size=count).map(lambda each: (np.array(each), each)),
        st.lists(one, min_size=count, max_size=count).map(lambda each: (torch.tensor(each).double(), None)),
        one.map(lambda hi: (slice(hi), [hi / 10] * (count - 1) + [hi])),
        st.tuples(one, one).map(lambda ends: (slice(*ends), _geometric(*ends, count))),
    )


def _geometric(lo: float, hi: float, count: int) -> list[float]:
    return [lo * (hi / lo) ** (index / (count - 1)) for index in range(count)]


@often
@given(
    st.data(), cases(), st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(["constant", "restarts", "one"])
)
def test_rates_and_momenta_reach_the_optimizer_at_every_step_as_the_schedule_says(
    data, case, optimizer, kind
):
    learn = case.learner(opt_fn=OPTIMIZERS[optimizer])
    lrs, base = data.draw(rates(len(learn.groups)))
    base = [float(lr) for lr in lrs] if base is None else base
    learn.freeze_to(data.draw(st.integers(0, len(learn.groups) - 1)))
    watch = Watch()
    if kind == "fixed":
        learn.fit(lrs, 2, callbacks=[watch])
        schedule = Constant(2 * STEPS)
    elif kind == "restarts":
        mult = data.draw(st.integers(1, 3))
        learn.fit(lrs, 2, cycle_len=1, cycle_mult=mult, callbacks=[watch])
        schedule = CosineRestarts(tuple(STEPS * length for length in cycle_lengths(2, 1, mult)))
    else:
        moms = data.draw(st.sampled_from([(0.95, 0.85, 0.95), (0.9, 0.8), None]))
        learn.fit_one_cycle(2, lrs, moms=moms, div_factor=10, callbacks=[watch])
        three = moms if moms is None or len(moms) == 3 else (*moms, moms[0])
        schedule = OneCycle(2 * STEPS, 0.25, 10, moms=three)
    assert len(watch.lrs) == schedule.n_steps
    expected = [[lr * schedule.lr(t) for lr in base] for t in range(schedule.n_steps)]
    assert np.array(watch.lrs) == pytest.approx(np.array(expected), rel=1e-9, abs=1e-15)
    own = {"SGD": 0.9, "Adam": 0.9, "AdamW": 0.9, "slow AdamW": 0.9}.get(optimizer)
    for t, momentum in enumerate(watch.momenta):
        wanted = schedule.momentum(t)
        if own is None:
            assert momentum == 0
        else:
            assert momentum == pytest.approx(own if wanted is None else wanted)
    for param_group in learn.opt.param_groups:  # the optimizer's own comes back
        if own is not None:
            assert (param_group["betas"][0] if "betas" in param_group else param_group["momentum"]) == own


@often
@given(cases(), st.booleans(), st.integers(0, 3))
def test_bn_freeze_keeps_the_statistics_of_all_groups_but_the_last(case, on, n):
    learn = case.learner()
    count = len(learn.groups)
    learn.freeze_to(n % count)
    learn.bn_freeze(on)
    before = weights(learn.model)
    learn.fit(0.01, 1)
    after = learn.model.state_dict()
    for index, places in enumerate(_places(case)):
        fixed = index < n % count or (on and index < count - 1)
        for name in before:
            if int(name.split(".")[0]) in places and "running_" in name:
                moved = not torch.equal(before[name], after[name])
                assert moved != fixed
    told = repr(learn.groups).splitlines()[1:]
    for index, line in enumerate(told):
        if learn.groups[index].has_statistics:
            assert ("fixed" in line) == (index < n % count or (on and index < count - 1))


@often
@given(st.data(), cases(), st.sampled_from(sorted(OPTIMIZERS)))
def test_decays_reach_their_groups(data, case, optimizer):
    """A weight without a gradient of its own shrinks by exactly `1 - lr * wd` a step, where it trains."""
    learn = case.learner(opt_fn=OPTIMIZERS[optimizer], loss_fn=lambda p, t: (p * 0).sum())
    wds, wanted = data.draw(rates(len(learn.groups)))
    wanted = [float(wd) for wd in wds] if wanted is None else wanted
    first = data.draw(st.integers(0, len(learn.groups) - 1))
    learn.freeze_to(first)
    before = [[p.detach().clone() for p in group.params] for group in learn.groups]
    learn.fit(0.1, 1, wds=wds)
    assert learn.opt.wds == pytest.approx(wanted)
    for index, (group, old) in enumerate(zip(learn.groups, before, strict=True)):
        factor = (1 - 0.1 * wanted[index]) ** STEPS if index >= first else 1.0
        for p, value in zip(group.params, old, strict=True):
            assert torch.allclose(p, value * factor, rtol=1e-4, atol=1e-6)
