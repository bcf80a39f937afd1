"""Training pictures from end to end: frozen bodies, cached activations, test-time augmentation, archives."""

import inspect
import json
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.core.processes import fresh
from tests.seeds import check_seed_of_first_weights
from tests.vision.helpers import gradient, link_slice, two_class_arrays, two_class_folders
from zoo import Callback, load_learner, register_model, set_seed
from zoo.inspect.calibration import Calibration, Reliability
from zoo.metrics import accuracy
from zoo.training.options import LEARNER_DEFAULTS
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    imagenet_stats,
    tfms_from_model,
    tfms_from_stats,
    transforms_side_on,
)
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.models.transfer import transfer_body

ARCH = "squeezenet1_1"


@pytest.fixture
def data(tmp_path):
    path = two_class_folders(tmp_path / "data")
    return ImageClassifierData.from_paths(path, bs=4, tfms=tfms_from_model(ARCH, 32), num_workers=0, seed=1)


def learner(data, **options):
    options = {"weights": None, "progress": False, "device": "cpu", **options}
    return ConvLearner.pretrained(ARCH, data, **options)


def body_state(learn):
    return {k: v.clone() for k, v in learn.model.body.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class TestPretrained:
    def test_starts_frozen_with_three_groups(self, data):
        learn = learner(data)
        assert [group.frozen for group in learn.groups] == [True, True, False]
        assert [m.__name__ for m in learn.metrics] == ["accuracy"]
        assert not any(p.requires_grad for p in learn.model.body.parameters())

    def test_the_seed_fixes_the_first_weights_and_no_other_draws(self, data):
        check_seed_of_first_weights(lambda seed: learner(data, seed=seed).model)

    @pytest.mark.parametrize("precompute", [False, True])
    def test_fine_tune_trains_the_head_then_everything(self, data, precompute):
        learn = learner(data, precompute=precompute)
        before, seen = body_state(learn), []

        class Look(Callback):
            def after_train(self, state):
                seen.append((learn.precompute, same(before, body_state(learn))))

        rows = learn.fine_tune(1, 1e-2, freeze_epochs=2, callbacks=[Look()])
        assert len(rows) == 3
        assert seen == [(precompute, True), (precompute, True), (False, False)]

    def test_frozen_batch_norm_does_not_move_and_bn_freeze_keeps_it_after_unfreezing(self, data):
        learn = ConvLearner.pretrained("mobilenet_v3_small", data, weights=None, progress=False)
        before = body_state(learn)
        learn.fit(1e-2, 1)
        assert same(before, body_state(learn))
        learn.unfreeze()
        learn.bn_freeze(True)
        learn.fit(1e-3, 1)
        running = [k for k in before if "running" in k or "num_batches" in k]
        after = body_state(learn)
        assert running
        assert all(torch.equal(before[k], after[k]) for k in running)
        assert not torch.equal(before["features.0.0.weight"], after["features.0.0.weight"])
        learn.bn_freeze(False)
        learn.fit(1e-3, 1)
        assert not torch.equal(
            body_state(learn)["features.0.1.running_mean"], after["features.0.1.running_mean"]
        )

    def test_seed_fixes_head_and_training(self, data):
        results = []
        for _ in range(2):
            learn = learner(data, seed=7)
            learn.fit(1e-2, 1)
            results.append(learn.predict())
        assert np.array_equal(*results)

    def test_weights_from_a_file_and_a_dict(self, data_dir, data):
        file = data_dir("weights") / "squeezenet1_1_features.pth"
        from_file = learner(data, weights=file)
        from_dict = learner(data, weights=torch.load(file, weights_only=True))
        assert same(body_state(from_file), body_state(from_dict))
        with pytest.raises(ValueError, match=r"squeezenet1_1_features\.pth does not fit"):
            ConvLearner.pretrained("resnet18", data, weights=file)

    def test_custom_head_cannot_be_exported_and_says_what_can(self, data, tmp_path):
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))
        learn = learner(data, custom_head=head)
        with pytest.raises(TypeError, match=r"custom_head \(Sequential\) can't.*ConvLearner.from_model_data"):
            learn.export(tmp_path / "own")

        @register_model("test.own_head")
        class Whole(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = transfer_body("squeezenet1_1", 3)
                self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))

            def forward(self, x):
                return self.head(self.body(x))

        whole = ConvLearner.from_model_data(Whole(), data, progress=False)
        opened = load_learner(whole.export(tmp_path / "whole"))
        picture = np.zeros((40, 40, 3), np.uint8)
        assert opened.predict_one(picture) == whole.predict_one(picture)

    def test_custom_head(self, data):
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))
        learn = learner(data, custom_head=head)
        learn.fit(1e-2, 1)
        assert learn.predict().shape == (12, 2)
        with pytest.raises(ValueError, match="standard head"):
            learn.precompute = True
        with pytest.raises(ValueError, match="leave out ps, xtra_fc and bn_final"):
            learner(data, custom_head=head, ps=0.1)

    @pytest.mark.parametrize("channels", [1, 4])
    def test_other_channels(self, channels):
        x, y = two_class_arrays(12, 32)
        x = x[..., :1] if channels == 1 else np.concatenate([x, x[..., :1]], 3)
        data = ImageClassifierData.from_arrays(None, (x, y), (x, y), bs=6, tfms=tfms_from_model(ARCH, 32))
        learn = learner(data)
        learn.fit(1e-3, 1)
        assert learn.predict_one(x[0]).label in ("blue", "red")

    def test_a_broken_file_anywhere_stops_a_fit_before_it_changes_anything(self, data):
        learn = learner(data)
        before = {k: v.clone() for k, v in learn.model.state_dict().items()}
        bad = [Path(data.filenames[split][-1]) for split in ("train", "valid")]
        for file in bad:
            file.write_bytes(b"nothing")
        for call in (lambda: learn.fit(1e-2, 1), lambda: learn.lr_find()):
            with pytest.raises(ValueError, match="cannot read 2 picture files") as caught:
                call()
            assert all(str(file) in str(caught.value) for file in bad)
        assert same(before, learn.model.state_dict())
        assert not learn.history

    def test_batches_of_one_picture_and_a_single_class(self, data):
        single = ImageClassifierData.from_paths(data.path, bs=1, tfms=data.tfms, num_workers=0)
        for precompute in (False, True):
            with pytest.raises(ValueError, match="batches of a single picture: use bs=2 or more"):
                learner(single, precompute=precompute).fit(1e-2, 1)
        x, y = two_class_arrays(1, 32)
        with pytest.warns(UserWarning, match="only one class, 'blue'"):
            alone = ImageClassifierData.from_arrays(None, (x, y), tfms=data.tfms)
        with pytest.raises(ValueError, match="at least 2 training pictures"):
            learner(alone).fit(1e-2, 1)

    def test_what_is_no_data(self, data):
        with pytest.raises(TypeError, match=r"set_data takes picture data.*got str 'x'"):
            learner(data).set_data("x")

    def test_numbers_of_any_kind_and_their_errors(self, data):
        head = learner(data, ps=np.float32(0.5), xtra_fc=np.array([16])).model.head
        assert [m.p for m in head if isinstance(m, nn.Dropout)] == [0.5, 0.5]
        for options, message in (
            ({"ps": "0.5"}, "ps takes one dropout probability"),
            ({"ps": True}, "ps takes one dropout probability"),
            ({"xtra_fc": 128}, r"xtra_fc takes layer sizes, e\.g\. \[128\]"),
            ({"xtra_fc": [1.5]}, "xtra_fc takes layer sizes"),
            ({"weights": True}, "weights must be 'default', a file"),
        ):
            with pytest.raises(TypeError, match=message):
                learner(data, **options)
        for size in (224.0, "224", 0):
            with pytest.raises(ValueError, match="sz must be a positive number"):
                tfms_from_model(ARCH, size)

    def test_options_are_those_of_learners(self, data):
        for function in (ConvLearner.pretrained, ConvLearner.from_model_data):
            found = inspect.signature(function).parameters
            assert all(found[name].default == default for name, default in LEARNER_DEFAULTS.items())
            assert "    opt_fn: " in inspect.getdoc(function)
        with pytest.raises(TypeError, match=r"ConvLearner.pretrained\(\) got .*'metric' .*mean 'metrics'"):
            ConvLearner.pretrained(ARCH, data, weights=None, metric=[])
        with pytest.raises(TypeError, match=r"from_model_data\(\) got .*'optfn' .*mean 'opt_fn'"):
            ConvLearner.from_model_data(nn.Flatten(), data, optfn=torch.optim.SGD)

    def test_freezing_errors(self, data):
        for precompute in (False, True):
            learn = learner(data, precompute=precompute)
            for number in (5, 7, -9):
                with pytest.raises(ValueError, match="3 layer groups"):
                    learn.freeze_to(number)
            with pytest.raises(TypeError, match=r"number of a layer group, got 'head'.*2 head"):
                learn.freeze_to("head")
        with pytest.raises(ValueError):
            learner(data).fit([1e-3, 1e-2], 1)


