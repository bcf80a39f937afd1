"""Functions of scikit-learn get what they are for: values, labels, probabilities, the scores of a ranking."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    ndcg_score,
    r2_score,
    roc_auc_score,
    top_k_accuracy_score,
)
from torch import Tensor, nn

from tests.core.helpers import evaluated
from zoo.losses import BCEWithLogitsFlat, MSEFlat
from zoo.metrics import sklearn_metric


def yes_or_no(rows: int = 200) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    scores = torch.randn(rows, 1) * 3
    return scores, (scores[:, 0] + torch.randn(rows) * 2 > 0.5).long()


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32], ids=["whole", "float"])
@pytest.mark.parametrize("column", [True, False], ids=["column", "flat"])
def test_a_single_output_says_yes_above_a_half(dtype, column):
    scores, truth = yes_or_no()
    probs = scores.double().sigmoid()[:, 0]
    targets = truth.to(dtype)[:, None] if column else truth.to(dtype)
    of_labels = (accuracy_score, f1_score, cohen_kappa_score, balanced_accuracy_score)
    of_probs = (log_loss, brier_score_loss, roc_auc_score, average_precision_score)
    for given in (scores, scores[:, 0]):
        found = evaluated(given, targets, BCEWithLogitsFlat(), [*of_labels, *of_probs, "f1", "auc"])
        for function in of_labels:
            assert found[function.__name__] == pytest.approx(function(truth, probs > 0.5))
        for function in of_probs:
            assert found[function.__name__] == pytest.approx(function(truth, probs), rel=1e-5)
        assert found["f1"] == pytest.approx(found["f1_score"])
        assert found["auc"] == pytest.approx(found["roc_auc_score"])


def test_a_single_output_by_hand():
    scores, truth = yes_or_no()
    for given in (scores, scores[:, 0], scores.numpy(), scores[:, 0].tolist()):
        assert sklearn_metric(f1_score)(given, truth) == pytest.approx(f1_score(truth, scores > 0))
    assert sklearn_metric(log_loss)(scores.sigmoid(), truth) == pytest.approx(
        log_loss(truth, scores.sigmoid()[:, 0].double()), rel=1e-5
    )


def test_functions_of_numbers_get_values_also_for_whole_numbers():
    assert sklearn_metric(mean_absolute_error)([[2.5], [3.1]], [2, 3]) == pytest.approx(0.3)
    torch.manual_seed(0)
    counts = (torch.randn(100) * 10).round().long()
    outputs = counts[:, None] + torch.randn(100, 1)
    expected = r2_score(counts, outputs)
    for targets in (counts, counts[:, None], counts.double()):
        found = evaluated(outputs, targets, MSEFlat(), [mean_absolute_error, r2_score, "mae", "r2"])
        assert found["r2_score"] == pytest.approx(found["r2"]) == pytest.approx(expected)
        assert found["mean_absolute_error"] == pytest.approx(found["mae"])
    several = torch.stack([counts, counts * 2], 1)
    found = evaluated(several + 0.25, several, MSEFlat(), [mean_absolute_error])
    assert found["mean_absolute_error"] == pytest.approx(0.25, rel=1e-5)


def test_an_own_function_of_whole_numbers_gets_values():
    def largest_error(truth, values):
        return float(np.abs(truth - values.ravel()).max())

    assert sklearn_metric(largest_error)([[2.5], [7.0]], [2, 7]) == 0.5


def test_functions_of_rankings_get_the_probability_of_class_1():
    torch.manual_seed(0)
    scores = torch.randn(300, 2)
    truth = (scores[:, 1] - scores[:, 0] + torch.randn(300) > 0.8).long()
    odds = (scores[:, 1] - scores[:, 0]).double()
    given = [
        roc_auc_score,
        average_precision_score,
        sklearn_metric(roc_auc_score, on="probs", max_fpr=0.5),
        "auc",
    ]
    found = evaluated(scores, truth, nn.CrossEntropyLoss(), given)
    assert found["roc_auc_score"] == pytest.approx(roc_auc_score(truth, odds)) == pytest.approx(found["auc"])
    assert found["average_precision_score"] == pytest.approx(average_precision_score(truth, odds))
    assert found["roc_auc_score_2"] == pytest.approx(roc_auc_score(truth, odds, max_fpr=0.5))


def test_functions_of_rankings_get_the_probabilities_of_all_classes_or_labels():
    torch.manual_seed(0)
    scores, truth = torch.randn(300, 4), torch.randint(0, 4, (300,))
    probs = scores.double().softmax(1)
    given = [top_k_accuracy_score, average_precision_score, sklearn_metric(roc_auc_score, multi_class="ovr")]
    found = evaluated(scores, truth, nn.CrossEntropyLoss(), given)
    assert found["top_k_accuracy_score"] == pytest.approx(top_k_accuracy_score(truth, probs))
    assert found["average_precision_score"] == pytest.approx(average_precision_score(truth, probs))
    assert found["roc_auc_score"] == pytest.approx(roc_auc_score(truth, probs, multi_class="ovr"))
    for labels in (2, 4):
        several = (torch.rand(300, labels) > 0.6).long()
        found = evaluated(scores[:, :labels], several.float(), BCEWithLogitsFlat(), [roc_auc_score])
        assert found["roc_auc_score"] == pytest.approx(roc_auc_score(several, scores[:, :labels]))
    grades = torch.randint(0, 4, (50, 6))
    assert sklearn_metric(ndcg_score)(grades + 0.1, grades) == pytest.approx(1.0)


def test_a_function_of_ones_own_gets_the_probabilities_of_both_classes():
    shapes = []

    def mine(truth, probs):
        shapes.append((truth.shape, probs.shape))
        return 0.0

    sklearn_metric(mine, on="probs")(torch.randn(5, 2), torch.zeros(5).long())
    assert shapes == [((5,), (5, 2))]


def test_labels_of_steps_are_rows():
    torch.manual_seed(0)
    scores, truth = torch.randn(6, 4, 3), torch.randint(0, 2, (6, 4, 3))
    expected = f1_score(truth.reshape(-1, 3), scores.reshape(-1, 3) > 0, average="macro")
    assert sklearn_metric(f1_score, average="macro")(scores, truth) == pytest.approx(expected)
    assert math.isfinite(expected)
