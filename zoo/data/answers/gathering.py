"""What a pass over a loader gives back, in the order of its rows."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, IterableDataset, SequentialSampler

from zoo.data.answers.nested import join, map_tensors, rows_of
from zoo.data.loaders.batches import batch_count, n_rows


def widened(values: Tensor) -> Tensor:
    """Numbers in float32, or float64 where they are: shorter formats are for computing, not for answers."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


class Gathered:
    """Outputs and targets of a pass, kept on the CPU.

    Args:
        targets: whether they are wanted; others may have any form.
    """

    def __init__(self, *, targets: bool = True) -> None:
        self._wanted = targets
        self._outputs: list[Any] = []
        self._targets: list[Any] = []
        self._rows: list[int] = []

    def add(self, preds: Any, target: Any) -> None:
        """Take in a batch; `target` is `None` where there is none."""
        if next(iter(_tensors(preds)), None) is None:
            raise TypeError(
                "predictions must be a tensor, or hold some (a tuple, a dict); this model returns "
                f"{type(preds).__name__}"
            )
        self._outputs.append(map_tensors(lambda part: _answer(part.detach()).cpu(), preds))
        self._rows.append(rows_of(preds))
        if self._wanted and target is not None:
            self._targets.append(map_tensors(lambda part: part.detach().cpu(), target))

    def result(self, order: Any = None) -> tuple[Any, Any]:
        """All outputs, and all targets or `None`, back in the order of the rows.

        Args:
            order: the row number of each row as it came; `None` if they came in order.

        Raises:
            ValueError: if there was nothing.
        """
        if not self._outputs:
            raise ValueError("there is nothing to predict: the input is empty")
        outputs = join(self._outputs, self._rows)
        targets = join(self._targets, self._rows) if self._targets else None
        if order is None:
            return outputs, targets
        back = torch.argsort(torch.as_tensor(order))
        return _sorted(outputs, back), _sorted(targets, back)


def _tensors(part: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, part)
    return found


def _answer(values: Tensor) -> Tensor:
    return widened(values) if values.is_floating_point() else values


def _sorted(part: Any, back: Tensor) -> Any:
    if isinstance(part, list) and len(part) == len(back):
        return [part[row] for row in back.tolist()]
    return map_tensors(lambda values: values[back], part)


def row_order(loader: Any) -> Any:
    """The order of a loader's rows in an evaluation, which passes over them as in epoch 0."""
    if not hasattr(loader, "order") or not hasattr(loader, "set_epoch"):
        return getattr(loader, "order", None)
    epoch = getattr(loader, "epoch", 0)
    loader.set_epoch(0)
    try:
        return loader.order
    finally:
        loader.set_epoch(epoch)


def warn_of_order(loader: Any) -> None:
    """Tell when a loader's rows can't be given back in order, or not all of them."""
    order = _own_order(loader)
    if order is not None:
        warnings.warn(
            f"this loader shuffles or chooses rows ({type(order).__name__}), so predictions come in that "
            "order, not in that of its rows: predict with a loader without a sampler",
            stacklevel=4,
        )
    rows, batches = n_rows(loader), batch_count(loader)
    size = getattr(loader, "bs", 0) or getattr(loader, "batch_size", 0)
    if (
        getattr(loader, "drop_last", False)
        and rows
        and batches is not None
        and size
        and batches * size < rows
    ):
        warnings.warn("this loader drops its last rows (drop_last), so they get no predictions", stacklevel=4)


def _own_order(loader: Any) -> Any:
    """What decides on another order of a torch loader's rows than their own, or may do so; else `None`."""
    if isinstance(getattr(loader, "dataset", None), IterableDataset) or hasattr(loader, "order"):
        return None
    batches = getattr(loader, "batch_sampler", None)
    if batches is None or type(batches) is BatchSampler:
        source = getattr(loader, "sampler", None) if batches is None else batches.sampler
    else:
        source = batches
    if source is None or isinstance(source, SequentialSampler):
        return None
    if isinstance(source, range | list | tuple | np.ndarray | torch.Tensor):
        rows = [row for part in source for row in np.atleast_1d(part).tolist()]
        return None if all(a < b for a, b in itertools.pairwise(rows)) else source
    return source


class InputsOnly:
    """Batches of inputs as a loader: the missing target is filled with the row numbers.

    They were given to this process alone, so that others have no share in them.
    """

    undivided = True

    def __init__(self, batches: Iterable[tuple[Any, ...]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches) if hasattr(self.batches, "__len__") else 0  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        for inputs in self.batches:
            yield (*inputs, torch.arange(rows_of(inputs[0])))
