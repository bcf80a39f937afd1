"""Every shipped callback is walked through a fit, an error, an interrupt and a resumed fit."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.helpers import DigitsNet, digits, same, weights
from zoo import Callback, Learner, ModelData, TensorLoader, callbacks
from zoo.data.loaders.seeding import rng_state
from zoo.metrics import accuracy
from zoo.schedules import CosineRestarts


@dataclass(frozen=True)
class Case:
    """How a callback gets into a fit, and whether it only looks on."""

    make: Callable[[Path], list[Callback]]
    passive: bool = False
    options: dict[str, Any] = field(default_factory=dict)


class Shaped(Callback):
    """Gives the inputs of training another shape."""

    def __init__(self, order: int, *shape: int) -> None:
        self.order, self.shape = order, shape

    def before_batch(self, state: Any) -> None:
        if state.training:
            state.inputs = (state.inputs[0].reshape(len(state.inputs[0]), *self.shape),)


CASES = {
    "Accumulate": Case(lambda path: [callbacks.Accumulate(3)]),
    "ActivationStats": Case(lambda path: [callbacks.ActivationStats(2, most=5)], passive=True),
    "Autocast": Case(lambda path: [callbacks.Autocast(torch.bfloat16)]),
    "CSVLogger": Case(lambda path: [callbacks.CSVLogger(path / "log.csv")], passive=True),
    "Checkpoint": Case(lambda path: [], passive=True, options={"checkpoint_every": 2}),  # made by the fit
    "ClipGradients": Case(lambda path: [callbacks.ClipGradients(0.1)]),
    "Cutmix": Case(lambda path: [Shaped(-10, 1, 8, 8), callbacks.Cutmix(), Shaped(10, 64)]),
    "EMA": Case(lambda path: [callbacks.EMA(0.9)]),
    "EarlyStopping": Case(lambda path: [callbacks.EarlyStopping(patience=2, min_delta=0.5)]),
    "GradientStats": Case(lambda path: [callbacks.GradientStats(2, most=5)], passive=True),
    "Mixup": Case(lambda path: [callbacks.Mixup()]),
    "Progress": Case(lambda path: [callbacks.Progress()], passive=True),
    "ReduceLROnPlateau": Case(lambda path: [callbacks.ReduceLROnPlateau(patience=1, min_delta=0.2)]),
    "Recorder": Case(lambda path: [callbacks.Recorder()], passive=True),
    "SWA": Case(lambda path: [callbacks.SWA(0.4)]),
    "SaveBest": Case(lambda path: [callbacks.SaveBest("best")], passive=True),
    "SaveCycles": Case(lambda path: [callbacks.SaveCycles("cycle")], passive=True),
    "Scheduler": Case(lambda path: [callbacks.Scheduler(CosineRestarts((7, 8)), [0.001, 0.003, 0.01])]),
    "TimeLimit": Case(lambda path: [callbacks.TimeLimit(1e6)], passive=True),
    "TensorBoardLogger": Case(lambda path: [callbacks.TensorBoardLogger(path / "board")], passive=True),
}


def shipped() -> dict[str, type[Callback]]:
    """The callbacks that `zoo.callbacks` exports."""
    return {
        name: value
        for name, value in ((name, getattr(callbacks, name)) for name in callbacks.__all__)
        if inspect.isclass(value) and issubclass(value, Callback) and value is not Callback
    }


every_callback = pytest.mark.parametrize("name", sorted(shipped()))
passive_callbacks = pytest.mark.parametrize(
    "name", sorted(name for name in shipped() if name in CASES and CASES[name].passive)
)


def learner(path: Path) -> Learner:
    """Small and quick: 5 batches an epoch; momentum, dropout and running statistics to get wrong."""
    torch.manual_seed(5)
    x, y = digits()
    train = TensorLoader(x[:300], y[:300], bs=64, shuffle=True, seed=1)
    data = ModelData(train, TensorLoader(x[300:500], y[300:500], bs=100), path=path)
    opt_fn = lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.8)  # noqa: E731
    return Learner(data, DigitsNet(), opt_fn=opt_fn, metrics=[accuracy], device="cpu", progress=False)


def breaking(event: str, error: type[BaseException]) -> Callback:
    """Ends a fit from within, in the third batch of the second epoch."""

    def stop(self: Callback, state: Any) -> None:
        if state.training and state.epoch == 1 and state.batch_index >= 2:
            raise error("in the middle")

    return type("Break", (Callback,), {"order": 80, event: stop})()


def run(learn: Learner, listeners: list[Callback], n_epochs: int = 3, **options: Any) -> None:
    learn.fit(0.05, n_epochs, cycle_len=1, callbacks=listeners, **options)


def traces(learn: Learner) -> dict[str, Any]:
    """All places where a callback might leave something, in a form that compares."""
    model = learn.model
    params = dict(model.named_parameters())
    found: dict[str, Any] = {
        "attributes of modules": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": {
            f"{name}.{kind}": len(hooks)
            for name, module in model.named_modules()
            for kind, hooks in vars(module).items()
            if "hooks" in kind and isinstance(hooks, dict)
        },
        "hooks of weights": {
            name: bool(param._backward_hooks or getattr(param, "_post_accumulate_grad_hooks", None))
            for name, param in params.items()
        },
        "gradients": [name for name, param in params.items() if param.grad is not None],
        "trainable": [name for name, param in params.items() if param.requires_grad],
        "modes": [name for name, module in model.named_modules() if module.training],
        "attributes of the learner": sorted(vars(learn)),
        "callbacks": list(learn.callbacks),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "modes of torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.is_anomaly_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
        ),
    }
    if learn.opt is not None:
        found["attributes of the optimizer"] = sorted(vars(learn.opt)), sorted(vars(learn.opt.opt))
        found["options of the optimizer"] = [
            {key: value for key, value in group.items() if key not in ("params", "lr")}
            for group in learn.opt.param_groups
        ]
    return found


@functools.cache
def traces_of_a_plain_fit() -> dict[str, Any]:
    plain = learner(Path())
    run(plain, [])
    return traces(plain)


def open_files(below: Path) -> list[str]:
    """Files under a folder that this process holds open, where the system tells."""
    own = Path("/proc/self/fd")
    if not own.is_dir():
        return []
    links = []
    for number in os.listdir(own):
        try:
            links.append(os.readlink(own / number))
        except OSError:  # the descriptor of the listing itself
            continue
    return [link for link in links if link.startswith(str(below))]


def assert_usable_and_clean(learn: Learner, path: Path) -> None:
    expected = traces_of_a_plain_fit()
    assert traces(learn) == expected
    assert open_files(path) == []
    answer = learn.predict()
    with torch.no_grad():
        by_hand = torch.log_softmax(learn.model(digits()[0][300:500]), 1).numpy()
    assert answer == pytest.approx(by_hand, abs=1e-5)
    before, done = weights(learn.model), len(learn.history)
    run(learn, [], 1)
    assert not same(before, weights(learn.model))
    assert len(learn.history) == done + 1
    assert traces(learn) == expected


def test_every_shipped_callback_is_walked():
    missing = sorted(set(shipped()) - set(CASES))
    assert not missing, f"add to CASES how a fit gets these callbacks: {', '.join(missing)}"


class Leaves(Callback):
    """Leaves something behind, as no callback may."""

    def __init__(self, what: str) -> None:
        self.what = what

    def before_batch(self, state: Any) -> None:
        model = state.model
        if self.what == "a hook":
            model.head.register_forward_hook(lambda *given: None)
        elif self.what == "a hook of a weight":
            model.head.weight.register_hook(lambda gradient: None)
        elif self.what == "a method":
            model.forward = model.forward
        elif self.what == "momentum":
            state.opt.set_momentum(0.5)
        elif self.what == "a frozen layer":
            model.body.requires_grad_(False)

    def after_fit(self, state: Any) -> None:
        if self.what == "momentum":
            state.opt.param_groups[0]["dampening"] = 0.5
        elif self.what == "an attribute":
            state.opt.opt.left_over = 1
        elif self.what == "a file":
            self.file = (state.learner.path / "left").open("w")
        elif self.what == "a mode":
            torch.set_grad_enabled(False)


@pytest.mark.parametrize(
    "what",
    [
        "a hook",
        "a hook of a weight",
        "a method",
        "an attribute",
        "momentum",
        "a frozen layer",
        "a file",
        "a mode",
    ],
)
def test_the_walk_finds_what_is_left(what, tmp_path):
    learn = learner(tmp_path)
    left = Leaves(what)
    run(learn, [left])
    try:
        with pytest.raises(AssertionError):
            assert_usable_and_clean(learn, tmp_path)
    finally:
        torch.set_grad_enabled(True)
        if what == "a file":
            left.file.close()


@every_callback
def test_a_fit(name, tmp_path):
    learn, made = learner(tmp_path), CASES[name].make(tmp_path)
    given = list(made)
    run(learn, given, **CASES[name].options)
    assert given == made
    assert_usable_and_clean(learn, tmp_path)
    run(learn, given, **CASES[name].options)  # the same objects once more
    assert_usable_and_clean(learn, tmp_path)


@every_callback
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("event", ["after_predict", "before_step"])
def test_a_fit_that_ends_in_the_middle_of_a_batch(name, error, event, tmp_path):
    learn, made = learner(tmp_path), CASES[name].make(tmp_path)
    given = [*made, breaking(event, error)]
    kept = list(given)
    if error is RuntimeError:
        with pytest.raises(RuntimeError, match="in the middle"):
            run(learn, given, **CASES[name].options)
    else:
        run(learn, given, **CASES[name].options)
    assert given == kept
    assert len(learn.history) == 1
    assert_usable_and_clean(learn, tmp_path)
    run(learn, made, **CASES[name].options)
    assert len(learn.history) == 5


@passive_callbacks
def test_those_that_look_on_change_nothing(name, tmp_path):
    plain = learner(tmp_path / "plain")
    run(plain, [])
    generators = rng_state()
    watched = learner(tmp_path / "watched")
    run(watched, CASES[name].make(tmp_path / "watched"), **CASES[name].options)
    assert same(weights(plain.model), weights(watched.model))
    assert untimed(plain.history) == untimed(watched.history)
    assert_same(generators, rng_state())


@every_callback
def test_a_fit_that_is_resumed(name, tmp_path):
    """What remains to be done after a restart ends as if there had been none."""

    class Stop(Callback):
        order = 2000  # after the checkpoint

        def after_batch(self, state):
            if state.training and state.batches_before + state.batch_index == 7:
                raise KeyboardInterrupt

    whole, own = learner(tmp_path / "whole"), CASES[name].make(tmp_path / "whole")
    options = {**CASES[name].options, "checkpoint_every": 1}
    run(whole, own, **options)
    run(learner(tmp_path / "cut"), [*CASES[name].make(tmp_path / "cut"), Stop()], **options)
    torch.manual_seed(99)
    resumed, new = learner(tmp_path / "cut"), CASES[name].make(tmp_path / "cut")
    run(resumed, new, resume=True, **options)
    assert same(weights(whole.model), weights(resumed.model))
    assert untimed(whole.history) == untimed(resumed.history)
    assert whole.sched.losses == resumed.sched.losses
    for before, after in zip(own, new, strict=True):
        assert_same(before.state_dict(), after.state_dict())
    assert_usable_and_clean(resumed, tmp_path)


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def assert_same(a: Any, b: Any) -> None:
    """Equality that looks into tensors, and takes NaN for equal."""
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    elif hasattr(a, "tolist"):
        assert a.tolist() == b.tolist()
    else:
        assert a == b
