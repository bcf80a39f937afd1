"""Factors and biases of ratings in closed form: the most probable ones, or the mean of draws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.allocator import return_freed_memory, reuse_freed_memory
from zoo_collab.model.als import solve_rows, turned
from zoo_collab.pairs.seen import SeenPairs

_CHUNK = 1 << 18  # pairs at a time


class RatingFactors(NamedTuple):
    """A rating is mean + user_bias + item_bias + user_factors . item_factors; row 0 of each is nobody, and 0.

    Attributes:
        user_factors, item_factors: (users, factors) and (items, factors).
        user_bias, item_bias: (users,) and (items,).
        mean: of somebody unknown for something unknown.
    """

    user_factors: Tensor
    item_factors: Tensor
    user_bias: Tensor
    item_bias: Tensor
    mean: float


class _Side:
    """One side of the ratings: its rows' factors with the bias as the last number."""

    def __init__(self, pairs: SeenPairs, ratings: Tensor, n_others: int, factors: int) -> None:
        self.pairs, self.ratings, self.n_others = pairs, ratings, n_others
        n = len(pairs.starts) - 1
        device = pairs.starts.device
        self.x = torch.zeros(n, factors + 1, device=device)
        self.everyone = torch.arange(n, device=device)
        self.rows = torch.repeat_interleave(self.everyone, pairs.starts.diff())
        self.empty = pairs.starts.diff() == 0

    def table(self) -> Tensor:
        """What the other side's rows are solved with: factors and a one for their bias; nobody has zeros."""
        table = self.x.clone()
        table[:, -1] = 1
        table[0] = 0
        return table

    def dots(self, others: Tensor, x: Tensor) -> Tensor:
        """The product of every pair's two rows, (pairs,)."""
        found = [
            (x[rows] * others[items.long()]).sum(1)
            for rows, items in zip(self.rows.split(_CHUNK), self.pairs.items.split(_CHUNK), strict=True)
        ]
        return torch.cat(found)


def rating_factors(
    pairs: SeenPairs,
    ratings: Tensor,
    n_items: int,
    factors: int = 16,
    *,
    iterations: int = 10,
    wd: float = 1.0,
    exponent: float = 0.5,
    seed: int = 0,
) -> RatingFactors:
    """Factors and biases that make squared errors least, by alternating least squares: each side is solved
    exactly while the other stands still (Zhou, Wilkinson, Schreiber & Pan 2008).

    Args:
        pairs: who has rated what; index 0 on either side is nobody.
        ratings: of these pairs, in their order.
        n_items: items, nobody included.
        factors: numbers a user and an item.
        iterations: times that both sides are solved.
        wd: ridge; that of a row with n ratings is `wd x (1 + n) ** exponent`. The defaults were chosen on
            two splits of MovieLens small and on made ratings.
        exponent: 0 holds all rows back alike, 1 those with many ratings more.
        seed: of the start.
    """
    reuse_freed_memory()
    users, items, mean = _sides(pairs, ratings, n_items, factors, seed)
    for _ in range(iterations):
        for side, other in ((users, items), (items, users)):
            ridge = wd * (1 + side.pairs.starts.diff().float()) ** exponent
            targets = side.ratings - other.x[side.pairs.items.long(), -1]
            side.x = solve_rows(other.table(), side.pairs, side.everyone, ridge=ridge, targets=targets)
    return_freed_memory()
    return RatingFactors(users.x[:, :-1], items.x[:, :-1], users.x[:, -1], items.x[:, -1], mean)


