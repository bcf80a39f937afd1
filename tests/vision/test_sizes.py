"""Pictures that grow within a fit."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from tests.vision.helpers import two_class_arrays
from zoo.callbacks import Callback
from zoo.storage import resume
from zoo.vision import ConvLearner, ImageClassifierData, imagenet_stats, tfms_from_stats, transforms_side_on
from zoo.vision.sizes import at_size, bs_at


class Shapes(Callback):
    def __init__(self):
        self.train, self.valid = {}, {}

    def before_batch(self, state):
        kept = self.train if state.training else self.valid
        kept.setdefault(state.epoch, []).append(tuple(state.inputs[0].shape))


class StopAt(Callback):
    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def before_batch(self, state):
        if state.training and (state.epoch, state.batch_index) == self.at:
            raise RuntimeError("stopped")


def learner(path=".", size=16, n=80, bs=32, **options):
    x, y = two_class_arrays(n, 24)
    tfms = tfms_from_stats(imagenet_stats, size, aug_tfms=transforms_side_on, max_zoom=1.1)
    data = ImageClassifierData.from_arrays(path, (x, y), (x[:20], y[:20]), bs=bs, tfms=tfms, seed=1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return ConvLearner.from_model_data(model, data, device="cpu", progress=False, path=path, **options)


def test_size_and_batch_size_follow_the_epochs() -> None:
    learn, shapes = learner(), Shapes()
    rows = learn.fit_one_cycle(4, 1e-2, sizes={1: 24, 3: (16, 32)}, callbacks=[shapes])
    assert [shape[2:] for shape in (shapes.train[epoch][0] for epoch in range(4))] == [
        (16, 16), (24, 24), (24, 24), (16, 32),
    ]  # fmt: skip
    assert [shapes.train[epoch][0][0] for epoch in range(4)] == [32, 16, 16, 16]
    assert [shapes.valid[epoch][0][2:] for epoch in range(4)] == [(16, 16), (24, 24), (24, 24), (16, 32)]
    assert [len(shapes.train[epoch]) for epoch in range(4)] == [3, 5, 5, 5]
    assert len(learn.sched.lrs) == 18
    assert learn.sched.lrs[-1] < learn.sched.lrs[0]  # the schedule knows how many steps there are
    assert len(rows) == 4
    assert learn.data.sz == (16, 32)
    assert learn.data.train_dl.bs == 16
    assert learn.predict().shape == (20, 2)


def test_a_fit_with_sizes_goes_on_where_it_was_stopped(tmp_path) -> None:
    def run(folder, *listeners):
        learn = learner(folder, seed=4)
        learn.fit_one_cycle(
            3, 1e-2, sizes={0: 12, 1: 20}, callbacks=listeners, checkpoint_every=1, resume=True
        )
        return learn

    whole = run(tmp_path / "whole")
    for at in ((0, 2), (1, 3), (2, 1)):
        with pytest.raises(RuntimeError, match="stopped"):
            run(tmp_path / "cut", StopAt(*at))
    cut = run(tmp_path / "cut")
    for ours, theirs in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert cut.data.sz == (20, 20)
    strip = [{key: value for key, value in row.items() if key != "seconds"} for row in cut.history]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
    resume._finished_here.clear()  # as in another process
    again = run(tmp_path / "cut")  # complete: its end is restored
    assert again.data.sz == (20, 20)
    assert len(again.history) == 3


@pytest.mark.parametrize("sizes", [{0: 12, 1: 24}, {0: 16, 1: 32}, {1: 24}, {0: 40, 1: 8}])
def test_a_fit_that_is_run_again_has_the_same_batches(sizes) -> None:
    learn, seen = learner(), []
    for _ in range(3):
        shapes = Shapes()
        learn.fit_one_cycle(2, 1e-2, sizes=sizes, callbacks=[shapes])
        seen.append([found for _, found in sorted(shapes.train.items())])
    assert seen[0] == seen[1] == seen[2]


def test_the_batch_size_counts_from_the_size_of_the_data() -> None:
    learn, shapes = learner(size=24, bs=16), Shapes()
    learn.fit_one_cycle(3, 1e-2, sizes={0: 8, 1: 24, 2: 48}, callbacks=[shapes])
    assert [shapes.train[epoch][0][0] for epoch in range(3)] == [16, 16, 4]
    learn.data = at_size(learn.data, (24, 24), bs=10)  # a size of batches that was chosen since
    learn.data.train_dl = learn.data.train_dl.with_bs(20)
    learn.fit_one_cycle(2, 1e-2, sizes={0: 24, 1: 48}, callbacks=[again := Shapes()])
    assert [again.train[epoch][0][0] for epoch in sorted(again.train)] == [20, 5]


@pytest.mark.parametrize("sizes", [{0: 12, 1: 24}, {1: 24}])
def test_the_frozen_stage_of_fine_tune_has_the_first_size_of_the_second(sizes) -> None:
    x, y = two_class_arrays(40, 24)
    tfms = tfms_from_stats(imagenet_stats, 16)
    data = ImageClassifierData.from_arrays(".", (x, y), (x[:8], y[:8]), bs=16, tfms=tfms, seed=1)
    body = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(body, nn.Linear(4, 2))
    groups = {"body": [model[0]], "head": [model[1]]}
    learn = ConvLearner.from_model_data(model, data, device="cpu", progress=False, layer_groups=groups)
    first = sizes.get(0, 16)
    for _ in range(2):
        start, shapes = len(learn.history), Shapes()
        learn.fine_tune(2, 1e-3, sizes=sizes, callbacks=[shapes])
        assert [shapes.train[start + epoch][0][2] for epoch in range(3)] == [first, first, 24]
    rows = len(learn.history)
    with pytest.raises(ValueError, match="epochs must be a whole number"):
        learn.fine_tune("2", sizes={0: 12})
    with pytest.raises(ValueError, match="size for epoch 2, but the epochs of this fit are 0 to 1"):
        learn.fine_tune(2, 1e-3, sizes={0: 12, 2: 24})
    assert len(learn.history) == rows


def test_larger_pictures_never_make_larger_batches() -> None:
    for bs in (1, 2, 7, 20, 30, 64):
        found = [bs_at(bs, (64, 64), (side, side)) for side in (32, 60, 64, 66, 80, 128, 512)]
        assert found[:3] == [bs] * 3
        assert found == sorted(found, reverse=True)


def test_warm_restarts_and_fine_tune_take_sizes_too() -> None:
    learn, shapes = learner(), Shapes()
    learn.fit(1e-2, 2, cycle_len=1, sizes={0: 8, 1: 16}, callbacks=[shapes])
    assert [shapes.train[epoch][0][0] for epoch in (0, 1)] == [32, 32]
    assert "sizes" in inspect.signature(learn.fit).parameters
    assert "from epoch 3 on" in learn.fit.__doc__
    inspect.signature(learn.fit_one_cycle).bind(3, 1e-2, sizes={0: 8})
    with pytest.raises(TypeError):
        inspect.signature(learn.fit_one_cycle).bind(3, 1e-2, sises={0: 8})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({0: 12, 3: 16}, "size for epoch 3, but the epochs of this fit are 0 to 2"),
        ({-1: 12}, "epochs are whole numbers from 0, got -1"),
        ({0: 12.5}, "a size is a number of pixels or"),
        ([12, 16], "maps epochs to sizes"),
    ],
)
def test_sizes_that_make_no_sense_change_nothing(sizes, message) -> None:
    learn = learner()
    before = learn.data
    with pytest.raises(ValueError, match=message):
        learn.fit_one_cycle(3, 1e-2, sizes=sizes)
    assert learn.data is before
    assert not learn.history


def test_data_without_a_size_are_refused() -> None:
    x, y = two_class_arrays(8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    plain = ConvLearner.from_model_data(
        model, ImageClassifierData.from_arrays(".", (x, y)), device="cpu", progress=False
    )
    with pytest.raises(ValueError, match="these data have none"):
        plain.fit(1e-2, 1, sizes={0: 8})
    loader = zoo.TensorLoader(torch.rand(8, 3, 16, 16), torch.arange(8) % 2)
    other = ConvLearner.from_model_data(model, zoo.ModelData(loader), device="cpu", progress=False)
    with pytest.raises(TypeError, match="got ModelData"):
        other.fit(1e-2, 1, sizes={0: 8})


def test_balanced_data_stay_so() -> None:
    x, y = two_class_arrays(40, 24)
    tfms = tfms_from_stats(imagenet_stats, 12)
    data = ImageClassifierData.from_arrays(".", (x, y), bs=8, tfms=tfms, seed=1, balance=True)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    learn = ConvLearner.from_model_data(model, data, device="cpu", progress=False)
    assert np.isfinite(learn.fit(1e-2, 2, sizes={1: 16})[-1]["train_loss"])
    assert "classes balanced" in repr(learn.data)
