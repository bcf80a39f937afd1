"""The scale on which a network learns values: mean 0 and standard deviation 1 over the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np


class ValueScale:
    """Carries values to the scale on which a network learns them, and back.

    Args:
        names: of the values, one a column.
        mean: of each, in the user's units.
        std: of each, in the user's units; above 0.

    Example:
        >>> scale = ValueScale.of(np.array([[10.0], [30.0]]))
        >>> scale.forward(np.array([[40.0]])).tolist(), scale.inverse(np.array([[2.0]])).tolist()
        ([[2.0]], [[40.0]])
    """

    def __init__(self, names: Sequence[str], mean: Any, std: Any) -> None:
        self.names = [str(name) for name in names]
        self.mean, self.std = np.asarray(mean, np.float64), np.asarray(std, np.float64)

    @classmethod
    def of(cls, rows: np.ndarray, names: Sequence[str] | None = None) -> Self:
        """The scale of training values, finite, of shape (rows, values); those that never change keep theirs.

        Args:
            rows: the values.
            names: of the columns; "value", or "value 0", "value 1", ... by default.
        """
        std = rows.std(0)
        varied = std > 1e-9 * np.abs(rows).max(0).clip(1e-30)
        names = value_names(rows.shape[1]) if names is None else names
        return cls(names, rows.mean(0), np.where(varied, std, 1.0))

    @property
    def n_out(self) -> int:
        """How many values a row has."""
        return len(self.names)

    def inverse(self, values: Any) -> np.ndarray:
        """Outputs of a network, (rows, values), in the user's units, float32."""
        return (np.asarray(values).reshape(-1, self.n_out) * self.std + self.mean).astype(np.float32)

    def forward(self, values: Any) -> np.ndarray:
        """The inverse of `inverse`."""
        return ((np.asarray(values).reshape(-1, self.n_out) - self.mean) / self.std).astype(np.float32)

    def numbers(self) -> dict[str, Any]:
        """Names, means and deviations as values that JSON can hold; `from_numbers` takes them back."""
        return {"names": self.names, "mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_numbers(cls, state: Mapping[str, Any]) -> Self:
        """The scale whose `numbers()` these are."""
        return cls(state["names"], state["mean"], state["std"])


def value_names(n: int) -> list[str]:
    """What values without names of their own are called.

    Example:
        >>> value_names(1), value_names(2)
        (['value'], ['value 0', 'value 1'])
    """
    return [f"value {i}" for i in range(n)] if n > 1 else ["value"]


class InUnits:
    """A metric that is told in the units of the values, whatever the network learns.

    Args:
        metric: a function of predictions and targets, tensors of shape (rows, values).
        scale: knows the units.
    """

    def __init__(self, metric: Any, scale: ValueScale) -> None:
        self.metric, self.scale = metric, scale
        self.__name__ = getattr(metric, "__name__", type(metric).__name__)

    def __call__(self, preds: Any, targets: Any) -> float:
        import torch

        told = (torch.from_numpy(self.scale.inverse(part.cpu().numpy())) for part in (preds, targets))
        return self.metric(*told)
