"""Averages of the weights along a fit, which generalise better than the last weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.callbacks.bn_statistics import recompute_statistics, statistics_layers
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import Rates
from zoo.engine.optimizer import LayerOptimizer, set_lrs
from zoo.engine.row_adamw import settle
from zoo.engine.state import State

log = logging.getLogger("zoo")


class AveragedWeights(Callback):
    """What the averages have in common: raw weights train, averaged ones are validated and stay at the end.

    From the end of an epoch's training pass until the epoch is over the model holds the averages, so that
    validation, `SaveBest`, `SaveCycles` and `EarlyStopping` see them; an evaluation that a callback asks of
    the same loop in the middle of an epoch sees them too. Frozen parameters are left alone. Running
    statistics of batch norm, which belong to the raw weights, are recomputed for the averages by a pass over
    the training data. After Ctrl-C the model holds the averages so far, after an error the raw weights.
    """

    order = 55
    event_orders = {"after_train": 95}  # once it is known that the pass was sound

    def __init__(self, *, fix_bn: bool = True) -> None:
        self.fix_bn = fix_bn
        self._count = 0  # weights averaged so far
        self._average: dict[str, Tensor] = {}
        self._lists: tuple[list[Tensor], list[Tensor]] | None = None
        self._raw: list[tuple[Tensor, Tensor]] = []
        self._statistics: tuple[int, list[Tensor]] | None = None
        self._in_pass = False

    def before_fit(self, state: State) -> None:
        self._count, self._average, self._lists = 0, {}, None
        self._raw, self._statistics, self._in_pass = [], None, False

    def before_train(self, state: State) -> None:
        self._in_pass, self._lists = True, None

    def before_batch(self, state: State) -> None:
        if state.training:
            self._swap_out()  # an evaluation inside the epoch may have failed

    def after_train(self, state: State) -> None:
        self._in_pass = False
        self._swap_in(state, self.fix_bn and self._needs_statistics(state))

    def before_validate(self, state: State) -> None:
        if self._in_pass:
            self._swap_in(state, False)

    def after_validate(self, state: State) -> None:
        if self._in_pass:
            self._swap_out()

    def cleanup_epoch(self, state: State) -> None:
        self._swap_out()

    def after_fit(self, state: State) -> None:
        self._keep_average(state)

    def cleanup_fit(self, state: State) -> None:
        self._swap_out()
        try:
            if state.interrupted:
                self._keep_average(state)
        finally:
            self._raw, self._average, self._lists, self._statistics = [], {}, None, None

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "average": dict(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._count, self._lists = state["count"], None
        self._average = {name: value.detach().clone() for name, value in state["average"].items()}

    def _needs_statistics(self, state: State) -> bool:
        """Whether this epoch's validation needs recomputed statistics."""
        return True

    @torch.no_grad()
    def _move(self, state: State, share: float) -> None:
        """Move the averages towards the weights by a share of the way."""
        settle(state.opt)
        averages, weights = self._pairs(state.model)
        if not averages:
            return
        same = [w if w.dtype == a.dtype else w.to(a.dtype) for a, w in zip(averages, weights, strict=True)]
        torch._foreach_lerp_(averages, same, share)
        self._count += 1

    def _pairs(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Averages and weights of the trained parameters; a new one begins at the weight's value."""
        if self._lists is None:
            averages, weights = [], []
            for name, param in _trained(model):
                weight = param.detach()
                if name not in self._average:
                    self._average[name] = weight.to(_wide(weight.dtype), copy=True)
                self._average[name] = self._average[name].to(weight.device)
                averages.append(self._average[name])
                weights.append(weight)
            self._lists = averages, weights
        return self._lists

    @torch.no_grad()
    def _swap_in(self, state: State, fix: bool) -> None:
        if self._raw or not self._count:
            return
        averages, weights = self._pairs(state.model)
        layers = statistics_layers(state) if self.fix_bn else []
        buffers = [buffer for layer in layers for buffer in layer.buffers()]
        self._raw = [(tensor, tensor.clone()) for tensor in (*weights, *buffers)]
        for average, weight in zip(averages, weights, strict=True):
            weight.copy_(average)
        if not fix or not layers:
            return
        if self._statistics is None or self._statistics[0] != self._count:
            recompute_statistics(state, layers)
            self._statistics = self._count, [buffer.clone() for buffer in buffers]
        for buffer, value in zip(buffers, self._statistics[1], strict=True):
            buffer.copy_(value)

    @torch.no_grad()
    def _swap_out(self) -> None:
        for tensor, value in self._raw:
            tensor.copy_(value)
        self._raw = []

    def _keep_average(self, state: State) -> None:
        self._swap_in(state, self.fix_bn)
        self._raw = []


class EMA(AveragedWeights):
    """Exponential moving average of the weights, updated after every step (Polyak & Juditsky 1992).

    `average = d * average + (1 - d) * weights`, where `d` is `decay`, but early in a fit
    `min(decay, (1 + t) / (10 + t))` after `t` steps, so that the average soon forgets where it began (the
    rule of TensorFlow's `ExponentialMovingAverage`, used for Inception by Szegedy et al. 2016). It averages
    over about `1 / (1 - decay)` steps: take 0.99 for some hundred steps, 0.999 for thousands. Statistics of
    batch norm are recomputed before the last validation; in earlier epochs those of training are used.

    Args:
        decay: at least 0, below 1.
        warm_up: whether the decay is smaller early on.
        fix_bn: whether running statistics are recomputed.

    Example: `learn.fit_one_cycle(5, 1e-2, callbacks=[EMA(0.99)])`
    """

    def __init__(self, decay: float = 0.999, *, warm_up: bool = True, fix_bn: bool = True) -> None:
        super().__init__(fix_bn=fix_bn)
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must be at least 0 and below 1, got {decay}")
        self.decay, self.warm_up = decay, warm_up

    def before_fit(self, state: State) -> None:
        super().before_fit(state)
        self._pairs(state.model)

    def after_step(self, state: State) -> None:
        t = self._count + 1
        decay = min(self.decay, (1 + t) / (10 + t)) if self.warm_up else self.decay
        self._move(state, 1 - decay)

    def _needs_statistics(self, state: State) -> bool:
        return state.epoch + 1 == state.first_epoch + state.n_epochs


class SWA(AveragedWeights):
    """The mean of the weights at the ends of late epochs or cycles (Izmailov et al. 2018, "Averaging Weights
    Leads to Wider Optima and Better Generalization").

    From `start` on the weights are taken down every `every` epochs and averaged, all alike. For the mean to
    be better than its members the rate must stay high enough to move on: constant, or falling from `lr` to
    `low * lr` within each cycle of `every` epochs (equation 1 and figure 1 of the paper). With
    `every="cycle"` it is the fit's own cycles whose ends are averaged, as in
    `learn.fit(lr, 5, cycle_len=2, callbacks=[SWA(0.5, every="cycle")])`. Statistics of batch norm are
    recomputed for every validation of a mean.

    Args:
        start: when averaging begins: below 1 a share of the fit's epochs, otherwise an epoch of the fit,
            counted from 0.
        every: epochs between two weights, or "cycle".
        lr: the rate from `start` on (a number, one a group, a slice); the schedule of the fit by default.
        low: the share of `lr` at the end of each cycle; 1 keeps the rate constant.
        fix_bn: whether running statistics are recomputed.

    Example: `learn.fit(1e-2, 12, callbacks=[SWA(0.75, lr=5e-3)])` averages the weights after the epochs 9,
    10 and 11.
    """

    event_orders = {**AveragedWeights.event_orders, "before_batch": -45}  # after the schedule

    def __init__(
        self,
        start: float = 0.75,
        *,
        every: int | str = 1,
        lr: Rates | None = None,
        low: float = 1.0,
        fix_bn: bool = True,
    ) -> None:
        super().__init__(fix_bn=fix_bn)
        if isinstance(start, bool) or not (0 <= start < 1 or (start >= 1 and start == int(start))):
            raise ValueError(f"SWA: start is a share of the fit below 1, or a whole epoch, got {start!r}")
        if every != "cycle" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ValueError(f"SWA: every is a whole number of epochs, or 'cycle', got {every!r}")
        if every == "cycle" and lr is not None:
            raise ValueError("SWA: every='cycle' takes the cycles of the fit, so lr cannot be given")
        if not 0 < low <= 1 or (low < 1 and lr is None):
            raise ValueError(f"SWA: low is a share of lr, above 0 and at most 1; give lr with it, got {low}")
        self.start, self.every, self.lr, self.low = start, every, lr, low
        self._own_lrs: list[float] = []

    def before_fit(self, state: State) -> None:
        super().before_fit(state)
        self._own_lrs = []
        if self.start >= max(state.n_epochs, 1):
            raise ValueError(
                f"SWA: averaging would begin with epoch {self.start} (counted from 0) of a fit of "
                f"{state.n_epochs} epochs"
            )
        first = self._first(state)
        if not isinstance(self.every, str) and first + self.every > state.n_epochs:
            raise ValueError(
                f"SWA: no weights would be averaged: averaging begins with epoch {first} (counted from 0) "
                f"and takes the end of every {self.every} epochs, but the fit has {state.n_epochs}; use a "
                "smaller start or every"
            )

    def before_batch(self, state: State) -> None:
        super().before_batch(state)
        epoch = self._epoch(state)
        if not state.training or self.lr is None or epoch < 0 or isinstance(self.every, str):
            return
        groups = state.opt.param_groups
        if not self._own_lrs:
            self._own_lrs = [group["lr"] for group in groups]
        if not state.n_batches:
            raise ValueError("SWA(lr=...) lets the rate fall within epochs: it needs a loader with a length")
        done = (epoch % self.every + (state.batch_index + 1) / state.n_batches) / self.every
        set_lrs(state.opt, _scaled(state.opt, self.lr, 1 - done + done * self.low))

    def after_train(self, state: State) -> None:
        epoch = self._epoch(state)
        due = state.cycle_done if isinstance(self.every, str) else (epoch + 1) % self.every == 0
        if epoch >= 0 and due:
            self._move(state, 1 / (self._count + 1))
        super().after_train(state)

    def after_fit(self, state: State) -> None:
        if self.every == "cycle" and not self._count:
            log.warning(
                "SWA averaged nothing: no cycle ended from epoch %d of the fit on; give cycle_len, or "
                "every=1",
                self._first(state),
            )
        super().after_fit(state)

    def cleanup_fit(self, state: State) -> None:
        super().cleanup_fit(state)
        for group, lr in zip(state.opt.param_groups, self._own_lrs, strict=False):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "own_lrs": list(self._own_lrs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._own_lrs = list(state["own_lrs"])

    def _epoch(self, state: State) -> int:
        """Epochs since averaging began, negative before."""
        return state.epoch - state.first_epoch - self._first(state)

    def _first(self, state: State) -> int:
        """The epoch of the fit with which averaging begins, counted from 0."""
        if self.start >= 1:
            return int(self.start)
        return min(math.ceil(self.start * state.n_epochs), state.n_epochs - 1)


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, param) for name, param in model.named_parameters() if param.requires_grad)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _scaled(opt: Any, lr: Rates, factor: float) -> list[float]:
    if isinstance(opt, LayerOptimizer):
        return [value * factor for value in opt.groups.spread(lr)]
    count = len(opt.param_groups)
    if isinstance(lr, slice):
        raise ValueError("SWA: a slice of rates needs layer groups; give a plain optimizer a number")
    values = [lr] * count if isinstance(lr, int | float) else list(lr)
    return [float(value) * factor for value in values]
