"""Items that a user has not taken, drawn for each batch."""

from __future__ import annotations

import inspect
import numbers

import torch
from torch import Tensor, nn

from zoo_collab.pairs.seen import SeenPairs

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
        counts: training pairs of each item; with `popularity` above 0.
        popularity: an item is drawn in proportion to its count to this power; 0 draws all alike.

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
        counts: Tensor | None = None,
        popularity: float = 0.0,
    ) -> None:
        if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
            raise ValueError(f"negatives is how many items are drawn for a batch, 1 or more, not {n!r}")
        if n_items < 3:
            raise ValueError("there are no negatives to draw: training has a single item")
        if not 0 <= popularity <= 1:
            raise ValueError(f"popularity must lie between 0 and 1, not {popularity!r}")
        self.seen, self.n_items, self.n, self.flat = seen, n_items, int(n), flat
        self.popularity = float(popularity)
        self._shares: Tensor | None = None
        if popularity:
            if counts is None:
                raise ValueError("popularity needs the counts of the items")
            shares = counts[:n_items].double().clamp(min=1) ** popularity
            shares[0] = 0
            self._shares = shares / shares.sum()

    def __call__(
        self, batch: tuple[Tensor, ...], training: bool, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        users, items, weights = batch
        users, items, weights = users.long(), items.long(), weights.float().reshape(-1, 1)
        n = self.n if training else min(self.n, _EVALUATION)
        if not training:
            generator.manual_seed(0)
        negatives, worth = self._draw(n, users.device, generator)
        counts = ~self.seen.crossed(users, negatives) & (negatives != items[:, None])
        known = (items != 0).float()[:, None]  # a held-out item that training has not seen says nothing
        target = torch.cat([weights * known, counts * worth], dim=1)
        if not self.flat:
            return users, items, negatives, target
        pairs = torch.cat([items[:, None], negatives.expand(len(items), n)], dim=1)
        return users.repeat_interleave(1 + n), pairs.reshape(-1), target

    def _draw(self, n: int, device: torch.device, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Items, and for how many each stands."""
        if self._shares is None:
            drawn = torch.randint(1, self.n_items, (n,), generator=generator, device=device)
            return drawn, torch.full((n,), (self.n_items - 1) / n, device=device)
        shares = self._shares.to(device)
        points = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        drawn = torch.searchsorted(shares.cumsum(0), points).clamp(1, self.n_items - 1)
        return drawn, (1 / (n * shares[drawn])).float()


def takes_negatives(model: nn.Module) -> bool:
    """Whether a model can be asked for scores of a batch of users with items that all of them share."""
    return "negatives" in inspect.signature(model.forward).parameters
