"""Where a fit stands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any

import torch
from torch import Tensor, nn

from zoo.engine.modes import train_mode


@dataclass(slots=True)
class State:
    """Where a fit stands; handed to every callback, which may change it.

    Attributes:
        first_epoch: number of this fit's first epoch, counted over all fits of the learner.
        epoch: number of the current epoch; moved in `before_fit`, the fit begins there.
        step: optimizer steps taken in this fit.
        batch_index, n_batches: position inside the current pass; 0 batches where the loader does not tell.
        start_batch: the batch at which the coming training pass begins; set in `before_fit` to go on
            inside an epoch.
        batches_before: training batches of this fit's earlier epochs; schedules count batches.
        loader: what the current pass iterates; may be replaced in `before_train` and `before_validate`.
        rows: rows of the current batch.
        pending: batches whose gradients wait for an update.
        update_due: whether these are applied after the current batch; set in `after_backward` to put it off.
            What is left when the pass ends is applied then.
        n_inputs: how many tensors of a batch are inputs, where that is known.
        inputs, target: the batch on the device.
        preds, extras: the model's output; a tuple is split into its first member and the rest.
        loss: scalar tensor of the current batch.
        meters: what a validation adds up, the loss first; empty in other passes.
        failed: metrics, by name, that could not be computed in the current validation.
        worked: metrics that have given a value in this fit.
        told: metrics whose failure was warned of in this fit.
        row: the numbers of the current epoch; ends up in the history.
        cycle_done: set by the schedule when a cycle is complete.
        forward_context: makes the context manager in which the forward pass runs (mixed precision).
        run_gradients, run_step: run `gradients` and `step` of the loop that they are given (CUDA graphs).
    """

    model: nn.Module
    data: Any
    opt: Any
    loss_fn: Callable[..., Tensor]
    device: torch.device
    n_epochs: int = 0
    metrics: Sequence[Any] = ()
    learner: Any = None
    first_epoch: int = 0
    epoch: int = 0
    step: int = 0
    batches_before: int = 0
    start_batch: int = 0
    batch_index: int = 0
    n_batches: int = 0
    loader: Any = None
    rows: int = 0
    pending: int = 0
    update_due: bool = True
    training: bool = False
    inputs: tuple = ()
    target: Any = None
    preds: Any = None
    extras: tuple = ()
    loss: Any = None
    meters: Sequence[Any] = ()
    failed: set[str] = field(default_factory=set)
    worked: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    row: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    cycle_done: bool = False
    interrupted: bool = False
    forward_context: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    run_gradients: Callable[[Any], None] = methodcaller("gradients")
    run_step: Callable[[Any], None] = methodcaller("step")
    n_inputs: int | None = None
    train_mode: Callable[[nn.Module], Any] = train_mode
    _kept: tuple[Any, Any] = (None, None)

    @property
    def loss_value(self) -> Tensor:
        """The loss without its graph; one tensor for everybody who asks. Not to be changed in place."""
        if self._kept[0] is not self.loss:
            self._kept = self.loss, self.loss.data
        return self._kept[1]
