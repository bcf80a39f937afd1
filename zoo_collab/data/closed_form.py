"""The tables of a model from the training rows in closed form, without a learning rate."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo_collab.data.collab_data import CollabData
from zoo_collab.model.als import implicit_factors
from zoo_collab.model.features import has_features
from zoo_collab.model.models import EmbeddingDotBias
from zoo_collab.model.rating_factors import RatingFactors, drawn_rating_factors, rating_factors
from zoo_collab.pairs.seen import SeenPairs

FOR_LISTS = ("unobserved", "wd", "exponent")
FOR_RATINGS = ("draws", "rank", "wd", "exponent")
_RANK = 8  # factors of a draw; 4 to 16 differ little


def fit_closed_form(
    model: nn.Module, data: CollabData, iterations: int | None, seed: int, options: dict[str, Any]
) -> None:
    """Fills the tables of a model; see `CollabLearner.fit_als`."""
    if not isinstance(model, EmbeddingDotBias):
        raise TypeError(
            "alternating least squares fits the factors of EmbeddingDotBias, and this is "
            f"{type(model).__name__}"
        )
    if has_features(model):
        raise TypeError(
            "alternating least squares fits factors of ids, and this model also has vectors of features, "
            "which it would leave as they are: make the learner of table.without_features()"
        )
    frozen = [name for name, part in model.named_parameters() if not part.requires_grad]
    if frozen:
        raise ValueError(f"{', '.join(frozen)} is frozen, and alternating least squares fits all: unfreeze()")
    _check("iterations", iterations)
    given = {name: value for name, value in options.items() if value is not None}
    implicit = data.task == "implicit"
    known = FOR_LISTS if implicit else FOR_RATINGS
    if wrong := [name for name in given if name not in known]:
        kind = "pairs without ratings" if implicit else "ratings"
        raise ValueError(f"{', '.join(wrong)}: not for {kind}, where there are {', '.join(known)}")
    for name, value in given.items():
        _check(name, value)
    if given.get("draws") and (wrong := [name for name in ("wd", "exponent") if name in given]):
        raise ValueError(f"{', '.join(wrong)}: with draws it is drawn too; draws=0 takes what is given")
    device = model.user_factors.weight.device
    seen = data.seen.to(device)
    if implicit:
        _fit_lists(model, data, seen, iterations, seed, given)
    else:
        _fit_ratings(model, data, seen, iterations, seed, given)


def _check(name: str, value: Any) -> None:
    """An option of a fit: counts are whole numbers, strengths finite ones; wd alone may not be 0, for rows
    with few pairs would have no solution."""
    if value is None:
        return
    least = {"iterations": 1, "rank": 1, "draws": 0}.get(name)
    if least is not None:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"{name} must be a whole number of {least} or more, not {value!r}")
        return
    number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (name == "wd" and value == 0):
        bound = "above 0" if name == "wd" else "of 0 or more"
        raise ValueError(f"{name} must be a number {bound}, not {value!r}")


@torch.no_grad()
def _fit_lists(
    model: EmbeddingDotBias,
    data: CollabData,
    seen: SeenPairs,
    iterations: int | None,
    seed: int,
    given: dict[str, Any],
) -> None:
    weights = None
    if data.weights is not None and bool((data.weights != 1).any()):
        weights = confidence(data.weights).to(seen.items.device)
    factors = model.user_factors.embedding_dim
    users, items = implicit_factors(
        seen, len(data.items), factors, iterations=iterations or 8, weights=weights, seed=seed, **given
    )
    if len(users) > 1:
        users[0] = users[1:].mean(0)  # somebody unknown gets what all like
    zeros = users.new_zeros(len(users)), items.new_zeros(len(items))
    _fill(model, RatingFactors(users, items, *zeros, 0.0))


@torch.no_grad()
def _fit_ratings(
    model: EmbeddingDotBias,
    data: CollabData,
    seen: SeenPairs,
    iterations: int | None,
    seed: int,
    given: dict[str, Any],
) -> None:
    if not isinstance(data.train_dl, TensorLoader):
        raise TypeError(
            "alternating least squares reads ratings that lie in memory (a TensorLoader), and train_dl is "
            f"{'missing' if data.train_dl is None else 'a ' + type(data.train_dl).__name__}"
        )
    who, what, ratings = (part.cpu().numpy() for part in data.train_dl.tensors[:3])
    ratings = data.seen.means(who, what, ratings.reshape(-1)).to(seen.items.device)
    width = model.user_factors.embedding_dim
    draws = given.pop("draws", 0 if {"wd", "exponent"} & given.keys() else 40)
    rank = given.pop("rank", min(_RANK, width) if draws else width)
    if draws:
        found = drawn_rating_factors(
            seen,
            ratings,
            len(data.items),
            rank,
            draws=draws,
            iterations=iterations or 10,
            width=width,
            seed=seed,
        )
    else:
        if rank > width:
            raise ValueError(f"rank={rank} factors do not fit into a model of {width}")
        found = rating_factors(
            seen, ratings, len(data.items), rank, iterations=iterations or 10, seed=seed, **given
        )
    _fill(model, found)
    model.set_range(data.rating_range, clip=True)


def confidence(counts: Tensor) -> Tensor:
    """How sure it is that a pair that counts so much belongs together: 1 for 1, and one more for each time it
    counts twice as much."""
    return torch.log1p(counts.double()).div(math.log(2)).to(counts.dtype)  # also of very small ones


def _fill(model: EmbeddingDotBias, found: RatingFactors) -> None:
    for table, values in (
        (model.user_factors, found.user_factors),
        (model.item_factors, found.item_factors),
        (model.user_bias, found.user_bias[:, None]),
        (model.item_bias, found.item_bias[:, None]),
    ):
        table.weight.zero_()
        table.weight[:, : values.shape[1]] = values
    model.get_buffer("middle").fill_(found.mean)
