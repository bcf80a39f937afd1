"""What metrics are given: tensors, numpy arrays, series or lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.answers.outputs import class_axis, fit_together, ignored_target, meaning, shares_axis
from zoo.errors import some

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
    if isinstance(values, Mapping):
        raise TypeError(_of_parts(values, "a metric"))
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


def as_parts(values: Any, rows: int | None = None) -> Any:
    """As `as_values`, but of predictions or targets of several parts (a dict, a tuple, a list of columns or
    of rows of different length) the same form of tensors; parts that are no numbers stay as they are.

    Args:
        values: in one of these forms.
        rows: how many there are, where that is known; it tells columns from rows.
    """
    if isinstance(values, Mapping):
        return {key: _part(value, rows) for key, value in values.items()}
    arrays = isinstance(values, tuple | list) and any(_is_part(one) for one in values)
    if not arrays:
        return as_values(values)
    parts = [_part(one, rows) for one in values]
    if all(isinstance(one, Tensor) for one in parts) and len({one.shape for one in parts}) == 1:
        columns = parts[0].ndim and rows not in (None, len(parts)) and len(parts[0]) == rows
        if not columns:
            return as_values(values)  # the rows of one array
    return type(values)(*parts) if hasattr(values, "_fields") else type(values)(parts)


def _is_part(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray | Mapping | tuple) and getattr(value, "ndim", 1) > 0


def _part(value: Any, rows: int | None) -> Any:
    try:
        return as_parts(value, rows)
    except (TypeError, ValueError):  # such as names
        return value


def _of_parts(values: Any, name: str) -> str:
    keys = some(values) if isinstance(values, Mapping) else f"0 to {len(values) - 1}"
    return (
        f"{name} compares one array with another, got parts ({keys}): use a function that picks them, such "
        "as lambda preds, targets: accuracy(preds[...], targets[...])"
    )


def check_no_parts(preds: Any, targets: Any, name: str) -> None:
    """Refuse predictions or targets of several parts.

    Raises:
        MisfitError: for a dict, a tuple or a list of tensors, with the function that is needed.
    """
    for values in (preds, targets):
        of_tensors = isinstance(values, tuple | list) and any(isinstance(one, Tensor) for one in values)
        if isinstance(values, Mapping) or of_tensors:
            raise MisfitError(_of_parts(values, name))


def as_pair(preds: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Predictions and targets as tensors on one device."""
    first, second = as_values(preds), as_values(targets)
    return first, second.to(first.device)


def class_targets(preds: Tensor, targets: Tensor) -> Tensor:
    """Class numbers for targets that are known to be shares of classes: of each row the class with the
    largest share, or what does not count where all are 0. Other targets as they are.
    """
    axis = shares_axis(preds.shape, targets.shape)
    if axis is None:
        return targets
    largest, classes = (targets if targets.is_floating_point() else targets.float()).max(axis)
    return classes.where(largest > 0, ignored_target())


def class_rows(preds: Tensor, targets: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Scores as (rows, classes), class numbers as (rows,), and which of the rows count.

    Where the classes stand, and which class number does not count, is known in a fit; by hand see
    `class_axis`, and -100 does not count. Shares of classes stand for the class with the largest one, see
    `class_targets`.

    Raises:
        MisfitError: if they do not fit together, or there is a single score a row.
    """
    if preds.ndim < 2 or preds.shape[-1] == 0:
        raise MisfitError(
            f"{name} needs the scores of all classes, shape (rows, classes), got predictions of shape "
            f"{tuple(preds.shape)}"
        )
    targets = class_targets(preds, targets)
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
            + (
                ": it compares one class a row, so give class numbers (of one-hot targets "
                "targets.argmax(-1)); of several labels a row use accuracy_thresh() or f1"
                if preds.shape == targets.shape
                else ""
            )
        )
    scores = preds.movedim(axis, -1)
    labels = targets.reshape(-1)
    if not labels.is_floating_point():
        labels = labels.long()  # a byte would be compared with the ignored number modulo 256
    return scores.reshape(-1, scores.shape[-1]), labels, labels != ignored_target()


def class_probs(flat: Tensor) -> Tensor:
    """Probabilities of classes, from rows of scores or logarithms; of probabilities these themselves.

    What they are is known in a fit; by hand rows that sum to 1 are probabilities.
    """
    known = meaning()
    if known is not None:
        are_probs = known.kind == "probabilities"
    else:
        are_probs = bool((flat >= 0).all() and ((flat.sum(-1) - 1).abs() < 1e-3).all())
    return flat if are_probs else flat.double().softmax(-1)  # few are equal that were not


def order_unknown(preds: Tensor, targets: Tensor) -> str:
    """What to do about as many values in another shape."""
    if preds.numel() != targets.numel():
        return ""
    return ": as many values, but which belongs to which is not known: bring both to one shape"


def wide(value: Tensor) -> Tensor:
    """`value` in float64, so that long sums stay exact, where the device has it."""
    return value.float() if value.device.type == "mps" else value.double()


def number_pairs(preds: Tensor, targets: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Both as one row of float64 numbers.

    Raises:
        MisfitError: if their shapes differ in more than dimensions of one value.
    """
    check_no_parts(preds, targets, name)
    if not fit_together(preds.shape, targets.shape):
        raise MisfitError(
            f"{name}: predictions of shape {tuple(preds.shape)} do not fit targets of shape "
            f"{tuple(targets.shape)}" + order_unknown(preds, targets)
        )
    return wide(preds.reshape(-1)), wide(targets.reshape(-1))
