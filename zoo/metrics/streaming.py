"""Metrics of any kind as objects that are fed batch by batch."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from zoo.metrics.meters import RowMean, WholeSet, check_name, innermost, is_meter, metric_name, module_of
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
        ValueError: for a name that does not exist.
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
    inner = innermost(metric)
    # functools.wraps copies the mark of a metric to a function that does something else with it
    adds_up = None if hasattr(inner, "__wrapped__") else getattr(inner, "streamed", None)
    if adds_up is not None and not getattr(metric, "args", ()):
        return adds_up(**_keywords(metric))
    return RowMean(metric) if getattr(metric, "is_row_mean", False) else WholeSet(metric)


def _keywords(function: Any) -> dict[str, Any]:
    """The options that `partial`s have set; outer ones win."""
    if not isinstance(function, functools.partial):
        return {}
    return {**_keywords(function.func), **function.keywords}
