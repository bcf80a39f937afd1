"""Metrics of any kind as objects that are fed batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.metrics.meters import RowMean, WholeSet, check_name, is_meter, metric_name, module_of, own_meter
from zoo.metrics.names import named_metric
from zoo.metrics.sklearn import sklearn_metric


def named_meters(metrics: Iterable[Any]) -> dict[str, Any]:
    """Streaming meters by column name; a name that is taken already gets a number.

    Raises:
        ValueError: if a metric has the name of a column that every table has.
    """
    meters: dict[str, Any] = {}
    for metric in metrics:
        meter = streaming(metric)
        name = metric_name(meter)
        check_name(name)
        number = 2
        unique = name
        while unique in meters:
            unique, number = f"{name}_{number}", number + 1
        meters[unique] = meter
    return meters


def streaming(metric: Any) -> Any:
    """A metric of any kind as an object with `reset`, `update` and `compute`.

    Those that add up are counted batch by batch, all others keep what they are given. A scikit-learn function
    given as it is, or as a `partial`, becomes a `sklearn_metric`.

    Raises:
        TypeError: if it is neither a function nor such an object.
        ValueError: for a name that does not exist, or an option with a value that is none.
    """
    if isinstance(metric, str):
        metric = named_metric(metric)
    if isinstance(metric, type):
        metric = metric()
    if is_meter(metric):
        return metric
    if not callable(metric):
        raise TypeError(
            f"a metric is a function (preds, targets) -> number or a streaming object, got {metric!r}"
        )
    if module_of(metric).startswith("sklearn."):
        metric = sklearn_metric(metric)
    own = own_meter(metric)
    if own is not None:
        return own
    return RowMean(metric) if getattr(metric, "is_row_mean", False) else WholeSet(metric)
