"""What a validation adds up: the loss and the metrics."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import Tensor

from zoo.data.answers.nested import rows_of
from zoo.data.answers.outputs import Meaning, predictions_are
from zoo.data.loaders.seeding import preserve_rng
from zoo.engine.memory import is_out_of_memory
from zoo.engine.state import State
from zoo.losses import Activation, activation_of, counted_by, ignored_by
from zoo.metrics import MisfitError, RowSum, named_meters


class Measures:
    """The loss and the metrics of one pass; a metric that cannot be computed is NaN in it.

    That is told once a fit, and ends nothing: hours of training do not hang on one class that a validation
    set lacks. What would fail in every epoch, an error in a metric's own code or predictions and targets
    that do not go together, is raised.
    """

    def __init__(self, state: State) -> None:
        self.state, self.loss, self.meters = state, RowSum(), named_meters(state.metrics)
        for meter in self.meters.values():
            meter.reset()
        self._meaning = meaning_of(state.loss_fn, activation_of(state.loss_fn, state.data))
        self._failed: set[str] = set()
        state.meters = [self.loss, *self.meters.values()]

    def add(self) -> None:
        """Take in the batch that the state holds."""
        s = self.state
        # of the predictions where the target does not tell: several processes see those of the whole batch
        whole = isinstance(s.target, Tensor) and s.target.ndim
        counted = counted_by(s.loss_fn, s.target)
        rows = rows_of(s.target if whole else s.preds) if counted is None else counted
        self.loss.add(s.loss.detach(), rows)
        for name, meter in self.meters.items():
            if name not in self._failed:
                self._try(name, lambda meter=meter: meter.update(s.preds, s.target))

    def result(self) -> dict[str, float]:
        """`valid_loss`, and each metric by name."""
        found: dict[str, float] = {"valid_loss": self.loss.compute()}
        with preserve_rng():
            for name, meter in self.meters.items():
                known = name not in self._failed
                value = self._try(name, lambda meter=meter: float(meter.compute())) if known else None
                found[name] = math.nan if value is None else value
        return found

    def _try(self, name: str, measure: Callable[[], Any]) -> Any:
        try:
            with noted(name), predictions_are(self._meaning):
                return measure()
        except MisfitError:
            raise
        except (ValueError, ArithmeticError) as error:
            self._failed.add(name)
            if name not in self.state.told:
                self.state.told.add(name)
                warnings.warn(
                    f"the metric {name!r} could not be computed and is NaN: {type(error).__name__}: {error}",
                    stacklevel=2,
                )
        return None


def meaning_of(loss_fn: Any, activation: Activation) -> Meaning:
    """What the outputs of a model are to a metric.

    Args:
        loss_fn: of the model; it knows which targets do not count.
        activation: what its outputs mean.
    """
    kind: Literal["probabilities", "scores"] = (
        "probabilities" if activation.kind == "probability" else "scores"
    )
    return Meaning(kind, activation.axis, ignored_by(loss_fn))


def batch_rows(state: State) -> int:
    """Rows of the batch that a state holds: of its target, else of its first input."""
    whole = isinstance(state.target, Tensor) and state.target.ndim
    return rows_of(state.target if whole else state.inputs[0])


@contextlib.contextmanager
def noted(metric: str) -> Iterator[None]:
    """Errors inside tell which metric they come from."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            error.add_note(f"in the metric {metric!r}")
        else:
            error.add_note(f"in the metric {metric!r}: it must return one number for (predictions, targets)")
        raise
