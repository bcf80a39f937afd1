"""Answers in the user's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about one input.

    Attributes:
        label: the most probable class; for multi-label models the tuple of all classes with probability 0.5
            or more, or from the threshold of each on, once the learner is calibrated.
        probability: of `label`; for multi-label models of its least certain member (1 - the largest, if none
            is set).
        probabilities: of every class, by name.
    """

    label: str | tuple[str, ...]
    probability: float
    probabilities: dict[str, float]


def decode_labels(
    probs: Tensor,
    classes: Sequence[str] | None,
    *,
    multilabel: bool = False,
    thresholds: Sequence[float] | None = None,
) -> list[Prediction]:
    """Class probabilities of many rows as predictions.

    Args:
        probs: shape (rows, classes).
        classes: their names; `None` numbers them.
        multilabel: several classes may hold at once.
        thresholds: the probability from which each of several labels is set; 0.5 by default.

    Raises:
        ValueError: if there are not as many names as columns.

    Example:
        >>> import torch
        >>> decode_labels(torch.tensor([[0.25, 0.75]]), ["cat", "dog"])[0].label
        'dog'
    """
    names = [str(i) for i in range(probs.shape[1])] if classes is None else [str(name) for name in classes]
    if len(names) != probs.shape[1]:
        raise ValueError(
            f"the model gives {probs.shape[1]} values a row, but there are {len(names)} classes: {names}"
        )
    least = dict(zip(names, [0.5] * len(names) if thresholds is None else thresholds, strict=True))
    answers = []
    for row in probs.tolist():
        by_name = dict(zip(names, row, strict=True))
        if multilabel:
            label = tuple(name for name, p in by_name.items() if p >= least[name])
            answers.append(Prediction(label, min((by_name[n] for n in label), default=1 - max(row)), by_name))
        else:
            best = max(by_name, key=by_name.__getitem__)
            answers.append(Prediction(best, by_name[best], by_name))
    return answers
