"""Factors of people or items that were not in training: from ratings, with the other side as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zoo_collab.model.als import alike, solve_rows
from zoo_collab.model.models import EmbeddingDotBias, EmbeddingNet
from zoo_collab.model.vector_scores import VectorScores, scores_of, squeezed
from zoo_collab.pairs.seen import SeenPairs

_STEPS = 30
_CLOSE = 1e-4  # a step so small, where one is the spread of all vectors, ends the search
_NOT_FINITE = (
    "the model's factors are not finite: they hold NaN or infinity, so nothing can be folded into them; "
    "train again with a lower rate, or load weights from before"
)
_LOOKED_AT = 4096  # vectors from which is learned what vectors are like


@dataclass(frozen=True)
class Folding:
    """How strongly ratings speak against what vectors of a model are like.

    Attributes:
        noise: variance of ratings about the model's answers, in units of the ratings.
        unobserved: for factors of which pairs exist, without ratings: weight of a pair that has not been
            seen, beside 1 of those that have; None for ratings.
        wd: regularisation of such factors, as of `implicit_factors`.
        exponent: likewise.
    """

    noise: float = 1.0
    unobserved: float | None = None
    wd: float = 0.01
    exponent: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)


class Pairs(NamedTuple):
    """What some rows (people, or items) have been paired with.

    Attributes:
        pairs: index of the row, from 0, and of the other side.
        ratings: of each pair, in the order of `pairs.items`, float64; without ratings how sure it is, 1 for a
            pair that was taken once.
    """

    pairs: SeenPairs
    ratings: Tensor

    @classmethod
    def of(cls, rows: np.ndarray, others: np.ndarray, ratings: np.ndarray, n_rows: int) -> Pairs:
        """Sorted by row; pairs with the unknown (index 0 of the other side) are left out."""
        known = others > 0
        rows, others, ratings = rows[known], others[known], ratings[known]
        order = np.lexsort((others, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
        found = SeenPairs(torch.from_numpy(starts), torch.from_numpy(others[order].astype(np.int32)))
        return cls(found, torch.from_numpy(np.asarray(ratings, dtype=np.float64)[order]))


class Prior(NamedTuple):
    """What vectors are like before anything is known of them: their mean, and a root of their covariance.

    Attributes:
        mean: (width,).
        root: lower triangular, (width, width); `root @ root.T` is the covariance.
    """

    mean: Tensor
    root: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Prior:
        """Learned from vectors, (n, width). The covariance is drawn towards equal variances, the more the
        fewer vectors there are.

        Example:
            >>> found = Prior.of(torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 4.0], [3.0, 4.0]]))
            >>> found.mean.tolist(), bool(found.root[1, 1] > found.root[0, 0])
            ([2.0, 2.0], True)
        """
        vectors = vectors.double()
        if not bool(vectors.isfinite().all()):
            raise ValueError(_NOT_FINITE)
        mean = vectors.mean(0)
        width = len(mean)
        covariance = (vectors - mean).T @ (vectors - mean) / max(1, len(vectors) - 1)
        equal = covariance.diagonal().mean().clamp(min=1e-8)
        share = width / (width + len(vectors))
        covariance = (1 - share) * covariance
        covariance.diagonal().add_(share * equal)
        return cls(mean, torch.linalg.cholesky(covariance))

    @classmethod
    def learned(cls, scores: VectorScores) -> Prior:
        """From the vectors that training found; of many every so many are looked at."""
        return cls.of(scores.vectors(slice(1, None, max(1, len(scores) // _LOOKED_AT))))


@torch.no_grad()
def fold_in(
    model: nn.Module, given: Pairs, folding: Folding, side: str = "user", prior: Prior | None = None
) -> Tensor:
    """The vectors (factors, then the bias where there is one) that go with ratings, for many rows at once,
    while the other side stands still: those that make least

        sum of (rating - answer)^2 + noise x (vector - mean)' inverse covariance (vector - mean)

    with mean and covariance of the vectors that training found: the likeliest ones, if those are a sample
    from a normal distribution. For a model without a range this is ridge regression, one step; through the
    sigmoid and through layers it takes a few steps of Gauss and Newton, each held back where it would not
    lessen that sum (Levenberg 1944, Marquardt 1963). Factors of which pairs exist (`folding.unobserved`) are
    solved as they were fitted, see `solve_rows`.

    Args:
        model: `EmbeddingDotBias` or `EmbeddingNet`; it is not changed.
        given: pairs of the rows.
        folding: how strongly ratings speak.
        side: what the rows are, "user" or "item".
        prior: what vectors of that side are like; learned from the model's by default.

    Returns:
        (rows, width), float64 on the CPU; the mean for rows without pairs.

    Raises:
        TypeError: for other models.

    Example:
        >>> model = EmbeddingDotBias(9, 4, 2)
        >>> _ = model.item_factors.weight.data.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]))
        >>> given = Pairs.of(np.array([0, 0]), np.array([1, 2]), np.array([2.0, -2.0]), 1)
        >>> first, second, bias = fold_in(model, given, Folding(1e-9)).round(decimals=1)[0].tolist()
        >>> first > 1, second < -1
        (True, True)
    """
    scores = scores_of(model, side)
    if folding.unobserved is not None:
        return _without_ratings(model, given, folding, side)
    prior = Prior.learned(scores) if prior is None else prior
    found = prior.mean.repeat(len(given.pairs.starts) - 1, 1)
    for rows, others, real, ratings in _padded(given, found.shape[1]):
        found[rows] = _least_squares(scores, prior, folding.noise, others, real, ratings)
    return found


def _padded(given: Pairs, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Rows with about as many pairs, with them: (rows, places)."""
    starts = given.pairs.starts
    for rows in alike(starts.diff(), width):
        counts = starts[rows + 1] - starts[rows]
        steps = torch.arange(int(counts.max()))
        real = steps < counts[:, None]
        at = (starts[rows][:, None] + steps).clamp(max=len(given.pairs.items) - 1)
        yield rows, given.pairs.items[at].long().masked_fill_(~real, 0), real, given.ratings[at] * real


