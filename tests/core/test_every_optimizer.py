"""Every optimizer of the package `pytorch_optimizer`: trains as in a plain loop, or one clear line."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.core.helpers import weights

pytorch_optimizer = pytest.importorskip("pytorch_optimizer")

LR = 0.01
BY_US = {"adam", "nadam", "rmsprop"}  # torch's own, which the library has decay the decoupled way
TAKE_A_MODEL = {"adalomo", "adammini", "lomo"}
OUTCOMES: dict[str, str] = {}


def data() -> zoo.ModelData:
    torch.manual_seed(0)
    x = torch.randn(96, 4)
    train = zoo.TensorLoader(x, x.sum(1, keepdim=True), bs=32, shuffle=True, seed=0)
    return zoo.ModelData(train, zoo.TensorLoader(x[:64], x[:64].sum(1, keepdim=True)))


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def learner(opt_fn: Callable[..., Any], path: Path | None = None) -> zoo.Learner:
    options: dict[str, Any] = {"device": "cpu", "progress": False, "loss_fn": nn.MSELoss(), "path": path}
    return zoo.Learner(data(), net(), opt_fn=opt_fn, **options)


def plain(make: Callable[..., Any]) -> dict[str, Tensor]:
    rows, model = data(), net()
    opt = make(list(model.parameters()))
    for epoch in range(2):
        rows.train_dl.set_epoch(epoch)
        if hasattr(opt, "train"):
            opt.train()
        for x, y in rows.train_dl:
            nn.functional.mse_loss(model(x), y).backward()
            opt.step()
            opt.zero_grad()
        if hasattr(opt, "eval"):
            opt.eval()
    return weights(model)


class Kill(zoo.Callback):
    def after_batch(self, state: Any) -> None:
        if state.training and state.epoch == 1 and state.batch_index == 1:
            raise KeyError("killed")


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Prints, with `pytest -s`, what became of each."""
    logging.getLogger("zoo").setLevel(logging.ERROR)
    yield
    logging.getLogger("zoo").setLevel(logging.NOTSET)
    print("\n".join(f"{name:22} {outcome}" for name, outcome in sorted(OUTCOMES.items())))


@pytest.mark.filterwarnings("ignore")  # of the package
@pytest.mark.parametrize("name", pytorch_optimizer.get_supported_optimizers())
def test_trains_as_in_a_plain_loop_and_goes_on_or_says_why_not(name: str, tmp_path: Path) -> None:
    kind = pytorch_optimizer.load_optimizer(name)
    arguments = inspect.signature(kind).parameters
    rate = {"lr": LR} if "lr" in arguments else {}
    for decay in ({}, {"weight_decay": 0.05}) if "weight_decay" in arguments else ({},):
        make = partial(kind, **decay)
        try:
            expected = plain(partial(kind, **rate, **decay))
        except Exception as error:  # here it is the package that refuses
            OUTCOMES[name] = refusal(make, error)
            return
        torch.manual_seed(1)
        learn = learner(make)
        learn.fit(LR, 2)
        if not (decay and name in BY_US) and rate:
            torch.testing.assert_close(weights(learn.model), expected, rtol=1e-4, atol=1e-5)
    OUTCOMES[name] = "as in a plain loop"
    before = weights(learn.model)
    learn.lr_find(num_it=4, end_lr=0.1)
    assert all(torch.equal(before[key], value) for key, value in weights(learn.model).items())
    OUTCOMES[name] += goes_on(make, tmp_path)


def refusal(make: Callable[..., Any], error: Exception) -> str:
    """What the learner says of one that a plain loop cannot use either; LBFGS is given its closure."""
    if "missing 1 required positional argument: 'closure'" in str(error):
        learner(make).fit(LR, 1)
        return "trains; in a plain loop it needs a closure"
    with pytest.raises(type(error)) as ours:
        learner(make).fit(LR, 1)
    told = str(ours.value).strip().splitlines()
    assert told
    return f"refused: {told[0]}"


def goes_on(make: Callable[..., Any], path: Path) -> str:
    """Whether a fit that was killed ends, when it is run again, as one that was not."""

    def run(where: str, *extra: zoo.Callback) -> dict[str, Tensor]:
        learn = learner(make, path / where)
        learn.seed = 3
        learn.fit(LR, 2, callbacks=extra, checkpoint_every=2, resume=True)
        return weights(learn.model)

    try:
        whole = run("whole")
    except TypeError as error:  # an object among the state: told at the first checkpoint
        if not str(error).startswith("a checkpoint holds plain values"):
            raise
        return f"; no checkpoints: {error}"
    with pytest.raises(KeyError, match="killed"):
        run("broken", Kill())
    again = run("broken")
    assert all(torch.equal(again[key], value) for key, value in whole.items()), "resuming gives another end"
    return "; goes on bit for bit"
