"""Metrics of one class a row that are means over the rows that count."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.data.answers.outputs import ignored_target
from zoo.metrics.arrays import Metric, MisfitError, class_rows
from zoo.metrics.lazy_scores import LazyScores
from zoo.metrics.meters import counted_mean, makes_metric, mean_at_once, reads_lazily


def _hits(preds: Tensor | LazyScores, targets: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Of each row, whether its class has the largest score, and whether it counts."""
    if isinstance(preds, LazyScores):
        labels = targets.reshape(-1)
        return preds.read(targets)[1] == labels, labels != ignored_target()
    flat, labels, counts = class_rows(preds, targets, name)
    return flat.argmax(-1) == labels, counts


@reads_lazily
def _right(preds: Tensor | LazyScores, targets: Tensor) -> tuple[Tensor, Tensor]:
    hits, counts = _hits(preds, targets, "accuracy")
    return (hits & counts).sum(), counts.sum()


@reads_lazily
def _wrong(preds: Tensor | LazyScores, targets: Tensor) -> tuple[Tensor, Tensor]:
    hits, counts = _hits(preds, targets, "error_rate")
    return (~hits & counts).sum(), counts.sum()


@counted_mean("accuracy", _right)
def accuracy(preds: Any, targets: Any) -> Tensor:
    """Share of targets whose class has the largest score.

    Args:
        preds: scores, probabilities or their logarithms, shape (..., classes), or (rows, classes, ...) as
            `nn.CrossEntropyLoss` takes them: inside a fit the loss tells where the classes stand, by hand it
            is the last dimension that fits the targets.
        targets: class numbers, shape (...). -100, or the `ignore_index` of the loss, does not count.

    Returns:
        A float32 scalar; NaN where no target counts.

    Raises:
        MisfitError: if their shapes do not fit, or there is one score a row.

    Example:
        >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]).item()
        0.5
    """
    return mean_at_once(_right, preds, targets)


@counted_mean("error_rate", _wrong)
def error_rate(preds: Any, targets: Any) -> Tensor:
    """Share of targets whose class has not the largest score: 1 minus `accuracy`.

    Example:
        >>> error_rate([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [1.0, 0.0]], [1, 1, 1, 0]).item()
        0.25
    """
    return mean_at_once(_wrong, preds, targets)


@makes_metric
def top_k_accuracy(k: int = 5) -> Metric:
    """Share of targets whose class is among the `k` largest scores, as a metric named `top_k_accuracy`;
    arguments of it as of `accuracy`.
    """

    def among(preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flat, labels, counts = class_rows(preds, targets, f"top_{k}_accuracy")
        if not 1 <= k <= flat.shape[-1]:
            raise MisfitError(
                f"top_k_accuracy: k must lie between 1 and the {flat.shape[-1]} classes, got {k}"
            )
        found = (flat.topk(k, dim=-1).indices == labels[:, None]).any(-1)
        return (found & counts).sum(), counts.sum()

    @counted_mean(f"top_{k}_accuracy", among)
    def metric(preds: Any, targets: Any) -> Tensor:
        return mean_at_once(among, preds, targets)

    return metric
