"""Which items stand first for a user: the only place that sorts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.engine.modes import preserve_modes
from zoo_collab.pairs.seen import SeenPairs

_CELLS = 8_000_000  # scores at a time
_PAIRS = 65_536
_LOW = (1 << 32) - 1


class Ranking(NamedTuple):
    """The items that stand first for some users.

    Attributes:
        items: indexes, best first, shape (users, n); 0 where a user has no more.
        scores: what they were ordered by, of the same shape; -inf where there is no item.
    """

    items: Tensor
    scores: Tensor


def item_scores(model: nn.Module, users: Tensor, n_items: int) -> Tensor:
    """Scores of every item for every user, shape (len(users), n_items), float32, on the model's device.

    A model may offer `all_scores(users)`, which gives them before they are squeezed into a range; of any
    other model they are its outputs for all pairs, 65,536 at a time, which bounds the memory of its layers.
    """
    device = next(chain(model.parameters(), model.buffers()), users).device
    users = users.to(device)
    all_scores: Any = getattr(model, "all_scores", None)
    if callable(all_scores):
        return torch.as_tensor(all_scores(users)).float()
    scores = torch.empty(len(users) * n_items, device=device)
    for start in range(0, len(scores), _PAIRS):
        pairs = torch.arange(start, min(start + _PAIRS, len(scores)), device=device)
        scores[start : start + _PAIRS] = model(users[pairs // n_items], pairs % n_items).float().reshape(-1)
    return scores.reshape(len(users), n_items)


def as_ratings(model: nn.Module, scores: Tensor) -> Tensor:
    """Scores as the model's outputs: a model that offers `all_scores` tells by `squash(scores)`."""
    squash: Any = getattr(model, "squash", None)
    if not callable(squash) or not hasattr(model, "all_scores"):
        return scores
    return torch.as_tensor(squash(scores))


@torch.no_grad()
def rank(
    model: nn.Module,
    users: Tensor,
    n: int,
    n_items: int,
    *,
    allowed: Tensor | None = None,
    seen: Iterable[SeenPairs] = (),
) -> Ranking:
    """The `n` items with the highest scores for each user, by the scores before they are squeezed into a
    range, which may be too narrow to tell them apart. Of equal scores the item with the smaller index comes
    first, so that a shorter list is the beginning of a longer one, on any device.

    Args:
        model: of (user indexes, item indexes), see `item_scores`.
        users: indexes, shape (users,).
        n: length of the lists.
        n_items: items, the unknown one (index 0) included; it is in no list.
        allowed: which items may be listed, boolean (n_items,); all by default.
        seen: pairs to leave out.

    Raises:
        ValueError: where scores are not finite, which no list should come from.

    Example:
        >>> class Fixed(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = nn.Parameter(torch.tensor([9.0, 1.0, 3.0, 3.0]))
        ...     def forward(self, users, items):
        ...         return self.weight[items]
        >>> rank(Fixed(), torch.tensor([1]), 2, 4).items.tolist()
        [[2, 3]]
    """
    most = min(n, n_items - 1)
    barred = (
        torch.tensor([0]) if allowed is None else (~allowed).index_fill(0, torch.tensor(0), True).nonzero()
    )
    found = []
    step = max(1, _CELLS // n_items)
    seen = list(seen)
    with preserve_modes(model):
        model.eval()
        for start in range(0, len(users), step):
            chunk = users[start : start + step]
            scores = item_scores(model, chunk, n_items)
            _check_finite(scores, chunk)
            scores.index_fill_(1, barred.flatten().to(scores.device), -torch.inf)
            for pairs in seen:
                rows, items = pairs.places(chunk)
                scores[rows.to(scores.device), items.to(scores.device)] = -torch.inf
            found.append(_first(scores, most))
    if not found:
        return Ranking(torch.zeros(0, most, dtype=torch.int64), torch.zeros(0, most))
    return Ranking(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _first(scores: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Items and scores of the first `n`, on the CPU."""
    top, items = scores.topk(min(n + 1, scores.shape[1]), dim=1)
    if n < scores.shape[1]:  # which of several equal ones come last is not said
        tied = (top[:, n] == top[:, n - 1]) & (top[:, n] > -torch.inf)
        top, items = top[:, :n], items[:, :n]
        if bool(tied.any()):
            items[tied] = _first_of_equal(scores[tied], n)
    items = items.sort(1).values
    top, order = scores.gather(1, items).sort(dim=1, descending=True, stable=True)
    items = items.gather(1, order).masked_fill(top == -torch.inf, 0)
    return items.cpu(), top.cpu()


def _first_of_equal(scores: Tensor, n: int) -> Tensor:
    """The first `n` items, in any order. One whole number a cell orders by score, then by index: the bits of
    a float32, turned so that they ascend, above those of the index counted from behind."""
    bits = (scores + 0.0).view(torch.int32).long()  # 0.0 and -0.0 are equal
    keys = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits) << 32
    keys |= _LOW - torch.arange(scores.shape[1], device=scores.device)
    return _LOW - (keys.topk(n, dim=1).values & _LOW)


def _check_finite(scores: Tensor, users: Tensor) -> None:
    least, most = torch.aminmax(scores, dim=1)
    finite = least.isfinite() & most.isfinite()
    if not bool(finite.all()):
        bad = users[~finite.cpu()]
        raise ValueError(
            f"the model's scores are not finite for {len(bad)} of {len(users)} users (the first has index "
            f"{int(bad[0])}): its weights hold NaN or infinity, so there is no order; train again with a "
            "lower rate, or load weights from before"
        )
