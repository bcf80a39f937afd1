"""Stopping early, going back to the best weights, saving the best."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.core.going_on import identical, in_one_go_and_in_two
from tests.core.helpers import digits_data, digits_learner, same, weights
from zoo import Callback, Learner, ModelData, NonFiniteLossError, fit
from zoo.callbacks import CSVLogger, EarlyStopping, SaveBest
from zoo.callbacks.monitor import Monitor
from zoo.metrics import accuracy


class Script(Callback):
    """Writes given values into a column, before anybody looks, and keeps the weights of every epoch."""

    order = -200

    def __init__(self, values: list[float], column: str = "valid_loss") -> None:
        self.values, self.column = values, column
        self.weights: list[dict] = []

    def after_epoch(self, state) -> None:
        state.row[self.column] = self.values[state.epoch - state.first_epoch]
        self.weights.append(weights(state.model))


def test_stops_after_patience_and_restores_the_best(caplog) -> None:
    learn, script = digits_learner(), Script([3.0, 1.0, 2.0, 1.5, 1.1, 0.1])
    with caplog.at_level(logging.INFO, "zoo"):
        rows = learn.fit(0.01, 6, callbacks=[script, EarlyStopping(patience=3)])
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert same(weights(learn.model), script.weights[1])
    assert not same(weights(learn.model), script.weights[4])
    text = " ".join(record.getMessage() for record in caplog.records)
    assert "stopped after epoch 4: valid_loss was best in epoch 1 (1)" in text
    assert "its weights are restored" in text


def test_restores_at_the_end_of_a_whole_fit_or_not_at_all() -> None:
    learn, script = digits_learner(), Script([3.0, 1.0, 2.0])
    learn.fit(0.01, 3, callbacks=[script, EarlyStopping(patience=9)])
    assert same(weights(learn.model), script.weights[1])
    learn, script = digits_learner(), Script([3.0, 1.0, 2.0, 2.0, 0.0])
    learn.fit(0.01, 5, callbacks=[script, EarlyStopping(patience=2, restore_best=False)])
    assert len(script.weights) == 4
    assert same(weights(learn.model), script.weights[3])


@pytest.mark.parametrize(
    ("values", "mode", "min_delta", "epochs", "best"),
    [
        ([1.0, 0.95, 0.91, 0.5], None, 0.1, 3, 0),  # too little each time
        ([1.0, 0.85, 0.8, 0.72, 0.0], None, 0.1, 5, 4),  # from 0.85 to 0.72
        ([0.1, 0.3, 0.2, 0.3, 0.9], "max", 0.0, 4, 1),  # equal is not better
        ([math.nan, 2.0, math.nan, 1.0, math.nan, math.nan], None, 0.0, 6, 3),
        ([math.nan, math.nan, 1.0], None, 0.0, 2, None),
        ([math.inf, 1.0, 2.0, 3.0, 0.0], None, 0.0, 4, 1),
    ],
)
def test_what_counts_as_better(values, mode, min_delta, epochs, best) -> None:
    stop = EarlyStopping(patience=2, mode=mode, min_delta=min_delta)
    learn = digits_learner()
    rows = learn.fit(0.01, len(values), callbacks=[Script(values), stop])
    assert (len(rows), stop.best_epoch) == (epochs, best)


def test_interrupt_restores_and_an_error_does_not() -> None:
    class End(Callback):
        def __init__(self, error: type[BaseException]) -> None:
            self.error = error

        def after_batch(self, state) -> None:
            if state.training and state.epoch == 2 and state.batch_index == 3:
                raise self.error

    learn, script = digits_learner(), Script([1.0, 2.0, 3.0])
    learn.fit(0.01, 3, callbacks=[script, EarlyStopping(), End(KeyboardInterrupt)])
    assert same(weights(learn.model), script.weights[0])
    learn, script = digits_learner(), Script([1.0, 2.0, 3.0])
    with pytest.raises(NonFiniteLossError):
        learn.fit(0.01, 3, callbacks=[script, EarlyStopping(), End(NonFiniteLossError)])
    assert not any(same(weights(learn.model), kept) for kept in script.weights)


def test_loggers_see_the_last_epoch(tmp_path) -> None:
    stop = EarlyStopping(patience=1)
    digits_learner().fit(0.01, 5, callbacks=[stop, CSVLogger(tmp_path / "log.csv"), Script([1.0, 2.0])])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_any_metric_in_the_bare_fit_and_twice() -> None:
    torch.manual_seed(0)
    net = nn.Linear(64, 10)
    stop = EarlyStopping("accuracy", mode="max", patience=1)
    opt = torch.optim.SGD(net.parameters(), lr=0.0)
    for _ in range(2):
        rows = fit(net, digits_data(), 9, opt, F.cross_entropy, [accuracy], [stop])
        assert len(rows) == 2
        assert stop.best_epoch == 0


def test_mistakes_are_explained() -> None:
    with pytest.raises(ValueError, match="mode='max' or mode='min'"):
        EarlyStopping("accuracy")
    with pytest.raises(ValueError, match="'min' or 'max', got 'up'"):
        EarlyStopping("accuracy", mode="up")
    with pytest.raises(ValueError, match="patience must be a whole number"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="min_delta must not be negative"):
        EarlyStopping(min_delta=-1)
    learn = digits_learner(metrics=[accuracy])
    with pytest.raises(
        ValueError, match=r"no column 'acuracy'.*did you mean 'accuracy'.*train_loss, valid_loss"
    ):
        learn.fit(0.01, 1, callbacks=[EarlyStopping("acuracy", mode="max")])
    with pytest.raises(ValueError, match="cannot be watched: it holds 'high'"):
        learn.fit(0.01, 1, callbacks=[Script(["high"]), EarlyStopping()])  # type: ignore[list-item]
    learn.data = ModelData(learn.data.train_dl)
    with pytest.raises(ValueError, match="EarlyStopping needs validation data"):
        learn.fit(0.01, 1, callbacks=[EarlyStopping()])
    learn.fit(0.01, 1, callbacks=[EarlyStopping("train_loss")])
    assert Monitor("train_loss").mode == "min"


def test_saves_the_best_of_any_column(tmp_path) -> None:
    learn, script = digits_learner(path=tmp_path), Script([0.2, 0.7, 0.7, 0.4], "score")
    best = SaveBest("peak", "score", mode="max")
    learn.fit(0.01, 4, callbacks=[script, best])
    assert best.best == 0.7
    assert same(weights(learn.load("peak").model), script.weights[1])
    with pytest.raises(ValueError, match=r"use it in learn\.fit"):
        fit(
            learn.model, learn.data, 1, torch.optim.SGD(learn.model.parameters()), F.cross_entropy, (), [best]
        )


@pytest.mark.parametrize("at", [1, 19, 30, 57, 70])
def test_goes_on_bit_for_bit_from_any_batch(tmp_path, at: int) -> None:
    def make() -> tuple[Learner, list[Callback]]:
        script = Script([3.0, 1.0, 2.0, 1.5, 1.2, 0.1])
        return digits_learner(path=tmp_path), [EarlyStopping(patience=3), SaveBest("best"), script]

    whole, resumed = in_one_go_and_in_two(
        make, lambda learn, callbacks: learn.fit(0.01, 6, callbacks=callbacks), at
    )
    assert len(whole["history"]) == 5
    assert identical(whole, resumed)


def test_numbers_of_numpy_can_be_watched() -> None:
    class Counts(Callback):
        def after_train(self, state) -> None:
            state.row["hits"] = np.float32(state.epoch)

    stopping = EarlyStopping("hits", mode="max")
    digits_learner().fit(0.01, 2, callbacks=[Counts(), stopping])
    assert stopping.best_epoch == 1


def test_a_metric_without_validation_data_is_refused_before_the_fit() -> None:
    learn = digits_learner(metrics=[accuracy])
    learn.data.valid_dl = None
    with pytest.raises(ValueError, match="'accuracy' needs validation data"):
        learn.fit(0.01, 1, callbacks=[EarlyStopping("accuracy", mode="max")])
    assert not learn.history
