"""The mean of what several learners say, as if one had said it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.answers.gathering import widened
from zoo.losses import Activation
from zoo.predictor import Predictor


class MeanAnswers:
    """Gathers members' outputs into the outputs of one model that answers with the mean."""

    def __init__(self, activation: Activation, first: Predictor) -> None:
        self.activation, self.first = activation, first
        self._sums: list[Tensor] = []
        self._values: np.ndarray | None = None
        self._count = 0
        self._label = ""
        self._one_unit = True

    def add(self, outputs: Tensor, learner: Predictor, label: str) -> None:
        """Add what a member says; `label` names it in errors."""
        parts = self._logs(widened(outputs), learner.activation)
        if not self._sums:
            self._sums, self._label = parts, label
        elif parts[0].shape != self._sums[0].shape:
            raise ValueError(
                f"Ensemble: {label} answers with shape {tuple(parts[0].shape)} (rows first), "
                f"{self._label} with {tuple(self._sums[0].shape)}"
            )
        else:
            add = torch.add if self.activation.kind in ("identity", "probability") else torch.logaddexp
            self._sums = [add(total, part) for total, part in zip(self._sums, parts, strict=True)]
        self._count += 1
        if self.activation.kind == "identity":
            self._one_unit &= learner is self.first or _same_units(self.first, learner, outputs[:16])
            values = np.asarray(learner._invert(widened(outputs).numpy()), dtype=np.float64)
            self._values = values if self._values is None else self._values + values

    def _logs(self, outputs: Tensor, activation: Activation) -> list[Tensor]:
        """What is added up: log-probabilities (for independent classes also those of their absence), or
        values; with the temperature of the member.
        """
        kind = self.activation.kind
        if kind in ("identity", "probability"):
            return [activation(outputs)]
        if kind == "sigmoid":
            outputs = activation.scores(outputs)
            return [nn.functional.logsigmoid(outputs), nn.functional.logsigmoid(-outputs)]
        return [activation.log(outputs)]

    @property
    def outputs(self) -> Tensor | None:
        """The mean as outputs of a model with this activation; `None` if the members' units differ."""
        if not self._one_unit:
            return None
        kind, log_count = self.activation.kind, math.log(self._count)
        if kind in ("identity", "probability"):
            return self._sums[0] / self._count
        if kind == "sigmoid":
            return self._sums[0] - self._sums[1]
        return self._sums[0] - log_count

    @property
    def values(self) -> np.ndarray:
        """The mean in the user's units, where the members' own units differ."""
        if self._values is None:
            raise RuntimeError("only values have units")
        return (self._values / self._count).astype(np.float32)

    def answers(self, *, log: bool) -> np.ndarray:
        outputs = self.outputs
        if outputs is None:
            return self.values
        if self.activation.kind == "identity":
            return self.first._invert(outputs.numpy())
        return (self.activation.log(outputs) if log else self.activation(outputs)).numpy()


def _same_units(first: Predictor, other: Predictor, outputs: Tensor) -> bool:
    probe = outputs.float().numpy()
    return np.allclose(first._invert(probe), other._invert(probe), rtol=1e-5, atol=0, equal_nan=True)


def same_targets(first: Predictor, ours: Tensor | None, other: Predictor, theirs: Tensor | None) -> bool:
    """Whether two learners have the same targets, in the user's units."""
    if ours is None or theirs is None:
        return ours is theirs
    a, b = (np.asarray(one._invert(values.numpy())) for one, values in ((first, ours), (other, theirs)))
    if a.shape != b.shape:
        return False
    return (
        np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
        if a.dtype.kind == "f"
        else bool((a == b).all())
    )
