"""A new head that begins as regularised logistic regression on the activations that it reads.

From random weights a head needs some hundred steps before it is as good as logistic regression on the same
activations; a hundred pictures give two steps an epoch. Logistic regression is convex and takes a second, so
the head begins there: its first layer holds the directions of the logits among its random ones, its last
layer reads them out by least squares. What it can learn beyond a linear model it learns from there.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engine.make_optimizer import unwrapped
from zoo.losses import BCEWithLogitsFlat, CrossEntropyFlat
from zoo.vision.models.transfer import DampedLinear

STRENGTH = 2.5
"""Inverse strength of the penalty, over the number of standardised inputs (so that it does not depend on
their number); chosen by `benchmarks/small_pictures.py` on one half of the cats and dogs."""

STARTED_DAMPING = 0.003
"""Of the linear layers of a head that has begun there (see `DampedLinear`): it is near its best already, and
steps of the usual size would carry it away; chosen with `STRENGTH`."""

_RANDOM = 0.3  # share of the random weights that stays beside the directions of the logits
_RIDGE = 0.1  # of the read-out, over the rows
_LEAST_SPREAD = 0.1  # of an input, over the typical one: pictures to come may light up what was dark


def layers_of(head: nn.Module) -> list[tuple[nn.BatchNorm1d, nn.Linear]]:
    """The batch norm and linear layers of a standard head in order; an empty list for any other module.

    Example:
        >>> from zoo.vision.models.transfer import make_head
        >>> [linear.out_features for _, linear in layers_of(make_head(8, 3, [16]))]
        [16, 3]
        >>> layers_of(nn.Linear(8, 3))
        []
    """
    if not isinstance(head, nn.Sequential):
        return []
    kept = [layer for layer in head if not isinstance(layer, nn.Dropout)]
    wanted = ([nn.BatchNorm1d, nn.Linear, nn.ReLU] * len(kept))[: len(kept)]
    if len(kept) % 3 != 2 or not all(map(isinstance, kept, wanted)):
        return []
    return [
        (norm, linear)
        for norm, linear in pairwise(kept)
        if isinstance(norm, nn.BatchNorm1d) and isinstance(linear, nn.Linear)
    ]


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


@torch.no_grad()
def start_head(
    head: nn.Module,
    features: np.ndarray | Tensor,
    targets: np.ndarray | Tensor,
    weights: np.ndarray | Tensor | None = None,
) -> None:
    """Let a standard head begin as logistic regression on its inputs, in place.

    In evaluation mode it gives nearly the logits of an L2-regularised logistic regression (one for all
    classes, or one a label) on the standardised activations. Damped layers take smaller steps from there
    (`STARTED_DAMPING`). A share of its random weights stays in it as
    further directions, so heads of other seeds still differ.

    Args:
        head: from `make_head`, not yet trained.
        features: activations of the training pictures, shape (rows, inputs).
        targets: their class numbers, shape (rows,), or rows of 0 and 1, shape (rows, labels).
        weights: what each target counts, same shape; 0 or more.

    Raises:
        ValueError: the head is none of `make_head`, or the shapes do not fit it.

    Example:
        >>> from zoo.vision.models.transfer import make_head
        >>> features = torch.randn(200, 8, generator=torch.manual_seed(0))
        >>> head, targets = make_head(8, 2, [16]), (features[:, 0] > 0).long()
        >>> start_head(head, features, targets)
        >>> (head.eval()(features).argmax(1) == targets).float().mean().item() > 0.9
        True
    """
    layers = layers_of(head)
    if not layers:
        raise ValueError(
            f"a head of [BatchNorm1d, Dropout, Linear, ReLU] layers can start from logistic regression, not "
            f"this {type(head).__name__}: train it from where it is (head_start=False)"
        )
    inputs = torch.as_tensor(features).float().cpu()
    answers = np.asarray(torch.as_tensor(targets).cpu())
    n_in, n_out = layers[0][0].num_features, layers[-1][1].out_features
    if inputs.ndim != 2 or inputs.shape[1] != n_in or len(answers) != len(inputs):
        raise ValueError(
            f"features of shape {tuple(inputs.shape)} and {len(answers)} targets do not fit a head of {n_in} "
            "inputs"
        )
    counts = np.ones(answers.shape) if weights is None else np.asarray(weights, np.float64)
    counted = counts if counts.ndim == 1 else counts.mean(1)
    rows = torch.from_numpy(counted / counted.mean()).float()
    logits: Tensor | None = None
    for number, (norm, linear) in enumerate(layers):
        inputs, damping = _standardised(norm, inputs), float(getattr(linear, "damping", 1.0))
        if logits is None:
            weight, bias = logistic(inputs.numpy(), answers, n_out, counts)
            logits = inputs @ weight.T + bias
        else:
            weight, bias = _least_squares(inputs, logits, rows)
        if number < len(layers) - 1:
            weight = _RANDOM * damping * linear.weight.cpu() + _mixed(weight, logits, linear.out_features)
            bias = torch.zeros(linear.out_features)
        if isinstance(linear, DampedLinear):
            damping = min(damping, STARTED_DAMPING)
            linear.damping.fill_(damping)
        linear.weight.copy_(weight / damping)
        linear.bias.copy_(bias)
        inputs = torch.relu(inputs @ weight.T + bias)


def logistic(
    inputs: np.ndarray, targets: np.ndarray, n_out: int, weights: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Weights (outputs x inputs) and biases of L2-regularised logistic regression.

    A class or label of which the rows that count have no example, or nothing but examples, gets the
    logarithm of its odds as bias, one row added to each side, and no weights.

    Args:
        inputs: standardised, shape (rows, inputs).
        targets: class numbers, shape (rows,), or rows of 0 and 1, shape (rows, labels).
        n_out: number of classes or labels.
        weights: what each target counts, same shape; their mean does not matter.
    """
    weights = np.ones(targets.shape) if weights is None else weights
    if targets.ndim == 1:
        return _of_classes(inputs, targets, n_out, weights)
    weight, bias = np.zeros((n_out, inputs.shape[1])), np.zeros(n_out)
    for label in range(n_out):
        kept = weights[:, label] > 0
        column, odds = targets[kept, label] > 0.5, math.log(kept.sum() + 1.0)
        if column.any() and not column.all():
            model = _fitted(inputs[kept], column, weights[kept, label])
            weight[label], bias[label] = np.ravel(model.coef_), np.ravel(model.intercept_)[0]
        else:
            bias[label] = odds if len(column) and column.all() else -odds
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _of_classes(
    inputs: np.ndarray, targets: np.ndarray, n_out: int, weights: np.ndarray
) -> tuple[Tensor, Tensor]:
    kept = weights > 0
    inputs, targets, weights = inputs[kept], targets[kept], weights[kept]
    weight, bias = np.zeros((n_out, inputs.shape[1])), np.full(n_out, -math.log(len(inputs) + 1.0))
    present = np.unique(targets)
    if len(present) > 1:
        model = _fitted(inputs, targets, weights)
        found, offsets = np.asarray(model.coef_), np.asarray(model.intercept_)
        if len(present) == 2:  # scikit-learn has one row of weights then
            found, offsets = np.concatenate([-found, found]) / 2, np.concatenate([-offsets, offsets]) / 2
        weight[present], bias[present] = found, offsets
    else:
        bias[present] = 0.0
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _fitted(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH / inputs.shape[1], max_iter=300, tol=1e-3)
    return model.fit(inputs, targets, sample_weight=weights / weights.mean())


