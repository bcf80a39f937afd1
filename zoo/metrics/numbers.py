"""Errors of numbers: sums over all values, whatever the shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.metrics.arrays import number_pairs
from zoo.metrics.meters import RowSum, Summed, measured, streams


class _Errors(RowSum):
    """The mean of the squared (or absolute) errors, or its root."""

    def __init__(self, name: str, *, power: int = 2, root: bool = False) -> None:
        self.name, self.power, self.root = name, power, root
        super().__init__()

    def update(self, preds: Tensor, targets: Tensor) -> None:
        values, truth = number_pairs(preds, targets, self.name)
        wrong = (values - truth).abs() if self.power == 1 else (values - truth).square()
        self.total = self.total + wrong.sum()
        self.rows += values.numel()

    def compute(self) -> float:
        mean = super().compute()
        return math.sqrt(mean) if self.root else mean


class _Explained(Summed):
    """1 minus the squared error over the variance; means and squared deviations of batches are joined as in
    Chan, Golub & LeVeque 1983, since the difference of two large sums would lose all digits.
    """

    name = "r2"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._rows = 0
        self._mean: Tensor | float = 0.0
        self._spread: Tensor | float = 0.0
        self._wrong: Tensor | float = 0.0

    def update(self, preds: Tensor, targets: Tensor) -> None:
        values, truth = number_pairs(preds, targets, self.name)
        if values.numel():
            mean = truth.mean()
            self._add(truth.numel(), mean, (truth - mean).square().sum(), (values - truth).square().sum())

    def _add(self, rows: int, mean: Any, spread: Any, wrong: Any) -> None:
        if not rows:
            return
        apart, total = mean - self._mean, self._rows + rows
        self._spread = self._spread + spread + apart * apart * (self._rows * rows / total)
        self._mean = self._mean + apart * (rows / total)
        self._wrong = self._wrong + wrong
        self._rows = total

    def compute(self) -> float:
        wrong, spread = (torch.as_tensor(float(v), dtype=torch.float64) for v in (self._wrong, self._spread))
        return (1 - wrong / spread).item()  # NaN or minus infinity where all targets are equal

    def sums(self) -> tuple[int, float, float, float]:
        return self._rows, float(self._mean), float(self._spread), float(self._wrong)

    def combine(self, parts: Sequence[tuple[int, float, float, float]]) -> None:
        self.reset()
        for part in parts:
            self._add(*part)


def _squared() -> _Errors:
    return _Errors("mse")


def _root() -> _Errors:
    return _Errors("rmse", root=True)


def _absolute() -> _Errors:
    return _Errors("mae", power=1)


@streams(_squared)
def mse(preds: Any, targets: Any) -> float:
    """Mean squared error.

    Args:
        preds: predictions, any shape.
        targets: as many targets.

    Example:
        >>> mse([1.0, 2.0], [1.0, 4.0])
        2.0
    """
    return measured(_squared(), preds, targets)


@streams(_root)
def rmse(preds: Any, targets: Any) -> float:
    """Root of the mean squared error; arguments as of `mse`.

    Example:
        >>> rmse([1.0, 2.0], [1.0, 2.0])
        0.0
    """
    return measured(_root(), preds, targets)


@streams(_absolute)
def mae(preds: Any, targets: Any) -> float:
    """Mean absolute error; arguments as of `mse`.

    Example:
        >>> mae([[1.0], [2.0]], [1.0, 4.0])
        1.0
    """
    return measured(_absolute(), preds, targets)


@streams(_Explained)
def r2(preds: Any, targets: Any) -> float:
    """Coefficient of determination: 1 minus the squared error over the variance of the targets; arguments as
    of `mse`.

    Example:
        >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        1.0
    """
    return measured(_Explained(), preds, targets)
