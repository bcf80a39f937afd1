"""Metrics of tables against those of scikit-learn."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, mean_absolute_error, mean_pinball_loss, r2_score

from zoo.metrics import auc
from zoo_tabular import ColumnarModelData, average_precision, in_units


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def test_average_precision_of_several_classes_and_labels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(4, 120, p=[0.6, 0.2, 0.15, 0.05])
    scores = rng.normal(size=(120, 4)) * 2 + np.eye(4)[truth]
    probs = softmax(scores)
    expected = np.mean([average_precision_score(truth == one, probs[:, one]) for one in range(4)])
    for preds, targs in ((scores, truth), (torch.tensor(scores), torch.tensor(truth))):
        assert average_precision(preds, targs) == pytest.approx(expected, abs=1e-12)
    without = truth != 2
    each = [average_precision_score(truth[without] == one, probs[without, one]) for one in (0, 1, 3)]
    assert average_precision(scores[without], truth[without]) == pytest.approx(np.mean(each), abs=1e-12)
    labels = (rng.random((120, 2)) < 0.2).astype("float32")
    expected = average_precision_score(labels, scores[:, :2], average="macro")
    assert average_precision(scores[:, :2], labels) == pytest.approx(expected, abs=1e-12)
    two = average_precision_score(truth == 1, scores[:, 1] - scores[:, 0])
    assert average_precision(scores[:, :2], truth == 1) == pytest.approx(two, abs=1e-12)
    with pytest.raises(ValueError, match="average_precision: predictions of shape"):
        average_precision(scores, truth[:5])


def test_a_fit_of_three_classes_whose_validation_rows_show_two(tmp_path) -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"x": rng.normal(size=150)})
    kind = np.where(np.arange(150) < 100, np.array(list("abc") * 50), np.array(list("ab") * 75))
    md = ColumnarModelData.from_data_frame(tmp_path, range(100, 150), df, kind, [], 25, is_reg=False)
    learn = md.get_learner(szs=[4], metrics=[auc, average_precision], progress=False, device="cpu")
    last = learn.fit(0.01, 1)[-1]
    probs, truth = learn.predict_proba(), kind[100:]
    expected = np.mean([average_precision_score(truth == one, probs[:, i]) for i, one in enumerate("ab")])
    assert last["average_precision"] == pytest.approx(expected, abs=1e-4)
    assert 0 < last["auc"] < 1


def test_functions_of_scikit_learn_in_units(tmp_path) -> None:
    """They take the targets first."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"x": rng.normal(size=60), "y": rng.lognormal(2, 1, 60)})
    md = ColumnarModelData.from_data_frame(tmp_path, range(30, 60), df, "y", [], 10, target_transform="log")
    low = partial(mean_pinball_loss, alpha=0.1)
    metrics = [in_units(metric, md) for metric in (r2_score, mean_absolute_error, low)]
    learn = md.get_learner(szs=[4], metrics=metrics, progress=False, device="cpu")
    found, truth = learn.evaluate(), df["y"][30:]
    preds = learn.predict().reshape(-1)
    assert found["r2_score"] == pytest.approx(r2_score(truth, preds), rel=1e-4)
    assert found["mean_absolute_error"] == pytest.approx(mean_absolute_error(truth, preds), rel=1e-4)
    assert found["mean_pinball_loss"] == pytest.approx(low(truth, preds), rel=1e-4)