class TestPrecompute:
    def test_features_are_those_of_the_body(self, data):
        learn = learner(data)
        plain = learn.predict()
        learn.precompute = True
        assert np.allclose(learn.predict(), plain, atol=1e-5)
        x = torch.stack([data.tfms[1](f) for f in data.filenames["train"]])
        with torch.no_grad():
            expected = learn.model.eval().features(x)
        assert torch.allclose(learn.data.train_dl.tensors[0], expected, atol=1e-5)
        assert learn.data.train_dl.tensors[1].tolist() == data.trn_y.tolist()

    def test_frozen_training_is_the_same_with_and_without(self, data):
        results = []
        for precompute in (False, True):
            set_seed(3)
            learn = learner(data, ps=0.0, precompute=precompute)
            learn.fit(1e-3, 2)
            learn.precompute = False
            results.append(learn.predict())
        assert np.allclose(*results, atol=1e-3)

    def test_cache_is_reused_and_follows_pictures_size_and_weights(self, data, tmp_path, monkeypatch):
        import zoo.vision.precompute as module

        extracted, counted = [], []
        original = module._extract

        def counting(*args):
            extracted.append(args[5])
            counted.append(len(args[4]))
            return original(*args)

        monkeypatch.setattr(module, "_extract", counting)
        learn = learner(data, precompute=True)
        state = learn.model.body.state_dict()
        assert extracted == [f"{ARCH} features of train", f"{ARCH} features of valid"]
        files = sorted(p.name for p in (data.path / "tmp").glob("*.npy*"))
        assert len(files) == 2
        assert all(name.endswith(".npy") for name in files)
        learner(data, weights=state, precompute=True)
        assert len(extracted) == 2
        learner(data, precompute=True)  # other random weights
        assert len(extracted) == 4
        picture = Path(data.filenames["train"][0])
        Image.fromarray(gradient(40, 48)).save(picture)
        learner(data, weights=state, precompute=True)
        assert extracted[4:] == [f"{ARCH} features of train"]
        assert counted[-1] == 1  # the rows of the other pictures are taken over
        bigger = ImageClassifierData.from_paths(
            data.path, bs=4, tfms=tfms_from_model(ARCH, 48), num_workers=0
        )
        learner(bigger, weights=state, precompute=True)
        assert len(extracted) == 7

    def test_leftovers_of_killed_runs_and_caches_of_another_width(self, data, caplog):
        learn = learner(data, precompute=True)
        expected = learn.predict()
        learn.precompute = False
        folder = data.path / "tmp"
        for file in folder.glob("*.npy*"):
            np.save(file, np.load(file)[:, :7])
        old, new = folder / ".squeezenet-train-0.npy.abc.tmp", folder / ".squeezenet-train-0.npy.def.tmp"
        for file in (old, new):
            file.write_bytes(b"half")
        os.utime(old, (0, 0))
        with caplog.at_level(logging.WARNING):
            learn.precompute = True
        assert "does not fit the data" in caplog.text
        assert np.array_equal(learn.predict(), expected)
        assert not old.exists()
        assert new.exists()

    def test_resized_and_fewer_pictures_of_features_are_pictures(self, data):
        learn = learner(data, precompute=True)
        learn.fit(1e-3, 1)
        for changed in (learn.data.resize(36), learn.data.only(range(8)), learn.data):
            learn.set_data(changed)
            assert learn.precompute
            assert learn.data.train_dl.tensors[0].shape == (len(changed.trn_ds), learn.model.head_inputs)
            learn.fit(1e-3, 1)
            with_features = learn.predict()
            learn.precompute = False
            for loader, rows in ((learn.data.train_dl, changed.trn_ds), (learn.data.valid_dl, data.val_ds)):
                assert next(iter(loader))[0].shape[1:] == (3, 32, 32)
                assert len(loader.dataset) == len(rows)
            assert np.allclose(learn.predict(), with_features, atol=1e-3)
            learn.precompute = True

    def test_all_broken_pictures_are_named(self, data):
        bad = [Path(data.filenames["train"][i]) for i in (0, 5)]
        for file in bad:  # damaged inside: header and end are right
            content = bytearray(file.read_bytes())
            content[60:-40] = bytes(len(content) - 100)
            file.write_bytes(content)
        with pytest.raises(ValueError, match="cannot read 2 picture files") as caught:
            learner(data, precompute=True)
        assert all(str(file) in str(caught.value) for file in bad)
        assert list((data.path / "tmp").glob("*.npy*")) == []

    def test_the_last_row_alone_is_left_out_of_training(self):
        x, y = two_class_arrays(9, 32)
        data = ImageClassifierData.from_arrays(None, (x, y), (x, y), bs=4, tfms=tfms_from_model(ARCH, 32))
        learn = learner(data, precompute=False)
        from zoo.vision.precompute import feature_data

        with tempfile.TemporaryDirectory() as folder:
            features = feature_data(data, learn.model, learn.device, Path(folder))
        assert [len(t) for _, t in features.train_dl] == [4, 4]
        assert features.valid_dl.n_rows == 9

    def test_a_half_written_cache_cannot_exist(self, data, monkeypatch):
        import zoo.vision.precompute as module

        def interrupted(*args):
            args[3][0] = 1
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "_extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learner(data, precompute=True)
        assert list((data.path / "tmp").glob("*.npy*")) == []

    def test_a_damaged_cache_is_computed_again(self, data, caplog):
        learn = learner(data, precompute=True)
        expected = learn.predict()
        for file in (data.path / "tmp").glob("*.npy*"):
            file.write_bytes(file.read_bytes()[:100])
        learn.precompute = False
        with caplog.at_level(logging.WARNING):
            learn.precompute = True
        assert "computed again" in caplog.text
        assert np.array_equal(learn.predict(), expected)

    def test_augmentation_has_no_effect_and_warns(self, data):
        tfms = tfms_from_model(ARCH, 32, aug_tfms=transforms_side_on)
        augmented = ImageClassifierData.from_paths(data.path, bs=4, tfms=tfms, num_workers=0)
        with pytest.warns(UserWarning, match="augmentation .* has no effect"):
            learner(augmented, precompute=True)

    def test_the_body_cannot_train_meanwhile(self, data):
        learn = learner(data, precompute=True)
        for call in (learn.unfreeze, lambda: learn.freeze_to(1), lambda: learn.freeze_to(-2)):
            with pytest.raises(ValueError, match=r"set learn\.precompute = False"):
                call()
        learn.freeze()
        learn.precompute = False
        learn.unfreeze()
        with pytest.raises(ValueError, match=r"call learn\.freeze\(\) first"):
            learn.precompute = True

    def test_loaded_weights_bring_their_own_features(self, data):
        learn = learner(data)
        learn.save("one")
        expected = learn.predict()
        other = learner(data, precompute=True)
        other.load("one")
        assert np.allclose(other.predict(), expected, atol=1e-5)

    def test_new_data_and_summary(self, data):
        learn = learner(data, precompute=True)
        text = str(learn.summary())
        assert "body" in text
        assert learn.precompute
        learn.set_data(
            ImageClassifierData.from_paths(data.path, tfms=tfms_from_model(ARCH, 48), num_workers=0)
        )
        assert learn.precompute
        assert learn.data.sz == (48, 48)
        x = torch.stack([learn.data.tfms[1](f) for f in data.filenames["valid"]])
        with torch.no_grad():
            features = learn.model.eval().features(x)
        assert torch.allclose(learn.data.valid_dl.tensors[0], features, atol=1e-5)
        x, y = two_class_arrays(6)
        with pytest.raises(ValueError, match="the model was made for"):
            learn.set_data(ImageClassifierData.from_arrays(None, (x, np.where(y == "red", "a", "b"))))
        with pytest.raises(ValueError, match="channels: 1 in the new data, but the model was made for 3"):
            learn.set_data(ImageClassifierData.from_arrays(None, (x[..., 0], y)))
        with pytest.raises(ValueError, match="several labels per picture: True"):
            learn.set_data(ImageClassifierData.from_arrays(None, (x, [[label] for label in y])))


