"""Errors in percent, as forecasting competitions score them, and of rare classes. No torch needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.data.answers.rankings import rankings


def _flat(preds: Any, targs: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 vectors of one length; accepts arrays, series and tensors of any floating type."""
    flat = []
    for values in (preds, targs):
        if hasattr(values, "detach"):
            values = values.detach().cpu().double().numpy()
        flat.append(np.asarray(values, dtype="float64").reshape(-1))
    if len(flat[0]) != len(flat[1]):
        raise ValueError(f"{where}: {len(flat[0])} predictions for {len(flat[1])} targets")
    if not len(flat[0]):
        raise ValueError(f"{where}: there is nothing to compare, both are empty")
    return flat[0], flat[1]


def rmspe(preds: Any, targs: Any) -> float:
    """Root mean square percentage error; rows whose target is 0 are left out, as the store-sales contest did.

    Args:
        preds: predictions, any shape, in the target's own unit.
        targs: targets, as many.

    Returns:
        A share: 0.1 means 10%. NaN when every target is 0.

    Example:
        >>> round(rmspe([110.0, 90.0], [100.0, 100.0]), 6)
        0.1
    """
    predicted, actual = _flat(preds, targs, "rmspe")
    kept = actual != 0
    if not kept.any():
        return float("nan")
    return float(np.sqrt(np.mean(((actual[kept] - predicted[kept]) / actual[kept]) ** 2)))


def exp_rmspe(preds: Any, targs: Any) -> float:
    """Root mean square percentage error of values whose natural logarithm is given, such as log sales.

    Args:
        preds: predicted logarithms, any shape.
        targs: logarithms of the targets, as many.

    Returns:
        A share: 0.1 means 10%.

    Example:
        >>> import numpy as np
        >>> round(exp_rmspe(np.log([110.0, 90.0]), np.log([100.0, 100.0])), 6)
        0.1
    """
    predicted, actual = _flat(preds, targs, "exp_rmspe")
    with np.errstate(over="ignore"):  # an exploding prediction is an infinite error, not a warning
        return float(np.sqrt(np.mean((1.0 - np.exp(predicted - actual)) ** 2)))


def average_precision(preds: Any, targs: Any) -> float:
    """Area under the curve of precision over recall, for classes or labels that are rare.

    Of more than two classes, each is told from all others by its probability (softmax), and those that occur
    among the targets count alike (one-vs-rest, macro average); several labels count alike too.

    Args:
        preds: scores of the positive class, shape (rows,) or (rows, 1), or of all classes, shape
            (rows, classes), or of several labels, shape (rows, labels).
        targs: class numbers, shape (rows,), or 0 and 1 in the shape of several labels. The class number
            -100, or the `ignore_index` of the loss, does not count.

    Returns:
        1 for a perfect order of the rows, the share of positives (of each class on average) for a random one.

    Example:
        >>> import numpy as np
        >>> average_precision(np.array([0.1, 0.9, 0.3]), np.array([0, 1, 0]))
        1.0
    """
    from sklearn.metrics import average_precision_score

    found = rankings(preds, targs, "average_precision")
    return float(np.mean([average_precision_score(truth, scores) for scores, truth in found]))


def in_units(metric: Callable[[Any, Any], Any], data: Any) -> Callable[[Any, Any], float]:
    """A metric of a regression in the unit of its target, whatever the scale that the model learns on.

    Args:
        metric: `(predictions, targets) -> number`, such as `rmse` or `mae`, or a function of scikit-learn.
        data: the data whose target transform is undone.

    Returns:
        A metric for `get_learner(metrics=[...])` named as `metric`.

    Example: `md.get_learner(metrics=[in_units(mae, md)])` shows errors in sales where log sales are learned.
    """
    from zoo.metrics import metric_name, module_of, sklearn_metric

    if module_of(metric).startswith("sklearn."):
        metric = sklearn_metric(metric, on="values")

    def measured(preds: Any, targs: Any) -> float:
        return float(metric(_in_units(preds, data), _in_units(targs, data)))

    measured.__name__ = metric_name(metric)
    return measured


def _in_units(values: Any, data: Any) -> Any:
    """In the target's unit; a tensor if it was one."""
    if not hasattr(values, "detach"):
        return data.target.inverse(np.asarray(values, dtype="float64"))
    return values.new_tensor(data.target.inverse(values.detach().cpu().double().numpy()), dtype=values.dtype)
