"""Optimizers that keep other weights for training than for answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.engine.callback import Callback
from zoo.engine.make_optimizer import averages_itself
from zoo.engine.state import State


class OptimizerModes(Callback):
    """Calls `opt.train()` and `opt.eval()` of optimizers that have them, where the model changes its mode.

    Schedule-free optimizers (Defazio et al. 2024, "The Road Less Scheduled") take their gradients at other
    weights than those that they average for answers. Validation, saved weights and predictions see the
    averaged ones, and a fit ends with them. Part of every loop; nothing happens for other optimizers.
    """

    order = -100
    in_finder = True

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []

    def before_train(self, state: State) -> None:
        _switch(state, training=True)

    def after_train(self, state: State) -> None:
        _switch(state, training=False)

    def before_validate(self, state: State) -> None:
        opt = getattr(state.opt, "opt", state.opt)
        if opt is None or not averages_itself(opt) or not _trains(opt):
            return
        # somebody looks at the validation data in the middle of an epoch; the way there and back rounds
        params = [param for group in opt.param_groups for param in group["params"]]
        self._kept = [(param, param.detach().clone()) for param in params]
        opt.eval()

    @torch.no_grad()
    def after_validate(self, state: State) -> None:
        if self._kept:
            _switch(state, training=True)
        for param, value in self._kept:
            param.copy_(value)
        self._kept = []

    def cleanup_fit(self, state: State) -> None:
        _switch(state, training=False)


def _switch(state: State, *, training: bool) -> None:
    """Switch the optimizer if it can be switched."""
    opt = getattr(state.opt, "opt", state.opt)
    if opt is not None and averages_itself(opt):
        (opt.train if training else opt.eval)()


def _trains(opt: Any) -> bool:
    flags = [group["train_mode"] for group in opt.param_groups if "train_mode" in group]
    return any(flags) or bool(getattr(opt, "train_mode", False))
