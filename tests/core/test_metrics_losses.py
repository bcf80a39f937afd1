import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    fbeta_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)
from torch import nn

from zoo.losses import BCEWithLogitsFlat, CrossEntropyFlat, L1Flat, MSEFlat, activation_of, counted_by
from zoo.metrics import (
    Perplexity,
    Summed,
    WholeSet,
    accuracy,
    accuracy_thresh,
    auc,
    fbeta,
    mae,
    metric_name,
    r2,
    rmse,
    sklearn_metric,
    streaming,
    top_k_accuracy,
)


def test_classification_metrics_on_known_values():
    preds = torch.tensor([[3.0, 1, 2], [0, 2, 1], [1, 2, 3], [5, 1, 4]])
    targets = torch.tensor([0, 2, 2, 2])
    assert accuracy(preds, targets).item() == 0.5
    assert top_k_accuracy(2)(preds, targets).item() == 1.0
    assert metric_name(top_k_accuracy(2)) == "top_2_accuracy"
    assert accuracy(preds.reshape(2, 2, 3), targets.reshape(2, 2)).item() == 0.5
    with pytest.raises(ValueError, match="do not fit"):
        accuracy(preds, targets[:2])


def test_fbeta_equals_scikit_learn():
    torch.manual_seed(0)
    scores, truth = torch.randn(50, 7), (torch.rand(50, 7) > 0.6).float()
    chosen = (scores.sigmoid() > 0.2).numpy()
    expected = fbeta_score(truth.numpy(), chosen, beta=2, average="samples", zero_division=1.0)
    assert fbeta()(scores, truth).item() == pytest.approx(expected)
    assert accuracy_thresh(0.5)(scores, truth).item() == pytest.approx(
        ((scores > 0) == (truth > 0)).float().mean().item()
    )


def test_regression_metrics_on_known_values():
    preds, targets = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.0, 3.0, 2.0])
    assert rmse(preds, targets) == pytest.approx(math.sqrt(5 / 3))
    assert mae(preds, targets) == pytest.approx(1.0)
    assert r2(preds, targets) == pytest.approx(1 - 5 / 2)
    assert auc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])) == pytest.approx(0.75)


