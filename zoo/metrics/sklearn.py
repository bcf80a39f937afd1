"""Metrics of scikit-learn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.data.answers.outputs import form_of, ignored_target, meaning
from zoo.metrics.arrays import Metric, as_pair, class_rows
from zoo.metrics.labels import label_probs
from zoo.metrics.meters import makes_metric, metric_name, module_of


@makes_metric
def sklearn_metric(function: Callable, *, on: str | None = None, **options: Any) -> Metric:
    """Any scikit-learn metric as a metric of a learner.

    Args:
        function: `(y_true, y_pred, ...) -> number`.
        on: what it gets as predictions: "labels" (of classes the one with the largest score; of several
            labels, and of a single output, 0 or 1 as the probability is above a half), "probs"
            (probabilities; those of class 1, shape (rows,), of a single output), or "values" (raw outputs).
            By default values for functions of numbers (`mean_absolute_error`, `r2_score`, ...) and where the
            targets are numbers of a regression, probabilities for `log_loss` and the like and for functions
            of rankings (`roc_auc_score`, ...), labels else. Functions of rankings get of two classes the
            probability of class 1.
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
        scores, truth = (values.cpu() for values in as_pair(preds, targets))
        kind = on or _fitting(function, scores, truth)
        if kind == "values":
            given = scores.float()
        else:
            given, truth = _answers(scores, truth, kind, name)
            if _ranks(function) and given.ndim == 2 and given.shape[1] == 2 and truth.ndim == 1:
                given = given[:, 1]
        return float(function(truth.numpy(), given.numpy(), **options))

    metric.__module__ = __name__  # `streaming` would take it for a bare scikit-learn function
    metric.__name__ = name
    return metric


def _answers(preds: Tensor, targets: Tensor, kind: str, name: str) -> tuple[Tensor, Tensor]:
    """Probabilities, or labels, and the targets that count, in the shapes that scikit-learn takes."""
    form = form_of(preds.shape, targets.shape)
    scores = preds if preds.dtype in (torch.float32, torch.float64) else preds.float()
    if form == "classes":
        flat, truth, counts = class_rows(scores, targets, name)
        flat, truth = flat[counts], truth[counts]
        return (_class_probs(flat) if kind == "probs" else flat.argmax(-1)), truth
    shape = (-1,) if form == "output" else (-1, preds.shape[-1])
    scores, truth = scores.reshape(shape), targets.reshape(shape)
    if form == "output":
        counts = truth != ignored_target()
        scores, truth = scores[counts], truth[counts]
    probs = label_probs(scores.double(), None, name)
    return (probs if kind == "probs" else (probs > 0.5).long()), truth


def _class_probs(preds: Tensor) -> Tensor:
    """Probabilities of classes, from scores or logarithms; probabilities as they are."""
    known = meaning()
    if known is not None:
        are_probs = known.kind == "probabilities"
    else:
        are_probs = bool((preds >= 0).all() and ((preds.sum(-1) - 1).abs() < 1e-3).all())
    return preds if are_probs else preds.double().softmax(-1)  # few are equal that were not


_OF_PROBABILITIES = ("log_loss", "brier_score_loss", "d2_log_loss_score", "d2_brier_score")


def _ranks(function: Any) -> bool:
    """Whether it looks at the order of the rows by their scores, such as `roc_auc_score`."""
    return module_of(function).endswith("._ranking")


def _fitting(function: Any, preds: Tensor, targets: Tensor) -> str:
    """What a scikit-learn function should get, as `sklearn_metric` names it."""
    if targets.is_floating_point() or form_of(preds.shape, targets.shape) != "classes":
        yes_or_no = (targets == 0) | (targets == 1) | (targets == ignored_target())
        if module_of(function).endswith("._regression") or not yes_or_no.all():
            return "values"
    return "probs" if metric_name(function) in _OF_PROBABILITIES or _ranks(function) else "labels"
