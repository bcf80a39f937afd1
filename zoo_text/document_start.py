"""A classifier begins as a linear model on the vectors of whole texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.engine.modes import preserve_modes
from zoo.training.logistic import logistic, weights_in_loss
from zoo_text.data.padded_batches import SortedBatches, TextLoader
from zoo_text.model.classifier import TextClassifier

STRENGTH = 3.0
"""Inverse strength of the penalty on vectors of length 1: of 3, 30 and 300 the best for 100, 500 and 2,000
labelled film reviews (training reviews)."""


@torch.no_grad()
def start_from_documents(model: Any, loader: Any, loss_fn: Any, task: str) -> bool:
    """Let a new classifier answer as regularised logistic regression on the vectors of its training texts
    (of values: ridge regression) does; the last layer of its head begins with zeros.

    Args:
        model: a `TextClassifier`; others, and those without such vectors, stay as they are.
        loader: the training texts.
        loss_fn: of the learner; its class weights count. Losses that are no cross entropies, or for values no
            squared errors, leave the model as it is.
        task: of the data.

    Returns:
        Whether the model begins there.
    """
    if not isinstance(model, TextClassifier) or not isinstance(loader, TextLoader):
        return False
    linear, last = model.document_head, model.head[-1]
    if linear is None or not isinstance(last, nn.Linear) or loader.n_rows < 2:
        return False
    targets = loader.targets.cpu()
    weights = None
    if task != "regression":
        weights = weights_in_loss(loss_fn, targets, linear.out_features)
        if weights is None or not bool(weights.any()):
            return False
    inputs = document_rows(model, loader)
    if task == "regression":
        weight, bias = _ridge(inputs, targets.reshape(len(targets), -1).double().numpy())
    else:
        counts = None if weights is None else weights.double().numpy()
        weight, bias = logistic(inputs, targets.numpy(), linear.out_features, counts, strength=STRENGTH)
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return True


def document_rows(model: TextClassifier, loader: TextLoader) -> np.ndarray:
    """The vectors of whole texts in the order of the rows, (texts, features), float64."""
    if model.document is None:
        raise ValueError("the model has no vectors of whole texts")
    texts = loader.texts()
    batches = SortedBatches([texts[row] for row in range(len(texts))])
    device = model.document.weight.device
    with preserve_modes(model):
        found = [model.document(ids.to(device)).cpu() for ids, _ in batches]
    return torch.cat(found)[torch.argsort(batches.order)].double().numpy()


def _ridge(inputs: np.ndarray, targets: np.ndarray) -> tuple[Tensor, Tensor]:
    from sklearn.linear_model import Ridge

    found = Ridge(1 / STRENGTH).fit(inputs, targets)
    weight = np.asarray(found.coef_).reshape(targets.shape[1], -1)
    bias = np.asarray(found.intercept_).reshape(-1)
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