def some_scores(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    targets = torch.arange(rows) % columns
    return torch.randn(rows, columns) * 3 + F.one_hot(targets, columns), targets


@pytest.mark.parametrize("classes", [3, 7])
def test_auc_of_several_classes_is_that_of_scikit_learn(classes):
    preds, targets = some_scores(90, classes)
    expected = roc_auc_score(targets, preds.double().softmax(1), multi_class="ovr")
    assert auc(preds, targets) == pytest.approx(expected, abs=1e-12)
    assert auc(preds, targets[:, None]) == pytest.approx(expected, abs=1e-12)
    meter = streaming(auc)
    for start in range(0, 90, 32):  # batches, some without a class
        meter.update(preds[start : start + 32], targets[start : start + 32])
    assert meter.compute() == pytest.approx(expected, abs=1e-12)


def test_auc_of_the_classes_that_occur():
    preds, targets = some_scores(90, 3)
    kept = targets != 1
    preds, targets = preds[kept], targets[kept]
    probs = preds.double().softmax(1)
    each = [roc_auc_score(targets == one, probs[:, one]) for one in (0, 2)]
    assert auc(preds, targets) == pytest.approx(sum(each) / 2, abs=1e-12)
    with pytest.warns(UndefinedMetricWarning, match="Only one class"):
        assert math.isnan(auc(preds, torch.full_like(targets, 2)))
    with pytest.warns(UndefinedMetricWarning, match="Only one class"):
        assert math.isnan(auc(preds[:, :2], torch.zeros_like(targets)))
    with pytest.raises(ValueError, match="auc: the target 3 is none of the 3 classes"):
        auc(preds, targets + 1)
    with pytest.raises(ValueError, match="auc: predictions of shape"):
        auc(preds, targets[:4])
    with pytest.raises(ValueError, match="auc: there is nothing to compare"):
        auc(preds[:0], targets[:0])


@pytest.mark.parametrize("labels", [2, 5])
def test_auc_of_several_labels_is_that_of_scikit_learn(labels):
    preds, targets = some_scores(60, labels)
    truth = F.one_hot(targets, labels).float()
    truth[0] = 1.0
    assert auc(preds, truth) == pytest.approx(roc_auc_score(truth, preds, average="macro"), abs=1e-12)
    constant = torch.cat([truth, torch.ones(60, 1), torch.zeros(60, 1)], 1)
    wide = torch.cat([preds, preds[:, :2]], 1)
    assert auc(wide, constant) == pytest.approx(auc(preds, truth), abs=1e-12)


def test_auc_of_two_classes_takes_half_precision_and_gradients():
    preds, targets = some_scores(60, 2)
    expected = roc_auc_score(targets, preds[:, 1] - preds[:, 0])
    assert auc(preds.requires_grad_(), targets) == pytest.approx(expected, abs=1e-12)
    assert auc(preds.bfloat16(), targets) == pytest.approx(expected, abs=0.02)


def test_a_wrapped_scikit_learn_function_is_streamed_as_it_is():
    """Options given to `sklearn_metric` hold inside a validation too."""
    meter = streaming(sklearn_metric(mean_absolute_error, on="values"))
    meter.update(torch.tensor([[1.0], [2.5]]), torch.tensor([[0.0], [2.0]]))
    assert meter.compute() == 0.75


def test_any_scikit_learn_metric_can_be_used():
    metric = sklearn_metric(cohen_kappa_score)
    assert metric_name(metric) == "cohen_kappa_score"
    assert metric(torch.eye(3), torch.tensor([0, 1, 2])) == 1.0
    meter = streaming(cohen_kappa_score)
    meter.update(torch.eye(3), torch.tensor([0, 1, 2]))
    assert (meter.name, meter.compute()) == ("cohen_kappa_score", 1.0)
    with pytest.raises(ValueError, match="on must be"):
        sklearn_metric(cohen_kappa_score, on="nothing")


@pytest.mark.parametrize("given", [r2_score, partial(r2_score), sklearn_metric(r2_score)])
def test_scikit_learn_functions_of_numbers_get_the_values(given):
    """Predictions and targets go in the order of scikit-learn; 0/1 numbers are numbers still."""
    preds, targets = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [3.0], [2.0]])
    for truth in (targets, (targets > 1).float()):
        meter = streaming(given)
        meter.update(preds, truth)
        assert meter.name == "r2_score"
        assert meter.compute() == pytest.approx(r2_score(truth, preds))


