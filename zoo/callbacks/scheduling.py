"""Writes the schedule's rate and momentum into the optimizer before every batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.engine.callback import Callback
from zoo.engine.optimizer import set_lrs, write_rate
from zoo.engine.state import State
from zoo.schedules import Constant, Schedule


class Scheduler(Callback):
    """`lr(group, t) = base_lrs[group] * schedule.lr(t)` at every batch `t` of the fit, skipped ones counted.

    Rates that others change are honoured. Without a schedule (`Constant`) they stay as they were left. Where
    rates follow a schedule, a change between two batches is a factor from then on: a rate that was halved
    stays half of what the schedule would give. A change inside `before_batch` is for that batch alone.

    The optimizer's own momentum is put back at the end. One that is given to a learner's fit takes the place
    of the fit's own.

    Args:
        schedule: a pure function of the step.
        base_lrs: one rate a layer group, earliest first.

    Raises:
        ValueError: in the fit, if a rate that follows a schedule is raised between two batches: whether what
            is meant is the rate of now or of the schedule's peak cannot be known.
    """

    order = -50
    event_orders = {"after_batch": -95, "cleanup_batch": -95}  # before anybody who changes rates there
    in_finder = True

    def __init__(self, schedule: Schedule, base_lrs: Sequence[float]) -> None:
        self.schedule, self.base_lrs = schedule, list(base_lrs)
        self._ends = frozenset(schedule.cycle_ends())
        self._holds = isinstance(schedule, Constant)
        self._own: list[dict[str, Any]] = []
        self._bases: list[float] = []  # of the param groups
        self._left: list[float] = []  # the rates of these after the last batch
        self._changed = self._in_batch = self._begun = False
        self._opt: Any = None

    def before_fit(self, state: State) -> None:
        self._opt = state.opt
        self._own = [
            {key: group[key] for key in ("betas", "momentum") if key in group}
            for group in state.opt.param_groups
        ]
        set_lrs(state.opt, self.base_lrs)
        self._bases, self._left, self._changed = _rates(state.opt), _rates(state.opt), False
        self._begun = False

    def before_batch(self, state: State) -> None:
        if not state.training or self._holds:  # one rate, written before the fit: what others set stays
            return
        goes_on = not self._begun and state.batches_before + state.batch_index > 0
        if self._changed or not goes_on:  # else the rates are those of the checkpoint
            self._take_changes(_rates(state.opt))
        self._in_batch = self._begun = True
        t = min(state.batches_before + state.batch_index, self.schedule.n_steps - 1)
        self._write(state.opt, self.schedule.lr(t))
        momentum = self.schedule.momentum(t)
        if momentum is not None:
            state.opt.set_momentum(momentum)

    def _write(self, opt: Any, factor: float | Sequence[float]) -> None:
        if isinstance(factor, Sequence):
            owners = getattr(opt, "owners", range(len(self._bases)))
            factors = [factor[owner] for owner in owners]
        else:
            factors = [factor] * len(self._bases)
        for group, base, share in zip(opt.param_groups, self._bases, factors, strict=True):
            write_rate(group, base * share)

    def _take_changes(self, now: list[float]) -> None:
        """Others have set rates since the last batch."""
        if now == self._left:
            return
        self._changed = True
        for index, (rate, left) in enumerate(zip(now, self._left, strict=True)):
            if rate > left:
                raise ValueError(
                    f"a callback raised a learning rate from {left:.3g} to {rate:.3g}, but the rates follow "
                    f"{self.schedule!r}: lower them only, give fit a schedule= of your own, or set them in "
                    "before_batch of every batch"
                )
            if rate < left:
                self._bases[index] *= rate / left

    def after_batch(self, state: State) -> None:
        if state.training and not self._holds:
            self._left, self._in_batch = _rates(state.opt), False

    def cleanup_batch(self, state: State) -> None:
        if self._in_batch:  # it was skipped
            self.after_batch(state)

    def after_train(self, state: State) -> None:
        if state.batches_before in self._ends:
            state.cycle_done = True

    def cleanup_fit(self, state: State) -> None:
        for group, own in zip(state.opt.param_groups, self._own, strict=False):  # none before before_fit
            group.update(own)
        self._opt, self._in_batch = None, False

    def state_dict(self) -> dict[str, Any]:
        if self._holds:
            return {}
        changed = self._changed or (self._opt is not None and self._left != _rates(self._opt))
        return {"bases": list(self._bases), "left": list(self._left)} if changed else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._bases, self._left, self._changed = list(state["bases"]), list(state["left"]), True


def _rates(opt: Any) -> list[float]:
    return [float(group["lr"]) for group in opt.param_groups]