class TestPrediction:
    def test_tta_is_the_mean_of_the_views(self, data):
        tfms = tfms_from_model(ARCH, 32, aug_tfms=transforms_side_on, max_zoom=1.2)
        augmented = ImageClassifierData.from_paths(data.path, bs=5, tfms=tfms, num_workers=0)
        learn = learner(augmented)
        probs, targets = learn.TTA(log=False)
        again, _ = learn.TTA(log=False)
        assert np.array_equal(probs, again)
        assert np.allclose(probs.sum(1), 1, atol=1e-5)
        assert targets.tolist() == augmented.val_y.tolist()
        assert np.allclose(learn.TTA(n_aug=0)[0], learn.predict(), atol=1e-5)
        assert np.allclose(np.exp(learn.TTA()[0]), probs, atol=1e-6)
        one, five = learn.TTA(n_aug=1, log=False)[0], learn.TTA(n_aug=4, log=False)[0]
        assert not np.allclose(one, five, atol=1e-6)
        two = learn.TTA(n_aug=2, log=False)[0]
        first, second = 2 * one - np.exp(learn.predict()), 3 * two - 2 * one
        assert np.abs(first - second).max() > 1e-4

    def test_tta_of_a_calibrated_learner_is_calibrated_once(self, data):
        learn = learner(data)
        nothing = Reliability.of(0.0, torch.tensor([0.5]), torch.tensor([1]))
        learn.calibration = Calibration(3.0, None, 1, nothing, nothing)
        assert np.allclose(learn.TTA(n_aug=0)[0], learn.predict(), atol=1e-5)

    def test_tta_without_augmentation_warns(self, data):
        learn = learner(data)
        with pytest.warns(UserWarning, match="TTA equals predict"):
            probs, _ = learn.TTA(log=False)
        assert np.allclose(probs, learn.predict_proba(), atol=1e-6)

    def test_views_of_a_sure_model_are_as_finite_as_predictions(self, tmp_path):
        pictures = np.random.default_rng(0).integers(0, 80, (30, 16, 16, 3)).astype("uint8")
        y = np.arange(30) % 3
        for number, kind in enumerate(y):
            pictures[number, ..., kind] += 150
        tfms = tfms_from_stats(imagenet_stats, 16, aug_tfms=transforms_side_on)
        data = ImageClassifierData.from_arrays(
            tmp_path, (pictures[:15], y[:15]), (pictures[15:], y[15:]), bs=8, tfms=tfms, num_workers=0
        )
        net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
        learn = ConvLearner(data, net, device="cpu", progress=False)
        with torch.no_grad():
            net[2].weight.copy_(200 * torch.eye(3))
        views, targets = learn.TTA()
        assert np.isfinite(views).all()
        assert views.min() < -100
        assert learn.score(views, targets, ["auc"])["auc"] == 1

    def test_a_second_mean_over_the_views_is_refused(self, data):
        """`np.mean(np.exp(learn.TTA()[0]), 0)` would give the mean over the pictures."""
        learn = learner(data)
        log_probs, targets = learn.TTA(n_aug=0)
        with pytest.raises(ValueError, match=r"mean over the views already.*np.exp\(learn.TTA\(\)\[0\]\)"):
            np.mean(np.exp(log_probs), 0)
        assert np.exp(log_probs).mean(1).shape == (len(targets),)
        assert np.exp(log_probs)[:2].mean(0).shape == (2,)
        wanted = learn.evaluate(metrics=["accuracy"])["accuracy"]
        assert learn.score(log_probs, targets, ["accuracy"])["accuracy"] == pytest.approx(wanted)

    def test_raw_pictures_of_every_kind(self, data):
        learn = learner(data)
        file = data.filenames["valid"][3]
        array = np.asarray(Image.open(file).convert("RGB"))
        items = [file, Path(file), Path(file).read_bytes(), Image.open(file), array]
        answers = learn.predict_batch(items)
        assert len({round(a.probability, 5) for a in answers}) == 1
        assert np.isclose(answers[0].probability, learn.predict_proba()[3].max(), atol=1e-5)
        assert learn.predict_one(file).label == answers[0].label
        with pytest.raises(ValueError, match="cannot read picture"):
            learn.predict_one(b"nothing")

    def test_test_pictures(self, data, tmp_path):
        (data.path / "new").mkdir()
        Image.fromarray(gradient(40, 40)).save(data.path / "new" / "x.png")
        with_test = ImageClassifierData.from_paths(
            data.path, test_name="new", tfms=tfms_from_model(ARCH, 32), num_workers=0
        )
        learn = learner(with_test, precompute=True)
        assert learn.predict(is_test=True).shape == (1, 2)
        with pytest.raises(ValueError, match="no test"):
            learner(data).predict(is_test=True)
        with pytest.raises(ValueError, match="no test"):
            learner(data).TTA(is_test=True)


