"""Metrics of scikit-learn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from zoo.data.answers.outputs import meaning
from zoo.metrics.arrays import Metric, as_pair
from zoo.metrics.labels import label_probs
from zoo.metrics.meters import makes_metric, metric_name, module_of


@makes_metric
def sklearn_metric(function: Callable, *, on: str | None = None, **options: Any) -> Metric:
    """Any scikit-learn metric as a metric of a learner.

    Args:
        function: `(y_true, y_pred, ...) -> number`.
        on: what it gets as predictions: "labels" (the class with the largest score; for multi-label targets
            those with a probability above a half), "probs" (probabilities), or "values" (raw outputs). By
            default values where the targets are numbers of a regression, probabilities for `log_loss` and the
            like, and labels else.
        options: passed on, for example `average="macro"`.

    Example:
        >>> from sklearn.metrics import f1_score
        >>> metric = sklearn_metric(f1_score, average="macro")
        >>> metric([[2.0, 1.0], [0.0, 3.0]], [0, 1])
        1.0
    """
    if on not in (None, "labels", "probs", "values"):
        raise ValueError(f"sklearn_metric: on must be 'labels', 'probs' or 'values', got {on!r}")
    if not callable(function):
        raise TypeError(f"sklearn_metric takes a function (y_true, y_pred) -> number, got {function!r}")
    name = metric_name(function)

    @functools.wraps(function)
    def metric(preds: Any, targets: Any) -> float:
        scores, truth = as_pair(preds, targets)
        scores, kind = scores.float(), on or _fitting(function, truth)
        several = truth.ndim == scores.ndim > 1
        if kind == "labels":
            given = (label_probs(scores, None, name) > 0.5).long() if several else scores.argmax(-1)
        elif kind == "probs":
            given = label_probs(scores, None, name) if several else class_probs(scores)
        else:
            given = scores
        return float(function(truth.cpu().numpy(), given.cpu().numpy(), **options))

    metric.__module__ = __name__  # `streaming` would take it for a bare scikit-learn function
    metric.__name__ = name
    return metric


def class_probs(preds: Tensor) -> Tensor:
    """Probabilities of classes, from scores or logarithms; probabilities as they are."""
    known = meaning()
    if known is None:
        sums = preds.sum(-1)
        known = "probabilities" if bool((preds >= 0).all() and ((sums - 1).abs() < 1e-3).all()) else "scores"
    return preds if known == "probabilities" else preds.softmax(-1)


_OF_PROBABILITIES = ("log_loss", "brier_score_loss", "d2_log_loss_score", "d2_brier_score")


def _fitting(function: Any, targets: Tensor) -> str:
    """What a scikit-learn function should get, as `sklearn_metric` names it."""
    if not targets.is_floating_point():
        return "probs" if metric_name(function) in _OF_PROBABILITIES else "labels"
    numbers = module_of(function).endswith("._regression") or ((targets != 0) & (targets != 1)).any()
    return "values" if numbers else "labels"
