"""How metrics are counted over batches."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.answers.nested import detached, join, rows_of
from zoo.data.answers.outputs import ignored_target
from zoo.metrics.arrays import Metric, as_pair, check_no_parts, class_rows, wide
from zoo.metrics.lazy_scores import LazyScores

Function = TypeVar("Function", bound=Callable[..., Any])
Parts = Callable[..., tuple[Tensor, Tensor | int]]


def batch_mean(function: Metric) -> Metric:
    """Mark a metric that is a plain mean over rows: it is then streamed, weighted by rows, with the same
    result, and the outputs of the validation set need not be kept.

    Rows, not the tokens or labels in them: where these differ from batch to batch, as texts padded batch by
    batch do, a mean over tokens is no mean over rows.

    Example:
        >>> @batch_mean
        ... def half_right(preds, targets):
        ...     return ((preds - targets).abs() < 0.5).double().mean()
        >>> half_right.is_row_mean
        True
    """
    function.is_row_mean = True  # type: ignore[attr-defined]
    return function


class Summed(ABC):
    """A metric that adds up over batches, and over processes that each saw some of the rows.

    Attributes:
        name: the heading of its column.
        reads_lazily: whether it takes `LazyScores` as they are.
    """

    name: str
    reads_lazily = False

    @abstractmethod
    def reset(self) -> None:
        """Begin anew."""

    @abstractmethod
    def update(self, preds: Any, targets: Any) -> None:
        """Take in a batch."""

    @abstractmethod
    def compute(self) -> float:
        """The value of all rows so far."""

    @abstractmethod
    def sums(self) -> Any:
        """What was added up so far, on the CPU."""

    @abstractmethod
    def combine(self, parts: Sequence[Any]) -> None:
        """Become the sum of what several of this kind added up, each as its `sums` gave it."""


def streams(meter: Callable[..., Summed]) -> Callable[[Function], Function]:
    """Mark a metric that adds up: `meter(**options)` makes what counts it, with the options of the
    function.
    """

    def mark(function: Function) -> Function:
        function.streamed = meter  # type: ignore[attr-defined]
        return function

    return mark


def reads_lazily(parts: Parts) -> Parts:
    """Mark what counts a batch for `CountedMean`, and takes `LazyScores` too."""
    parts.reads_lazily = True  # type: ignore[attr-defined]
    return parts


def makes_metric(function: Function) -> Function:
    """Mark a function that makes metrics, so that a list of metrics which holds it uncalled is refused."""
    function.makes_metric = True  # type: ignore[attr-defined]
    return function


def measured(meter: Summed, preds: Any, targets: Any) -> float:
    """The value of a metric that adds up, of everything at once."""
    meter.update(*as_pair(preds, targets))
    return meter.compute()


class RowSum(Summed):
    """The mean over rows of what is added up; sums of several parts of the rows are added to one another.

    Attributes:
        total: the sum so far.
        rows: how many rows it is of; a tensor where only the device knows.
    """

    name = "mean"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total: Tensor | float = 0.0
        self.rows: Tensor | float = 0

    def update(self, preds: Any, targets: Any) -> None:
        """Take in the mean over the rows of a batch; how it is found is up to the kind."""
        raise NotImplementedError(f"{type(self).__name__} is told its means by add(mean, rows)")

    def add(self, mean: Tensor | float, rows: Tensor | float) -> None:
        """Take in the mean over some rows, or over what they weigh together."""
        value = wide(mean) if isinstance(mean, Tensor) else mean
        if isinstance(rows, Tensor):  # the mean of no rows is NaN
            value = torch.where(rows > 0, value, 0.0)
            rows = wide(rows) if rows.is_floating_point() else rows
        self.total = self.total + value * rows
        self.rows = self.rows + rows

    def compute(self) -> float:
        rows = float(self.rows)
        return float(self.total) / rows if rows else math.nan

    def sums(self) -> tuple[float, float]:
        return float(self.total), float(self.rows)

    def combine(self, parts: Sequence[tuple[float, float]]) -> None:
        self.total, self.rows = sum(total for total, _ in parts), sum(rows for _, rows in parts)


class RowMean(RowSum):
    """Streams a metric that is a mean over rows."""

    def __init__(self, function: Metric) -> None:
        self.function, self.name = function, metric_name(function)
        super().__init__()

    def update(self, preds: Any, targets: Any) -> None:
        self.add(self.function(preds, targets), rows_of(targets))


class CountedMean(RowSum):
    """Streams a mean over what a batch itself tells: rows that count, tokens, labels.

    Args:
        name: of the metric.
        parts: `(predictions, targets) -> (sum, number)` of a batch; both stay on the device.
    """

    def __init__(self, name: str, parts: Parts) -> None:
        self.name, self.parts = name, parts
        self.reads_lazily = getattr(parts, "reads_lazily", False)
        super().__init__()

    def update(self, preds: Any, targets: Any) -> None:
        check_no_parts(preds, targets, self.name)
        total, number = self.parts(preds, targets)
        self.total, self.rows = self.total + total, self.rows + number


def counted_mean(name: str, parts: Parts) -> Callable[[Metric], Metric]:
    """Mark a metric that `CountedMean(name, parts)` streams; its own name counts if it was given another."""

    def mark(function: Metric) -> Metric:
        function.__name__ = name
        return batch_mean(streams(lambda: CountedMean(function.__name__, parts))(function))

    return mark


def mean_at_once(parts: Parts, preds: Any, targets: Any) -> Tensor:
    """The value of a `CountedMean` of everything at once; NaN where nothing counts."""
    total, number = parts(*as_pair(preds, targets))
    return (total / number).float()


class Perplexity(RowSum):
    """exp of the mean cross entropy in nats, streamed over tokens; those of the class number -100, or of the
    `ignore_index` of the loss, do not count.
    """

    name = "perplexity"
    reads_lazily = True

    def update(self, preds: Tensor | LazyScores, targets: Tensor) -> None:
        if isinstance(preds, LazyScores):
            known = targets.reshape(-1) != ignored_target()
            nats = preds.read(targets)[0].masked_fill(~known, 0.0)
            self.total, self.rows = self.total + wide(nats).sum(), self.rows + known.sum()
            return
        check_no_parts(preds, targets, self.name)
        flat, labels, counts = class_rows(preds, targets, self.name)
        losses = F.cross_entropy(flat.float(), labels.long(), reduction="sum", ignore_index=ignored_target())
        self.total, self.rows = self.total + wide(losses), self.rows + counts.sum()

    def compute(self) -> float:
        return math.exp(min(super().compute(), 700.0))


class WholeSet:
    """Keeps everything and calls the function once at the end."""

    def __init__(self, function: Metric) -> None:
        self.function, self.name = function, metric_name(function)
        self.reset()

    def reset(self) -> None:
        self._preds: list[Any] = []
        self._targets: list[Any] = []
        self._rows: list[int] = []

    def update(self, preds: Any, targets: Any) -> None:
        self._preds.append(detached(preds))
        self._targets.append(detached(targets))
        self._rows.append(rows_of(preds))

    def compute(self) -> Any:
        if not self._preds:
            raise ValueError(f"metric {self.name!r}: there were no validation batches")
        return self.function(join(self._preds, self._rows), join(self._targets, self._rows))


def metric_name(metric: Any) -> str:
    """The column heading of a metric: its `name`, its function name, or that of its class."""
    if isinstance(metric, str):
        return metric
    if isinstance(getattr(metric, "name", None), str):
        return metric.name
    if isinstance(metric, functools.partial):
        return metric_name(metric.func)
    return getattr(metric, "__name__", type(metric).__name__)


def innermost(function: Any) -> Any:
    """The function inside `partial`s."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def options_of(function: Any) -> dict[str, Any]:
    """The options that `partial`s have set; outer ones win."""
    if not isinstance(function, functools.partial):
        return {}
    return {**options_of(function.func), **function.keywords}


def own_meter(metric: Any) -> Summed | None:
    """What counts a metric that adds up, with the options of its `partial`s; `None` for any other metric.

    Raises:
        ValueError: for an option with a value that is none.
    """
    inner = innermost(metric)
    # functools.wraps copies the mark of a metric to a function that does something else with it
    adds_up = None if hasattr(inner, "__wrapped__") else getattr(inner, "streamed", None)
    return None if adds_up is None or getattr(metric, "args", ()) else adds_up(**options_of(metric))


def module_of(function: Any) -> str:
    """The module that a function comes from, also one with some arguments set already by `partial`."""
    return str(getattr(innermost(function), "__module__", ""))


def check_name(name: str) -> None:
    """Refuse a metric with the name of a column that every table has."""
    if name in ("epoch", "train_loss", "valid_loss", "seconds"):
        raise ValueError(f"a metric cannot be called {name!r}, which every epoch table has: rename it")


def is_meter(metric: Any) -> bool:
    """Whether it is fed batch by batch."""
    return all(hasattr(metric, name) for name in ("reset", "update", "compute"))
