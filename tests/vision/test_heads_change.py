"""Learners whose data change, and answers of every kind of head."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.vision.helpers import two_class_arrays
from zoo import Ensemble
from zoo.losses import CrossEntropyFlat
from zoo.metrics import MisfitError
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    Items,
    RandomFlip,
    RandomRotate,
    coded_classes,
    coded_values,
    imagenet_stats,
    tfms_from_stats,
)
from zoo.vision.models.resnet_small import ResNetSmall

MOVING = tfms_from_stats(imagenet_stats, 32, aug_tfms=[RandomFlip(), RandomRotate(10)])
X = np.random.default_rng(0).integers(0, 255, (16, 40, 40, 3)).astype(np.uint8)
ITEMS = Items.from_arrays(X)
AREA = np.linspace(100, 400, 16)


def learner(items: Items, path, **options) -> ConvLearner:
    data = items.transform(MOVING).data(bs=8, seed=0)
    return ConvLearner.pretrained(
        "squeezenet1_1", data, weights=None, seed=0, progress=False, path=path, **options
    )


def area(names=("area",), seed=42, **options) -> Items:
    return ITEMS.split_by_random(0.25, seed=seed).label_by(AREA, target=coded_values(list(names), **options))


def test_new_heads_for_numbers_begin_at_the_middle(tmp_path):
    values = learner(area(), tmp_path)
    assert values.evaluate()["rmse"] < 1.5 * AREA.std()
    told = values.predict_one(X[0])
    assert abs(told[0] - AREA.mean()) < 0.3 * AREA.std()
    points = learner(ITEMS.split_by_random().points_by(np.full((16, 1, 2), 20.0)), tmp_path)
    assert points.evaluate()["point_distance"] < 0.2
    assert points.fit(1e-3, 1)[-1]["train_loss"] < 0.5
    assert np.ptp(values.predict()) > 0  # the weights are small, not zero


def test_other_training_pictures_keep_the_units(tmp_path):
    learn = learner(area(), tmp_path)
    learn.fit(1e-2, 1)
    before = learn.predict_one(X[0])
    other = area(seed=7).transform(MOVING).data(bs=8, seed=0)
    assert other.target.mean[0] != learn.data.target.mean[0]
    learn.set_data(other)
    assert np.allclose(learn.predict_one(X[0]), before)
    _, truth = learn.predict_with_targs()
    assert np.allclose(truth, other.val_y, atol=1e-3)
    assert learn.evaluate()["rmse"] == pytest.approx(
        float(np.sqrt(np.square(learn.predict() - truth).mean())), rel=1e-3
    )


def test_targets_of_another_kind_are_refused(tmp_path):
    two = ITEMS.label_by(np.stack([AREA, AREA], 1), target=coded_values(["x", "y"]))
    learn = learner(two, tmp_path)
    point = ITEMS.points_by(np.full((16, 1, 2), 5.0)).transform(MOVING).data()
    with pytest.raises(ValueError, match="the new data have points, the model was made for values"):
        learn.set_data(point)
    swapped = ITEMS.label_by(np.stack([AREA, AREA], 1), target=coded_values(["y", "x"]))
    with pytest.raises(ValueError, match=r"\['y', 'x'\], the model was made for \['x', 'y'\]"):
        learn.set_data(swapped.transform(MOVING).data())
    large = learner(ITEMS.pictures_by(np.zeros((16, 80, 80, 3), np.uint8), scale=2), tmp_path)
    with pytest.raises(ValueError, match="scale 1 in the new data, but the model was made for 2"):
        large.set_data(ITEMS.pictures_by(X).transform(MOVING).data())


def test_the_mean_of_views_of_larger_pictures(tmp_path):
    y, x = np.mgrid[0:80, 0:80]
    truth = np.repeat((x + y)[None, :, :, None], 3, 3).repeat(16, 0).astype(np.uint8)
    learn = learner(ITEMS.split_by_random().pictures_by(truth, scale=2), tmp_path)
    mean, targets = learn.TTA(n_aug=2)
    assert mean.shape == targets.shape == (3, 3, 64, 64)
    assert np.allclose(learn.TTA(n_aug=0)[0], learn.predict(), atol=1e-5)


def test_nothing_to_predict_is_told(tmp_path):
    learn = learner(ITEMS.split_by_random().points_by(np.full((16, 1, 2), 5.0)), tmp_path)
    with pytest.raises(ValueError, match="nothing to predict"):
        learn.predict_batch([])
    with pytest.raises(ValueError, match=r"precompute=True .* points follow"):
        learn.precompute = True


def test_values_have_the_same_units_in_every_answer(tmp_path):
    learn = learner(area(), tmp_path)
    learn.fit(1e-2, 1)
    mean, truth = learn.TTA(n_aug=2)
    assert np.allclose(truth, learn.data.val_y, atol=1e-3)
    assert abs(mean - learn.predict()).max() < 3 * AREA.std()
    assert torch.is_tensor(learn.data.target.rows(learn.data.val_y))


def test_metrics_by_name_are_told_in_units(tmp_path):
    learn = learner(area(), tmp_path, metrics=["rmse", "mae", "r2"])
    told = learn.evaluate()
    said, truth = learn.predict_with_targs()
    assert told["rmse"] == pytest.approx(float(np.sqrt(np.square(said - truth).mean())), rel=1e-4)
    assert told["mae"] == pytest.approx(float(np.abs(said - truth).mean()), rel=1e-4)
    assert learn.score(said, truth)["rmse"] == pytest.approx(told["rmse"], rel=1e-4)
    points = ITEMS.split_by_random().points_by(np.full((16, 1, 2), 5.0))
    assert "point_distance" in learner(points, tmp_path, metrics=["point_distance"]).evaluate()


def masks(tfms=MOVING, **options):
    rows = (X[..., 0] > 128).astype(np.uint8) + (X[..., 1] > 200)
    items = ITEMS.split_by_random(0.25).masks_by(rows, ["a", "b", "c"], **options)
    return items.transform(tfms).data(bs=8, seed=0)


def test_losses_of_torch_read_masks(tmp_path):
    options = {"weights": None, "seed": 0, "progress": False, "path": tmp_path}
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 1.0]))
    learn = ConvLearner.pretrained("squeezenet1_1", masks(), loss_fn=loss, **options)
    own = CrossEntropyFlat(axis=1, weight=torch.tensor([1.0, 5.0, 1.0]), ignore_index=255)
    ours = ConvLearner.pretrained("squeezenet1_1", masks(), loss_fn=own, **options)
    assert learn.evaluate()["valid_loss"] == pytest.approx(ours.evaluate()["valid_loss"], rel=1e-4)
    assert learn.predict().shape == (4, 3, 32, 32)
    for data in (masks(void="c"), masks(tfms_from_stats(imagenet_stats, 32, crop="letterbox"))):
        learn = ConvLearner.pretrained("squeezenet1_1", data, loss_fn=torch.nn.CrossEntropyLoss(), **options)
        with pytest.raises(ValueError, match="ignore_index=255"):
            learn.fit(1e-3, 1)


def test_means_of_learners_answer_in_the_picture(tmp_path):
    data = masks()
    options = {"weights": None, "progress": False, "path": tmp_path}
    members = [ConvLearner.pretrained("squeezenet1_1", data, seed=seed, **options) for seed in (0, 1)]
    wide = np.repeat(X[0], 2, 1)
    answer = Ensemble(members).predict_one(wide)
    assert answer.numbers.shape == (40, 80)
    twice = Ensemble([members[0], ConvLearner.pretrained("squeezenet1_1", data, seed=0, **options)])
    assert (twice.predict_one(wide).numbers == members[0].predict_one(wide).numbers).all()
    items = ITEMS.split_by_random(0.25).points_by(np.full((16, 1, 2), 20.0)).transform(MOVING)
    points = [
        ConvLearner.pretrained("squeezenet1_1", items.data(bs=8, seed=0), seed=seed, **options)
        for seed in (0, 1)
    ]
    mean = np.mean([one.predict_one(wide) for one in points], 0)
    assert np.allclose(Ensemble(points).predict_one(wide), mean, atol=1e-3)


def test_a_callable_that_wants_names_is_told(tmp_path):
    def named(*, image):
        return image

    tfms = tfms_from_stats(imagenet_stats, 32, aug_tfms=[named])
    data = ITEMS.label_by([0, 1] * 8).transform(tfms).data(bs=8, seed=0)
    with pytest.raises(TypeError, match=r"transform named is called with one picture .*image=picture"):
        next(iter(data.train_dl))


def refused(data, loss_fn, told):
    learn = ConvLearner(data, ResNetSmall(10), device="cpu", progress=False, loss_fn=loss_fn)
    before = [param.clone() for param in learn.model.parameters()]
    with pytest.raises(MisfitError, match=told):
        learn.fit(1e-3, 1)
    assert all(map(torch.equal, before, learn.model.parameters()))


@pytest.mark.parametrize(
    "loss_fn",
    [None, nn.CrossEntropyLoss(), F.cross_entropy, functools.partial(F.cross_entropy, label_smoothing=0.1)],
)
def test_models_with_outputs_for_other_classes_are_refused(loss_fn):
    x, y = two_class_arrays(4, 16)
    data = ImageClassifierData.from_arrays(None, (x, y), bs=4, tfms=tfms_from_stats(imagenet_stats, 16))
    refused(data, loss_fn, r"gives 10 scores, the data have 2 classes \(blue, red\): its last layer needs 2")


@pytest.mark.parametrize(
    "loss_fn",
    [None, nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits, nn.MultiLabelSoftMarginLoss()],
)
def test_models_with_outputs_for_other_labels_are_refused(loss_fn):
    tags = ITEMS.label_by([["a"], ["a", "b"]] * 8, target=coded_classes()).transform(MOVING).data(bs=8)
    assert tags.is_multi
    refused(tags, loss_fn, r"gives 10 scores, the data have 2 labels \(a, b\): its last layer needs 2")


def test_losses_of_ones_own_may_read_any_outputs():
    x, y = two_class_arrays(4, 16)
    data = ImageClassifierData.from_arrays(None, (x, y), bs=4, tfms=tfms_from_stats(imagenet_stats, 16))
    own = ConvLearner(
        data, ResNetSmall(10), device="cpu", progress=False, metrics=[],
        loss_fn=lambda preds, target: F.cross_entropy(preds[:, :2], target),
    )  # fmt: skip
    assert np.isfinite(own.fit(1e-3, 1)[-1]["train_loss"])
