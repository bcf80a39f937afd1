"""Which epoch is the best so far: shared by all that watch a column of the epoch table."""

from __future__ import annotations

import math
import numbers
from typing import Any

from zoo.engine.state import State
from zoo.errors import did_you_mean
from zoo.metrics import metric_name


class Monitor:
    """Watches one column of the epoch table.

    Args:
        column: its name, for example "valid_loss" or that of a metric.
        mode: "min" or "max", what is better; may be left out for losses.
        min_delta: by how much a value must be better to count.

    Attributes:
        best: the best value so far, `None` before the first. NaN is never better.

    Example:
        >>> watch = Monitor("accuracy", "max")
        >>> [watch.improved({"accuracy": value}) for value in (0.5, 0.4, float("nan"), 0.6)]
        [True, False, False, True]
    """

    def __init__(self, column: str, mode: str | None = None, min_delta: float = 0.0) -> None:
        if mode is None and "loss" not in column:
            raise ValueError(
                f"is a high or a low {column!r} better? Say mode='max' or mode='min' (only losses are known "
                "to be better when low)"
            )
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must not be negative, got {min_delta}")
        self.column, self.mode, self.min_delta = column, mode or "min", min_delta
        self.best: float | None = None

    def check(self, state: State, what: str) -> None:
        """Refuse, before a fit, to watch the validation loss or a metric of data without validation rows."""
        if state.data.valid_dl is not None:
            return
        if self.column == "valid_loss":
            raise ValueError(
                f"{what} needs validation data to tell which weights are best; this data has none"
            )
        if self.column in [metric_name(metric) for metric in state.metrics]:
            raise ValueError(
                f"{what}: the metric {self.column!r} needs validation data; this data has none: watch "
                "'train_loss'"
            )

    def improved(self, row: dict[str, Any]) -> bool:
        """Whether an epoch's row is the best so far; remembers its value if so.

        Raises:
            ValueError: if there is no such column (those that there are, are named), or no number in it.
        """
        if self.column not in row:
            columns = [name for name in row if name != "epoch"]
            raise ValueError(
                f"there is no column {self.column!r} to watch{did_you_mean(self.column, columns)}; the epoch "
                f"has {', '.join(columns)}"
            )
        value = row[self.column]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"the column {self.column!r} cannot be watched: it holds {value!r}")
        value = float(value)
        better = not math.isnan(value) and (self.best is None or self._gain(value) > self.min_delta)
        if better:
            self.best = value
        return better

    def _gain(self, value: float) -> float:
        best = value if self.best is None else self.best
        return best - value if self.mode == "min" else value - best
