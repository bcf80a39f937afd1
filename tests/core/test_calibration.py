"""Probabilities that mean what they say: the numbers by hand, where they are used, when they go."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.core.helpers import digits_learner
from zoo import Ensemble, Learner, ModelData, TensorLoader, load_learner, register_model
from zoo.callbacks import EarlyStopping
from zoo.inspect.calibration import Reliability, best_thresholds, fit_temperature, negative_log_likelihood
from zoo.losses import Activation, CrossEntropyFlat
from zoo.storage.archive import ArchiveError
from zoo.vision.targets.maps import MaskTarget


@register_model("test.scaled")
class Scaled(nn.Module):
    """Scores that are too sure of themselves by a known factor."""

    def __init__(self, n: int = 3, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((n,), factor))

    def forward(self, x):
        return x * self.factor


class ScaledMap(nn.Module):
    """Maps of scores that are twice too sure."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.factor


def own_loss(preds, targets):
    """Knows by itself that 255 does not count, without saying so."""
    return nn.functional.cross_entropy(preds, targets.long(), ignore_index=255)


own_loss.activation = Activation("softmax", 1)


class RawRows(ModelData):
    def batches_from_raw(self, items):
        yield (torch.tensor(items, dtype=torch.float32),)


def rows(n: int = 4000, classes: int = 3, seed: int = 0):
    """Scores, and classes drawn by the probabilities that they mean."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, classes, generator=rng) * 2
    return x, torch.multinomial(x.softmax(1), 1, generator=rng).flatten()


def learner(factor: float = 3.0, task: str = "classification", **options) -> Learner:
    x, y = rows()
    if task == "multilabel":
        y = (torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < (x - 1).sigmoid()).float()
        x = x - 1
    data = RawRows(TensorLoader(x, y, bs=500), TensorLoader(x, y, bs=500))
    data.task, data.classes = task, ["a", "b", "c"]
    return Learner(data, Scaled(3, factor), device="cpu", progress=False, **options)


def test_expected_calibration_error_by_hand() -> None:
    # bins of 1/5: (0.2, 0.4] holds 0.3 and 0.4, (0.8, 1] holds 0.9, 1.0 and 0.95
    confidence = torch.tensor([0.3, 0.4, 0.9, 1.0, 0.95], dtype=torch.float64)
    found = Reliability.of(0.0, confidence, torch.tensor([0, 1, 1, 1, 0]), bins=5)
    assert found.counts == (0, 2, 0, 0, 3)
    assert found.ece == pytest.approx(2 / 5 * abs(0.35 - 0.5) + 3 / 5 * abs(0.95 - 2 / 3))


def test_the_temperature_is_the_one_that_spoiled_the_scores() -> None:
    x, y = rows(20_000)
    scores = x.double() * 3
    found = fit_temperature(scores, y)
    assert found == pytest.approx(3.0, rel=0.03)
    assert fit_temperature(scores * 1e4, y) == pytest.approx(found * 1e4, rel=1e-4)
    assert fit_temperature(scores / 1e3, y) == pytest.approx(found / 1e3, rel=1e-4)
    around = [negative_log_likelihood(scores / (found * step), y).item() for step in (0.999, 1, 1.001)]
    assert around[1] < min(around[0], around[2])


def test_answers_agree_everywhere_and_the_likeliest_class_stays() -> None:
    learn = learner()
    raw, _ = rows(5, seed=3)
    before, loss = learn.predict_proba(), learn.evaluate()
    found = learn.calibrate()
    assert found is learn.calibration
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.after.ece < 0.02 < 0.1 < found.before.ece
    assert found.after.nll < found.before.nll
    after = learn.predict_proba()
    assert (before.argmax(1) == after.argmax(1)).all()
    assert not np.allclose(before, after)
    picked = after[np.arange(len(after)), learn.predict_with_targs()[1]]
    assert -np.log(picked).mean() == pytest.approx(found.after.nll, rel=1e-5)
    assert np.exp(learn.predict()) == pytest.approx(after, rel=1e-5)
    expected = (raw * 3 / found.temperature).softmax(1)
    answers = learn.predict_batch(raw.tolist())
    assert [list(one.probabilities.values()) for one in answers] == pytest.approx(expected.numpy(), rel=1e-5)
    assert learn.predict_one(raw[0].tolist()) == answers[0]
    assert learn.evaluate()["valid_loss"] == pytest.approx(found.after.nll, rel=1e-5)
    assert f"temperature {found.temperature:.4g}, found on 4,000 rows" in repr(found)
    assert len(found.plot().axes) == 2
    assert learn.calibrate(False) is None
    assert learn.evaluate() == loss
    assert (learn.predict_proba() == before).all()


def test_calibrating_twice_finds_the_same() -> None:
    learn = learner()
    assert learn.calibrate() == learn.calibrate()


def test_it_travels_in_an_archive_and_older_ones_have_none(tmp_path) -> None:
    learn = learner()
    raw = rows(4)[0].tolist()
    plain = [one.probability for one in learn.predict_batch(raw)]
    older = learn.export(tmp_path / "old.zip")
    found = learn.calibrate()
    learn.export(tmp_path / "new.zip")
    Learner.data_class = RawRows
    try:
        opened = load_learner(tmp_path / "new.zip", device="cpu")
        assert opened.calibration == found
        assert opened.predict_batch(raw) == learn.predict_batch(raw)
        assert load_learner(older, device="cpu").calibration is None
        assert [one.probability for one in load_learner(older, device="cpu").predict_batch(raw)] == plain
    finally:
        Learner.data_class = ModelData


def test_a_damaged_temperature_is_refused(tmp_path) -> None:
    learn = learner()
    learn.calibrate()
    folder = learn.export(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["calibration"]["temperature"] = -1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArchiveError, match="which must be above 0"):
        load_learner(folder, device="cpu")


def test_other_weights_drop_it_and_tell(tmp_path) -> None:
    learn = learner(path=tmp_path)
    learn.save("one")
    learn.calibrate()
    with pytest.warns(UserWarning, match=r"fit\(\) changes the weights.*calibrate\(\) again"):
        learn.fit(0.01, 1)
    assert learn.calibration is None
    learn.calibrate()
    learn.lr_find(num_it=3)
    assert learn.calibration is not None
    with pytest.warns(UserWarning, match=r"load\(\) changes the weights"):
        learn.load("one")
    assert learn.calibration is None


def f1(probabilities, truth, threshold: float) -> float:
    said = probabilities >= threshold
    return 2 * (said * truth).sum() / (said.sum() + truth.sum())


def test_thresholds_of_labels_have_the_best_f1() -> None:
    rng = np.random.default_rng(0)
    probs = np.round(rng.random((60, 3)), 1)  # many ties
    truth = (rng.random((60, 3)) < probs * [0.4, 0.8, 1.0]).astype(float)
    found = best_thresholds(torch.tensor(probs), torch.tensor(truth))
    assert found.count(0.5) < 2
    for label, threshold in enumerate(found):
        tried = [f1(probs[:, label], truth[:, label], one) for one in np.linspace(0, 1.01, 102)]
        assert f1(probs[:, label], truth[:, label], threshold) == max(tried)


def column(probabilities, truth) -> float:
    made = (torch.as_tensor(one, dtype=torch.float64)[:, None] for one in (probabilities, truth))
    return best_thresholds(*made)[0]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_label_of_few_rows_keeps_a_half(n) -> None:
    truth = np.zeros(57)
    truth[[50, 3, 20, 30][:n]] = 1
    assert column(np.linspace(0.3, 0.01, 57), truth) == 0.5
    assert column(0.1 + 0.2 * truth, truth) == 0.5


def test_probabilities_that_tell_nothing_set_no_label_everywhere() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(200):
        truth = np.zeros(60)
        truth[: rng.integers(5, 30)] = 1
        probs = rng.random(60) * 0.4
        threshold = column(probs, truth)
        kept += threshold == 0.5
        assert threshold == 0.5 or (probs < threshold).any()
    assert kept > 190  # two deviations: 2 to 3 of 100 rank so well by chance


def test_a_threshold_beats_a_half_and_the_label_on_all_rows() -> None:
    truth = np.array([1.0] * 10 + [0.0] * 10)
    assert column(0.6 * truth + 0.2, truth) == 0.5  # which is right on all rows
    assert column(0.2 * truth + 0.1, truth) == pytest.approx(0.2)
    nearly_all = np.array([1.0] * 40 + [0.0])  # leaving out the only other row is better than all
    assert column(np.r_[np.linspace(0.4, 0.3, 40), 0.1], nearly_all) == 0.5  # yet one row may do so by chance
    assert column(np.full(20, 0.1), truth) == 0.5
    # F1 on all rows 20 / 30; the best other leaves out three rows, two of them with the label
    mixed = np.array([1.0] * 8 + [0.0] * 9 + [1, 1, 0])
    assert column(np.linspace(0.49, 0.01, 20), mixed) != 0.5
    tiny = column(np.where(truth > 0, 2e-9, 1e-9), truth)
    assert 1e-9 < tiny <= 2e-9


def test_labels_that_keep_a_half_for_want_of_rows_are_told_once() -> None:
    learn = learner(2.0, "multilabel")
    x, y = (part.clone() for part in learn.data.valid_dl.tensors)
    y[:, 0] = 0
    y[:3, 1] = 1
    y[3:, 1] = 0
    with pytest.warns(UserWarning, match="fewer than 5 rows have the label 'a' \\(0\\), 'b' \\(3\\)") as told:
        found = learn.calibrate(loader=TensorLoader(x, y, bs=500))
    assert sum("stays 0.5" in str(one.message) for one in told) == 1
    assert found.thresholds[:2] == (0.5, 0.5)
    assert found.thresholds[2] != 0.5


@pytest.mark.parametrize("loss", [CrossEntropyFlat(axis=1, ignore_index=255), own_loss])
def test_pixels_that_do_not_count_are_left_out(loss) -> None:
    x, y = (part.reshape(10, 20, 20, *part.shape[1:]) for part in rows())
    x, y = x.movedim(-1, 1), y.to(torch.uint8)
    y[:, :5] = 255
    data = RawRows(TensorLoader(x, y, bs=2), TensorLoader(x, y, bs=2))
    data.task, data.classes, data.target = "segmentation", ["a", "b", "c"], MaskTarget(["a", "b", "c"])
    learn = Learner(data, ScaledMap(), loss_fn=loss, device="cpu", progress=False)
    found = learn.calibrate()
    assert found.rows == 10 * 15 * 20
    assert found.temperature == pytest.approx(2, rel=0.1)
    y[:] = 255
    with pytest.raises(ValueError, match="none of 4000 targets counts"):
        learn.calibrate()


def test_labels_are_set_from_their_threshold_on() -> None:
    learn = learner(2.0, "multilabel")
    found = learn.calibrate()
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert all(0.2 < one < 0.5 for one in found.thresholds)
    least = float(torch.tensor(found.thresholds[0]).logit()) * found.temperature / 2
    above, below = learn.predict_batch([[least + 0.05, -9.0, -9.0], [least - 0.05, -9.0, -9.0]])
    assert (above.label, below.label) == (("a",), ())
    assert above.probability == pytest.approx(found.thresholds[0], abs=0.05)
    other = learner(2.0, "multilabel")
    assert Ensemble([learn, other]).predict_batch([[least + 0.05, -9.0, -9.0]])[0].label == ()
    other.calibrate()
    assert Ensemble([learn, other]).predict_batch([[least + 0.05, -9.0, -9.0]])[0].label == ("a",)


def test_an_ensemble_takes_each_member_with_its_own_temperature() -> None:
    learners = [learner(2.0), learner(5.0)]
    for one in learners:
        one.calibrate()
    mean = Ensemble(learners)
    expected = sum(one.predict_proba() for one in learners) / 2
    assert mean.predict_proba() == pytest.approx(expected, rel=1e-4)
    raw = rows(3)[0].tolist()
    answers = [list(one.probabilities.values()) for one in mean.predict_batch(raw)]
    parts = [[list(one.probabilities.values()) for one in each.predict_batch(raw)] for each in learners]
    assert answers == pytest.approx(np.mean(parts, 0), rel=1e-4)


def test_snapshots_go_without_the_calibration_of_other_weights(tmp_path) -> None:
    learn = learner(path=tmp_path)
    learn.fit(0.1, 1, cycle_len=1, cycle_save_name="snap")
    plain = learn.predict_proba()
    found = learn.calibrate()
    assert Ensemble.from_snapshots(learn, "snap").predict_proba() == pytest.approx(plain, rel=1e-4)
    assert learn.calibration is found


def test_log_probabilities_and_probabilities_as_outputs() -> None:
    x = rows(50)[0]
    expected = (x / 2).softmax(1)
    assert torch.allclose(Activation("exp", temperature=2.0)(x.log_softmax(1)), expected, atol=1e-6)
    assert torch.allclose(Activation("exp", temperature=2.0).log(x.log_softmax(1)).exp(), expected, atol=1e-6)
    halved = Activation("probability", temperature=2.0)(x.sigmoid())
    assert torch.allclose(halved, (x / 2).sigmoid(), atol=1e-5)


def test_values_and_few_rows_and_rows_that_chose_weights() -> None:
    x = torch.randn(300, 3)
    loader = TensorLoader(x, x.sum(1))
    with pytest.raises(ValueError, match="for classifiers; this learner predicts values"):
        Learner(ModelData(None, loader), nn.Linear(3, 1), device="cpu").calibrate()
    learn = learner()
    few = TensorLoader(*(part[:50] for part in learn.data.valid_dl.tensors))
    with pytest.warns(UserWarning, match="50 rows tell little"):
        assert learn.calibrate(loader=few).rows == 50
    learn = digits_learner()
    learn.fit(0.01, 1, callbacks=[EarlyStopping()])
    with pytest.warns(UserWarning, match=r"EarlyStopping chose weights.*calibrate\(loader=...\)"):
        learn.calibrate()
    sure = learner(1.0)
    sure.data.valid_dl = TensorLoader(torch.eye(3).repeat(100, 1) * 5, torch.arange(3).repeat(100))
    with pytest.warns(UserWarning, match="right on every row"):
        assert sure.calibrate().temperature == 1
    sure.data.valid_dl = TensorLoader(torch.eye(3).repeat(100, 1), torch.arange(3).repeat(100).roll(1))
    with pytest.warns(UserWarning, match="no better than chance"):
        assert sure.calibrate().temperature == 1


def test_targets_that_are_shares_of_classes_cannot_calibrate() -> None:
    x, _ = rows(400)
    loader = TensorLoader(x, x.softmax(1))
    learn = Learner(
        ModelData(loader, loader), Scaled(), loss_fn=nn.CrossEntropyLoss(), device="cpu", progress=False
    )
    with pytest.raises(ValueError, match=r"of shape \(400, 3\), are shares of the classes"):
        learn.calibrate()


def test_a_model_that_gives_nan_is_told_before_anything_is_counted() -> None:
    learn = learner()
    learn.data.valid_dl.tensors[0][7] = float("nan")
    with pytest.raises(ValueError, match=r"NaN for 1 of \d+ rows, the first is row 7"):
        learn.calibrate()
