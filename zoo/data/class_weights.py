"""Weights of classes in a loss, and how often the rows of each are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.data.classes import class_place
from zoo.errors import did_you_mean, some


def balanced_weights(counts: Tensor) -> Tensor:
    """Weights that give rare classes as much say as frequent ones: rows / (classes * rows of the class)
    (King & Zeng 2001).

    Args:
        counts: rows of each class.

    Returns:
        Float32, same shape; infinite for classes without rows.

    Example:
        >>> balanced_weights(torch.tensor([6, 2])).tolist()
        [0.6666666865348816, 2.0]
    """
    return counts.sum() / (len(counts) * counts.float())


def named_weights(weights: Mapping[Any, float], classes: Sequence[Any]) -> Tensor:
    """Weights by class, named as in `classes` or by its value in the target; 1 for those that are not named.

    Returns:
        Float32 of shape (classes,).

    Raises:
        ValueError: for names that are no class, for weights below 0 or all 0.

    Example:
        >>> named_weights({"dog": 3}, ["cat", "dog"]).tolist()
        [1.0, 3.0]
    """
    names = list(classes)
    places = {name: class_place(name, names) for name in weights}
    strange = [f"{name!r}{did_you_mean(str(name), names)}" for name, place in places.items() if place is None]
    if strange:
        raise ValueError(f"class_weights: no class {some(strange)}; there are {some(map(repr, names))}")
    if len(set(places.values())) < len(places):
        raise ValueError(f"class_weights: a class has more than one weight in {dict(weights)}")
    by_place = {place: float(weights[name]) for name, place in places.items()}
    chosen = torch.tensor([by_place.get(place, 1.0) for place in range(len(names))])
    if not (torch.isfinite(chosen).all() and (chosen >= 0).all() and chosen.any()):
        raise ValueError(f"class_weights: weights must be 0 or more, and not all 0, got {dict(weights)}")
    return chosen


def chosen_weights(
    weights: str | Mapping[Any, float], classes: Sequence[str], numbers: Tensor, row: str = "row"
) -> Tensor:
    """One weight a class, as `data.class_weights` gives them.

    Args:
        weights: "balanced" (`balanced_weights`), or weights by class name (`named_weights`).
        classes: their names.
        numbers: class numbers of the training rows.
        row: what a row is called, for errors.

    Returns:
        Float32 of shape (classes,).

    Raises:
        ValueError: for another word, names that are no class, and "balanced" where a class has no rows.

    Example:
        >>> chosen_weights("balanced", ["cat", "dog"], torch.tensor([0, 0, 1, 0])).tolist()
        [0.6666666865348816, 2.0]
    """
    if not isinstance(weights, str):
        return named_weights(weights, classes)
    if weights != "balanced":
        raise ValueError(f"class_weights: expected 'balanced' or weights by class name, got {weights!r}")
    counts = torch.bincount(numbers, minlength=len(classes))
    empty = [classes[i] for i in torch.nonzero(counts == 0).ravel().tolist()]
    if empty:
        raise ValueError(
            f"class_weights: no training {row} is of the class {some(map(repr, empty))}: give weights by name"
        )
    return balanced_weights(counts)
