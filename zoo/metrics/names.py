"""Lists of metrics as people give them, checked before anything is trained."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import did_you_mean, some
from zoo.metrics import classes, counts, labels, numbers, ranking
from zoo.metrics.meters import (
    Perplexity,
    check_name,
    innermost,
    is_meter,
    metric_name,
    module_of,
    options_of,
    own_meter,
)

_NAMED: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: classes.accuracy,
    "error_rate": lambda: classes.error_rate,
    "top_5_accuracy": classes.top_k_accuracy,
    "precision": lambda: counts.precision,
    "recall": lambda: counts.recall,
    "f1": lambda: counts.f1,
    "iou": lambda: counts.iou,
    "dice": lambda: counts.dice,
    "mcc": lambda: counts.mcc,
    "auc": lambda: ranking.auc,
    "accuracy_thresh": labels.accuracy_thresh,
    "f2": labels.fbeta,
    "fbeta": labels.fbeta,
    "mse": lambda: numbers.mse,
    "rmse": lambda: numbers.rmse,
    "mae": lambda: numbers.mae,
    "r2": lambda: numbers.r2,
    "perplexity": lambda: Perplexity,
}


def metric_list(metrics: Any, known: Mapping[str, Any] | None = None) -> list[Any]:
    """A list of metrics, those given by name looked up, and each checked as far as that goes without data.

    Args:
        metrics: functions `(predictions, targets) -> number`, streaming objects, names.
        known: further metrics by name, such as those of a domain.

    Raises:
        TypeError: if it is no list, or holds something that can be no metric: a function that makes metrics
            and was not called, one that takes other arguments or lacks an option that is set, an object that
            cannot be called.
        ValueError: for a name that does not exist, or that every table has, and for an option with a value
            that is none.

    Example:
        >>> [metric_name(metric) for metric in metric_list(["accuracy", "f1"])]
        ['accuracy', 'f1']
        >>> metric_list(["acuracy"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: there is no metric called 'acuracy' (did you mean 'accuracy'?); ...
    """
    if metrics is None:
        return []
    if isinstance(metrics, str | bytes | Mapping) or callable(metrics) or is_meter(metrics):
        example = metrics if isinstance(metrics, str) else metric_name(metrics)
        shown = repr(example) if isinstance(metrics, str) else example
        raise TypeError(f"metrics must be a list, such as [{shown}]")
    try:
        given = list(metrics)
    except TypeError:
        raise TypeError(f"metrics must be a list, such as [accuracy], got {metrics!r}") from None
    return [_checked(metric, known or {}) for metric in given]


def _checked(metric: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(metric, str):
        return named_metric(metric, known)
    name = metric_name(metric)
    check_name(name)
    if getattr(innermost(metric), "makes_metric", False):
        raise TypeError(f"{name} makes a metric and was not called: use metrics=[{_call(metric)}]")
    meter = metric
    if isinstance(metric, type):
        if not is_meter(metric):
            raise TypeError(f"a metric is a function (preds, targets) -> number, got the class {name}")
        return metric
    if is_meter(metric):
        meter = metric.update
    elif not callable(metric):
        raise TypeError(
            f"a metric is a function (preds, targets) -> number, a streaming object or a name, got {metric!r}"
        )
    _check_options(meter, name)
    _check_arguments(meter, name)
    own_meter(metric)  # which looks at the values of options
    return metric


def named_metric(name: str, known: Mapping[str, Any] | None = None) -> Any:
    """The metric of that name; arguments as of `metric_list`."""
    known = known or {}
    if name in known:
        return known[name]
    if name in _NAMED:
        return _NAMED[name]()
    names = [*_NAMED, *known]
    raise ValueError(
        f"there is no metric called {name!r}{did_you_mean(name, names)}; there are "
        f"{some(names, most=len(names))}"
    )


def _call(metric: Any) -> str:
    """How the function that makes a metric should have been called."""
    arguments: list[str] = []
    while isinstance(metric, functools.partial):
        own = [*map(repr, metric.args), *(f"{key}={value!r}" for key, value in metric.keywords.items())]
        arguments, metric = own + arguments, metric.func
    needed = "f1_score" if metric_name(metric) == "sklearn_metric" and not arguments else ""
    return f"{metric_name(metric)}({', '.join(arguments) or needed})"


def _check_options(metric: Any, name: str) -> None:
    """That the options which `partial` sets are such of the function."""
    inner = innermost(metric)
    through = module_of(inner).startswith("sklearn.")  # whose checks of arguments pass on what they get
    try:
        known = inspect.signature(inner, follow_wrapped=through).parameters.values()
    except (TypeError, ValueError):  # written in C
        return
    if any(one.kind is one.VAR_KEYWORD for one in known):
        return
    names = [one.name for one in known if one.kind is not one.POSITIONAL_ONLY]
    for option in options_of(metric):
        if option not in names:
            raise TypeError(
                f"the metric {name} has no option {option!r}{did_you_mean(option, names)}: it takes "
                f"{some(names, most=len(names))}"
            )


def _check_arguments(function: Any, name: str) -> None:
    if module_of(function).startswith("sklearn."):
        return
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return
    try:
        signature.bind("predictions", "targets")
    except TypeError as error:
        message = f"the metric {name} cannot be called with (predictions, targets): {error}"
        try:
            signature.bind()
        except TypeError:
            raise TypeError(message) from None
        raise TypeError(f"{message}; if it makes a metric, call it: metrics=[{name}()]") from None
