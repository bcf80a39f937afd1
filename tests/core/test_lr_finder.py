import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.core.helpers import digits, digits_learner, same, weights
from zoo import Callback, ModelData, TensorLoader


def trained(find, **options):
    learn = digits_learner(**options)
    learn.fit(0.01, 1)
    if find:
        find(learn)
    learn.fit(0.01, 2, cycle_len=1)
    return weights(learn.model), [{**row, "seconds": 0} for row in learn.history]


def interrupted(learn):
    class Interrupt(Callback):
        in_finder = True

        def after_step(self, state):
            if state.step == 7:
                raise KeyboardInterrupt

    learn.callbacks.append(Interrupt())
    assert learn.lr_find().interrupted
    learn.callbacks.clear()


def failing(learn):
    class Fail(Callback):
        in_finder = True

        def after_step(self, state):
            raise RuntimeError("broken")

    learn.callbacks.append(Fail())
    with pytest.raises(RuntimeError, match="broken"):
        learn.lr_find()
    learn.callbacks.clear()


@pytest.mark.parametrize("find", [lambda learn: learn.lr_find(), interrupted, failing])
@pytest.mark.parametrize("opt_fn", [torch.optim.AdamW, torch.optim.SGD])
def test_the_finder_leaves_no_trace(find, opt_fn):
    plain_weights, plain_history = trained(None, opt_fn=opt_fn)
    found_weights, found_history = trained(find, opt_fn=opt_fn)
    assert same(plain_weights, found_weights)
    assert plain_history == found_history


def test_no_trace_with_a_shuffling_torch_loader_and_before_any_fit():
    x, y = digits()

    def run(find):
        learn = digits_learner()
        learn.data = ModelData(DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True))
        torch.manual_seed(5)
        if find:
            learn.lr_find(num_it=20)
            assert learn.opt is None
        learn.fit(0.01, 1)
        return weights(learn.model)

    assert same(run(False), run(True))


def test_rates_rise_from_start_to_end_and_the_test_stops_when_the_loss_explodes():
    learn = digits_learner(opt_fn=torch.optim.SGD)
    result = learn.lr_find(1e-5, 1e5, num_it=100)
    assert result.lrs[0] == pytest.approx(1e-5)
    assert np.diff(np.log(result.lrs)) == pytest.approx(np.full(len(result.lrs) - 1, math.log(1e10) / 99))
    assert len(result.lrs) < 100
    assert max(result.losses) > 2 * min(result.losses)
    linear = learn.lr_find(0.1, 0.2, num_it=11, linear=True)
    assert linear.lrs == pytest.approx(np.linspace(0.1, 0.2, 11))


def test_tiny_data_wrap_around():
    x, y = digits()
    learn = digits_learner()
    learn.data = ModelData(TensorLoader(x[:64], y[:64], bs=64, shuffle=True))
    assert len(learn.lr_find(num_it=30, end_lr=1e-3).lrs) == 30


def test_group_rates_keep_their_ratio_and_the_last_is_reported():
    seen = []

    class Watch(Callback):
        in_finder = True

        def after_step(self, state):
            seen.append(state.opt.lrs)

    learn = digits_learner(callbacks=[Watch()])
    result = learn.lr_find([1e-6, 1e-5, 1e-4], 1e-2, num_it=10)
    assert [row[-1] for row in seen] == pytest.approx(result.lrs[: len(seen)])
    assert all(row[0] == pytest.approx(row[2] / 100) for row in seen)


def test_suggested_rates_train_well_and_the_plot_shows_them():
    learn = digits_learner()
    result = learn.lr_find()
    for lr in result.suggestions().values():
        assert 1e-5 < lr < 1
    learn.fit_one_cycle(4, result.minimum)
    assert learn.history[-1]["valid_loss"] < 0.5
    axis = learn.sched.plot().axes[0]
    assert axis.get_xscale() == "log"
    assert axis.get_xlabel() == "learning rate"


def test_frozen_layers_stay_frozen_in_the_finder():
    learn = digits_learner()
    learn.freeze()
    learn.lr_find(num_it=10)
    assert [group.frozen for group in learn.groups] == [True, True, False]
    assert [param.requires_grad for param in learn.model.parameters()].count(True) == 2


@pytest.mark.parametrize(("start", "end", "steps"), [(1, 0.1, 10), (0, 1, 10), (1e-3, 1, 0)])
def test_impossible_ranges_are_refused(start, end, steps):
    with pytest.raises(ValueError, match="lr_find"):
        digits_learner().lr_find(start, end, num_it=steps)
