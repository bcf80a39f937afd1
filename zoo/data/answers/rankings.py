"""Several classes or labels as yes-or-no questions, each a ranking of the rows. No torch here."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.data.answers.outputs import class_axis, form_of, ignored_target, meaning


def rankings(preds: Any, targets: Any, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores and 0/1 truth of every question whose answers a macro average is over.

    Two classes are one question. More classes are one question each, the class or any other (one-vs-rest), by
    the logarithms of the probabilities; only classes that occur among the targets count, as there is nothing
    to find of the others. Several labels are one question each; those that all rows have, or none, are left
    out unless all are such.

    Args:
        preds: raw outputs or probabilities, arrays, tensors or lists: shape (rows,) or (rows, 1) for the
            positive one of two classes, (..., classes) (see `class_axis`), or (rows, labels).
        targets: class numbers, shape (...), or 0/1 in the shape of several labels. Class numbers that do not
            count (-100, or what the loss leaves out) are left out with their rows.
        where: for error messages.

    Raises:
        ValueError: when both do not fit, are empty, or the targets are no classes.

    Example:
        >>> [truth.tolist() for _, truth in rankings(np.eye(3)[[0, 2, 2]], [0, 2, 2], "example")]
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    """
    scores, truth = _floats(preds), _floats(targets)
    if not truth.size or not scores.size:
        raise ValueError(f"{where}: there is nothing to compare, predictions or targets are empty")
    form = form_of(scores.shape, truth.shape)
    if form == "labels":
        width = scores.shape[-1]
        columns = list(zip(scores.reshape(-1, width).T, truth.reshape(-1, width).T, strict=True))
        mixed = [pair for pair in columns if pair[1].min() < pair[1].max()]
        return mixed or [pair for pair in columns if pair[1].any()] or columns[:1]
    if form == "classes":
        axis = class_axis(scores.shape, truth.shape)
        if axis is None:
            raise ValueError(
                f"{where}: predictions of shape {scores.shape} do not fit targets of shape {truth.shape}"
            )
        scores = np.moveaxis(scores, axis, -1)
    truth = truth.reshape(-1)
    scores, counts = scores.reshape(len(truth), -1), truth != ignored_target()
    scores, truth = scores[counts], truth[counts]
    if not truth.size:
        raise ValueError(f"{where}: there is nothing to compare, no target counts")
    width = scores.shape[1]
    if width == 1:
        return [(scores[:, 0], truth)]
    if width == 2:
        return [(scores[:, 1] - scores[:, 0], truth)]
    present = np.unique(truth)
    strange = [value for value in present.tolist() if value not in range(width)]
    if strange:
        raise ValueError(f"{where}: the target {strange[0]:g} is none of the {width} classes")
    if not _are_probabilities(scores):
        scores = scores - scores.max(axis=1, keepdims=True)
        scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return [(scores[:, int(one)], (truth == one).astype("float64")) for one in present]


def _are_probabilities(scores: np.ndarray) -> bool:
    """Whether the rows are probabilities already: as is known, or else as they sum to 1."""
    known = meaning()
    if known is not None:
        return known.kind == "probabilities"
    return bool(scores.min() >= 0 and (np.abs(scores.sum(axis=1) - 1) < 1e-3).all())


def _floats(values: Any) -> np.ndarray:
    """An array, a series or a tensor of any type as float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype="float64")
