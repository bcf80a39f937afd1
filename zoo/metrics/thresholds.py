"""The threshold that makes the most of probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoo.metrics.arrays import MisfitError, as_values


class BestThreshold(NamedTuple):
    """What `best_threshold` found.

    Attributes:
        thresh: a label is chosen where its probability is above this; one a label with `per_class`.
        score: the F-beta that it gives; one a label with `per_class`.
    """

    thresh: Any
    score: Any


def best_threshold(probs: Any, targets: Any, beta: float = 2.0, *, per_class: bool = False) -> BestThreshold:
    """The threshold with the highest F-beta; every one that makes a difference is tried.

    It is chosen on the rows it is given, so take validation rows, and judge it on others.

    Args:
        probs: probabilities of labels, shape (rows, labels), as `predict_proba` or `TTA(log=False)` give
            them; or of a single output, shape (rows,) or (rows, 1), or of two classes, shape (rows, 2).
        targets: 0 and 1, of labels in the same shape, else shape (rows,).
        beta: recall counts this many times as much as precision.
        per_class: one threshold a label, for the F-beta of each label over the rows; else one for all, for
            the mean of the rows' F-beta, which `fbeta(beta, thresh)` gives too. Of a single output, or two
            classes, it is the F-beta over the rows of class 1.

    Raises:
        ValueError: for values outside [0, 1], or shapes that differ.

    Example:
        >>> best = best_threshold([[0.9, 0.3], [0.8, 0.1]], [[1, 1], [1, 0]])
        >>> round(float(best.thresh), 3), best.score
        (0.2, 1.0)
    """
    chances = as_values(probs).cpu().double().numpy()
    truth = as_values(targets).cpu().numpy() > 0.5
    single = truth.ndim == 1 and chances.shape in ((len(truth),), (len(truth), 1), (len(truth), 2))
    if single:
        chances, truth = chances.reshape(len(truth), -1)[:, -1:], truth[:, None]
    if chances.ndim != 2 or chances.shape != truth.shape or not chances.size:
        raise MisfitError(
            f"best_threshold needs probabilities and targets of shape (rows, labels), or of "
            f"one output, shape (rows,), got {chances.shape} and {truth.shape}"
        )
    if not (chances.min() >= 0 and chances.max() <= 1):
        raise ValueError(
            f"best_threshold needs probabilities, got values from {chances.min():.3g} to "
            f"{chances.max():.3g}: "
            "use learn.predict_proba() or TTA(log=False)"
        )
    if beta <= 0:
        raise ValueError(f"best_threshold: beta must be above 0, got {beta}")
    if per_class:
        found = [
            _best(values[None], known[None], beta) for values, known in zip(chances.T, truth.T, strict=True)
        ]
        return BestThreshold(np.array([one[0] for one in found]), np.array([one[1] for one in found]))
    return BestThreshold(*(_best(chances.T, truth.T, beta) if single else _best(chances, truth, beta)))


def _best(chances: np.ndarray, truth: np.ndarray, beta: float) -> tuple[float, float]:
    """The best threshold for the mean of the lines' F-beta.

    As the threshold falls the lines' values are chosen one after another, each of which changes its own
    line's F-beta: sorted over all lines, the changes add up to the score at every threshold.
    """
    order = np.argsort(-chances, axis=1, kind="stable")
    values = np.take_along_axis(chances, order, 1)
    hits = np.take_along_axis(truth, order, 1).cumsum(1)
    n_true = truth.sum(1, keepdims=True)
    chosen = np.arange(1, chances.shape[1] + 1)
    after = (1 + beta**2) * hits / (beta**2 * n_true + chosen)
    before = np.where(n_true > 0, 0.0, 1.0)  # nothing chosen
    changes = np.diff(np.concatenate([before, after], axis=1), axis=1).ravel()
    falling = np.argsort(-values.ravel(), kind="stable")
    levels = values.ravel()[falling]
    scores = (before.sum() + changes[falling].cumsum()) / len(chances)
    ends = np.flatnonzero(np.append(levels[:-1] > levels[1:], levels[-1] > 0))  # equal values go together
    everything = np.append(before.mean(), scores[ends])
    best = int(everything.argmax())
    if best == 0:
        return float(levels[0]), float(everything[0])
    last = ends[best - 1]
    below = levels[last + 1] if last + 1 < len(levels) else 0.0
    middle = float(np.float32((levels[last] + below) / 2))
    return (middle if below <= middle < levels[last] else float(below)), float(everything[best])
