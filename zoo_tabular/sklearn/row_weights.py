"""Weights of training rows in the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from zoo_tabular.model.weighted_loss import WeightedLoss


class _Unpack:
    """Splits the target of a training batch from the row weights that travel in its last column."""

    def __init__(self, before: Callable[..., tuple] | None, as_classes: bool) -> None:
        self.before, self.as_classes = before, as_classes

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        *inputs, packed = batch
        values = packed[:, 0].long() if self.as_classes else packed[:, :-1]
        batch = (*inputs, (values, packed[:, -1]))
        return batch if self.before is None else self.before(batch, training, generator)


def weigh_training_rows(learn: Any, weights: np.ndarray) -> None:
    """Let the training rows of a new learner count by `weights` in its loss.

    The weights travel with the rows, so that they survive shuffling. The model then starts at the weighted
    mean of the targets, or the weighted frequencies of the classes.

    Args:
        learn: a learner that has not trained, whose training loader holds tensors in memory; loader and loss
            are changed.
        weights: one a training row, in their order; brought to mean 1.
    """
    data, loader = learn.data, learn.data.train_dl
    target = loader.tensors[-1]
    share = torch.as_tensor(np.asarray(weights, dtype="float64") / np.sum(weights)).to(target.device)
    if data.task == "classification":
        rates = torch.zeros(data.n_out, dtype=share.dtype).to(share).index_add(0, target.long(), share)
        start = torch.log(rates.clamp(min=1e-4))
    else:
        start = (target.double() * share[:, None]).sum(0)
        start = torch.logit(start.clamp(0.001, 0.999)) if data.task == "multilabel" else start
    learn.model.start_at(start)
    columns = target.reshape(len(target), -1).float()
    loader.tensors = (*loader.tensors[:-1], torch.cat([columns, (share * len(share)).float()[:, None]], 1))
    loader.batch_transform = _Unpack(loader.batch_transform, data.task == "classification")
    learn.loss_fn = WeightedLoss(data.task)