class TestArchive:
    def test_a_fresh_process_predicts_the_same_from_raw_paths(self, data, tmp_path):
        learn = learner(data, precompute=True, xtra_fc=[16], ps=[0.1, 0.2])
        learn.fit(1e-2, 1)
        learn.export(tmp_path / "model.zip")
        files = data.filenames["valid"]
        script = (
            "import sys, json; from zoo import load_learner\n"
            "answers = load_learner(sys.argv[1], 'cpu').predict_batch(json.loads(sys.argv[2]))\n"
            "print(json.dumps([a.probabilities for a in answers]))"
        )
        done = fresh(script, tmp_path, str(tmp_path / "model.zip"), json.dumps(files), strict=True)
        assert done.returncode == 0, done.stderr
        told = np.array([[row["blue"], row["red"]] for row in json.loads(done.stdout)])
        assert np.allclose(told, learn.predict_proba(), atol=1e-5)

    def test_settings_survive(self, tmp_path):
        x, _ = two_class_arrays(8, 20)
        tfms = tfms_from_stats(([0.4], [0.3]), (12, 18), interpolation="bicubic", crop="squash")
        labels = [["a"], ["a", "b"]] * 4
        data = ImageClassifierData.from_arrays(
            None, (x[..., 0], labels), (x[..., 0], labels), bs=3, tfms=tfms
        )
        learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1, c_in=1), data, progress=False)
        learn.export(tmp_path / "folder")
        again = load_learner(tmp_path / "folder")
        assert isinstance(again, ConvLearner)
        assert (again.data.sz, again.data.classes, again.data.is_multi) == ((12, 18), ["a", "b"], True)
        ours, theirs = (model.predict_batch(list(x[:5, :, :, 0])) for model in (learn, again))
        assert all(
            np.isclose(a.probability, b.probability, atol=1e-6) for a, b in zip(ours, theirs, strict=True)
        )
        with pytest.raises(ValueError, match="no training data"):
            again.fit(1e-2, 1)


