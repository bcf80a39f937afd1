"""Trainings that know how much time they have."""

from __future__ import annotations

import time
from typing import Any

from gpu_parts.running import Context
from gpu_parts.speed import Stopwatch
from zoo import Callback, CancelFit, Learner


class StopAt(Callback):
    """Ends a fit in good order when its time is over.

    Args:
        deadline: by `time.perf_counter()`.

    Attributes:
        stopped: whether it had to.
    """

    in_finder = False

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.stopped = False

    def before_batch(self, state: Any) -> None:
        if state.training and time.perf_counter() > self.deadline:
            self.stopped = True
            raise CancelFit


def step_seconds(context: Context, learn: Learner, rate: float) -> float:
    """Seconds of a training step, tried on a learner that is not needed afterwards."""
    skip, steps = (1, 2) if context.quick else (8, 25)
    watch = Stopwatch(skip, steps, 0, context.wait)
    epochs = -(-(skip + steps + 1) // len(learn.data.train_dl))
    learn.fit(rate, epochs, callbacks=[watch])
    return watch.seconds / steps


def epochs_within(seconds: float, per_epoch: float, most: int) -> int:
    """How many whole epochs fit, at least one.

    Example:
        >>> epochs_within(100.0, 22.0, 10), epochs_within(5.0, 22.0, 10)
        (4, 1)
    """
    return max(1, min(most, int(seconds / per_epoch)))
