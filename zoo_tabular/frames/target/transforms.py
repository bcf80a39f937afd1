"""Transforms of a regression target that predictions undo. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.floats import deviation
from zoo.errors import did_you_mean

TRANSFORMS = ("none", "log", "log1p", "standardize")


class TargetTransform:
    """Carries a regression target to the scale that a model learns on, and predictions back.

    Args:
        name: "log" (positive targets), "log1p" (targets of 0 and above), "standardize" (mean 0, deviation 1),
            "none"; or a list of these, one for each target column.
        mean, std: of each target column, for "standardize"; learned by `fit`.
        names: of the target columns, where they have some.

    Example:
        >>> transform = TargetTransform("log").fit(np.array([1.0, 10.0]))
        >>> transform.inverse(transform.forward(np.array([5.0]))).round(6).tolist()
        [5.0]
        >>> both = np.array([[10.0, 0.2], [1000.0, 0.4]])
        >>> TargetTransform(["log", "standardize"]).fit(both).forward(both).round(2).tolist()
        [[2.3, -1.0], [6.91, 1.0]]
    """

    def __init__(
        self,
        name: str | Sequence[str] = "none",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        names: list[str] | None = None,
    ) -> None:
        self.name: str | list[str] = name if isinstance(name, str) else list(name)
        for one in [name] if isinstance(name, str) else self.name:
            if one not in TRANSFORMS:
                raise ValueError(
                    f"target_transform must be one of {', '.join(TRANSFORMS)}, "
                    f"got {one!r}{did_you_mean(str(one), TRANSFORMS)}"
                )
        self.mean, self.std, self.names = mean, std, names

    def fit(self, y: np.ndarray) -> TargetTransform:
        """Learn what the transform needs from training targets of shape (rows,) or (rows, columns)."""
        if isinstance(self.name, list):
            width = y.shape[1] if y.ndim == 2 else 1
            if width != len(self.name):
                raise ValueError(
                    f"target_transform={self.name}: {len(self.name)} transforms for {width} target columns; "
                    "give one each"
                )
        if self.name == "standardize" or isinstance(self.name, list):
            columns = y.reshape(len(y), -1).astype("float64")
            self.mean = columns.mean(axis=0).tolist()
            self.std = [deviation(column) or 1.0 for column in columns.T]
        return self

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Targets in the model's scale, float64.

        Raises:
            ValueError: for targets that have no logarithm.
        """
        y = np.asarray(y, dtype="float64")
        if isinstance(self.name, list):
            columns = y.reshape(len(y), len(self.name))
            parts = [each.forward(columns[:, i]) for i, each in enumerate(self._columns())]
            return np.stack(parts, 1).reshape(y.shape)
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
        if isinstance(self.name, list):
            columns = wide.reshape(len(wide), len(self.name))
            parts = [each.inverse(columns[:, i]) for i, each in enumerate(self._columns())]
            return np.stack(parts, 1).reshape(values.shape).astype(kind)
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
        return {"name": self.name, "mean": self.mean, "std": self.std, "names": self.names}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TargetTransform:
        """The transform that `to_dict` described."""
        return cls(state["name"], state["mean"], state["std"], state.get("names"))

    def _columns(self) -> list[TargetTransform]:
        """One transform for each target column."""
        means, stds = self.mean or [], self.std or []
        return [
            TargetTransform(name, [mean], [std])
            for name, mean, std in zip(self.name, means, stds, strict=True)
        ]

    def _check(self, bad: np.ndarray, rule: str, hint: str) -> None:
        if bad.any():
            raise ValueError(
                f"target_transform={self.name!r}: targets {rule}, "
                f"{int(bad.sum())} of {bad.size} are not{hint}"
            )


def target_names(y: Any) -> list[str] | None:
    """The names of target columns given by name, or as a series or frame; None where there are none.

    Example:
        >>> target_names("Sales"), target_names(pd.Series([1, 2])), target_names(["Sales", "Customers"])
        (['Sales'], None, ['Sales', 'Customers'])
    """
    given: Any = [y] if isinstance(y, str) else y
    if isinstance(y, pd.Series | pd.DataFrame):
        given = [y.name] if isinstance(y, pd.Series) else list(y.columns)
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        return None
    return list(given) if given and len(set(given)) == len(given) else None
