"""The mean loss of rows that count differently."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.losses import Activation


class WeightedLoss(nn.Module):
    """The mean loss of rows that count differently; targets without weights count alike.

    Args:
        task: "regression" (squared error), "classification" (cross entropy) or "multilabel" (binary cross
            entropy).

    Shape:
        predictions (rows, outputs); targets as for the plain loss, or a pair (targets, weights of shape
        (rows,)) whose weights are 1 on average over the training rows; result: a scalar.

    Example:
        >>> import torch
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
