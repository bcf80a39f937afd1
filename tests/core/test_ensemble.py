"""Means of several models: their values, their agreement, and what is left as it was."""

from __future__ import annotations

import os
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.collab.test_learner import simulated
from tests.core.helpers import DigitsNet, digits, digits_data, digits_learner, same, weights
from tests.tabular.test_learner import table
from tests.vision.helpers import two_class_arrays
from zoo import Ensemble, Learner, ModelData, TensorLoader, get_cv_idxs
from zoo.callbacks import SaveCycles
from zoo.losses import Activation
from zoo.metrics import accuracy
from zoo.storage.archive import ArchiveError
from zoo.vision import ConvLearner, ImageClassifierData
from zoo_collab import CollabFilterDataset
from zoo_tabular import ColumnarModelData


@pytest.fixture(scope="module")
def three() -> list[Learner]:
    learners = [digits_learner(seed=seed, metrics=[accuracy]) for seed in range(3)]
    for learn in learners:
        learn.fit(0.02, 2)
    return learners


def test_classifiers_average_probabilities(three) -> None:
    both = Ensemble(three)
    mean = np.mean([learn.predict_proba() for learn in three], axis=0)
    assert len(both) == 3
    assert both.predict_proba() == pytest.approx(mean, abs=1e-6)
    assert np.exp(both.predict()) == pytest.approx(mean, abs=1e-6)
    answers, targets = both.predict_with_targs()
    assert (targets == digits()[1][1200:].numpy()).all()
    assert answers.argmax(1).tolist() == mean.argmax(1).tolist()
    x = digits()[0][1200:1210]
    assert both.predict_array(x) == pytest.approx(both.predict()[:10], abs=1e-5)


