"""Recipes made of several fits."""

import numpy as np
import pytest
from torch import nn

from tests.core.helpers import digits_data, digits_learner, same, weights
from zoo import Callback, CancelFit, Learner


class Rates(Callback):
    def __init__(self, stop_at=None):
        self.stages, self.stop_at = {}, stop_at

    def before_step(self, state):
        trains = tuple(any(p.requires_grad for p in g["params"]) for g in state.opt.param_groups)
        self.stages.setdefault((state.n_epochs, trains), []).append(list(state.opt.lrs))
        if state.step == self.stop_at:
            raise CancelFit


def test_the_head_trains_first_then_all_with_graded_rates():
    learn, seen = digits_learner(), Rates()
    before = weights(learn.model)
    rows = learn.fine_tune(2, 0.02, freeze_epochs=1, callbacks=[seen])
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert list(seen.stages) == [(1, (False, False, True)), (2, (True, True, True))]
    frozen, whole = seen.stages.values()
    assert max(rates[-1] for rates in frozen) == pytest.approx(0.02)
    assert frozen.index(max(frozen, key=lambda rates: rates[-1])) >= len(frozen) - 2
    assert max(whole) == pytest.approx([0.0001, 0.001, 0.01])
    assert whole[0] == pytest.approx([0.00002, 0.0002, 0.002])
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"] < 2.3
    assert not same(before, weights(learn.model))


def test_the_first_stage_can_be_left_out_and_options_reach_both():
    learn, seen = digits_learner(), Rates()
    learn.fine_tune(1, 0.02, freeze_epochs=0, lr_mult=4, callbacks=[seen])
    ((stage, rates),) = seen.stages.items()
    assert stage == (1, (True, True, True))
    assert max(rates) == pytest.approx([0.0025, 0.005, 0.01])
    rows = digits_learner().fine_tune(1, 0.02, metrics=[lambda p, t: 4.0], wds=0.1)
    assert all("<lambda>" in row for row in rows)


def test_a_stop_in_the_first_stage_ends_both():
    learn, seen = digits_learner(), Rates(stop_at=3)
    learn.fine_tune(3, 0.02, callbacks=[seen])
    assert len(seen.stages) == 1
    assert learn.groups[0].frozen


def test_what_cannot_be_fine_tuned_is_refused_before_anything_changes():
    learn = Learner(digits_data(), nn.Linear(64, 10), device="cpu", progress=False)
    with pytest.raises(ValueError, match="a single group; give the learner layer_groups"):
        learn.fine_tune(1, 0.1)
    learn = digits_learner()
    for arguments, message in (
        ({"epochs": 0, "lr": 0.1}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1, "lr": -0.1}, "lr must be a positive number"),
        ({"epochs": 1, "lr": slice(0.1)}, "lr must be a positive number"),
        ({"epochs": 1, "lr": 0.1, "freeze_epochs": -1}, "freeze_epochs must be a whole number of at least 0"),
        ({"epochs": 1, "lr": 0.1, "lr_mult": 0.5}, "lr_mult divides rates"),
    ):
        with pytest.raises(ValueError, match=message):
            learn.fine_tune(**arguments)
    assert not any(group.frozen for group in learn.groups)


BAD_OPTIONS = [
    ({"lr_mult": 0}, ValueError, "lr_mult divides rates"),
    ({"lr_mult": float("nan")}, ValueError, "lr_mult divides rates"),
    ({"lr_mult": "a"}, ValueError, "lr_mult divides rates"),
    ({"pct_start": 2}, ValueError, "pct_start is the warm-up's share"),
    ({"pct_start": "a"}, TypeError, "pct_start is a number"),
    ({"div_factor": 0}, ValueError, "must be at least 1, got 0"),
    ({"div_factor": float("nan")}, ValueError, "must be at least 1, got nan"),
    ({"moms": (1, 2, 3)}, ValueError, "moms are two or three momenta"),
    ({"moms": ()}, ValueError, "moms are two or three momenta"),
    ({"wds": -1}, ValueError, "weight decay"),
    ({"clip": -1.0}, ValueError, "clip is the largest norm"),
    ({"metrics": ["acurracy"]}, ValueError, "accuracy"),
    ({"callbacks": Callback()}, TypeError, "callbacks must be a list"),
    ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be a whole number"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD_OPTIONS)
def test_bad_options_are_refused_before_anything_trains(options, kind, message):
    learn = digits_learner()
    before = weights(learn.model)
    with pytest.raises(kind, match=message):
        learn.fine_tune(1, 0.1, **options)
    assert same(before, weights(learn.model))
    assert not any(group.frozen for group in learn.groups)


def test_callbacks_of_a_generator_reach_both_stages():
    learn, seen = digits_learner(), Rates()
    learn.fine_tune(1, 0.02, callbacks=(one for one in [seen]))
    assert len(seen.stages) == 2


def test_numbers_of_numpy_are_numbers():
    rows = digits_learner().fine_tune(np.int64(1), np.float32(0.01))
    assert [row["epoch"] for row in rows] == [0, 1]


def test_a_misspelt_option_is_refused_before_anything_changes():
    learn = digits_learner()
    with pytest.raises(TypeError, match="freeze_epoch"):
        learn.fine_tune(1, 0.1, freeze_epoch=2)
    assert not any(group.frozen for group in learn.groups)


def test_the_best_weights_are_those_of_all_stages(tmp_path):
    learn = digits_learner(path=tmp_path)
    rows = learn.fine_tune(1, 30.0, freeze_epochs=3, best_save_name="best")
    losses = [row["valid_loss"] for row in rows]
    assert min(losses) < losses[3]  # else this test shows nothing
    learn.load("best")
    assert learn.evaluate()["valid_loss"] == pytest.approx(min(losses))
