"""Learners whose weights came from a file train on as those that were trained to them."""

import functools
import json
import warnings

import pytest
import torch

from tests.vision.helpers import two_class_arrays, two_class_folders
from zoo import load_learner
from zoo.engine.relative_adamw import RelativeAdamW
from zoo.vision import (
    ConvLearner,
    ConvNet,
    ImageClassifierData,
    tfms_from_model,
    tfms_from_stats,
    transforms_side_on,
)
from zoo.vision.fine_tuning import statistics_are_folded

ARCH = "mobilenet_v2"
RATES = [1e-4, 1e-3, 1e-2]


@pytest.fixture
def weights(data_dir):
    return data_dir("weights") / "mobilenet_v2.pth"


def pictures(path):
    folders = two_class_folders(path / "data")
    return ImageClassifierData.from_paths(
        folders, bs=4, tfms=tfms_from_model(ARCH, 32), num_workers=0, seed=1
    )


def learner(data, weights, arch=ARCH, **options):
    return ConvLearner.pretrained(
        arch, data, weights=weights, progress=False, device="cpu", seed=0, **options
    )


def settings(learn):
    return (
        learn.opt_fn,
        [(group.trainable, group.fresh) for group in learn.groups],
        learn.groups.keeps_statistics,
        learn.wd,
        learn.clip,
    )


def trained_on(learn, path):
    """The weights after steps at published rates."""
    learn.seed, learn.progress = 0, False
    learn.data = pictures(path)
    learn.unfreeze()
    learn.fit(RATES, 1)
    return learn.model.state_dict()


def test_a_loaded_learner_trains_on_as_the_exported_one(tmp_path, weights):
    learn = learner(pictures(tmp_path), weights, wd=[0.0, 0.0, 0.1], clip=2.0)
    learn.fit(1e-3, 1)
    learn.export(tmp_path / "z.zip")
    loaded = load_learner(tmp_path / "z.zip", "cpu")
    assert settings(loaded) == settings(learn)
    learn.opt = None  # averages are not in the file
    learn.history.clear()
    one, other = trained_on(learn, tmp_path / "a"), trained_on(loaded, tmp_path / "b")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert statistics_are_folded(loaded.model.body)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (torch.optim.SGD, None),
        (functools.partial(torch.optim.SGD, momentum=0.9), {"momentum": 0.9}),
        (functools.partial(RelativeAdamW, share=0.5, betas=(0.8, 0.9)), {"share": 0.5, "betas": (0.8, 0.9)}),
    ],
)
def test_the_optimizer_comes_along(tmp_path, given, options):
    learn = learner(pictures(tmp_path), None, "squeezenet1_1", opt_fn=given)
    learn.bn_freeze(True)
    learn.freeze_to(1)
    learn.export(tmp_path / "z.zip")
    loaded = load_learner(tmp_path / "z.zip", "cpu")
    found = loaded.opt_fn
    assert (found.func if options else found) is (given.func if options else given)
    assert getattr(found, "keywords", None) == options
    assert settings(loaded)[1:] == settings(learn)[1:]


def test_code_does_not_and_networks_of_ones_own_keep_adamw(tmp_path):
    x, y = two_class_arrays(8, 32)
    data = ImageClassifierData.from_arrays(None, (x, y), bs=4, num_workers=0)
    learn = ConvLearner.from_model_data(
        ConvNet(2, [8]), data, device="cpu", opt_fn=lambda params: torch.optim.SGD(params, 0.1)
    )
    learn.export(tmp_path / "z.zip")
    assert load_learner(tmp_path / "z.zip", "cpu").opt_fn is torch.optim.AdamW


def test_older_archives_of_trained_bodies(tmp_path, weights):
    learn = learner(pictures(tmp_path), weights)
    learn.export(tmp_path / "z")
    file = tmp_path / "z" / "config.json"
    config = json.loads(file.read_text())
    assert config.pop("training")["optimizer"] == {"name": "RelativeAdamW", "options": {}}
    file.write_text(json.dumps(config))
    loaded = load_learner(tmp_path / "z", "cpu")
    assert loaded.opt_fn is RelativeAdamW
    assert loaded.groups.keeps_statistics


