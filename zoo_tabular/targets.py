"""Transforms of a regression target that predictions undo. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.errors import did_you_mean

TRANSFORMS = ("none", "log", "log1p", "standardize")


class TargetTransform:
    """Carries a regression target to the scale that a model learns on, and predictions back.

    Args:
        name: "log" (positive targets), "log1p" (targets of 0 and above), "standardize" (mean 0, deviation 1),
            "none".
        mean, std: of each target column, for "standardize"; learned by `fit`.

    Example:
        >>> transform = TargetTransform("log").fit(np.array([1.0, 10.0]))
        >>> transform.inverse(transform.forward(np.array([5.0]))).round(6).tolist()
        [5.0]
    """

    def __init__(
        self, name: str = "none", mean: list[float] | None = None, std: list[float] | None = None
    ) -> None:
        if name not in TRANSFORMS:
            raise ValueError(
                f"target_transform must be one of {', '.join(TRANSFORMS)}, "
                f"got {name!r}{did_you_mean(name, TRANSFORMS)}"
            )
        self.name, self.mean, self.std = name, mean, std

    def fit(self, y: np.ndarray) -> TargetTransform:
        """Learn what the transform needs from training targets of shape (rows,) or (rows, columns)."""
        if self.name == "standardize":
            columns = y.reshape(len(y), -1).astype("float64")
            self.mean = columns.mean(axis=0).tolist()
            self.std = [float(value) or 1.0 for value in columns.std(axis=0)]
        return self

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Targets in the model's scale, float64.

        Raises:
            ValueError: for targets that have no logarithm.
        """
        y = np.asarray(y, dtype="float64")
        if self.name == "log":
            self._check(y <= 0, "must be above 0", "; drop those rows or use 'log1p'")
            return np.log(y)
        if self.name == "log1p":
            self._check(y < 0, "must not be negative", "")
            return np.log1p(y)
        if self.name == "standardize":
            return ((y.reshape(len(y), -1) - np.array(self.mean)) / np.array(self.std)).reshape(y.shape)
        return y

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Values of the model in the user's unit; same shape and type."""
        values = np.asarray(values)
        kind = values.dtype if values.dtype.kind == "f" else np.dtype("float64")
        wide = values.astype("float64")
        with np.errstate(over="ignore"):
            if self.name == "log":
                wide = np.exp(wide)
            elif self.name == "log1p":
                wide = np.expm1(wide)
            elif self.name == "standardize":
                columns = wide.reshape(len(wide), -1)
                wide = (columns * np.array(self.std) + np.array(self.mean)).reshape(wide.shape)
            return wide.astype(kind)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {"name": self.name, "mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TargetTransform:
        """The transform that `to_dict` described."""
        return cls(state["name"], state["mean"], state["std"])

    def _check(self, bad: np.ndarray, rule: str, hint: str) -> None:
        if bad.any():
            raise ValueError(
                f"target_transform={self.name!r}: targets {rule}, "
                f"{int(bad.sum())} of {bad.size} are not{hint}"
            )