def drawn_rating_factors(
    pairs: SeenPairs,
    ratings: Tensor,
    n_items: int,
    factors: int = 16,
    *,
    draws: int = 30,
    iterations: int = 10,
    width: int = 50,
    seed: int = 0,
) -> RatingFactors:
    """The mean of many draws of factors and biases from what the ratings leave possible (Bayesian
    probabilistic matrix factorisation, Salakhutdinov & Mnih 2008, with biases and independent factors):
    Gibbs sampling, a side at a time, of the same closed form; how strongly rows are held back and how noisy
    ratings are is drawn as well, so there is nothing to choose.

    A draw of a side is the solution for disturbed ratings and a disturbed prior (Papandreou & Yuille 2010).
    Of the items the mean that belongs to the drawn users is kept, which needs fewer draws than pairs of both.
    The mean of the draws' ratings is a product of all their factors side by side, of which the `width`
    directions that matter most remain.

    Args:
        pairs: who has rated what; index 0 on either side is nobody.
        ratings: of these pairs, in their order.
        n_items: items, nobody included.
        factors: numbers a user and an item in a draw.
        draws: how many are averaged.
        iterations: draws before these, which still depend on the start.
        width: factors of the result, at most.
        seed: of the start and of the draws.
    """
    reuse_freed_memory()
    users, items, mean = _sides(pairs, ratings, n_items, factors, seed)
    generator, numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    device = users.x.device
    noise = 1.0  # variance of ratings around what is expected
    priors = {side: _Prior(factors + 1, device) for side in (users, items)}
    kept: list[tuple[Tensor, Tensor]] = []
    for number in range(iterations + draws):
        for side, other in ((users, items), (items, users)):
            table, prior = other.table(), priors[side]
            start = prior.draw(len(side.x), generator)
            clean = side.ratings - other.x[side.pairs.items.long(), -1]
            disturbed = clean + noise**0.5 * torch.randn(len(clean), generator=generator).to(device)
            targets = torch.stack(
                [
                    disturbed - side.dots(table, start),
                    clean - (table @ prior.mean)[side.pairs.items.long()],
                ],
                dim=1,
            )
            ridge = torch.full((len(side.x),), noise, device=device)
            found = solve_rows(table * prior.spread, side.pairs, side.everyone, ridge=ridge, targets=targets)
            found *= prior.spread[:, None]
            side.x = start + found[..., 0]
            side.x[side.empty] = prior.mean
            if side is items and number >= iterations:
                kept.append(_joined(users.x, prior.mean + found[..., 1]))
            prior.learn(side.x[1:], generator, numbers)
        errors = users.ratings - users.dots(items.table(), users.x) - items.x[users.pairs.items.long(), -1]
        shape, scale = 1 + len(errors) / 2, 1 + float(errors.square().sum()) / 2
        noise = scale / numbers.gamma(shape)
    found = _mean_of(kept, width, mean)
    return_freed_memory()
    return found


class _Prior:
    """What is known of rows before their ratings: independent normal numbers, whose means and spreads are
    drawn from what the rows show."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.mean = torch.zeros(size, device=device)
        self.spread = torch.full((size,), 0.3, device=device)  # standard deviations

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(n, len(self.mean), generator=generator).to(self.mean.device)
        return self.mean + self.spread * drawn

    def learn(self, x: Tensor, generator: torch.Generator, numbers: np.random.Generator) -> None:
        """Means with a normal prior of the same spread around 0, precisions with a Gamma(1, 1)."""
        n = len(x) + 1
        drawn = torch.randn(len(self.mean), generator=generator).to(x.device)
        self.mean = x.sum(0) / n + drawn * self.spread / n**0.5
        scale = 1 + ((x - self.mean).square().sum(0) + self.mean.square()) / 2
        precision = numbers.gamma(1 + n / 2, 1 / scale.double().cpu().numpy())
        self.spread = torch.from_numpy(precision**-0.5).float().to(x.device)


def _sides(
    pairs: SeenPairs, ratings: Tensor, n_items: int, factors: int, seed: int
) -> tuple[_Side, _Side, float]:
    if len(ratings) != len(pairs):
        raise ValueError(f"{len(ratings)} ratings do not belong to {len(pairs)} pairs")
    if not len(pairs):
        raise ValueError("there are no ratings to fit")
    mean = float(ratings.double().mean())
    ratings = (ratings - mean).float()
    by_item, order = turned(pairs, n_items)
    users = _Side(pairs, ratings, n_items, factors)
    items = _Side(by_item, ratings[order], len(pairs.starts) - 1, factors)
    draw = torch.Generator().manual_seed(seed)
    items.x[:, :-1] = (0.1 * torch.randn(n_items, factors, generator=draw)).to(items.x.device)
    items.x[0] = 0
    return users, items, mean


def _joined(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Factors with both biases among them, so that the product is the whole rating."""
    one = torch.ones_like(users[:, :1]), torch.ones_like(items[:, :1])
    return torch.cat([users, one[0]], dim=1), torch.cat([items[:, :-1], one[1], items[:, -1:]], dim=1)


def _mean_of(kept: list[tuple[Tensor, Tensor]], width: int, mean: float) -> RatingFactors:
    """The mean of several products as one: what somebody unknown and something unknown would give apart, and
    the strongest directions of the rest."""
    users, items = (torch.cat(parts, dim=1).double() for parts in zip(*kept, strict=True))
    users /= len(kept)
    # nobody's row, the mean of all, taken from each side leaves biases, and zeros for nobody
    nobody, nothing = users[0].clone(), items[0].clone()
    users, items = users - nobody, items - nothing
    user_bias, item_bias = users @ nothing, items @ nobody
    left, right = torch.linalg.qr(users), torch.linalg.qr(items)
    middle = torch.linalg.svd(left.R @ right.R.T)
    size = middle.S[:width].sqrt()
    first, last = left.Q @ middle.U[:, : len(size)] * size, right.Q @ middle.Vh[: len(size)].T * size
    first[0], last[0] = 0, 0
    first, last, user_bias, item_bias = (part.float() for part in (first, last, user_bias, item_bias))
    return RatingFactors(first, last, user_bias, item_bias, mean + float(nobody @ nothing))
