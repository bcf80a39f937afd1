"""What metrics take for the answer: thresholds of classes, shares of classes as targets, shapes that fit."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score
from torch import Tensor, nn

from zoo import Learner, ModelData, TensorLoader
from zoo.metrics import MisfitError, f1, mcc, precision, recall


def evaluated(scores: Tensor, targets: Tensor, loss, metrics) -> dict[str, float]:
    data = ModelData(None, TensorLoader(scores, targets, bs=16))
    learn = Learner(data, nn.Identity(), device="cpu", loss_fn=loss, metrics=metrics)
    found = learn.evaluate()
    found.pop("valid_loss")
    return found


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
