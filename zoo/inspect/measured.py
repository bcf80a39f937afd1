"""Metrics with intervals: how much they would vary with other rows held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

_CELLS = 20_000_000  # answers that all resamples together look at
_LEAST, _MOST = 50, 500


@dataclass(frozen=True)
class Measured:
    """Metrics of the validation rows with intervals; print it.

    Attributes:
        metrics: by name: value, and lower and upper end of the interval.
        rows: of the validation set.
        resamples: of these rows, with repetition (Efron 1979).
        level: of the interval.
    """

    metrics: dict[str, tuple[float, float, float]]
    rows: int
    resamples: int
    level: float = 0.95

    def __repr__(self) -> str:
        width = max(map(len, self.metrics), default=0)
        told = [
            f"{name:<{width}}  {v:.4f}  ({low:.4f} to {high:.4f})"
            for name, (v, low, high) in self.metrics.items()
        ]
        return "\n".join(
            [*told, f"{self.level:.0%} intervals by {self.resamples} resamples of {self.rows:,} rows"]
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "metrics": {name: list(found) for name, found in self.metrics.items()}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """What `to_dict` described."""
        return cls(**{**state, "metrics": {name: tuple(found) for name, found in state["metrics"].items()}})


def measure(learn: Any, metrics: Sequence[Any] | None = None, *, seed: int = 0) -> Measured:
    """Metrics of a learner on its validation rows, with intervals of 95%; see `Looking.measure`."""
    answers, truth = learn.predict_with_targs(log=False)
    if isinstance(answers, tuple | list) or isinstance(truth, tuple | list):
        raise ValueError("measure() takes models with one answer a row; see evaluate()")
    answers, truth = np.asarray(answers), np.asarray(truth)
    n = len(answers)
    if n < 2:
        raise ValueError(f"measure() needs validation rows, there are {n}")
    log = False if learn.activation.kind != "identity" else None
    value = learn.score(answers, truth, metrics, log=log)
    times = int(np.clip(_CELLS // max(1, answers.size), _LEAST, _MOST))
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in value}
    for _ in range(times):
        rows = rng.integers(0, n, n)
        for name, one in learn.score(answers[rows], truth[rows], metrics, log=log).items():
            found[name].append(one)
    ends = {
        name: np.nanquantile(values, [0.025, 0.975])
        for name, values in found.items()
        if np.isfinite(values).any()
    }
    told = {name: (value[name], float(low), float(high)) for name, (low, high) in ends.items()}
    return Measured(told, n, times)
