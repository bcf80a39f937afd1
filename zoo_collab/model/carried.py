"""How the score of an item for a person follows from the person's ratings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from zoo_collab.model.fold_in import Folding, Pairs, Prior, fold_in, hold_of, known_rows, parts_of
from zoo_collab.model.vector_scores import scores_of, squeezed


class Carried(NamedTuple):
    """What the ratings of a person did to the score of an item.

    Attributes:
        start: the score for somebody of whom nothing is known.
        generosity: what the ratings together added to the bias of the person, and so to every score.
        parts: what each rating added to the score of this item by the factors, in the order in which they
            were given.
        score: with the vector that was folded in.
    """

    start: float
    generosity: float
    parts: np.ndarray
    score: float


@torch.no_grad()
def carried(model: nn.Module, items: np.ndarray, ratings: np.ndarray, folding: Folding, item: int) -> Carried:
    """How the score of an item for a person follows from the person's ratings.

    The vector that is folded in solves a system of equations whose right side is a sum over the ratings, so
    that it is a sum over them itself, and so is every score (Hu, Koren & Volinsky 2008, section 5). Through
    the sigmoid or layers that system is the one of the last step of Gauss and Newton. For a dot product
    `start`, `generosity` and `parts` add up to `score`; where layers bend the way from the mean to the vector
    they leave a rest.

    Args:
        model: `EmbeddingDotBias` or `EmbeddingNet`.
        items: indexes of rated items, known ones, (ratings,).
        ratings: (ratings,); without ratings how sure each pair is.
        folding: as of `fold_in`.
        item: the index of the one that is asked for.
    """
    everything = torch.from_numpy(np.asarray(items, dtype=np.int64))[None]
    given = Pairs.of(np.zeros(len(items), dtype=np.int64), items, ratings, 1)
    scores = scores_of(model, "user")
    vector = fold_in(model, given, folding)
    factors = parts_of(model, vector)["user_factors"].shape[1]
    score, direction = (part[0, 0] for part in scores.hold(torch.tensor([[item]])).scores(vector))
    raw, directions = (part[0] for part in scores.hold(everything).scores(vector))
    if folding.unobserved is not None:
        table = known_rows(model.get_submodule("item_factors"))  # type: ignore[arg-type]
        own, sure = table[everything[0]], torch.from_numpy(np.asarray(ratings, dtype=np.float64))
        system = (own * sure[:, None]).T @ own + folding.unobserved * table.T @ table
        system.diagonal().add_(hold_of(folding, len(items), len(table)))
        parts = (own @ torch.linalg.solve(system, direction[:factors])) * sure
        return Carried(float(score - parts.sum()), 0.0, parts.numpy(), float(score))
    prior = Prior.learned(scores)
    moved = torch.linalg.solve_triangular(prior.root, (vector - prior.mean).T, upper=False)[:, 0]
    answers, slope = squeezed(raw, scores.y_range)
    slopes = (directions * slope[:, None]) @ prior.root
    system = slopes.T @ slopes
    system.diagonal().add_(folding.noise)
    wanted = torch.from_numpy(np.asarray(ratings, dtype=np.float64)) - answers + slopes @ moved
    ways = torch.stack([direction, torch.zeros_like(direction)], 1)
    if len(direction) > factors:  # the last is the bias, alike for every item
        ways[-1] = ways[-1].flip(0)
    parts, bias = ((slopes @ torch.linalg.solve(system, prior.root.T @ ways)) * wanted[:, None]).unbind(1)
    start = scores.hold(torch.tensor([[item]])).scores(prior.mean[None])[0]
    return Carried(float(start), float(bias.sum()), parts.numpy(), float(score))
