"""Metrics that have worked once and fail later end no fit."""

import math

import pytest

from tests.core.helpers import digits_learner
from zoo.callbacks import CancelFit
from zoo.metrics import MisfitError, accuracy


@pytest.mark.parametrize("error", [KeyError, IndexError, TypeError, RuntimeError, MisfitError])
def test_a_metric_that_has_worked_once_is_nan_when_it_fails_later(error):
    calls = []

    def mine(preds, targets):
        calls.append(len(preds))
        if len(calls) in (3, 5):  # the first call is the look at the first batch
            raise error("class 7")
        return 0.5

    learn = digits_learner()
    with pytest.warns(UserWarning, match=rf"'mine' .* is NaN: {error.__name__}: .*class 7") as told:
        rows = learn.fit(0.01, 6, metrics=[mine, accuracy])
    assert [math.isnan(row["mine"]) for row in rows] == [False, True, False, True, False, False]
    assert all(math.isfinite(row["accuracy"]) for row in rows)
    assert len(told) == 1


def test_a_metric_that_worked_on_the_first_batch_does_not_end_the_first_epoch():
    calls = []

    def mine(preds, targets):
        calls.append(len(preds))
        if len(calls) == 2:
            raise KeyError("class 7")
        return 0.5

    with pytest.warns(UserWarning, match="'mine' could not be computed"):
        rows = digits_learner().fit(0.01, 2, metrics=[mine])
    assert [math.isnan(row["mine"]) for row in rows] == [True, False]


def test_two_metrics_of_one_name_are_told_apart():
    def worse(preds, targets):
        raise IndexError("out of range")

    worse.__name__ = "accuracy"
    learn = digits_learner()
    with pytest.raises(IndexError, match="out of range"):
        learn.evaluate(metrics=[accuracy, worse])
    with pytest.raises(IndexError, match="out of range"):
        learn.fit(0.01, 2, metrics=[accuracy, worse])


def test_a_streaming_object_that_fails_later_is_nan():
    class Meter:
        name = "mine"
        resets = 0

        def reset(self):
            self.resets += 1

        def update(self, preds, targets):
            if self.resets == 2:
                raise RuntimeError("lost")

        def compute(self):
            return 1.0

    with pytest.warns(UserWarning, match="'mine' could not be computed and is NaN: RuntimeError: lost"):
        rows = digits_learner().fit(0.01, 3, metrics=[Meter()])
    assert [math.isnan(row["mine"]) for row in rows] == [False, True, False]


def test_a_metric_may_still_end_a_fit_on_purpose():
    calls = []

    def enough(preds, targets):
        calls.append(len(preds))
        if len(calls) == 3:
            raise CancelFit
        return 0.5

    learn = digits_learner()
    learn.fit(0.01, 5, metrics=[enough])
    assert len(learn.history) == 2
