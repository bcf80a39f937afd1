"""Losses of pairs that were taken against items that were not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.losses import Activation


class TakenLoss(nn.Module):
    """Mean over rows of what a row loses, by the weights of the pairs."""

    activation = Activation("identity")

    def forward(self, scores: Tensor, weights: Tensor) -> Tensor:
        """The loss of scores, (rows, 1 + negatives) or as many in one dimension; weights are (rows, 1 +
        negatives), the first of each row that of the pair that was taken."""
        scores = scores.float().reshape(weights.shape)
        of_pair, of_others = weights[:, :1], weights[:, 1:]
        taken, others = scores.split([1, scores.shape[1] - 1], dim=1)  # whose gradients are put together once
        lost = self.of_rows(taken, others, of_others)
        return (lost * of_pair.squeeze(1)).sum() / of_pair.sum().clamp(min=torch.finfo(torch.float32).tiny)

    def of_rows(self, taken: Tensor, others: Tensor, weights: Tensor) -> Tensor:
        raise NotImplementedError


class SampledSoftmaxLoss(TakenLoss):
    """Cross entropy of the item that was taken among all items, of which those drawn stand for the rest
    (Bengio & Senecal 2008).

    Example:
        >>> loss = SampledSoftmaxLoss()
        >>> round(loss(torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 2.0]])).item(), 4)  # ln 5
        1.6094
    """

    def of_rows(self, taken: Tensor, others: Tensor, weights: Tensor) -> Tensor:
        return torch.cat([taken, others + weights.log()], dim=1).logsumexp(1) - taken.squeeze(1)


class BPRLoss(TakenLoss):
    """Bayesian personalised ranking: what was taken should score above what was not (Rendle et al. 2009).

    Example:
        >>> loss = BPRLoss()
        >>> round(loss(torch.tensor([[2.0, 2.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]])).item(), 4)  # ln 2
        0.6931
    """

    def of_rows(self, taken: Tensor, others: Tensor, weights: Tensor) -> Tensor:
        return _mean(F.softplus(others - taken), weights)


class SampledBCELoss(TakenLoss):
    """Binary cross entropy: 1 for what was taken, 0 for what was not; outputs are logits.

    Args:
        negatives: how much the negatives of a row weigh together, beside 1 of the pair.

    Example:
        >>> loss = SampledBCELoss(negatives=1.0)
        >>> round(loss(torch.zeros(1, 3), torch.ones(1, 3)).item(), 4)  # 2 ln 2
        1.3863
    """

    activation = Activation("sigmoid")

    def __init__(self, negatives: float = 4.0) -> None:
        super().__init__()
        if not negatives > 0:
            raise ValueError(f"negatives is the weight of the items that were not taken, not {negatives!r}")
        self.negatives = float(negatives)

    def of_rows(self, taken: Tensor, others: Tensor, weights: Tensor) -> Tensor:
        return F.softplus(-taken.squeeze(1)) + self.negatives * _mean(F.softplus(others), weights)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted means of rows; 0 where nothing counts."""
    return (values * weights).sum(1) / weights.sum(1).clamp(min=torch.finfo(torch.float32).tiny)
