"""Regularised logistic regression as the place where a new layer begins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engine.make_optimizer import unwrapped
from zoo.losses import BCEWithLogitsFlat, CrossEntropyFlat


def weights_in_loss(loss_fn: Any, targets: Tensor, n_out: int) -> Tensor | None:
    """What each target counts in a cross entropy (binary for several labels) of this library or of torch.

    Args:
        loss_fn: any loss.
        targets: class numbers, shape (rows,), or 0 and 1, shape (rows, labels).
        n_out: number of classes or labels.

    Returns:
        Float32 of the shape of the targets; None for a loss that has another minimum, or may have.

    Example:
        >>> weights_in_loss(CrossEntropyFlat(weight=[1, 3]), torch.tensor([0, 1, -100]), 2).tolist()
        [1.0, 3.0, 0.0]
        >>> weights_in_loss(nn.MultiMarginLoss(), torch.tensor([0, 1]), 2) is None
        True
    """
    loss, options = unwrapped(loss_fn)
    forward = getattr(type(loss), "forward", None)

    def told(name: str, default: Any = None) -> Any:
        return options.get(name, getattr(loss, name, default))

    weight, positive = told("weight"), told("pos_weight")
    if targets.ndim == 1:
        known = forward in _OF_CLASSES or loss is F.cross_entropy
        if not known or not (weight is None or weight.shape == (n_out,)):
            return None
        counts = targets != told("ignore_index", -100)
        return counts.float() if weight is None else weight.float().cpu()[targets.where(counts, 0)] * counts
    if not (forward in _OF_LABELS or loss is F.binary_cross_entropy_with_logits) or weight is not None:
        return None
    if positive is None:
        return torch.ones(targets.shape)
    if positive.shape not in ((n_out,), ()):
        return None
    return torch.where(targets > 0.5, positive.float().cpu(), 1.0)


_OF_CLASSES = (CrossEntropyFlat.forward, nn.CrossEntropyLoss.forward)
_OF_LABELS = (BCEWithLogitsFlat.forward, nn.BCEWithLogitsLoss.forward)


def logistic(
    inputs: np.ndarray, targets: np.ndarray, n_out: int, weights: np.ndarray | None = None, *, strength: float
) -> tuple[Tensor, Tensor]:
    """Weights (outputs x inputs) and biases of L2-regularised logistic regression.

    A class or label of which the rows that count have no example, or nothing but examples, gets the
    logarithm of its odds as bias, one row added to each side, and no weights.

    Args:
        inputs: shape (rows, inputs).
        targets: class numbers, shape (rows,), or rows of 0 and 1, shape (rows, labels).
        n_out: number of classes or labels.
        weights: what each target counts, same shape; their mean does not matter.
        strength: inverse strength of the penalty, scikit-learn's `C`.

    Example:
        >>> inputs = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> weight, bias = logistic(inputs, np.array([0, 0, 2]), 3, strength=10.0)
        >>> (torch.from_numpy(inputs).float() @ weight.T + bias).argmax(1).tolist()
        [0, 0, 2]
    """
    weights = np.ones(targets.shape) if weights is None else weights
    if targets.ndim == 1:
        return _of_classes(inputs, targets, n_out, weights, strength)
    weight, bias = np.zeros((n_out, inputs.shape[1])), np.zeros(n_out)
    for label in range(n_out):
        kept = weights[:, label] > 0
        column, odds = targets[kept, label] > 0.5, math.log(kept.sum() + 1.0)
        if column.any() and not column.all():
            model = _fitted(inputs[kept], column, weights[kept, label], strength)
            weight[label], bias[label] = np.ravel(model.coef_), np.ravel(model.intercept_)[0]
        else:
            bias[label] = odds if len(column) and column.all() else -odds
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _of_classes(
    inputs: np.ndarray, targets: np.ndarray, n_out: int, weights: np.ndarray, strength: float
) -> tuple[Tensor, Tensor]:
    kept = weights > 0
    inputs, targets, weights = inputs[kept], targets[kept], weights[kept]
    weight, bias = np.zeros((n_out, inputs.shape[1])), np.full(n_out, -math.log(len(inputs) + 1.0))
    present = np.unique(targets)
    if len(present) > 1:
        model = _fitted(inputs, targets, weights, strength)
        found, offsets = np.asarray(model.coef_), np.asarray(model.intercept_)
        if len(present) == 2:  # scikit-learn has one row of weights then
            found, offsets = np.concatenate([-found, found]) / 2, np.concatenate([-offsets, offsets]) / 2
        weight[present], bias[present] = found, offsets
    else:
        bias[present] = 0.0
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _fitted(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
    return model.fit(inputs, targets, sample_weight=weights / weights.mean())
