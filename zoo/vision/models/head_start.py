"""A new head that begins as regularised logistic regression on the activations that it reads.

From random weights a head needs some hundred steps before it is as good as logistic regression on the same
activations; a hundred pictures give two steps an epoch. Logistic regression is convex and takes a second, so
the head begins there: its first layer holds the directions of the logits among its random ones, its last
layer reads them out by least squares. What it can learn beyond a linear model it learns from there.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from zoo.training.logistic import logistic
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
            weight, bias = logistic(inputs.numpy(), answers, n_out, counts, strength=STRENGTH / n_in)
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
