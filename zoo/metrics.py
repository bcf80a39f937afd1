"""Metrics: functions of all predictions and targets, or streaming objects where those would not fit in
memory.

A metric is any `(predictions, targets) -> number`; it sees the whole validation set at once, so measures that
are not means of batch values come out right. An object with `reset`, `update(preds, targets)` and `compute`
(for example of torchmetrics) is fed batch by batch instead. Predictions are the raw model outputs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.rankings import rankings

Metric = Callable[[Tensor, Tensor], Any]


def batch_mean(function: Metric) -> Metric:
    """Mark a metric that is a plain mean over rows: it is then streamed, weighted by rows, with the same
    result.
    """
    function.is_row_mean = True  # type: ignore[attr-defined]
    return function


def _labels(preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    flat, labels = preds.reshape(-1, preds.shape[-1]), targets.reshape(-1)
    if len(flat) != len(labels):
        raise ValueError(
            f"predictions of shape {tuple(preds.shape)} do not fit targets of shape {tuple(targets.shape)}"
        )
    return flat, labels


def _values(preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if preds.numel() != targets.numel():
        raise ValueError(
            f"predictions of shape {tuple(preds.shape)} do not fit targets of shape {tuple(targets.shape)}"
        )
    return preds.reshape(-1).double(), targets.reshape(-1).double()


@batch_mean
def accuracy(preds: Tensor, targets: Tensor) -> Tensor:
    """Share of rows whose largest score is the target's.

    Args:
        preds: scores, shape (..., classes).
        targets: class numbers, shape (...).

    Example:
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])).item()
        0.5
    """
    flat, labels = _labels(preds, targets)
    return (flat.argmax(-1) == labels).float().mean()


def top_k_accuracy(k: int = 5) -> Metric:
    """Share of rows whose target is among the `k` largest scores, as a metric named `top_k_accuracy`."""

    @batch_mean
    def metric(preds: Tensor, targets: Tensor) -> Tensor:
        flat, labels = _labels(preds, targets)
        if not 1 <= k <= flat.shape[-1]:
            raise ValueError(
                f"top_k_accuracy: k must lie between 1 and the {flat.shape[-1]} classes, got {k}"
            )
        return (flat.topk(k, dim=-1).indices == labels[:, None]).any(-1).float().mean()

    metric.__name__ = f"top_{k}_accuracy"
    return metric


def accuracy_thresh(thresh: float = 0.5, *, sigmoid: bool = True) -> Metric:
    """Share of right yes/no decisions over all rows and labels (multi-label)."""

    @batch_mean
    def metric(preds: Tensor, targets: Tensor) -> Tensor:
        probs = preds.float().sigmoid() if sigmoid else preds
        return ((probs > thresh) == (targets > 0.5)).float().mean()

    metric.__name__ = "accuracy_thresh"
    return metric


def fbeta(beta: float = 2.0, thresh: float = 0.2, *, sigmoid: bool = True) -> Metric:
    """F-beta of every row's labels, averaged over rows (multi-label).

    The defaults are those of satellite-tag competitions. Rows without any true or predicted label count 1.
    """

    @batch_mean
    def metric(preds: Tensor, targets: Tensor) -> Tensor:
        chosen = ((preds.float().sigmoid() if sigmoid else preds) > thresh).float()
        truth = (targets > 0.5).float()
        hit, n_chosen, n_true = (chosen * truth).sum(1), chosen.sum(1), truth.sum(1)
        bottom = beta**2 * n_true + n_chosen
        return torch.where(
            bottom > 0, (1 + beta**2) * hit / bottom.clamp(min=1e-12), torch.ones_like(bottom)
        ).mean()

    metric.__name__ = f"f{beta:g}"
    return metric


def mse(preds: Tensor, targets: Tensor) -> float:
    """Mean squared error."""
    values, truth = _values(preds, targets)
    return (values - truth).square().mean().item()


def rmse(preds: Tensor, targets: Tensor) -> float:
    """Root of the mean squared error."""
    return math.sqrt(mse(preds, targets))


def mae(preds: Tensor, targets: Tensor) -> float:
    """Mean absolute error."""
    values, truth = _values(preds, targets)
    return (values - truth).abs().mean().item()


def r2(preds: Tensor, targets: Tensor) -> float:
    """Coefficient of determination: 1 minus the squared error over the variance of the targets."""
    values, truth = _values(preds, targets)
    return 1 - ((values - truth).square().sum() / (truth - truth.mean()).square().sum()).item()


def auc(preds: Tensor, targets: Tensor) -> float:
    """Area under the ROC curve: of two classes, or the mean of those of several classes or labels.

    Of more than two classes, each is told from all others by its probability (softmax), and those that occur
    among the targets count alike (one-vs-rest, macro average); several labels count alike too. The
    scikit-learn function gives the same where every class occurs. NaN, with a warning, where nothing is to be
    told apart because all targets are equal.

    Args:
        preds: scores of the positive class, shape (rows,) or (rows, 1), or of all classes, shape
            (rows, classes), or of several labels, shape (rows, labels).
        targets: class numbers, shape (rows,), or 0 and 1 in the shape of several labels.

    Example:
        >>> auc(torch.tensor([[3.0, 1, 0], [2, 1, 0], [0, 0, 1], [0, 1, 0]]), torch.tensor([0, 0, 2, 1]))
        1.0
    """
    from sklearn.metrics import roc_auc_score

    parts = [roc_auc_score(truth, scores) for scores, truth in rankings(preds, targets, "auc")]
    return float(sum(parts) / len(parts))


def sklearn_metric(function: Callable, *, on: str | None = None, **options: Any) -> Metric:
    """Any scikit-learn metric as a metric of a learner.

    Args:
        function: `(y_true, y_pred, ...) -> number`.
        on: what it gets as predictions: "labels" (the class with the largest score; for multi-label targets
            scores above 0), "probs" (softmax), or "values" (raw outputs). By default values where the targets
            are numbers of a regression, probabilities for `log_loss` and the like, and labels else.
        options: passed on, for example `average="macro"`.

    Example:
        >>> from sklearn.metrics import f1_score
        >>> metric = sklearn_metric(f1_score, average="macro")
        >>> metric(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 1]))
        1.0
    """
    if on not in (None, "labels", "probs", "values"):
        raise ValueError(f"sklearn_metric: on must be 'labels', 'probs' or 'values', got {on!r}")

    @functools.wraps(function)
    def metric(preds: Tensor, targets: Tensor) -> float:
        scores, kind = preds.float(), on or _fitting(function, targets)
        if kind == "labels":
            given = (scores > 0).long() if targets.ndim == scores.ndim > 1 else scores.argmax(-1)
        else:
            given = scores.softmax(-1) if kind == "probs" else scores
        return float(function(targets.cpu().numpy(), given.cpu().numpy(), **options))

    metric.__module__ = __name__  # `streaming` would take it for a bare scikit-learn function
    metric.__name__ = metric_name(function)
    return metric


_OF_PROBABILITIES = ("log_loss", "brier_score_loss", "d2_log_loss_score", "d2_brier_score")


def _fitting(function: Any, targets: Tensor) -> str:
    """What a scikit-learn function should get, as `sklearn_metric` names it."""
    if not targets.is_floating_point():
        return "probs" if metric_name(function) in _OF_PROBABILITIES else "labels"
    numbers = module_of(function).endswith("._regression") or ((targets != 0) & (targets != 1)).any()
    return "values" if numbers else "labels"


def module_of(function: Any) -> str:
    """The module that a function comes from, also one with some arguments set already by `partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", ""))


def wide(value: Tensor) -> Tensor:
    """`value` in float64, so that long sums stay exact, where the device has it."""
    return value if value.device.type == "mps" else value.double()


class RowSum:
    """The mean over rows of what is added up; sums of several parts of the rows are added to one another.

    Attributes:
        total: the sum so far.
        rows: how many rows it is of.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total: Tensor | float = 0.0
        self.rows = 0

    def add(self, mean: Tensor | float, rows: int) -> None:
        """Take in the mean over some rows."""
        self.total = self.total + (wide(mean) if isinstance(mean, Tensor) else mean) * rows
        self.rows += rows

    def compute(self) -> float:
        return float(self.total) / max(1, self.rows)


class RowMean(RowSum):
    """Streams a metric that is a mean over rows."""

    def __init__(self, function: Metric) -> None:
        self.function, self.name = function, metric_name(function)
        super().__init__()

    def update(self, preds: Tensor, targets: Tensor) -> None:
        self.add(self.function(preds, targets), targets.shape[0] if targets.ndim else 1)


class Perplexity(RowSum):
    """exp of the mean cross entropy in nats, streamed over tokens."""

    name = "perplexity"

    def update(self, preds: Tensor, targets: Tensor) -> None:
        flat, labels = _labels(preds, targets)
        self.total = self.total + wide(F.cross_entropy(flat.float(), labels.long(), reduction="sum"))
        self.rows += len(labels)

    def compute(self) -> float:
        return math.exp(min(super().compute(), 700.0))


def metric_name(metric: Any) -> str:
    """The column heading of a metric: its `name`, its function name, or that of its class."""
    if isinstance(getattr(metric, "name", None), str):
        return metric.name
    if isinstance(metric, functools.partial):
        return metric_name(metric.func)
    return getattr(metric, "__name__", type(metric).__name__)


class WholeSet:
    """Keeps everything and calls the function once at the end."""

    def __init__(self, function: Metric) -> None:
        self.function, self.name = function, metric_name(function)
        self.reset()

    def reset(self) -> None:
        self._preds: list[Tensor] = []
        self._targets: list[Tensor] = []

    def update(self, preds: Tensor, targets: Tensor) -> None:
        self._preds.append(preds.detach().cpu())
        self._targets.append(targets.detach().cpu())

    def compute(self) -> Any:
        if not self._preds:
            raise ValueError(f"metric {self.name!r}: there were no validation batches")
        return self.function(torch.cat(self._preds), torch.cat(self._targets))


def named_meters(metrics: Iterable[Any]) -> dict[str, Any]:
    """Streaming meters by column name; a name that is taken already gets a number.

    Raises:
        ValueError: if a metric has the name of a column that every table has.
    """
    meters: dict[str, Any] = {}
    for metric in metrics:
        meter = streaming(metric)
        name = metric_name(meter)
        if name in ("epoch", "train_loss", "valid_loss", "seconds"):
            raise ValueError(f"a metric cannot be called {name!r}, which every epoch table has: rename it")
        number = 2
        unique = name
        while unique in meters:
            unique, number = f"{name}_{number}", number + 1
        meters[unique] = meter
    return meters


def streaming(metric: Any) -> Any:
    """A metric of any kind as an object with `reset`, `update` and `compute`.

    A scikit-learn function given as it is, or as a `partial`, becomes a `sklearn_metric`.

    Raises:
        TypeError: if it is neither a function nor such an object.
    """
    if isinstance(metric, type):
        metric = metric()
    if all(hasattr(metric, name) for name in ("reset", "update", "compute")):
        return metric
    if not callable(metric):
        raise TypeError(
            f"a metric is a function (preds, targets) -> number or a streaming object, got {metric!r}"
        )
    if module_of(metric).startswith("sklearn."):
        metric = sklearn_metric(metric)
    return RowMean(metric) if getattr(metric, "is_row_mean", False) else WholeSet(metric)
