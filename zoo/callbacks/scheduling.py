"""Writes the schedule's rate and momentum into the optimizer before every batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.schedules import Schedule


class Scheduler(Callback):
    """`lr(group, t) = base_lrs[group] * schedule.lr(t)` at every batch `t` of the fit, skipped ones counted.

    The optimizer's own momentum is put back at the end.

    Args:
        schedule: a pure function of the step.
        base_lrs: one rate a layer group, earliest first.
    """

    order = -50
    in_finder = True

    def __init__(self, schedule: Schedule, base_lrs: Sequence[float]) -> None:
        self.schedule, self.base_lrs = schedule, list(base_lrs)
        self._ends = frozenset(schedule.cycle_ends())
        self._own: list[dict[str, Any]] = []

    def before_fit(self, state: State) -> None:
        self._own = [
            {key: group[key] for key in ("betas", "momentum") if key in group}
            for group in state.opt.param_groups
        ]

    def before_batch(self, state: State) -> None:
        if not state.training:
            return
        t = min(state.batches_before + state.batch_index, self.schedule.n_steps - 1)
        factor = self.schedule.lr(t)
        state.opt._write_lrs([base * factor for base in self.base_lrs])
        momentum = self.schedule.momentum(t)
        if momentum is not None:
            state.opt.set_momentum(momentum)

    def after_train(self, state: State) -> None:
        if state.batches_before in self._ends:
            state.cycle_done = True

    def cleanup_fit(self, state: State) -> None:
        for group, own in zip(state.opt.param_groups, self._own, strict=False):  # none before before_fit
            group.update(own)
