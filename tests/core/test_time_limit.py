"""A fit ends when its time is over."""

import pytest
import torch

from zoo import Callback, Learner, ModelData, TensorLoader
from zoo.callbacks import TimeLimit


@pytest.fixture
def learn():
    x = torch.randn(640, 3)
    data = ModelData(
        TensorLoader(x, x.sum(1, keepdim=True), bs=64), TensorLoader(x[:64], x[:64].sum(1, keepdim=True))
    )
    return Learner(data, torch.nn.Linear(3, 1), device="cpu", progress=False)


def test_the_epoch_is_judged_and_the_fit_ends(learn, monkeypatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("zoo.callbacks.stopping.time.monotonic", lambda: float(next(clock)))
    batches = []

    class Counts(Callback):
        def after_batch(self, state):
            if state.training:
                batches.append(state.epoch)

    rows = learn.fit(1e-2, 50, callbacks=[Counts(), TimeLimit(24)])
    assert batches == [0] * 10 + [1] * 10 + [2] * 4  # a second a batch
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all(row["valid_loss"] > 0 for row in rows)


def test_time_enough_changes_nothing(learn) -> None:
    assert len(learn.fit(1e-2, 3, callbacks=[TimeLimit(1e6)])) == 3


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_time_that_is_none(seconds) -> None:
    with pytest.raises(ValueError, match="seconds must be a number above 0"):
        TimeLimit(seconds)
