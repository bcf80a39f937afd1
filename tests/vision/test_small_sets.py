"""Few pictures: where a new head starts, and that training does not lose what the body knows."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from tests.core.test_recipes import BAD_OPTIONS
from tests.vision.helpers import link_slice, two_class_arrays, two_class_folders
from zoo import Callback, load_learner
from zoo.engine.relative_adamw import RelativeAdamW
from zoo.losses import CrossEntropyFlat
from zoo.training.logistic import logistic
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    imagenet_stats,
    tfms_from_model,
    tfms_from_stats,
    transforms_side_on,
)
from zoo.vision.fine_tuning import statistics_are_folded
from zoo.vision.models.head_start import STRENGTH, layers_of, start_head
from zoo.vision.models.transfer import make_head

ARCH = "squeezenet1_1"


def blobs(rows=120, inputs=40, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    targets = np.arange(rows) % classes
    centres = 3 * np.random.default_rng(1).standard_normal((classes, inputs))
    features = centres[targets] + 4 * rng.standard_normal((rows, inputs)) + 5
    return torch.tensor(features, dtype=torch.float32), torch.tensor(targets)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def started(learn):
    """Whether the head has seen the pictures, by its first statistics."""
    return bool((learn.model.head[0].running_var != 1).any())


@pytest.fixture
def data(tmp_path):
    path = two_class_folders(tmp_path / "data")
    return ImageClassifierData.from_paths(path, bs=4, tfms=tfms_from_model(ARCH, 32), num_workers=0, seed=1)


class Highest(Callback):
    """The rates of the groups at each step."""

    def __init__(self):
        self.lrs = []

    def after_step(self, state):
        self.lrs.append(list(state.opt.lrs))


def learner(data, **options):
    return ConvLearner.pretrained(
        ARCH, data, **{"weights": None, "progress": False, "device": "cpu", "seed": 0, **options}
    )


class TestStartHead:
    @pytest.mark.parametrize("hidden", [[], [64], [64, 32]])
    @pytest.mark.parametrize("classes", [2, 3])
    def test_a_started_head_answers_as_logistic_regression(self, hidden, classes):
        features, targets = blobs(classes=classes)
        others, truth = blobs(rows=400, classes=classes, seed=5)
        torch.manual_seed(0)
        head = make_head(40, classes, hidden)
        torch.manual_seed(0)
        damped = make_head(40, classes, hidden, damping=0.1)
        for one in (head, damped):
            start_head(one, features, targets)
        assert torch.allclose(damped.eval()(others), head.eval()(others), atol=1e-4)
        scaler = StandardScaler().fit(features)
        peer = LogisticRegression(C=STRENGTH / 40).fit(scaler.transform(features), targets)
        expected = torch.tensor(peer.predict_proba(scaler.transform(others)))
        found = head.eval()(others).softmax(1)
        assert (found - expected).abs().mean() < (2e-3, 0.06, 0.08)[len(hidden)]
        gained = (found.argmax(1) == truth).float().mean() - peer.score(scaler.transform(others), truth)
        assert gained > -0.05

    def test_labels_that_all_or_no_rows_have_get_their_odds(self):
        features, targets = blobs(classes=2)
        labels = torch.stack([targets, torch.ones(120), torch.zeros(120)], 1)
        head = make_head(40, 3, [16])
        start_head(head, features, labels)
        found = head.eval()(features).sigmoid()
        assert ((found[:, 0] > 0.5) == (targets == 1)).float().mean() > 0.9
        assert found[:, 1].min() > 0.9
        assert found[:, 2].max() < 0.1

    def test_a_class_without_pictures_is_not_expected(self):
        features, targets = blobs(classes=2)
        head = make_head(40, 3)
        start_head(head, features, targets)
        assert head.eval()(features).softmax(1)[:, 2].max() < 0.05
        weight, bias = logistic(features.numpy(), np.ones(120, int), 3, strength=0.1)
        assert not weight.any()
        assert bias.argmax() == 1

    def test_inputs_that_were_dark_in_training_do_not_blow_up(self):
        features, targets = blobs(classes=2)
        features[:, :10] = 0
        head = make_head(40, 2)
        start_head(head, features, targets)
        others = features.clone()
        others[:, :10] = 2.0
        assert head.eval()(others).abs().max() < 20

    def test_heads_of_other_seeds_differ_and_equal_ones_are_equal(self):
        features, targets = blobs()
        heads = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            heads.append(make_head(40, 3, [16]))
            start_head(heads[-1], features, targets)
        assert same(state(heads[0]), state(heads[1]))
        assert not same(state(heads[0]), state(heads[2]))

    @pytest.mark.parametrize("hidden", [[], [32]])
    def test_rows_count_what_they_weigh(self, hidden):
        features, targets = blobs(rows=300, classes=2)
        kept = np.concatenate([np.flatnonzero(targets == 0), np.flatnonzero(targets == 1)[:10]])
        features, targets = features[kept], targets[kept]
        others, truth = blobs(rows=400, classes=2, seed=5)
        recall = {}
        for weighs in (False, True):
            torch.manual_seed(0)
            head = make_head(40, 2, hidden)
            weights = torch.where(targets == 1, 15.0, 1.0) if weighs else None
            start_head(head, features, targets, weights)
            recall[weighs] = (head.eval()(others).argmax(1)[truth == 1] == 1).float().mean().item()
            inputs = (features - features.mean(0)) / features.std(0, correction=0)
            counts = np.ones(len(targets)) if weights is None else weights.double().numpy()
            peer = LogisticRegression(C=STRENGTH / 40).fit(inputs, targets, counts / counts.mean())
            found, _ = logistic(inputs.numpy(), targets.numpy(), 2, counts, strength=STRENGTH / 40)
            assert np.allclose((found[1] - found[0]).numpy(), peer.coef_[0], atol=0.01)
        assert recall[True] > recall[False] + 0.1

    def test_rows_that_count_nothing_teach_nothing(self):
        features, targets = blobs(classes=3)
        for weights in ((targets != 2).float(), torch.tensor([1.0, 0.0, 0.0])[targets]):
            head = make_head(40, 3, [16])
            start_head(head, features, targets, weights)
            assert head.eval()(features).argmax(1)[targets == 2].max() < 2
            assert head(features).isfinite().all()

    def test_labels_weigh_by_themselves(self):
        features, targets = blobs(classes=2)
        labels = torch.stack([targets, 1 - targets], 1).float()
        weights = torch.where(labels > 0.5, torch.tensor([50.0, 1.0]), 1.0)
        plain, weighed = (make_head(40, 2, []) for _ in range(2))
        start_head(plain, features, labels)
        start_head(weighed, features, labels, weights)
        more = (weighed.eval()(features) - plain.eval()(features)).mean(0)
        assert more[0] > 0.3
        assert more[1].abs() < 0.1

    def test_other_heads_and_shapes_are_refused(self):
        features, targets = blobs()
        with pytest.raises(ValueError, match=r"not this Linear: .*head_start=False"):
            start_head(nn.Linear(40, 3), features, targets)
        for wrong in (features[:, :7], features[:5]):
            with pytest.raises(ValueError, match="do not fit a head of 40 inputs"):
                start_head(make_head(40, 3), wrong, targets)
        assert layers_of(nn.Sequential(nn.ReLU(), nn.Linear(3, 2))) == []


class TestWhenHeadsStart:
    def test_with_and_without_cached_activations_alike(self, data):
        weights = learner(data).model.body.state_dict()
        answers = []
        for precompute in (True, False):
            learn = learner(data, weights=weights, precompute=precompute, ps=0.0)
            assert not started(learn)
            learn.fit(1e-3, 1)
            learn.precompute = False
            answers.append(learn.predict())
        assert np.allclose(*answers, atol=1e-3)

    def test_what_is_no_choice_is_refused(self, data):
        with pytest.raises(TypeError, match="head_start is True, False, or None"):
            learner(data, head_start="yes")

    @pytest.mark.parametrize("how", ["balance", "loss", "torch", "function"])
    @pytest.mark.parametrize("precompute", [False, True])
    def test_rare_classes_count_as_in_the_fit(self, tmp_path, how, precompute):
        x, y = two_class_arrays(40, 32)
        x = (0.9 * 100 + 0.1 * x).astype(np.uint8)  # hard to tell
        keep = np.concatenate([np.flatnonzero(y == "blue"), np.flatnonzero(y == "red")[:2]])
        weight = torch.tensor([0.5, 10.0])
        losses = {
            "loss": CrossEntropyFlat(weight=weight),
            "torch": nn.CrossEntropyLoss(weight),
            "function": functools.partial(F.cross_entropy, weight=weight),
        }
        chances = {}
        for weighs in (False, True):
            data = ImageClassifierData.from_arrays(
                None, (x[keep], y[keep]), (x, y), bs=8, tfms=tfms_from_model(ARCH, 32), num_workers=0, seed=1,
                balance=weighs and how == "balance",
            )  # fmt: skip
            loss_fn = losses.get(how) if weighs else None
            learn = learner(data, path=tmp_path, precompute=precompute, loss_fn=loss_fn)
            learn.fit(1e-9, 1)
            assert started(learn)
            chances[weighs] = np.exp(learn.predict()[:, 1]).mean()
        assert chances[True] > chances[False] + 0.15

    def test_other_losses_and_frozen_heads_stay_as_they_are(self, data, capsys):
        def focal(preds, target):
            return ((1 - preds.softmax(1).gather(1, target[:, None])) ** 2).mean()

        class Smoothed(CrossEntropyFlat):
            def forward(self, preds, targets):
                return focal(preds, targets)

        for loss_fn, name in ((focal, "focal"), (Smoothed(), "Smoothed"), (nn.MultiMarginLoss(), "MultiMar")):
            learn = learner(data, progress=True, loss_fn=loss_fn)
            learn.lr_find(num_it=4)
            learn.fit(1e-9, 1)
            told = capsys.readouterr().out
            assert told.count("does not start from logistic regression: the loss is none") == 1
            assert name in told
            assert "the head starts" not in told
        learn = learner(data, progress=True)
        frozen = learn.model.head[-1]
        frozen.requires_grad_(False)
        before = state(frozen)
        learn.fit(1e-3, 1)
        assert same(before, state(frozen))
        assert "logistic regression: some of its weights are frozen" in capsys.readouterr().out

    def test_another_loss_after_the_finder_starts_anew(self, data):
        learn = learner(data)
        learn.lr_find(num_it=4)
        learn.loss_fn = CrossEntropyFlat(weight=[1, 1e4])
        learn.fit(1e-9, 1)
        assert np.exp(learn.predict()[:, 1]).mean() > 0.8

    def test_never_over_what_was_trained(self, data):
        learn = learner(data, head_start=False)
        learn.fit(1e-3, 1)
        learn.head_start = None
        before = learn.evaluate()["valid_loss"]
        assert learn.fit(1e-9, 1)[-1]["valid_loss"] == pytest.approx(before, rel=0.2)

    @pytest.mark.parametrize("precompute", [True, False])
    def test_the_finder_tries_what_the_fit_begins_with_and_leaves_it_new(self, data, capsys, precompute):
        learn = learner(data, precompute=precompute, progress=True)
        before, other = state(learn.model), learner(data, precompute=precompute)
        tried = []
        learn.model.head.register_forward_pre_hook(lambda head, inputs: tried.append(started(learn)))
        found = learn.lr_find(num_it=12)
        assert all(tried[-12:])
        assert max(found.suggestions().values()) <= 0.01
        assert learn.sched.finder is found
        assert same(state(learn.model), before)
        assert capsys.readouterr().out.count("starts from logistic regression on 12 pictures") == 1
        learn.fit(1e-3, 1)
        other.fit(1e-3, 1)
        assert "from logistic" not in capsys.readouterr().out  # known from the finder
        assert same(state(learn.model), state(other.model))

    def test_not_on_loaded_weights(self, data, capsys):
        other = learner(data)
        other.fit(1e-3, 1)
        other.save("two")
        learn = learner(data, progress=True)
        learn.load("two")
        learn.fit(1e-3, 1)
        assert "the head starts" not in capsys.readouterr().out

    @pytest.mark.parametrize("method", ["fit", "fine_tune", "fit_one_cycle"])
    def test_at_the_first_fit(self, data, capsys, method):
        for options, starts in (({}, True), ({"head_start": False}, False)):
            learn = learner(data, progress=True, **options)
            given = (1e-9, 1) if method == "fit" else (1, 1e-9)
            getattr(learn, method)(*given)
            getattr(learn, method)(*given)
            assert capsys.readouterr().out.count("the head starts from logistic regression") == starts

    def test_bodies_without_the_standard_head_train_as_they_are(self, data):
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))
        rows = learner(data, custom_head=head).fine_tune(1)
        assert len(rows) == 2

    def test_several_labels(self, data, tmp_path):
        names = [str(Path(file).relative_to(data.path)) for file in data.filenames["train"]]
        labels = [f"any {name.split('/')[1]}" for name in names]
        tags = ImageClassifierData.from_names_and_labels(
            data.path, names, labels, bs=4, tfms=tfms_from_model(ARCH, 32), val_idxs=[0, 6], num_workers=0
        )
        assert tags.is_multi
        rows = learner(tags, path=tmp_path, precompute=True).fit(1e-3, 1)
        assert rows[-1]["accuracy_thresh"] == 1

    def test_an_exported_started_head_answers_alike(self, data, tmp_path):
        learn = learner(data, precompute=True)
        learn.fit(1e-3, 1)
        learn.export(tmp_path / "m.zip")
        file = data.filenames["valid"][0]
        assert load_learner(tmp_path / "m.zip").predict_one(file) == learn.predict_one(file)


class TestStatistics:
    def test_folded_batch_norm_is_known(self, data_dir, tmp_path):
        weights = data_dir("weights") / "mobilenet_v2.pth"
        x, y = two_class_arrays(8, 32)
        data = ImageClassifierData.from_arrays(
            None, (x, y), (x, y), bs=4, tfms=tfms_from_model("mobilenet_v2", 32), num_workers=0
        )
        learn = ConvLearner.pretrained(
            "mobilenet_v2", data, weights=weights, progress=False, device="cpu", path=tmp_path
        )
        assert statistics_are_folded(learn.model.body)
        learn.unfreeze()
        learn.fit(1e-4, 1)
        assert statistics_are_folded(learn.model.body)
        learn.bn_freeze(False)
        learn.fit(1e-4, 1)
        assert not statistics_are_folded(learn.model.body)

    @pytest.mark.parametrize("told", [None, False])
    def test_fine_tune_keeps_statistics_of_few_pictures_unless_told_otherwise(self, told):
        x, y = two_class_arrays(8, 32)
        data = ImageClassifierData.from_arrays(
            None, (x, y), (x, y), bs=4, tfms=tfms_from_model("mobilenet_v3_small", 32), num_workers=0
        )
        learn = ConvLearner.pretrained("mobilenet_v3_small", data, weights=None, progress=False, device="cpu")
        norm = learn.model.body[0][0][1]
        if told is not None:
            learn.bn_freeze(told)
        before = norm.running_mean.clone()
        learn.fine_tune(1)
        assert torch.equal(before, norm.running_mean) == (told is None)

    @pytest.mark.parametrize(("options", "kind", "message"), BAD_OPTIONS)
    def test_a_call_that_is_refused_changes_nothing(self, data, options, kind, message):
        learn = learner(data)
        learn.unfreeze()
        with pytest.raises(kind, match=message):
            learn.fine_tune(1, **options)
        assert not learn.groups.keeps_statistics
        assert not learn.groups[0].frozen
        assert not started(learn)

    @pytest.mark.parametrize(
        ("opt_fn", "rates"),
        [
            (RelativeAdamW, (1e-2, 10)),
            (type("Own", (RelativeAdamW,), {}), (1e-2, 10)),
            (functools.partial(RelativeAdamW, share=0.5), (1e-2, 10)),
            (lambda params: RelativeAdamW(params, share=0.5), (1e-2, 10)),
            (lambda params: torch.optim.AdamW(params), (1e-3, 100)),
            (torch.optim.SGD, (1e-3, 100)),
            (None, (1e-3, 100)),  # random weights
        ],
    )
    def test_whatever_makes_the_optimizer_its_rates_are_known(self, data, opt_fn, rates):
        learn = learner(data, opt_fn=opt_fn)
        assert learn._rates_to_tune() == rates
        assert learn.opt is None
        highest = Highest()
        learn.fine_tune(2, freeze_epochs=0, callbacks=[highest])
        largest = np.max(highest.lrs, 0)
        assert largest[-1] == pytest.approx(rates[0] / 2, rel=0.2)
        assert largest[-1] / largest[0] == pytest.approx(rates[1])


class TestRealPictures:
    def test_the_head_and_fine_tuning_do_not_lose_to_logistic_regression(self, data_dir, tmp_path):
        source, path = data_dir("dogscats"), tmp_path / "few"
        link_slice(source, path, 50, ["train"])
        link_slice(source, path, 150, ["valid"])
        tfms = tfms_from_stats(imagenet_stats, 96, aug_tfms=transforms_side_on, max_zoom=1.1)
        data = ImageClassifierData.from_paths(path, tfms=tfms, num_workers=0, seed=0)
        weights = data_dir("weights") / "mobilenet_v2.pth"
        frozen = []
        for seed in range(3):
            learn = ConvLearner.pretrained(
                "mobilenet_v2", data, weights=weights, progress=False, device="cpu", path=tmp_path, seed=seed
            )
            with pytest.warns(UserWarning, match="augmentation"):
                learn.precompute = True
            (x, y), (v, truth) = learn.data.train_dl.tensors, learn.data.valid_dl.tensors
            frozen.append(learn.fit(1e-2, 3)[-1]["accuracy"])
        peer = LogisticRegression(max_iter=1000).fit(x, y).score(v, truth)
        assert peer > 0.8  # else this test shows nothing
        assert np.mean(frozen) >= peer - 0.02  # about one standard error on so few photos
        assert np.ptp(frozen) < 0.04
        tuned = learn.fine_tune(1, freeze_epochs=0)[-1]["accuracy"]
        assert tuned >= frozen[-1] - 0.02

    def test_published_rates_do_not_carry_the_body_away(self, data_dir, tmp_path):
        source, path = data_dir("dogscats"), tmp_path / "few"
        link_slice(source, path, 100, ["train"])
        link_slice(source, path, 100, ["valid"])
        tfms = tfms_from_stats(imagenet_stats, 64, aug_tfms=transforms_side_on)
        data = ImageClassifierData.from_paths(path, bs=20, tfms=tfms, num_workers=0, seed=0)
        reached = {}
        for opt_fn in (None, torch.optim.AdamW):
            learn = ConvLearner.pretrained(
                "mobilenet_v2", data, weights=data_dir("weights") / "mobilenet_v2.pth", progress=False,
                device="cpu", path=tmp_path, seed=0, opt_fn=opt_fn,
            )  # fmt: skip
            learn.unfreeze()
            reached[opt_fn] = learn.fit([1e-4, 1e-3, 1e-2], 1, cycle_len=1)[-1]["accuracy"]
        assert reached[None] > 0.7
        assert reached[torch.optim.AdamW] < reached[None] - 0.1  # else this test shows nothing

    def test_rates_of_fine_tune_fit_head_and_optimizer(self, data_dir):
        x, y = two_class_arrays(4, 32)
        data = ImageClassifierData.from_arrays(None, (x, y), bs=8, tfms=tfms_from_stats(imagenet_stats, 32))
        weights = data_dir("weights") / "mobilenet_v2.pth"
        plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 2))
        cases = {
            "usual": ({}, {}, [5e-4, 5e-3]),
            "told": ({}, {"lr": 2e-3, "lr_mult": 4}, [2.5e-4, 1e-3]),
            "own head": ({"custom_head": plain}, {}, [5e-5, 5e-4]),
            "own optimizer": ({"opt_fn": torch.optim.SGD}, {}, [5e-6, 5e-4]),
        }
        for options, told, wanted in cases.values():
            learn = ConvLearner.pretrained(
                "mobilenet_v2", data, weights=weights, progress=False, device="cpu", **options
            )
            highest = Highest()
            learn.fine_tune(4, freeze_epochs=0, callbacks=[highest], **told)
            assert np.max(highest.lrs, 0)[[0, -1]] == pytest.approx(wanted, rel=0.15)  # of a few steps
