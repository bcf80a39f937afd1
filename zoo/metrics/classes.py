"""Metrics of one class a row that are means over rows."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.metrics.arrays import Metric, MisfitError, class_rows, takes_arrays
from zoo.metrics.meters import batch_mean, makes_metric


@batch_mean
@takes_arrays
def accuracy(preds: Any, targets: Any) -> Tensor:
    """Share of rows whose largest score is the target's.

    Args:
        preds: scores, probabilities or their logarithms, shape (..., classes).
        targets: class numbers, shape (...).

    Raises:
        MisfitError: if they are not as many rows, or there is one score a row.

    Example:
        >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]).item()
        0.5
    """
    flat, labels = class_rows(preds, targets, "accuracy")
    return (flat.argmax(-1) == labels).float().mean()


@batch_mean
@takes_arrays
def error_rate(preds: Any, targets: Any) -> Tensor:
    """Share of rows whose largest score is not the target's: 1 minus `accuracy`.

    Example:
        >>> error_rate([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [1.0, 0.0]], [1, 1, 1, 0]).item()
        0.25
    """
    return 1 - accuracy(preds, targets)


@makes_metric
def top_k_accuracy(k: int = 5) -> Metric:
    """Share of rows whose target is among the `k` largest scores, as a metric named `top_k_accuracy`."""

    @batch_mean
    @takes_arrays
    def metric(preds: Any, targets: Any) -> Tensor:
        flat, labels = class_rows(preds, targets, f"top_{k}_accuracy")
        if not 1 <= k <= flat.shape[-1]:
            raise MisfitError(
                f"top_k_accuracy: k must lie between 1 and the {flat.shape[-1]} classes, got {k}"
            )
        return (flat.topk(k, dim=-1).indices == labels[:, None]).any(-1).float().mean()

    metric.__name__ = f"top_{k}_accuracy"
    return metric
