"""Which number of a model's answer is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from zoo.data.classes import class_place, is_number
from zoo.errors import did_you_mean, some
from zoo.losses import Activation


@dataclass(frozen=True)
class Output:
    """One number of a model's answer: the log-odds of a class, or a value.

    Log-odds, log(p / (1 - p)), are what scores of words add up in: those of independent hints to a class add,
    its probabilities do not. They follow the probability that the learner answers with, whatever the number
    of classes; with a sigmoid they are the model's output itself.

    Attributes:
        place: of the number among the outputs.
        name: of the class or value.
        activation: what the outputs mean.
    """

    place: int
    name: str
    activation: Activation

    @property
    def is_value(self) -> bool:
        """Whether it is a value, in the model's units, instead of log-odds."""
        return self.activation.kind == "identity"

    def __call__(self, outputs: Tensor) -> Tensor:
        """Log-odds or values, (rows,), of outputs (rows, n)."""
        scores = self.activation.scores(outputs)
        own = scores[:, self.place]
        if self.activation.kind == "probability":
            return own.logit(1e-7)
        if self.activation.kind in ("identity", "sigmoid"):
            return own
        others = [number for number in range(scores.shape[1]) if number != self.place]
        return own - scores[:, others].logsumexp(1)


def chosen_output(learn: Any, outputs: Tensor, target: Any) -> Output:
    """The output that a user asks for.

    Args:
        learn: a learner of texts.
        outputs: what its model says about the text, (1, n).
        target: a class by its name or value; a value by its name or number. None for the class that is most
            probable, or the only value.

    Raises:
        ValueError: for what is not there, or None where there are several values.
    """
    activation, n = learn.activation, outputs.shape[1]
    scale = getattr(learn.data, "scale", None)
    names = [
        str(name) for name in getattr(learn.data, "classes", None) or getattr(scale, "names", None) or []
    ]
    named = len(names) == n
    if activation.kind != "identity" and not named:
        names, named = [str(number) for number in range(n)], True
    if target is None:
        if activation.kind == "identity" and n > 1:
            raise ValueError(f"explain(): the model predicts {n} values: say which, {_listed(names, n)}")
        place = int(outputs[0].argmax())
    else:
        found = class_place(target, names) if named else None
        by_number = not named or not any(map(is_number, names))
        if (
            found is None
            and by_number
            and isinstance(target, int | np.integer)
            and target is not bool(target)
        ):
            found = int(target) if 0 <= target < n else None
        if found is None:
            what = "class" if activation.kind != "identity" else "value"
            raise ValueError(
                f"explain(): there is no {what} {target!r}{did_you_mean(target, names)}: "
                f"target is one of {_listed(names if named else [], n)}"
            )
        place = found
    return Output(place, names[place] if named else f"value {place}" if n > 1 else "value", activation)


def _listed(names: list[str], n: int) -> str:
    return some(map(repr, names), 10) if names else f"0 to {n - 1}"


def answered(learn: Any, output: Output, outputs: Tensor) -> np.ndarray:
    """Log-odds of a class, or values in the user's units, (rows,), float64, of outputs (rows, n)."""
    if not output.is_value:
        return output(outputs.double()).numpy()
    values = np.asarray(learn.data.invert_target(outputs.numpy()), np.float64)
    return values.reshape(len(outputs), -1)[:, output.place]
