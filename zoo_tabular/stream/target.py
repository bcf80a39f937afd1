"""The target of a table that is read piece by piece: checked, described, coded. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.classes import class_names
from zoo.data.columns.arrow_values import arrow_floats
from zoo.data.columns.kinds import holds_numbers
from zoo.data.columns.statistics import CategoryStatistics, NumberStatistics
from zoo.errors import some
from zoo_tabular.frames.target.classes import check_classes, sort_classes
from zoo_tabular.frames.target.transforms import TargetTransform
from zoo_tabular.stream.arrow_codes import class_book


class StreamedTarget:
    """Learns from pieces what `read_truth` and `TargetTransform` learn from a whole frame.

    Args:
        names: target columns.
        head: a frame of all columns, without rows.
        is_reg: numbers are predicted.
        is_multi: several 0/1 columns may hold at once.
        transform: name of the target transform, or None.

    Attributes:
        task: "regression", "classification" or "multilabel".
        classes: names of classes or labels.
        n_out: outputs that a model needs.
        transform: fitted by `finish`.

    Raises:
        ValueError: for a target of the wrong type.
    """

    def __init__(
        self, names: Sequence[str], head: pd.DataFrame, *, is_reg: bool, is_multi: bool, transform: str | None
    ) -> None:
        self.names = list(names)
        self.task = "multilabel" if is_multi else "regression" if is_reg else "classification"
        self.classes: list[str] | None = self.names if is_multi else None
        self.n_out = len(self.names)
        if transform is not None and not isinstance(transform, str):
            raise ValueError(
                f"target_transform={transform!r}: data that are streamed take one transform for all targets"
            )
        self.transform = TargetTransform(transform or "none", names=self.names)
        if transform is not None and self.task != "regression":
            raise ValueError(f"target_transform={transform!r} needs numbers to predict; this is {self.task}")
        if self.task == "classification" and len(self.names) != 1:
            raise ValueError(
                f"classes need one target column, got {len(self.names)}; pass is_multi=True for labels"
            )
        for name in self.names if self.task != "classification" else ():
            if not holds_numbers(head[name]):
                raise ValueError(
                    f"the target {name!r} holds {head[name].dtype}, not numbers: pass is_reg=False to "
                    "predict classes"
                )
        self._raw = [NumberStatistics(name) for name in self.names]
        self._scaled = [NumberStatistics(name) for name in self.names]
        self._trained, self._held_out = (CategoryStatistics(self.names[0]) for _ in range(2))
        self._rows = self._gaps = 0
        self._levels: list[Any] = []

    def add(self, batch: Any, training: bool) -> None:
        """Takes in a record batch of rows to train or to validate on.

        Raises:
            ValueError: for values that the task does not allow.
        """
        self._rows += len(batch)
        if self.task == "classification":
            (self._trained if training else self._held_out).add(batch.column(self.names[0]))
            return
        values = self._floats(batch)
        gaps = np.isnan(values).any(axis=1)
        self._gaps += int(gaps.sum())
        values = values[~gaps] if gaps.any() else values
        if self.task == "multilabel" and not np.isin(values, (0, 1)).all():
            raise ValueError("multi-label targets must be 0 or 1 in every column")
        scaled = values
        if self.transform.name in ("log", "log1p"):
            scaled = self.transform.forward(values)
        if training:
            for column, raw, found in zip(range(self.n_out), self._raw, self._scaled, strict=True):
                raw.add_moments(values[:, column])
                found.add_moments(scaled[:, column])

    def finish(self) -> None:
        """Ends the collection.

        Raises:
            ValueError: for gaps, a single class, or a class without training rows.
        """
        if self.task == "classification":
            self._finish_classes()
        if self._gaps:
            raise ValueError(
                f"the target {some(map(repr, self.names))} is missing in {self._gaps} of {self._rows} rows: "
                "drop those rows first"
            )
        if self.transform.name == "standardize":
            self.transform.mean = [one.mean for one in self._raw]
            self.transform.std = [one.std or 1.0 for one in self._raw]

    def base_rates(self) -> np.ndarray:
        """What a model without inputs would answer: means, or shares of classes among training rows."""
        if self.task == "classification":
            counts = dict(zip(*self._trained.distinct(), strict=True))
            shares = np.array([counts.get(level, 0) for level in self._levels], dtype="float64")
            return shares / shares.sum()
        if self.transform.name == "standardize":
            return np.zeros(self.n_out)
        return np.array([one.mean for one in self._scaled])

    def __call__(self, batch: Any) -> np.ndarray:
        """The target of a record batch as a model takes it: float32 (rows, columns), or int64 (rows,)."""
        if self.task == "classification":
            return self._book(batch.column(self.names[0])).astype("int64", copy=False)
        values = self._floats(batch)
        return (self.transform.forward(values) if self.task == "regression" else values).astype("float32")

    def equals(self, batch: Any, name: str) -> bool:
        """Whether a number column equals the target in all of these rows."""
        if self.task != "regression" or self.n_out != 1:
            return False
        return np.array_equal(arrow_floats(batch.column(name), name), self._floats(batch)[:, 0])

    @property
    def varies(self) -> bool:
        """Whether a regression target has more than one value."""
        return self.task == "regression" and self._raw[0].low < self._raw[0].high

    def _floats(self, batch: Any) -> np.ndarray:
        return np.stack([arrow_floats(batch.column(name), name) for name in self.names], axis=1)

    def _finish_classes(self) -> None:
        (trained, counts), (held_out, _) = self._trained.distinct(), self._held_out.distinct()
        self._gaps = self._trained.missing + self._held_out.missing
        seen = [level for level, count in zip(trained, counts, strict=True) if count]
        every = list(dict.fromkeys([*seen, *held_out])) if not self._trained.ranks else trained
        levels = seen if self._trained.ranks else sort_classes(every)
        check_classes(levels, self._rows)
        known = set(seen)
        absent = [level for level in [*levels, *held_out] if level not in known]
        if absent:
            names = some(map(repr, class_names(dict.fromkeys(absent))))
            raise ValueError(
                f"class {names} occurs only in validation rows: there is nothing to learn it from"
            )
        self._levels, self.classes, self.n_out = levels, class_names(levels), len(levels)
        self._book = class_book(levels)