def test_scikit_learn_functions_of_labels_get_labels():
    preds = torch.tensor([[1.0, -2.0], [-1.0, 3.0], [0.5, 2.0]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert sklearn_metric(accuracy_score)(preds, labels) == pytest.approx(2 / 3)
    assert sklearn_metric(mean_absolute_error)(preds, torch.tensor([0, 1, 0])) == pytest.approx(1 / 3)
    meter = streaming(partial(fbeta_score, beta=0.5, average="macro"))
    meter.update(preds, torch.tensor([0, 1, 0]))
    assert meter.name == "fbeta_score"
    assert meter.compute() == pytest.approx(fbeta_score([0, 1, 0], [0, 1, 1], beta=0.5, average="macro"))


def test_scikit_learn_functions_of_probabilities_get_these():
    for classes in (2, 4):
        preds, targets = some_scores(40, classes)
        probs = preds.softmax(1).numpy()
        for given in (log_loss, brier_score_loss):
            meter = streaming(given)
            meter.update(preds, targets)
            assert meter.compute() == pytest.approx(given(targets.numpy(), probs))


def test_streamed_row_means_equal_the_whole_set_value():
    torch.manual_seed(0)
    preds, targets = torch.randn(70, 5), torch.randint(0, 5, (70,))
    for metric in (accuracy, top_k_accuracy(3)):
        meter = streaming(metric)
        assert isinstance(meter, Summed)
        for start in range(0, 70, 32):
            meter.update(preds[start : start + 32], targets[start : start + 32])
        assert meter.compute() == pytest.approx(metric(preds, targets).item())
    assert isinstance(streaming(auc), WholeSet)
    meter = streaming(Perplexity)
    meter.update(preds, targets)
    assert meter.compute() == pytest.approx(F.cross_entropy(preds, targets).exp().item(), rel=1e-5)
    with pytest.raises(TypeError, match="a metric is"):
        streaming(3)


def test_losses_take_extra_dimensions():
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 5, 4), torch.randint(0, 4, (2, 5))
    expected = F.cross_entropy(scores.reshape(-1, 4), labels.reshape(-1))
    assert CrossEntropyFlat()(scores, labels) == expected
    assert CrossEntropyFlat()(scores, labels.reshape(-1).to(torch.int32)) == expected
    image = scores.permute(0, 2, 1)[..., None]
    assert CrossEntropyFlat(axis=1)(image, labels[..., None]) == expected
    smooth = CrossEntropyFlat(label_smoothing=0.1)(scores, labels)
    assert smooth == F.cross_entropy(scores.reshape(-1, 4), labels.reshape(-1), label_smoothing=0.1)


@pytest.mark.parametrize(("kind", "expected"), [(MSEFlat, 2.5), (L1Flat, 1.5)])
def test_missing_targets_do_not_count_where_a_loss_is_told_so(kind, expected):
    loss, preds = kind(skip_missing=True), torch.zeros(2, 2, requires_grad=True)
    targets = torch.tensor([[1.0, math.nan], [2.0, math.nan]])
    found = loss(preds, targets)
    assert found.item() == expected
    assert counted_by(loss, targets).item() == 2
    found.backward()
    assert preds.grad[:, 0].all()
    assert not preds.grad[:, 1].any()
    assert loss(preds, torch.full((2, 2), math.nan)).item() == 0
    assert kind()(preds, targets).isnan()
    assert counted_by(kind(), targets) is None


@pytest.mark.parametrize(("loss", "expected"), [(MSEFlat(), 2.0), (L1Flat(), 4 / 3)])
def test_columns_against_flat_targets_pair_up(loss, expected):
    preds, targets = (
        torch.tensor([[1.0], [2.0], [3.0]]),
        torch.tensor([2.0, 2.0, 3.0]) + torch.tensor([1.0, -1, -1]),
    )
    value = {2.0: ((preds[:, 0] - targets) ** 2).mean(), 4 / 3: (preds[:, 0] - targets).abs().mean()}[
        expected
    ]
    assert loss(preds, targets).item() == pytest.approx(value.item())


def test_mismatches_are_refused_with_the_shapes():
    with pytest.raises(ValueError, match=r"shape \(3, 1\) and targets of shape \(4,\)"):
        MSEFlat()(torch.zeros(3, 1), torch.zeros(4))
    with pytest.raises(ValueError, match="3 rows of scores"):
        CrossEntropyFlat()(torch.zeros(3, 2), torch.zeros(4).long())
    with pytest.raises(TypeError, match="integer class numbers"):
        CrossEntropyFlat()(torch.zeros(3, 2), torch.zeros(3))


def test_activations_follow_the_loss():
    scores = torch.tensor([[0.0, math.log(3.0)]])
    for loss in (CrossEntropyFlat(), nn.CrossEntropyLoss(), F.cross_entropy):
        assert activation_of(loss)(scores).tolist() == [pytest.approx([0.25, 0.75])]
        assert activation_of(loss).log(scores).tolist() == [pytest.approx([math.log(0.25), math.log(0.75)])]
    assert activation_of(BCEWithLogitsFlat())(torch.zeros(1)).item() == 0.5
    assert activation_of(MSEFlat())(torch.ones(1)).item() == 1.0


def test_targets_that_are_no_class_are_named():
    scores, targets = torch.zeros(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 255]]] * 2)
    with pytest.raises(
        IndexError, match=r"2 of 8 targets are no class number from 0 to 2, such as 255; .*=255"
    ):
        CrossEntropyFlat(axis=1)(scores, targets)
    assert CrossEntropyFlat(axis=1, ignore_index=255)(scores, targets).item() == pytest.approx(math.log(3))


def test_weights_of_classes_as_a_list():
    scores, targets = torch.randn(8, 3), torch.arange(8) % 3
    listed, tensor = (CrossEntropyFlat(weight=w) for w in ([1, 2, 0.5], torch.tensor([1, 2, 0.5])))
    assert listed(scores, targets) == tensor(scores, targets)
