"""Weights of rows and of classes in the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import did_you_mean, some
from zoo.losses import Activation
from zoo_tabular.data import ColumnarModelData
from zoo_tabular.frames.target.classes import class_place


def class_weights(data: ColumnarModelData, weights: str | Mapping[Any, float] = "balanced") -> Tensor:
    """One weight a class for a loss, such as `CrossEntropyFlat(weight=class_weights(data))`.

    Args:
        data: classes to learn, with training rows.
        weights: "balanced" gives rare classes as much say as frequent ones, rows / (classes * rows of the
            class) (King & Zeng 2001); or weights by class, named as in `data.classes` or by its value in the
            target, 1 for those that are not named.

    Returns:
        Float32 of shape (classes,), in the order of `data.classes`.

    Raises:
        ValueError: for data without classes or training rows, for names that are no class.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"x": range(8), "kind": list("aaaaaabb")})
        >>> class_weights(ColumnarModelData.from_data_frame(".", None, df, "kind", [], is_reg=False)).tolist()
        [0.6666666865348816, 2.0]
    """
    if data.task != "classification" or data.classes is None:
        raise ValueError(f"class_weights: the target must be classes, this is {data.task}")
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(f"class_weights: expected 'balanced' or weights by class name, got {weights!r}")
        if data.train_dl is None:
            raise ValueError("class_weights: 'balanced' counts training rows, and these data have none")
        if data.base is not None:  # of streamed rows
            return (1 / (data.n_out * data.base)).float()
        counts = torch.bincount(data.train_dl.tensors[-1].long().cpu(), minlength=data.n_out)
        return counts.sum() / (len(counts) * counts.float())
    places = {name: class_place(name, data.classes) for name in weights}
    strange = [
        f"{name!r}{did_you_mean(str(name), data.classes)}" for name, place in places.items() if place is None
    ]
    if strange:
        raise ValueError(
            f"class_weights: no class {some(strange)}; there are {some(map(repr, data.classes))}"
        )
    if len(set(places.values())) < len(places):
        raise ValueError(f"class_weights: a class has more than one weight in {dict(weights)}")
    by_place = {place: float(weights[name]) for name, place in places.items()}
    chosen = torch.tensor([by_place.get(place, 1.0) for place in range(len(data.classes))])
    if not (torch.isfinite(chosen).all() and (chosen >= 0).all() and chosen.any()):
        raise ValueError(f"class_weights: weights must be 0 or more, and not all 0, got {dict(weights)}")
    return chosen


class WeightedLoss(nn.Module):
    """The mean loss of rows that count differently; targets without weights count alike.

    Args:
        task: "regression" (squared error), "classification" (cross entropy) or "multilabel" (binary cross
            entropy).

    Shape:
        predictions (rows, outputs); targets as for the plain loss, or a pair (targets, weights of shape
        (rows,)) whose weights are 1 on average over the training rows; result: a scalar.

    Example:
        >>> loss = WeightedLoss("regression")
        >>> predictions, targets = torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])
        >>> loss(predictions, targets).item(), loss(predictions, (targets, torch.tensor([2.0, 0.0]))).item()
        (5.0, 1.0)
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        kinds = {"regression": "identity", "classification": "softmax", "multilabel": "sigmoid"}
        self.task, self.activation = task, Activation(kinds[task])

    def forward(self, preds: Tensor, targets: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        values, weights = targets if isinstance(targets, tuple | list) else (targets, None)
        preds = preds.float()
        if self.task == "classification":
            rows = F.cross_entropy(preds, values.long(), reduction="none")
        else:
            each = F.mse_loss if self.task == "regression" else F.binary_cross_entropy_with_logits
            rows = each(preds, values.reshape(preds.shape).to(preds), reduction="none").mean(1)
        return rows.mean() if weights is None else (rows * weights).mean()


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
