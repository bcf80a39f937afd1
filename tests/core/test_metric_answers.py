"""What metrics take for the answer: thresholds of classes, shares of classes as targets, shapes that fit."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    cohen_kappa_score,
    f1_score,
    fbeta_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torch import nn

from tests.core.helpers import evaluated
from zoo.losses import Activation
from zoo.metrics import (
    MisfitError,
    accuracy,
    accuracy_thresh,
    auc,
    best_threshold,
    f1,
    fbeta,
    mae,
    mcc,
    metric_name,
    mse,
    precision,
    r2,
    recall,
    rmse,
    top_k_accuracy,
)


@pytest.mark.parametrize("thresh", [0.05, 0.5, 0.95])
def test_the_threshold_of_two_classes_is_that_of_class_1(thresh):
    torch.manual_seed(0)
    scores = torch.randn(90, 2) * 2
    y = (torch.rand(90) < scores.softmax(1)[:, 1]).long()
    probs = scores.softmax(1)
    chosen = probs[:, 1] > thresh
    wanted = {
        precision: precision_score(y, chosen, zero_division=0),
        recall: recall_score(y, chosen),
        f1: f1_score(y, chosen),
        mcc: matthews_corrcoef(y, chosen),
    }
    found = evaluated(scores, y, nn.CrossEntropyLoss(), [partial(one, thresh=thresh) for one in wanted])
    assert list(found.values()) == pytest.approx(list(wanted.values()))
    for metric, value in wanted.items():
        for form in (scores, probs, probs.log(), probs.double().numpy()):
            assert metric(form, y, thresh=thresh) == pytest.approx(value)
    both = f1_score(y, chosen, average="macro")
    assert f1(scores, y, thresh=thresh, average="macro") == pytest.approx(both)


def test_a_threshold_of_more_classes_is_refused():
    scores, y = torch.eye(3), torch.arange(3)
    assert recall(scores, y, thresh=0.5) == 1
    with pytest.raises(MisfitError, match=r"recall: thresh=0.3 is for two classes.* of 3 classes"):
        recall(scores, y, thresh=0.3)
    assert np.isfinite(f1(scores[:, :2], [0, 1, 1], thresh=0.3))


# -- targets that are shares of classes


@pytest.mark.parametrize("form", ["one-hot", "smoothed", "maps", "whole"])
def test_shares_of_classes_stand_for_the_largest(form):
    torch.manual_seed(0)
    scores = torch.randn(60, 3, 4) * 2
    y = (scores + torch.randn(60, 3, 4)).argmax(1)
    if form != "maps":
        scores, y = scores[..., 0], y[:, 0]
    one_hot = nn.functional.one_hot(y, 3).movedim(-1, 1).float()
    targets = {"smoothed": one_hot * 0.8 + 0.1, "whole": one_hot.long()}.get(form, one_hot)
    names = ["accuracy", "error_rate", "f1", "precision", "recall", "mcc", "auc", "perplexity"]
    metrics = [*names, cohen_kappa_score, log_loss, top_k_accuracy(2)]
    loss = nn.CrossEntropyLoss() if form != "whole" else MultiplesLoss()
    found = evaluated(scores, targets, loss, metrics)
    assert found == pytest.approx(evaluated(scores, y, nn.CrossEntropyLoss(), metrics), rel=1e-6)
    assert found["f1"] == pytest.approx(f1_score(y.flatten(), scores.argmax(1).flatten(), average="macro"))


class MultiplesLoss(nn.Module):
    activation = Activation("softmax", 1)

    def forward(self, preds, targets):
        return -(preds.log_softmax(1) * targets).sum(1).mean()


def test_rows_without_a_share_do_not_count():
    scores = torch.eye(3)[[0, 1, 2, 0]] * 4
    targets = torch.eye(3)[[0, 1, 0, 0]]
    targets[3] = 0
    found = evaluated(scores, targets, nn.CrossEntropyLoss(), ["accuracy", "recall"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_decisions_on_one_hot_targets_go_by_the_softmax():
    torch.manual_seed(0)
    scores = torch.randn(50, 4)
    targets = torch.eye(4)[scores.argmax(1)]
    probs = scores.softmax(1)
    metrics = [accuracy_thresh(), fbeta(), partial(roc_auc_score, average="micro")]
    found = evaluated(scores, targets, nn.CrossEntropyLoss(), metrics)
    assert found["accuracy_thresh"] == pytest.approx(((probs > 0.5) == targets.bool()).float().mean().item())
    assert found["f2"] == pytest.approx(fbeta()(probs, targets).item())
    assert found["roc_auc_score"] == pytest.approx(roc_auc_score(targets, probs, average="micro"))


def test_by_hand_one_hot_targets_are_refused_with_the_way_out():
    with pytest.raises(
        MisfitError, match=r"accuracy: .*class numbers .*targets.argmax\(-1\).*accuracy_thresh"
    ):
        accuracy(torch.rand(4, 3), torch.eye(4)[:, :3])


# -- shapes that fit


@pytest.mark.parametrize(
    "metric", [rmse, mse, mae, r2, accuracy_thresh(), f1, recall, accuracy, fbeta(), auc], ids=metric_name
)
@pytest.mark.parametrize("shape", [(2, 3), (6,), (6, 1)])
def test_as_many_values_in_another_order_are_refused(metric, shape):
    preds = torch.arange(6.0).reshape(3, 2) / 10
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(" + str(shape)[1:-1]):
        metric(preds, (preds > 0.2).long().T.reshape(shape))


@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 6), (6, 1, 1)])
def test_dimensions_of_one_value_do_not_matter(shape):
    preds, truth = torch.arange(6.0) / 10, torch.tensor([0, 0, 1, 0, 1, 1])
    for metric in (rmse, mae, r2, accuracy_thresh(), f1, auc):
        wanted = float(metric(preds, truth))
        assert float(metric(preds.reshape(shape), truth)) == wanted
        assert float(metric(preds, truth.reshape(shape))) == wanted


def test_steps_may_be_flattened_where_there_is_one_answer_each():
    torch.manual_seed(0)
    yes, truth = torch.rand(4, 5, 1), torch.rand(4, 5) > 0.5
    assert f1(yes, truth) == f1(yes.reshape(-1), truth.reshape(-1)) == f1(yes.reshape(20, 1), truth)
    scores, y = torch.rand(4, 5, 3), torch.randint(3, (4, 5))
    assert accuracy(scores, y) == accuracy(scores, y.reshape(-1)) == accuracy(scores.reshape(20, 3), y)


# -- thresholds of each label


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor, list])
def test_each_label_may_have_a_threshold_of_its_own(form):
    rng = np.random.default_rng(0)
    probs = rng.random((60, 4))
    truth = (rng.random((60, 4)) < probs).astype(int)
    best = best_threshold(probs, truth, beta=1, per_class=True)
    chosen = probs > best.thresh
    thresh = form(best.thresh)
    assert f1(probs, truth, thresh=thresh) == pytest.approx(best.score.mean())
    assert accuracy_thresh(thresh)(probs, truth).item() == pytest.approx((chosen == truth).mean())
    by_rows = fbeta_score(truth, chosen, beta=2, average="samples", zero_division=1)
    assert fbeta(2, thresh)(probs, truth).item() == pytest.approx(by_rows)
    scores = torch.as_tensor(probs).logit().float()
    metrics = [partial(f1, thresh=thresh), fbeta(2, thresh)]
    found = evaluated(scores, torch.as_tensor(truth).float(), nn.BCEWithLogitsLoss(), metrics)
    assert found == pytest.approx({"f1": best.score.mean(), "f2": by_rows})


def test_thresholds_that_are_not_one_a_label_are_refused():
    probs, truth = torch.rand(5, 4), torch.ones(5, 4)
    for metric in (fbeta(2, [0.5, 0.5]), accuracy_thresh([0.5, 0.5]), partial(f1, thresh=[0.5, 0.5])):
        with pytest.raises(MisfitError, match="2 thresholds for 4 labels"):
            metric(probs, truth)
    with pytest.raises(MisfitError, match=r"one threshold a label .* one class a row"):
        f1(probs[:, :2], torch.ones(5), thresh=[0.5, 0.5])


@pytest.mark.parametrize("shape", [(80,), (80, 1)])
def test_the_best_threshold_of_a_single_output_is_that_of_its_rows(shape):
    rng = np.random.default_rng(0)
    probs = rng.random(80).round(2)
    truth = (rng.random(80) < probs**2).astype(int)
    best = best_threshold(probs.reshape(shape), truth, beta=1)
    assert best.score == pytest.approx(max(f1_score(truth, probs > t) for t in np.linspace(0, 0.98, 99)))
    assert f1(probs, truth, thresh=best.thresh) == pytest.approx(best.score)
    both = np.stack([1 - probs, probs], 1)
    assert best_threshold(both, truth, beta=1) == best
    assert f1(both, truth, thresh=best.thresh) == pytest.approx(best.score)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64"])
def test_class_numbers_may_be_unsigned(kind):
    scores, y = np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 1, 0], dtype=kind)
    assert accuracy(scores, y).item() == 0.75
    assert top_k_accuracy(1)(scores, y).item() == 0.75
    assert f1(scores, y) == f1(scores, y.astype("int64"))