def test_it_evaluates_the_mean_and_beats_its_members(three) -> None:
    both = Ensemble(three)
    found = both.evaluate()
    probabilities = torch.tensor(both.predict_proba())
    target = digits()[1][1200:]
    assert list(found) == ["valid_loss", "accuracy"]
    assert found["valid_loss"] == pytest.approx(F.nll_loss(probabilities.log(), target).item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((probabilities.argmax(1) == target).float().mean().item())
    assert found["valid_loss"] < min(learn.evaluate()["valid_loss"] for learn in three)
    assert list(both.evaluate(metrics=[])) == ["valid_loss"]


@pytest.mark.parametrize(
    ("loss", "activation", "kind"),
    [
        (nn.BCEWithLogitsLoss(), None, "sigmoid"),
        (nn.NLLLoss(), "exp", "exp"),
        (nn.BCELoss(), "probability", "probability"),
    ],
)
def test_every_kind_of_output(loss, activation, kind) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 6)
    y = torch.randint(4, (50,)) if kind == "exp" else (torch.rand(50, 4) > 0.5).float()
    last = {"exp": nn.LogSoftmax(1), "probability": nn.Sigmoid(), "sigmoid": nn.Identity()}[kind]
    learners = []
    for _ in range(3):
        data = ModelData(None, TensorLoader(x, y, bs=16))
        data.task = "classification" if kind == "exp" else "multilabel"
        net = nn.Sequential(nn.Linear(6, 4), last)
        learners.append(Learner(data, net, loss_fn=loss, metrics=[], device="cpu"))
        learners[-1]._activation = Activation(activation or kind)
    both = Ensemble(learners)
    mean = np.mean([learn.predict_proba() for learn in learners], axis=0)
    assert both.predict_proba() == pytest.approx(mean, abs=1e-6)
    assert both.predict() == pytest.approx(np.log(mean), abs=1e-5)
    expected = (
        F.nll_loss(torch.tensor(mean).log(), y)
        if kind == "exp"
        else F.binary_cross_entropy(torch.tensor(mean), y)
    )
    assert both.evaluate()["valid_loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_extreme_scores_stay_finite() -> None:
    x = torch.tensor([[1e4, -1e4]])
    learners = []
    for sign in (1.0, -1.0):
        learn = Learner(ModelData(None, TensorLoader(x, torch.tensor([0]))), nn.Linear(2, 2), device="cpu")
        learn.model.weight.data = sign * torch.eye(2)
        learners.append(learn)
    both = Ensemble(learners)
    assert np.exp(both.predict()) == pytest.approx(np.full((1, 2), 0.5), abs=1e-6)
    assert both.evaluate()["valid_loss"] == pytest.approx(np.log(2), rel=1e-5)


# -- tables, ratings, pictures


def sales(path, transform: str | None, seed: int) -> Learner:
    torch.manual_seed(seed)
    data = ColumnarModelData.from_data_frame(
        path, range(1200, 1500), table(), "Sales", ["Store", "Kind"], 64, target_transform=transform,
        seed=seed, test_df=table().drop(columns="Sales")[:70],
    )  # fmt: skip
    return data.get_learner(szs=[20], drops=[0.0], device="cpu", progress=False)


def test_values_are_averaged_where_they_were_learned(tmp_path) -> None:
    learners = [sales(tmp_path, "log", seed) for seed in (0, 1)]
    for learn in learners:
        learn.fit(0.01, 2)
    both = Ensemble(learners)
    geometric = np.exp(np.mean([np.log(learn.predict()) for learn in learners], axis=0))
    assert both.predict() == pytest.approx(geometric, rel=1e-5)
    assert both.predict(is_test=True).shape == (70,)
    found = both.evaluate()
    assert set(found) == {"valid_loss", "exp_rmspe"}
    assert found["valid_loss"] <= np.mean([learn.evaluate()["valid_loss"] for learn in learners])
    answers, actual = both.predict_with_targs()
    assert found["exp_rmspe"] == pytest.approx(np.sqrt(np.mean((answers / actual - 1) ** 2)), rel=1e-4)
    rows = table()[1200:1205].to_dict("records")
    assert both.predict_batch(rows) == pytest.approx(both.predict()[:5], rel=1e-5)
    assert both.predict_batch(iter(rows)) == pytest.approx(both.predict()[:5], rel=1e-5)
    one = both.predict_one(rows[0])
    assert isinstance(one, float)
    assert one == pytest.approx(float(both.predict()[0]), rel=1e-5)


def test_values_of_different_units_are_averaged_in_those_of_the_user(tmp_path) -> None:
    learners = [sales(tmp_path, "log", 0), sales(tmp_path, "standardize", 1)]
    both = Ensemble(learners)
    assert both.predict() == pytest.approx(np.mean([one.predict() for one in learners], axis=0), rel=1e-5)
    rows = table()[1200:1205]
    assert both.predict_batch(rows) == pytest.approx(both.predict()[:5], rel=1e-5)
    with pytest.raises(ValueError, match="trained in different units"):
        both.evaluate()


def test_ratings_and_pictures(tmp_path) -> None:
    frame = CollabFilterDataset.from_data_frame(tmp_path, simulated(), "who", "film", "stars")
    make = partial(frame.get_learner, 5, get_cv_idxs(len(frame)), bs=32, progress=False, device="cpu")
    raters = [make(seed=seed) for seed in (0, 1)]
    for learn in raters:
        learn.fit_one_cycle(5, 2e-2)
    both = Ensemble(raters)
    assert both.evaluate()["valid_loss"] < np.mean([learn.evaluate()["valid_loss"] for learn in raters])
    pairs = simulated()[["who", "film"]].head(3)
    assert both.predict_batch(pairs) == pytest.approx(
        np.mean([learn.predict_batch(pairs) for learn in raters], axis=0), abs=1e-5
    )
    assert 0.5 < both.predict_one((3, 500)) < 6

    x, y = two_class_arrays(40, 32)
    data = ImageClassifierData.from_arrays(tmp_path, (x[:30], y[:30]), (x[30:], y[30:]), bs=10)
    seers = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
        seers.append(ConvLearner.from_model_data(net, data, device="cpu", progress=False))
    pair = Ensemble(seers)
    assert pair.predict_proba() == pytest.approx(
        np.mean([learn.predict_proba() for learn in seers], axis=0), abs=1e-6
    )
    assert pair.predict_one(x[0]).probability >= 0.5


# -- snapshots


@pytest.fixture
def snapped(tmp_path) -> Learner:
    learn = digits_learner(path=tmp_path, metrics=[accuracy])
    learn.fit(0.03, 3, cycle_len=1, cycle_save_name="snap")
    return learn


def test_snapshots_are_averaged_and_the_weights_stay(snapped) -> None:
    learn = snapped
    singles = []
    for number in range(3):
        learn.load(f"snap_cyc_{number}")
        singles.append(learn.predict_proba())
    learn.fit(0.5, 1)
    before, mode = weights(learn.model), learn.model.training
    both = Ensemble.from_snapshots(learn, "snap")
    assert len(both) == 3
    assert both.predict_proba() == pytest.approx(np.mean(singles, axis=0), abs=1e-6)
    last = Ensemble.from_snapshots(learn, "snap", last=2)
    assert last.predict_proba() == pytest.approx(np.mean(singles[1:], axis=0), abs=1e-6)
    assert "snap_cyc_1, snap_cyc_2" in repr(last)
    both.evaluate()
    both.predict_array(digits()[0][:3])
    assert same(before, weights(learn.model))
    assert learn.model.training == mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_inside_leaves_the_weights_too(snapped, monkeypatch, error) -> None:
    learn = snapped
    learn.fit(0.5, 1)
    before = weights(learn.model)
    both = Ensemble.from_snapshots(learn, "snap")
    calls = []

    def fail(self, x):
        calls.append(weights(self))
        if len(calls) == 4:
            raise error("no more")
        return self.head(self.middle(self.body(x)))

    monkeypatch.setattr(DigitsNet, "forward", fail)
    with pytest.raises(error):
        both.evaluate()
    assert not same(calls[-1], before)
    assert same(before, weights(learn.model))


def test_more_than_ten_snapshots_come_in_order_and_other_names_are_left_out(snapped) -> None:
    learn = snapped
    for number in range(3, 12):
        learn.save(f"snap_cyc_{number}")
    learn.save("snap_cyc_best")
    learn.save("other_snap_cyc_0")
    labels = [member.label for member in Ensemble.from_snapshots(learn, "snap")._members]
    assert labels == [f"snap_cyc_{number}" for number in range(12)]


def test_snapshots_that_are_not_right(snapped) -> None:
    learn = snapped
    before = weights(learn.model)
    with pytest.raises(FileNotFoundError, match=r"did you mean 'snap'.*cycle_save_name='snp'"):
        Ensemble.from_snapshots(learn, "snp")
    with pytest.raises(ValueError, match="between 1 and 3"):
        Ensemble.from_snapshots(learn, "snap", last=4)
    other = digits_learner(path=learn.path)
    other.model = DigitsNet(width=8)
    with pytest.raises(ValueError, match=r"the snapshot snap_cyc_0 do not fit.*of another shape"):
        Ensemble.from_snapshots(other, "snap")
    file = learn.path / "models" / "snap_cyc_2.safetensors"
    os.utime(file, (0, 0))
    with pytest.warns(UserWarning, match="seem to be of several fits"):
        Ensemble.from_snapshots(learn, "snap")
    file.write_bytes(b"nothing")
    with warnings.catch_warnings(), pytest.raises(ArchiveError, match="not a safetensors file"):
        Ensemble.from_snapshots(learn, "snap")
    assert same(before, weights(learn.model))


def test_the_number_of_saved_cycles_survives_a_restart() -> None:
    saved = SaveCycles("snap")
    saved.saved = 3
    again = SaveCycles("snap")
    again.load_state_dict(saved.state_dict())
    assert again.saved == 3


# -- members that do not go together


def test_members_must_agree(three) -> None:
    def changed(**attributes) -> Learner:
        learn = digits_learner()
        for name, value in attributes.items():
            setattr(learn.data, name, value)
        return learn

    with pytest.raises(ValueError, match="at least one learner"):
        Ensemble([])
    with pytest.raises(TypeError, match="a list of learners was expected, got a Learner"):
        Ensemble(three[0])
    with pytest.raises(TypeError, match="a list of learners"):
        Ensemble([three[0], "b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="the same learner is given twice"):
        Ensemble([three[0], three[0]])
    with pytest.raises(ValueError, match=r"differ in their classes.*\(learner 0\).*\(learner 1\)"):
        Ensemble([three[0], changed(classes=list("abcdefghij"))])
    with pytest.raises(ValueError, match="differ in their task"):
        Ensemble([three[0], changed(task="regression")])
    other = digits_learner()
    other.loss_fn = nn.NLLLoss()
    with pytest.raises(ValueError, match="differ in what their outputs mean"):
        Ensemble([three[0], other])

    x, y = digits()
    other = digits_learner()
    other.data.valid_dl = TensorLoader(x[1200:1300], y[1200:1300], bs=64)
    with pytest.raises(ValueError, match=r"learner 1 answers with shape \(100, 10\)"):
        Ensemble([three[0], other]).evaluate()
    back = torch.arange(1796, 1199, -1)
    other.data.valid_dl = TensorLoader(x[back], y[back], bs=64)
    with pytest.raises(ValueError, match="learner 1 has other validation rows than learner 0"):
        Ensemble([three[0], other]).predict()
    with pytest.raises(ValueError, match="there is no test set"):
        Ensemble(three).predict(is_test=True)


def test_values_have_no_probabilities(tmp_path) -> None:
    learners = [sales(tmp_path, None, seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="needs classifiers"):
        Ensemble(learners).predict_proba()


def test_members_read_their_own_data_in_their_own_way() -> None:
    """A small and a large batch size, another order of the validation batches, another network."""
    first, second = digits_learner(), digits_learner(seed=1)
    second.data = digits_data(bs=8)
    x, y = digits()
    second.data.valid_dl = TensorLoader(x[1200:], y[1200:], bs=7, shuffle=True, seed=3)
    second.model = nn.Linear(64, 10)
    both = Ensemble([first, second])
    mean = (first.predict_proba() + second.predict_proba()) / 2
    assert both.predict_proba() == pytest.approx(mean, abs=1e-6)
    assert pd.Series(both.predict_with_targs()[1]).equals(pd.Series(y[1200:].numpy()))


def test_prepared_batches_are_made_for_every_member(tmp_path) -> None:
    """Members code rows in their own ways, so each is asked with its own data."""
    learners = [sales(tmp_path, "log", 0), sales(tmp_path, "log", 1)]
    both, rows = Ensemble(learners), table()[1200:1205]
    asked = []

    def batches(data):
        asked.append(data)
        return data.batches_from_raw(rows)

    assert both.answers_of(batches) == pytest.approx(both.predict_batch(rows), rel=1e-6)
    assert asked == [learn.data for learn in learners]
    assert both.learners == learners
    assert both.data is learners[0].data
    mean = sum(learn.outputs_of(batches) for learn in learners) / 2
    assert torch.allclose(both.outputs_of(batches), mean)
    assert learners[0].answers_of(batches) == pytest.approx(learners[0].predict_batch(rows), rel=1e-6)
    other = Ensemble([learners[0], sales(tmp_path, "standardize", 1)])
    assert other.answers_of(batches) == pytest.approx(other.predict_batch(rows), rel=1e-6)
    with pytest.raises(ValueError, match="trained in different units"):
        other.outputs_of(batches)


def test_probabilities_of_prepared_batches(three) -> None:
    x = digits()[0][1200:1210]
    both = Ensemble(three)
    assert both.answers_of(lambda data: [(x[:4],), (x[4:],)]) == pytest.approx(
        both.predict_proba()[:10], abs=1e-5
    )
