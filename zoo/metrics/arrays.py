"""What metrics are given: tensors, numpy arrays, series or lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.answers.outputs import class_axis, ignored_target

Metric = Callable[[Any, Any], Any]


class MisfitError(ValueError):
    """Predictions and targets that a metric cannot compare, in whatever batch."""


def as_values(values: Any) -> Tensor:
    """A tensor without gradients, of the same number format; of a tensor the tensor itself.

    Raises:
        TypeError: for what holds no numbers, such as names of classes.

    Example:
        >>> as_values([[0.5, 1.0]])
        tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, list | tuple) and values and all(isinstance(one, Tensor) for one in values):
        return torch.stack([one.detach() for one in values])
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        try:
            array = array.astype(np.float64)  # such as a column of objects that are numbers
        except (TypeError, ValueError):
            raise TypeError(
                f"metrics compare numbers, got an array of {array.dtype} of shape {array.shape}: encode "
                "classes as their numbers first"
            ) from None
    array = np.ascontiguousarray(array)
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_pair(preds: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Predictions and targets as tensors on one device."""
    first, second = as_values(preds), as_values(targets)
    return first, second.to(first.device)


def class_rows(preds: Tensor, targets: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Scores as (rows, classes), class numbers as (rows,), and which of the rows count.

    Where the classes stand, and which class number does not count, is known in a fit; by hand see
    `class_axis`, and -100 does not count.

    Raises:
        MisfitError: if they do not fit together, or there is a single score a row.
    """
    if preds.ndim < 2 or preds.shape[-1] == 0:
        raise MisfitError(
            f"{name} needs the scores of all classes, shape (rows, classes), got predictions of shape "
            f"{tuple(preds.shape)}"
        )
    axis = class_axis(preds.shape, targets.shape)
    if preds.shape[-1 if axis is None else axis] == 1:
        raise MisfitError(
            f"{name} looks for the class with the largest score, but there is one score a row: use "
            "accuracy_thresh() for a single yes-or-no output, or rmse for numbers"
        )
    if axis is None:
        raise MisfitError(
            f"{name}: predictions of shape {tuple(preds.shape)} do not fit targets of shape "
            f"{tuple(targets.shape)}"
        )
    scores = preds.movedim(axis, -1)
    labels = targets.reshape(-1)
    if not labels.is_floating_point():
        labels = labels.long()  # a byte would be compared with the ignored number modulo 256
    return scores.reshape(-1, scores.shape[-1]), labels, labels != ignored_target()


def wide(value: Tensor) -> Tensor:
    """`value` in float64, so that long sums stay exact, where the device has it."""
    return value.float() if value.device.type == "mps" else value.double()


def number_pairs(preds: Tensor, targets: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Both as one row of float64 numbers.

    Raises:
        MisfitError: if they are not as many.
    """
    if preds.numel() != targets.numel():
        raise MisfitError(
            f"{name}: predictions of shape {tuple(preds.shape)} do not fit targets of shape "
            f"{tuple(targets.shape)}"
        )
    return wide(preds.reshape(-1)), wide(targets.reshape(-1))
