"""Metrics of several labels a row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.data.answers.outputs import meaning
from zoo.metrics.arrays import Metric, MisfitError, wide
from zoo.metrics.meters import counted_mean, makes_metric, mean_at_once


def label_probs(preds: Tensor, sigmoid: bool | None, name: str) -> Tensor:
    """The probabilities of labels.

    Args:
        preds: scores or probabilities.
        sigmoid: whether they are scores. `None`: inside a fit, an evaluation and `learn.score` it is known;
            elsewhere they are probabilities if all lie in [0, 1].
        name: of the metric, for the error.

    Raises:
        ValueError: if it is not told, and no value is above 0: they may be scores, or logarithms of
            probabilities as `learn.predict()` gives them.
    """
    preds = preds if preds.dtype in (torch.float32, torch.float64) else preds.float()
    known = meaning()
    if sigmoid is None and known is not None:
        sigmoid = known.kind == "scores"
    if sigmoid is None and preds.numel():
        low, high = (float(value) for value in preds.aminmax())
        if high <= 0 and low < 0:
            raise ValueError(
                f"{name}: no prediction is above 0, so these may be raw scores or logarithms of "
                "probabilities "
                "(as predict() gives them): use learn.score(predictions, targets), or give probabilities "
                "(learn.predict(log=False))"
            )
        sigmoid = not (low >= 0 and high <= 1)
    return preds.sigmoid() if sigmoid else preds


def _check_labels(preds: Tensor, targets: Tensor, name: str) -> None:
    if preds.shape != targets.shape and preds.numel() != targets.numel():
        raise MisfitError(
            f"{name} compares labels one by one: predictions of shape {tuple(preds.shape)} do not fit "
            "targets "
            f"of shape {tuple(targets.shape)}; of one class a row use accuracy"
        )


@makes_metric
def accuracy_thresh(thresh: float = 0.5, *, sigmoid: bool | None = None) -> Metric:
    """Share of right yes/no decisions over all rows and labels (multi-label, or a single output).

    Args:
        thresh: probability above which a label holds.
        sigmoid: as of `fbeta`.

    Example:
        >>> accuracy_thresh()([[0.9, 0.2], [0.4, 0.1]], [[1, 0], [1, 0]]).item()
        0.75
    """

    def right(preds: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        _check_labels(preds, targets, "accuracy_thresh")
        probs = label_probs(preds, sigmoid, "accuracy_thresh")
        return ((probs > thresh) == (targets.reshape(probs.shape) > 0.5)).sum(), probs.numel()

    @counted_mean("accuracy_thresh", right)
    def metric(preds: Any, targets: Any) -> Tensor:
        return mean_at_once(right, preds, targets)

    return metric


@makes_metric
def fbeta(beta: float = 2.0, thresh: float = 0.2, *, sigmoid: bool | None = None) -> Metric:
    """F-beta of every row's labels, averaged over rows (multi-label); of predictions and targets of shape
    (rows, steps, labels) over all steps.

    The defaults are those of satellite-tag competitions. Rows without any true or predicted label count 1.

    Args:
        beta: recall counts this many times as much as precision.
        thresh: probability above which a label is chosen.
        sigmoid: whether predictions are scores (True) or probabilities (False). By default (`None`) a metric
            in a fit, in `evaluate` or in `learn.score` knows what the model's outputs are. Called by hand,
            values that all lie in [0, 1] are probabilities, such as `TTA(log=False)` and `predict_proba()`
            give them, values above 1 mean scores, and where no value is above 0 it is refused to guess.

    Example:
        >>> fbeta()([[0.9, 0.01, 0.01, 0.01]], [[1, 0, 0, 0]]).item()
        1.0
        >>> fbeta()([[2.0, -5.0, -5.0, -5.0]], [[1, 0, 0, 0]]).item()
        1.0
    """
    name = f"f{beta:g}"

    def scored(preds: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        if preds.shape != targets.shape or preds.ndim < 2:
            raise MisfitError(
                f"{name} needs predictions and targets of shape (rows, labels), got {tuple(preds.shape)} and "
                f"{tuple(targets.shape)}; of one class a row use f1"
            )
        chosen = (label_probs(preds, sigmoid, name) > thresh).float()
        truth = (targets > 0.5).float()
        hit, n_chosen, n_true = (chosen * truth).sum(-1), chosen.sum(-1), truth.sum(-1)
        bottom = beta**2 * n_true + n_chosen
        rows = torch.where(bottom > 0, (1 + beta**2) * hit / bottom.clamp(min=1e-12), torch.ones_like(bottom))
        return wide(rows).sum(), rows.numel()

    @counted_mean(name, scored)
    def metric(preds: Any, targets: Any) -> Tensor:
        return mean_at_once(scored, preds, targets)

    return metric