def test_a_random_body_that_loads_trained_weights(tmp_path, weights):
    learn = learner(pictures(tmp_path), weights)
    learn.save("w")
    other = learner(learn.data, None)
    assert other.opt_fn is torch.optim.AdamW
    assert not other.groups.keeps_statistics
    other.load(learn.path / "models" / "w")
    assert settings(other) == settings(learn)
    own = learner(learn.data, None, opt_fn=torch.optim.SGD)
    own.load(learn.path / "models" / "w")
    assert own.opt_fn is torch.optim.SGD


def test_a_body_trained_from_random_weights_keeps_its_optimizer(tmp_path):
    learn = learner(pictures(tmp_path), None)
    learn.fit(1e-3, 1)
    learn.save("best")
    learn.load("best")
    assert learn.opt_fn is torch.optim.AdamW
    assert not learn.groups.keeps_statistics


def test_folded_weights_under_a_choice_of_the_user(tmp_path, weights):
    learn = learner(pictures(tmp_path), weights)
    learn.save("w")
    learn.bn_freeze(False)
    learn.load("w")
    assert not learn.groups.keeps_statistics
    learn.export(tmp_path / "z.zip")
    loaded = load_learner(tmp_path / "z.zip", "cpu")
    assert not loaded.groups.keeps_statistics
    loaded.data = learn.data
    loaded.progress = False
    loaded.fine_tune(1)
    assert not loaded.groups.keeps_statistics


class TestNormalisation:
    def told(self, weights, tfms, arch=ARCH):
        x, y = two_class_arrays(4, 32)
        data = ImageClassifierData.from_arrays(None, (x, y), bs=4, tfms=tfms, num_workers=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            learner(data, weights, arch)
        return [(str(one.message), one.filename) for one in caught]

    @pytest.mark.parametrize(
        ("tfms", "how"),
        [
            (tfms_from_model("efficientnet_lite0", 32), "with the mean (0.5, 0.5, 0.5)"),
            (tfms_from_stats(([123, 116, 103], [58, 57, 57]), 32), "with the mean (123, 116, 103)"),
            ((None, None), "not at all"),
        ],
    )
    def test_pictures_normalised_unlike_those_of_the_weights_are_told_once(self, weights, tfms, how):
        ((message, place),) = self.told(weights, tfms)
        assert message.startswith(f"the pictures are normalised {how}")
        assert "mobilenet_v2 was pretrained with the mean (0.485, 0.456, 0.406)" in message
        assert "tfms_from_model('mobilenet_v2', sz)" in message
        assert place == __file__
        assert not self.told(None, tfms)

    def test_statistics_of_ones_own_pictures_are_near_enough(self, weights):
        cifar = ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))
        assert not self.told(weights, tfms_from_stats(cifar, 32))
        assert not self.told(weights, tfms_from_model(ARCH, 32))


def test_transforms_that_changed_places_are_told():
    x, y = two_class_arrays(12, 32)
    train, valid = tfms_from_model(ARCH, 32, aug_tfms=transforms_side_on)
    with pytest.warns(UserWarning, match=r"the second is random .*have they changed places") as caught:
        data = ImageClassifierData.from_arrays(None, (x, y), (x, y), tfms=(valid, train))
    assert len(caught) == 1
    (found,) = [one for one in data.check().findings if one.what == "validation on random views"]
    assert "changed places" in found.cure
    both = ImageClassifierData.from_arrays(None, (x, y), (x, y), tfms=(train, train))
    (found,) = [one for one in both.check().findings if one.what == "validation on random views"]
    assert "plain transform" in found.cure
    usual = ImageClassifierData.from_arrays(None, (x, y), (x, y), tfms=(train, valid))
    assert not [one for one in usual.check().findings if one.what == "validation on random views"]