class TestRealPictures:
    def test_cats_and_dogs_with_precompute(self, data_dir, tmp_path):
        weights = data_dir("weights") / "mobilenet_v2.pth"
        path = link_slice(data_dir("dogscats"), tmp_path, 50)
        data = ImageClassifierData.from_paths(
            path, bs=16, tfms=tfms_from_model("mobilenet_v2", 128), num_workers=0
        )
        learn = ConvLearner.pretrained(
            "mobilenet_v2", data, weights=weights, precompute=True, progress=False, seed=0
        )
        learn.fit_one_cycle(5, 3e-3)
        assert learn.evaluate()["accuracy"] >= 0.9

    def test_cifar_from_scratch(self, data_dir, tmp_path):
        path = link_slice(data_dir("cifar10"), tmp_path, 40, splits=("train", "test"))
        tfms = tfms_from_stats(imagenet_stats, 32, aug_tfms=transforms_side_on, pad=4)
        data = ImageClassifierData.from_paths(path, 32, tfms, val_name="test", num_workers=0, seed=0)
        learn = ConvLearner.from_model_data(
            ResNetSmall(10, (16, 32), 1), data, metrics=[accuracy], progress=False, seed=0
        )
        learn.fit_one_cycle(4, 1e-2)
        assert learn.history[-1]["accuracy"] > 0.2
        assert learn.history[-1]["valid_loss"] < 2.25

    def test_satellite_tags(self, data_dir):
        data = ImageClassifierData.from_csv(
            data_dir("planet_tiny"), "train-jpg", "train_v2.csv", suffix=".jpg", on_missing="skip", bs=8,
            tfms=tfms_from_model(ARCH, 64), num_workers=0,
        )  # fmt: skip
        learn = learner(data, weights=data_dir("weights") / "squeezenet1_1_features.pth", seed=0)
        assert [m.__name__ for m in learn.metrics] == ["f2", "accuracy_thresh"]
        first = learn.evaluate()
        learn.fit(3e-3, 4)
        last = learn.evaluate()
        assert last["valid_loss"] < first["valid_loss"]
        assert isinstance(learn.predict_one(data.filenames["valid"][0]).label, tuple)


@pytest.mark.gpu
def test_on_the_gpu(data_dir, tmp_path):
    path = link_slice(data_dir("dogscats"), tmp_path, 20)
    tfms = tfms_from_model("mobilenet_v2", 96, aug_tfms=transforms_side_on)
    data = ImageClassifierData.from_paths(path, bs=16, tfms=tfms)
    weights = data_dir("weights") / "mobilenet_v2.pth"
    learn = ConvLearner.pretrained("mobilenet_v2", data, weights=weights, progress=False)
    assert learn.device.type == "cuda"
    learn.fit(1e-3, 1)
    learn.unfreeze()
    learn.fit(slice(1e-5, 1e-3), 1)
    assert learn.TTA()[0].shape == (40, 2)
    learn.export(tmp_path / "model")
    cpu = load_learner(tmp_path / "model", "cpu").predict_one(data.filenames["valid"][0])
    assert np.isclose(cpu.probability, learn.predict_one(data.filenames["valid"][0]).probability, atol=1e-2)
