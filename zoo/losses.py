"""Losses that take predictions and targets of any matching rank, and know what their outputs mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.seeding import preserve_rng


class CrossEntropyFlat(nn.Module):
    """Cross entropy in nats over class scores, whatever the number of other dimensions.

    Args:
        axis: the dimension of the classes in the predictions: -1 for rows and sequences, 1 for images of scores.
        weight: one weight a class.
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016).
        ignore_index: targets that do not count.

    Shape:
        predictions (..., classes), targets (...) or flattened; result: a scalar.

    Example:
        >>> loss = CrossEntropyFlat()
        >>> round(loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)).item(), 4)
        1.3863
    """

    def __init__(
        self, axis: int = -1, *, weight: Tensor | None = None, label_smoothing: float = 0.0, ignore_index: int = -100
    ) -> None:
        super().__init__()
        self.axis, self.label_smoothing, self.ignore_index = axis, label_smoothing, ignore_index
        self.weight: Tensor | None
        self.register_buffer("weight", weight)

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        scores = preds.movedim(self.axis, -1)
        flat, labels = scores.reshape(-1, scores.shape[-1]), targets.reshape(-1)
        if len(flat) != len(labels):
            raise ValueError(
                f"cross entropy: predictions of shape {tuple(preds.shape)} hold {len(flat)} rows of scores, "
                f"targets of shape {tuple(targets.shape)} hold {len(labels)} labels"
            )
        if not labels.is_floating_point():
            labels = labels.long()
        else:
            raise TypeError(f"cross entropy needs integer class numbers as targets, got {targets.dtype}")
        return F.cross_entropy(
            flat.float(), labels, self.weight, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing
        )

    def activation(self, preds: Tensor) -> Tensor:
        """Class probabilities."""
        return preds.float().softmax(self.axis)

    def log_activation(self, preds: Tensor) -> Tensor:
        """Logarithms of the class probabilities."""
        return preds.float().log_softmax(self.axis)


class _Elementwise(nn.Module):
    """Pairs every prediction with one target, so that (N, 1) against (N,) never broadcasts to (N, N)."""

    name = "loss"

    def _pairs(self, preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if preds.numel() != targets.numel():
            raise ValueError(
                f"{self.name}: predictions of shape {tuple(preds.shape)} and targets of shape {tuple(targets.shape)} "
                "do not hold the same number of values"
            )
        return preds.reshape(-1).float(), targets.reshape(-1).float()

    def activation(self, preds: Tensor) -> Tensor:
        """The values themselves."""
        return preds.float()

    log_activation = activation


class MSEFlat(_Elementwise):
    """Mean squared error."""

    name = "mean squared error"

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(*self._pairs(preds, targets))


class L1Flat(_Elementwise):
    """Mean absolute error."""

    name = "mean absolute error"

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return F.l1_loss(*self._pairs(preds, targets))


class BCEWithLogitsFlat(_Elementwise):
    """Binary cross entropy in nats on scores; the targets are 0 or 1 (or shares between)."""

    name = "binary cross entropy"

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(*self._pairs(preds, targets))

    def activation(self, preds: Tensor) -> Tensor:
        """Probabilities."""
        return preds.float().sigmoid()

    def log_activation(self, preds: Tensor) -> Tensor:
        """Logarithms of the probabilities."""
        return F.logsigmoid(preds.float())


def default_loss(data: Any) -> Callable:
    """The loss that fits the data: by its task, else by the type of the first targets.

    Integer targets mean classes (cross entropy), others a regression (mean squared error).
    """
    chosen = data.default_loss() if hasattr(data, "default_loss") else None
    if chosen is not None:
        return chosen
    by_task = {
        "classification": CrossEntropyFlat,
        "sequence": CrossEntropyFlat,
        "multilabel": BCEWithLogitsFlat,
        "regression": MSEFlat,
    }
    if getattr(data, "task", None) in by_task:
        return by_task[data.task]()
    loader = data.train_dl if data.train_dl is not None else data.valid_dl
    if loader is None:
        return MSEFlat()
    if hasattr(loader, "tensors"):
        target = loader.tensors[-1]
    else:
        with preserve_rng():
            target = next(iter(loader))[-1]
    if not isinstance(target, Tensor):
        raise ValueError(f"no default loss for targets of type {type(target).__name__}: pass loss_fn=...")
    return MSEFlat() if target.is_floating_point() else CrossEntropyFlat()


def activations(loss_fn: Any) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """How outputs trained with `loss_fn` become probabilities, and their logarithms (or plain values twice)."""
    if hasattr(loss_fn, "activation"):
        return loss_fn.activation, getattr(loss_fn, "log_activation", loss_fn.activation)
    if isinstance(loss_fn, nn.CrossEntropyLoss) or loss_fn is F.cross_entropy:
        return (lambda x: x.float().softmax(1)), (lambda x: x.float().log_softmax(1))
    if isinstance(loss_fn, nn.NLLLoss) or loss_fn is F.nll_loss:
        return (lambda x: x.float().exp()), (lambda x: x.float())
    if isinstance(loss_fn, nn.BCEWithLogitsLoss) or loss_fn is F.binary_cross_entropy_with_logits:
        return (lambda x: x.float().sigmoid()), (lambda x: F.logsigmoid(x.float()))
    if isinstance(loss_fn, nn.BCELoss) or loss_fn is F.binary_cross_entropy:
        return (lambda x: x.float()), (lambda x: torch.log(x.float()))
    return (lambda x: x.float()), (lambda x: x.float())
