"""Optimizers whose weights are not at all times those that answers are made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from zoo.engine.callback import Callback
from zoo.engine.make_optimizer import averages_itself
from zoo.engine.row_adamw import RowAdamW
from zoo.engine.sparse import sparse_tables
from zoo.engine.speed import is_compiled
from zoo.engine.state import State
from zoo.engine.tiny_averages import EVERY, clear_tiny_averages


class OptimizerModes(Callback):
    """Has the weights of answers in the model wherever somebody looks at it.

    Schedule-free optimizers (Defazio et al. 2024, "The Road Less Scheduled") take their gradients at other
    weights than those that they average for answers: `opt.train()` and `opt.eval()` are called where the
    model changes its mode. A `RowAdamW` puts off the weight decay of rows that no batch reads: in training
    they are brought up to date as they are read, and all of them when the pass is over. Validation, saved
    weights and predictions see the weights of answers, and a fit ends with them. Of other optimizers averages
    that have faded to nothing are cleared now and then (`clear_tiny_averages`). Part of every loop.

    Raises:
        ValueError: for tables with sparse gradients in a compiled model.
    """

    order = -100
    event_orders = {"after_validate": 100}  # when all others have put back what they have put in
    in_finder = True

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._put_back: Callable[[], None] | None = None
        self._handles: list[RemovableHandle] = []

    def before_train(self, state: State) -> None:
        _switch(state, training=True)
        opt = getattr(state.opt, "opt", state.opt)
        self._put_back = None
        self._let_go()
        if is_compiled(state.model) and any(sparse_tables(state.model)):
            raise ValueError(
                "torch.compile knows no sparse gradients, and the model has tables that make them: leave out "
                "compile(), or make the tables with sparse=False"
            )
        if isinstance(opt, RowAdamW):
            self._handles = opt.watch(state.model)

    def after_step(self, state: State) -> None:
        opt = getattr(state.opt, "opt", state.opt)
        due = state.batch_index % EVERY == EVERY - 1
        # those of a RowAdamW wait with their rows
        if due and isinstance(opt, torch.optim.Optimizer) and not isinstance(opt, RowAdamW):
            clear_tiny_averages(opt)

    def after_train(self, state: State) -> None:
        self._settle(state)

    def before_validate(self, state: State) -> None:
        opt: Any = getattr(state.opt, "opt", state.opt)
        self._put_back = None
        if isinstance(opt, RowAdamW):
            self._put_back = opt.settle_for_now()
            return
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
        if self._put_back is not None:
            self._put_back()
        self._put_back = None

    def cleanup_fit(self, state: State) -> None:
        self._put_back = None
        self._settle(state)

    def _settle(self, state: State) -> None:
        _switch(state, training=False)
        opt = getattr(state.opt, "opt", state.opt)
        if isinstance(opt, RowAdamW):
            opt.settle()
        self._let_go()

    def _let_go(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _switch(state: State, *, training: bool) -> None:
    """Switch the optimizer if it can be switched."""
    opt = getattr(state.opt, "opt", state.opt)
    if opt is not None and averages_itself(opt):
        (opt.train if training else opt.eval)()


def _trains(opt: Any) -> bool:
    flags = [group["train_mode"] for group in opt.param_groups if "train_mode" in group]
    return any(flags) or bool(getattr(opt, "train_mode", False))
