"""Items that a user has not taken, drawn for each batch."""

from __future__ import annotations

import inspect
import logging
import numbers

import torch
from torch import Tensor, nn

from zoo_collab.pairs.seen import SeenPairs

log = logging.getLogger("zoo.collab")

_EVALUATION = 100  # negatives where a model is only judged


class SampledNegatives:
    """Adds items that were not taken to batches of pairs that were: a batch transform of loaders.

    One draw serves all rows of a batch, so that a model of factors compares a user with all of them by one
    matrix product. Those that a row's user has taken in training do not count for that row. The draw is a
    function of the loader's seed, the epoch and the batch, on the device; evaluation always sees the same.

    Args:
        seen: the training pairs.
        n_items: items, the unknown one (index 0) included.
        n: negatives a batch.
        flat: whether batches are (users, items, weights) with all pairs in a row, each user `1 + n` times,
            as any model takes them; otherwise (users, items, negatives, weights).

    The target is (rows, 1 + n): first the weight of the pair, then those of the negatives, which make a sum
    over the drawn ones an estimate of the sum over all items; 0 for one that does not count.

    Example:
        >>> seen = SeenPairs(torch.tensor([0, 0, 2]), torch.tensor([1, 2], dtype=torch.int32))
        >>> draw = SampledNegatives(seen, 5, 3, flat=False)
        >>> batch = (torch.tensor([1]), torch.tensor([2]), torch.ones(1))
        >>> users, items, negatives, weights = draw(batch, True, torch.Generator().manual_seed(0))
        >>> negatives.tolist(), weights.tolist()
        ([1, 4, 2], [[1.0, 0.0, 1.3333333730697632, 0.0]])
    """

    def __init__(
        self,
        seen: SeenPairs,
        n_items: int,
        n: int,
        *,
        flat: bool = True,
    ) -> None:
        if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
            raise ValueError(f"negatives is how many items are drawn for a batch, 1 or more, not {n!r}")
        if n_items < 3:
            raise ValueError("there are no negatives to draw: training has a single item")
        self.seen, self.n_items, self.n, self.flat = seen, n_items, int(n), flat

    def __call__(
        self, batch: tuple[Tensor, ...], training: bool, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        users, items, weights = batch
        users, items, weights = users.long(), items.long(), weights.float().reshape(-1, 1)
        n = self.n if training else min(self.n, _EVALUATION)
        if not training:
            generator.manual_seed(0)
        negatives = torch.randint(1, self.n_items, (n,), generator=generator, device=users.device)
        worth = (self.n_items - 1) / n  # for how many items each stands
        counts = ~self.seen.crossed(users, negatives) & (negatives != items[:, None])
        known = (items != 0).float()[:, None]  # a held-out item that training has not seen says nothing
        target = torch.cat([weights * known, counts * worth], dim=1)
        if not self.flat:
            return users, items, negatives, target
        pairs = torch.cat([items[:, None], negatives.expand(len(items), n)], dim=1)
        return users.repeat_interleave(1 + n), pairs.reshape(-1), target


def tell_no_negatives(where: str, seen: SeenPairs, item_counts: Tensor) -> None:
    """Logs where there is nothing to draw: every user of training has every item.

    Args:
        where: the table, for the message.
        seen: the training pairs.
        item_counts: training rows of each item.
    """
    users, items = int((seen.starts.diff() > 0).sum()), int((item_counts > 0).sum())
    if items and len(seen) == users * items:
        log.warning(
            "%s: every one of the %d users has every one of the %d items, so that no item stands against "
            "what was taken: losses are 0 or of the pairs alone, and nothing is learned of who takes what. "
            "Weights (weight_col=) with fit_als(), or ratings (rating_col=), tell users apart",
            where, users, items,
        )  # fmt: skip


def takes_negatives(model: nn.Module) -> bool:
    """Whether a model can be asked for scores of a batch of users with items that all of them share."""
    return "negatives" in inspect.signature(model.forward).parameters