class _Fit(NamedTuple):
    """Where a search stands: (rows, ...).

    Attributes:
        place: in units of the spread of all vectors, (rows, width).
        loss: (rows,).
        slopes: of the answers, (rows, places, width).
        error: of the answers, (rows, places).
    """

    place: Tensor
    loss: Tensor
    slopes: Tensor
    error: Tensor


def _least_squares(
    scores: VectorScores, prior: Prior, noise: float, others: Tensor, real: Tensor, ratings: Tensor
) -> Tensor:
    held = scores.hold(others)

    def look(place: Tensor) -> _Fit:
        raw, directions = held.scores(prior.mean + place @ prior.root.T)
        answers, slope = squeezed(raw, scores.y_range)
        error = (ratings - answers) * real
        slopes = (directions @ prior.root) * (slope * real)[..., None]
        return _Fit(place, error.square().sum(1) + noise * place.square().sum(1), slopes, error)

    now = look(ratings.new_zeros(len(ratings), len(prior.mean)))
    if not bool(now.loss.isfinite().all()):
        raise ValueError(_NOT_FINITE)
    damping = ratings.new_zeros(len(ratings))
    for _ in range(_STEPS):
        step = _step(now, noise, damping)
        then = look(now.place + step)
        better = then.loss <= now.loss
        if bool(better.all()):
            now = then
        else:
            chosen = [better.view(-1, *[1] * (part.dim() - 1)) for part in now]
            now = _Fit(*map(torch.where, chosen, then, now))
        if float(step.abs().max()) <= _CLOSE:
            break
        damping = torch.where(better, damping / 10, (damping * 10).clamp(min=noise))
    return prior.mean + now.place @ prior.root.T


def _step(now: _Fit, noise: float, damping: Tensor) -> Tensor:
    """A step of Gauss and Newton, by as many equations as there are places or unknowns, whichever are fewer
    (the identity of Woodbury)."""
    slopes, hold = now.slopes, (noise + damping)[:, None]
    turned = slopes.transpose(1, 2)
    downhill = (turned @ now.error[..., None]).squeeze(-1) - noise * now.place
    few = slopes.shape[1] < slopes.shape[2]
    system = slopes @ turned if few else turned @ slopes
    system.diagonal(dim1=1, dim2=2).add_(hold)
    root = torch.linalg.cholesky(system)
    if not few:
        return torch.cholesky_solve(downhill[..., None], root).squeeze(-1)
    inner = torch.cholesky_solve(slopes @ downhill[..., None], root)
    return (downhill - (turned @ inner).squeeze(-1)) / hold


def hold_of(folding: Folding, pairs: Any, others: int) -> Any:
    """Ridge of rows with so many pairs, as of `implicit_factors`."""
    unobserved: Any = folding.unobserved
    return folding.wd * (pairs + unobserved * (others - 1)) ** folding.exponent


def known_rows(table: nn.Embedding) -> Tensor:
    """Its rows, float64 on the CPU, with zeros for nobody."""
    rows = table.weight.detach().cpu().double()
    rows = rows.clone()
    rows[0] = 0
    return rows


def _without_ratings(model: nn.Module, given: Pairs, folding: Folding, side: str) -> Tensor:
    """Factors of which pairs exist, with a bias of zero; the ratings are how sure each pair is."""
    if not isinstance(model, EmbeddingDotBias):
        raise TypeError(
            f"pairs without ratings are folded into factors (EmbeddingDotBias), not a {type(model).__name__}"
        )
    other = model.item_factors if side == "user" else model.user_factors
    table = known_rows(other)
    pairs, worth = given
    rows = torch.arange(len(pairs.starts) - 1)
    unobserved: Any = folding.unobserved
    hold = hold_of(folding, pairs.starts.diff(), len(table)).double()
    found = solve_rows(table, pairs, rows, ridge=hold, unobserved=unobserved, weights=worth)
    return torch.cat([found, found.new_zeros(len(found), 1)], 1)


def parts_of(model: nn.Module, vectors: Tensor, side: str = "user") -> dict[str, Tensor]:
    """Vectors as rows of the model's tables, by the tables' names."""
    factors, bias = f"{side}_factors", f"{side}_bias"
    if isinstance(model, EmbeddingNet):
        return {factors: vectors}
    return {factors: vectors[:, :-1], bias: vectors[:, -1:]}


def with_people(model: nn.Module, vectors: Tensor) -> nn.Module:
    """A model of the same items for other users, index 1 the first of `vectors`; it shares all else with
    `model`, which is not changed.

    Example:
        >>> model = EmbeddingDotBias(9, 4, 2)
        >>> guests = with_people(model, torch.ones(1, 3))
        >>> guests.all_scores(torch.tensor([1])).shape, model.user_factors.weight.shape
        (torch.Size([1, 4]), torch.Size([9, 2]))
    """
    guests = copy.copy(model)
    guests._modules = dict(model._modules)
    for name, rows in parts_of(model, vectors).items():
        own = getattr(model, name).weight
        weight = torch.cat([own.new_zeros(1, rows.shape[1]), rows.to(own)])
        guests._modules[name] = nn.Embedding.from_pretrained(weight, padding_idx=0)
    return guests
