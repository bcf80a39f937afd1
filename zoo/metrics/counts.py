"""Precision, recall, F1 and Matthews' correlation: what can be told from counts of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from zoo.data.answers.outputs import form_of, ignored_target
from zoo.metrics.arrays import MisfitError, check_no_parts, class_probs, class_rows, class_targets
from zoo.metrics.labels import above, label_probs
from zoo.metrics.meters import Summed, measured, streams

Average = Literal["binary", "macro", "micro", "weighted"]


class ClassCounts(Summed):
    """Counts the hits, the choices and the true rows of each class (or label) over batches.

    Args:
        name: of the metric.
        value: of the metric, from three float64 rows (hits, chosen, true), one number a class.
        average: how the classes become one number; `None` chooses by the predictions.
        thresh: probability above which a label, a single output or class 1 of two is chosen; of labels
            also one each.
    """

    def __init__(
        self,
        name: str,
        value: Callable[[Tensor, Average], float],
        average: Average | None,
        thresh: Any,
    ) -> None:
        if average is not None and average not in get_args(Average):
            raise ValueError(
                f"{name}: average must be one of {', '.join(get_args(Average))}, got {average!r}"
                + (
                    "; the mean over the rows of several labels is fbeta(beta=1)"
                    if average == "samples"
                    else ""
                )
            )
        self.name, self.value, self.thresh = name, value, thresh
        self.average: Average | None = average
        self.reset()

    def reset(self) -> None:
        self._counts: Tensor | None = None
        self._strange: Tensor | int = 0
        self._several = False

    def update(self, preds: Tensor, targets: Tensor) -> None:
        check_no_parts(preds, targets, self.name)
        targets = class_targets(preds, targets)
        several = form_of(preds.shape, targets.shape) == "labels"
        if several and self.average == "binary":
            raise MisfitError(f"{self.name}: average='binary' is for two classes, these are several labels")
        counts, strange = self._of_labels(preds, targets) if several else self._of_classes(preds, targets)
        self._several = several
        self._counts = counts if self._counts is None else self._counts + counts
        self._strange = self._strange + strange

    def _of_labels(self, preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | int]:
        probs = label_probs(preds, None, self.name).reshape(-1, preds.shape[-1])
        chosen = above(probs, self.thresh, self.name)
        truth = targets.reshape(-1, preds.shape[-1]) > 0.5
        return torch.stack([(chosen & truth).sum(0), chosen.sum(0), truth.sum(0)]), 0

    def _of_classes(self, preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | int]:
        if not isinstance(self.thresh, int | float) and np.ndim(self.thresh):
            raise MisfitError(
                f"{self.name}: one threshold a label is for several labels, these are of one class a row"
            )
        if form_of(preds.shape, targets.shape) == "output":
            guessed = (label_probs(preds.reshape(-1), None, self.name) > self.thresh).long()
            labels, classes = targets.reshape(-1).long(), 2
            counts_too = labels != ignored_target()
        else:
            flat, labels, counts_too = class_rows(preds, targets, self.name)
            guessed, labels, classes = self._guessed(flat), labels.long(), flat.shape[-1]
        if self.average == "binary" and classes != 2:
            raise MisfitError(
                f"{self.name}: average='binary' is for two classes, there are {classes}: use 'macro', "
                "'micro' "
                "or 'weighted'"
            )
        known = (labels >= 0) & (labels < classes) & counts_too
        weights, labels = known.long(), labels.clamp(0, classes - 1)
        rows = [weights * (guessed == labels), weights, weights]
        zeros = torch.zeros(classes, dtype=torch.int64, device=preds.device)
        # no bincount: it would wait for the device
        counts = [
            zeros.index_add(0, where, row) for where, row in zip((labels, guessed, labels), rows, strict=True)
        ]
        return torch.stack(counts), (~known & counts_too).sum()

    def _guessed(self, flat: Tensor) -> Tensor:
        """The class of each row: with a threshold of its own class 1 of two where that is above it."""
        if self.thresh == 0.5:
            return flat.argmax(-1)
        if flat.shape[-1] != 2:
            raise MisfitError(
                f"{self.name}: thresh={self.thresh} is for two classes or several labels; of "
                f"{flat.shape[-1]} classes the one with the largest score is chosen: leave thresh out"
            )
        return (class_probs(flat)[:, 1] > self.thresh).long()

    def compute(self) -> float:
        if self._counts is None:
            raise ValueError(f"{self.name}: there were no rows")
        if int(self._strange):
            raise ValueError(
                f"{self.name}: {int(self._strange)} targets are none of the {self._counts.shape[1]} classes"
            )
        counts = self._counts.cpu().double()
        average: Average = self.average or (
            "binary" if counts.shape[1] == 2 and not self._several else "macro"
        )
        if not self._several and average in ("macro", "weighted"):  # absent classes are nobody's mistake
            counts = counts[:, (counts[1] + counts[2]) > 0]
        return self.value(counts, average)

    def sums(self) -> tuple[Tensor | None, int, bool]:
        counts = None if self._counts is None else self._counts.cpu()
        return counts, int(self._strange), self._several

    def combine(self, parts: Sequence[tuple[Tensor | None, int, bool]]) -> None:
        found = [counts for counts, _, _ in parts if counts is not None]
        self._counts = torch.stack(found).sum(0) if found else None
        self._strange = sum(strange for _, strange, _ in parts)
        self._several = any(several for _, _, several in parts)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """0 where nothing is counted, as scikit-learn has it."""
    return torch.where(below > 0, above / below.clamp(min=1), torch.zeros_like(above))


def _averaged(counts: Tensor, average: Average, of: Callable[[Tensor], tuple[Tensor, Tensor]]) -> float:
    if average == "binary":
        return _ratio(*of(counts[:, 1])).item()
    if average == "micro":
        return _ratio(*of(counts.sum(1))).item()
    values = _ratio(*of(counts))
    if average == "macro":
        return values.mean().item()
    return _ratio((values * counts[2]).sum(), counts[2].sum()).item()


def _precision(counts: Tensor, average: Average) -> float:
    return _averaged(counts, average, lambda c: (c[0], c[1]))


def _recall(counts: Tensor, average: Average) -> float:
    return _averaged(counts, average, lambda c: (c[0], c[2]))


def _f1(counts: Tensor, average: Average) -> float:
    return _averaged(counts, average, lambda c: (2 * c[0], c[1] + c[2]))


def _iou(counts: Tensor, average: Average) -> float:
    return _averaged(counts, average, lambda c: (c[0], c[1] + c[2] - c[0]))


def _mcc(counts: Tensor, average: Average) -> float:
    hits, chosen, true = counts
    rows = true.sum()
    together = hits.sum() * rows - (chosen * true).sum()
    apart = (rows**2 - (chosen**2).sum()) * (rows**2 - (true**2).sum())
    return (together / apart.sqrt()).item() if apart > 0 else 0.0


def _meter(name: str, value: Callable[[Tensor, Average], float]) -> Callable[..., ClassCounts]:
    def make(average: Average | None = None, thresh: Any = 0.5) -> ClassCounts:
        return ClassCounts(name, value, average, thresh)

    return make


@streams(_meter("precision", _precision))
def precision(preds: Any, targets: Any, *, average: Average | None = None, thresh: Any = 0.5) -> float:
    """Share of what was called a class (or label) that is one.

    In a list of metrics as it is, by its name, or with options: `partial(precision, average="macro")`.

    Args:
        preds: of classes scores or probabilities, shape (..., classes), or with the classes elsewhere, see
            `accuracy`; of two classes also one output, shape (rows,) or (rows, 1); of several labels shape
            (rows, labels). See `fbeta` on what predictions mean.
        targets: class numbers, or 0 and 1 in the shape of several labels. The class number -100, or the
            `ignore_index` of the loss, does not count.
        average: "binary" (the class 1 of two), "macro" (the mean over the classes that occur), "micro" (all
            decisions together), "weighted" (by the rows of each class). By default "binary" for two classes,
            else "macro".
        thresh: a label holds, a single output says yes, and class 1 of two is chosen where its probability
            is above this; of several labels also one each, as a list or array. Of more classes the one with
            the largest score is chosen.

    Returns:
        What scikit-learn's function of the same name gives; 0 where nothing was called so.

    Raises:
        MisfitError: if the shapes do not fit, or for another `thresh` or average="binary" where there are
            more than two classes.

    Example:
        >>> precision([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], [1, 0, 0])
        0.5
    """
    return measured(ClassCounts("precision", _precision, average, thresh), preds, targets)


@streams(_meter("recall", _recall))
def recall(preds: Any, targets: Any, *, average: Average | None = None, thresh: Any = 0.5) -> float:
    """Share of the rows of a class (or label) that were called so; arguments as of `precision`.

    Example:
        >>> recall([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], [1, 0, 0])
        1.0
    """
    return measured(ClassCounts("recall", _recall, average, thresh), preds, targets)


@streams(_meter("iou", _iou))
def iou(preds: Any, targets: Any, *, average: Average | None = None, thresh: Any = 0.5) -> float:
    """Intersection over union (Jaccard index) of what was called a class and what is one; arguments as of
    `precision`. Of segmentations the pixels are the rows.

    Example:
        >>> iou([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], [1, 0, 0])
        0.5
    """
    return measured(ClassCounts("iou", _iou, average, thresh), preds, targets)


@streams(_meter("dice", _f1))
def dice(preds: Any, targets: Any, *, average: Average | None = None, thresh: Any = 0.5) -> float:
    """Twice the intersection over the sum of both sizes (Dice 1945), which is `f1` under the name that
    segmentation knows; arguments as of `precision`.

    Example:
        >>> round(dice([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], [1, 0, 0]), 4)
        0.6667
    """
    return measured(ClassCounts("dice", _f1, average, thresh), preds, targets)


@streams(_meter("f1", _f1))
def f1(preds: Any, targets: Any, *, average: Average | None = None, thresh: Any = 0.5) -> float:
    """Harmonic mean of `precision` and `recall`; arguments as of `precision`.

    Several labels are averaged over labels here; `fbeta(beta=1)` averages over rows.

    Example:
        >>> round(f1([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], [1, 0, 0]), 4)
        0.6667
    """
    return measured(ClassCounts("f1", _f1, average, thresh), preds, targets)


class _Correlation(ClassCounts):
    def __init__(self, thresh: Any = 0.5) -> None:
        super().__init__("mcc", _mcc, None, thresh)

    def update(self, preds: Tensor, targets: Tensor) -> None:
        super().update(preds, targets)
        if self._several:
            raise MisfitError("mcc is of one class a row: for several labels use f1, or mcc label by label")


@streams(_Correlation)
def mcc(preds: Any, targets: Any, *, thresh: Any = 0.5) -> float:
    """Matthews' correlation of predicted and true classes: 1 perfect, 0 no better than chance.

    Gorodkin 2004 for more than two classes; 0 where one class only is predicted, or occurs.

    Args:
        preds, targets, thresh: as of `precision`; one class a row.

    Example:
        >>> mcc([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], [1, 0, 0, 0])
        0.5773502691896258
    """
    return measured(_Correlation(thresh), preds, targets)
