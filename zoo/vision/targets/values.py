"""Targets that are numbers: values of the whole picture, or points in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.value_scale import InUnits, ValueScale, value_names
from zoo.losses import MSEFlat
from zoo.metrics import mae, mse, r2, rmse
from zoo.vision.targets.base import BadRow, Head, Target
from zoo.vision.transforms.view import View


class ValueTarget(ValueScale, Target):
    """One or more numbers a picture (an age, a vector).

    A network learns them with mean 0 and standard deviation 1 over the training pictures; everything that is
    told (metrics, predictions) is in the units of the values.

    Args:
        names: of the values.
        mean: of each.
        std: of each; above 0.

    Raises:
        ValueError: for values that are missing or infinite (`fitted`).

    Example:
        >>> target = ValueTarget.fitted(np.array([[10.0], [30.0]]))
        >>> target.row([40.0]), target.inverse(np.array([[2.0]]))
        (tensor([2.]), array([[40.]], dtype=float32))
    """

    kind: ClassVar[str] = "values"
    task: ClassVar[str | None] = "regression"

    @classmethod
    def fitted(
        cls,
        values: Any,
        names: Sequence[str] | None = None,
        *,
        standardize: bool = True,
        origin: str = "values",
    ) -> Self:
        """The target of these training values.

        Args:
            values: (rows,) or (rows, n) numbers.
            names: of the n values.
            standardize: whether a network learns them with mean 0 and deviation 1.
            origin: for errors.
        """
        rows = check_numbers(values, origin)
        n = rows.shape[1]
        names = value_names(n) if names is None else names
        if len(names) != n:
            raise ValueError(f"{origin}: {n} values a picture but {len(names)} names")
        return cls.of(rows, names) if standardize else cls(names, np.zeros(n), np.ones(n))

    def row(self, raw: Any, view: View | None = None) -> Tensor:
        return torch.as_tensor(
            ((np.asarray(raw, np.float64).reshape(-1) - self.mean) / self.std), dtype=torch.float32
        )

    def default_metrics(self) -> list[Any]:
        return [self.in_units(rmse), self.in_units(mae)]

    def named_metrics(self) -> dict[str, Any]:
        """Errors by name are told in the units of the values."""
        return {metric.__name__: self.in_units(metric) for metric in (rmse, mae, mse, r2)}

    def in_units(self, metric: Any) -> Any:
        """A metric of numbers in the units of the values, whatever the network learns."""
        return InUnits(metric, self)

    def text(self, value: Any) -> str:
        told = self.inverse(np.asarray(value))[0]
        if self.n_out == 1:
            return f"{told[0]:.4g}"
        shown = [f"{name} {v:.4g}" for name, v in zip(self.names, told, strict=True)]
        return ", ".join(shown[:4]) + (" ..." if len(shown) > 4 else "")

    def to_state(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.numbers()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls.from_numbers(state)


class WhereThere:
    """A metric over the targets that are not NaN.

    Args:
        metric: a function of predictions and targets.

    Example:
        >>> WhereThere(mae)(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, float("nan")]]))
        2.0
    """

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        self.__name__ = metric.__name__

    def __call__(self, preds: Tensor, targets: Tensor) -> float:
        there = ~targets.isnan()
        return self.metric(preds[there], targets[there]) if there.any() else math.nan


class PointsTarget(Target):
    """Points in a picture; raw targets are (k, 2) of x and y in its pixels, float32.

    A network learns them in [-1, 1] of what it sees (-1 the left or upper edge, 1 the right or lower one);
    they follow every view, and answers to raw pictures are in the pixels of these. A point that is NaN is not
    there: it counts neither in the loss nor in the metrics.

    Args:
        names: of the points, in order.

    Example:
        >>> PointsTarget(["nose"]).row([[15.0, 5.0]], View.fit((10, 20), (10, 20)))
        tensor([0.5000, 0.0000])
    """

    kind: ClassVar[str] = "points"
    head: ClassVar[Head] = "points"
    task: ClassVar[str | None] = "regression"
    follows: ClassVar[bool] = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [str(name) for name in names]

    @property
    def n_out(self) -> int:
        return 2 * len(self.names)

    def row(self, raw: Any, view: View | None) -> Tensor:
        if view is None:
            raise TypeError("points follow the view of their picture, which is not given")
        height, width = view.size
        seen = view.from_source(np.asarray(raw, np.float64).reshape(-1, 2)) / [width, height] * 2 - 1
        return torch.as_tensor(seen.ravel(), dtype=torch.float32)

    def decode(self, outputs: Any, views: Sequence[View]) -> list[np.ndarray]:
        """(k, 2) of x and y in pixels of each picture."""
        values = np.asarray(outputs, np.float64).reshape(len(views), -1, 2)
        return [
            view.to_source((points + 1) / 2 * [view.size[1], view.size[0]]).astype(np.float32)
            for points, view in zip(values, views, strict=True)
        ]

    def default_loss(self) -> Callable:
        return MSEFlat(skip_missing=True)

    def default_metrics(self) -> list[Any]:
        return [point_rmse, point_distance]

    def named_metrics(self) -> dict[str, Any]:
        """Errors by name are over the points that are there, in halves of the picture's sides."""
        there = {metric.__name__: WhereThere(metric) for metric in (mae, mse, r2)}
        return {"rmse": point_rmse, "point_distance": point_distance, **there}

    def text(self, value: Any) -> str:
        return ""

    def to_state(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": self.names}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["names"])


def point_distance(preds: Tensor, targets: Tensor) -> float:
    """Mean distance between points and where they were predicted, in halves of the picture's sides.

    Args:
        preds: (rows, 2 k) of x and y in [-1, 1].
        targets: likewise; NaN where a point is not there.

    Example:
        >>> point_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.4]]))
        0.5
    """
    apart = (preds.float() - targets.float()).reshape(-1, 2).norm(dim=1)
    return round(apart.nanmean().item(), 7)


def point_rmse(preds: Tensor, targets: Tensor) -> float:
    """Root of the mean squared difference of coordinates, in halves of the picture's sides.

    Args:
        preds: (rows, 2 k) of x and y in [-1, 1].
        targets: likewise; NaN where a point is not there.

    Example:
        >>> round(point_rmse(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.4]])), 4)
        0.3536
    """
    return (preds.float() - targets.float()).square().nanmean().sqrt().item()


point_rmse.__name__ = "rmse"


def check_numbers(values: Any, origin: str, *, points: bool = False) -> np.ndarray:
    """Numbers, (rows, n) float64; or an error that names the first row that holds none.

    Args:
        values: (rows,) or (rows, n).
        origin: for errors.
        points: pairs of x and y, of which some may be NaN; then both are.
    """
    try:
        rows = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        unlike = "inhomogeneous" in str(error)
        raise ValueError(
            f"{origin}: expected a number, or as many numbers for each picture"
            + (": the rows have different lengths" if unlike else f": {error}")
        ) from None
    rows = rows.reshape(len(rows), -1)
    finite = np.isfinite(rows)
    if points:
        pairs = rows.reshape(len(rows), -1, 2)
        pairs[np.isnan(pairs).any(2)] = np.nan
        finite = ~np.isinf(rows) & ~np.isnan(rows).all(1, keepdims=True)
    bad = np.flatnonzero(~finite.all(1))
    if len(bad):
        what = "no point, or one that is infinite" if points else "no finite number"
        told = f"{origin}: {len(bad)} rows have {what} (first row, from 0: {bad[0]})"
        raise BadRow(told, int(bad[0]))
    return rows