def _standardised(norm: nn.BatchNorm1d, inputs: Tensor) -> Tensor:
    """The inputs as the batch norm, whose running statistics become theirs, normalises them."""
    mean, var = inputs.mean(0), inputs.var(0, correction=0)
    var = var.clamp_min(_LEAST_SPREAD**2 * var.mean().item())
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(var)
    return (inputs - mean) / (var + norm.eps).sqrt()


def _mixed(weight: Tensor, logits: Tensor, n_hidden: int) -> Tensor:
    """Weights of a hidden layer whose units are random mixtures of the logits, of mean 0 and variance 1."""
    mixture = torch.randn(n_hidden, len(weight), generator=torch.Generator().manual_seed(0))
    spread = (logits @ mixture.T).std(0, correction=0).clamp_min(1e-6)
    return mixture @ weight / spread[:, None]


def _least_squares(inputs: Tensor, wanted: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression from standardised inputs: weights (outputs x inputs) and biases.

    Args:
        inputs: rows x inputs.
        wanted: rows x outputs.
        counts: what each row counts, of mean 1.
    """
    counts = counts[:, None]
    centre, mean = (counts * inputs).mean(0), (counts * wanted).mean(0)
    centred = inputs - centre
    penalty = _RIDGE * len(inputs) * torch.eye(inputs.shape[1])
    weight = torch.linalg.solve(
        centred.T @ (counts * centred) + penalty, centred.T @ (counts * (wanted - mean))
    )
    return weight.T, mean - weight.T @ centre
