"""A loss that is not a number must not reach the weights."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from zoo.engine.arrivals import Arrival
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.errors import some

_UNSCALED = {torch.float32, torch.float64, torch.float16}


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN; the weights are those before the offending batch."""


class FiniteGuard(Callback):
    """Stops training before a non-finite loss touches the weights; part of every fit.

    On the CPU the loss is looked at directly. On an accelerator that would make the host wait for every
    batch, so fused optimizers are told on the device to skip their update (`found_inf`, the mechanism of
    gradient scaling) from the first bad batch on, and every so many batches the flag is sent to the host,
    which looks at it when it has arrived; the message still names the right batch.

    Args:
        every: on an accelerator, batches between two flags sent.

    Raises:
        NonFiniteLossError: naming the epoch and the batch.
    """

    order = 90
    in_finder = True
    in_graph = "after"

    def __init__(self, every: int = 32) -> None:
        self.every = every
        self.deferred = False
        self._optimizer: Any = None
        self._bad, self._one = torch.zeros(()), torch.ones(())
        self._recent: list[tuple[Tensor, int, int]] = []
        self._sent: tuple[Arrival, int] | None = None  # the flag, and how many batches it stands for
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def before_fit(self, state: State) -> None:
        self._optimizer = getattr(state.opt, "opt", state.opt)
        self.deferred = state.device.type != "cpu" and bool(
            getattr(self._optimizer, "_step_supports_amp_scaling", False)
        )
        self._bad, self._one = torch.zeros((), device=state.device), torch.ones((), device=state.device)

    def before_train(self, state: State) -> None:
        # a forward pass with bad values spoils running statistics
        buffers = (b for b in state.model.buffers() if b.is_floating_point() and not is_lazy(b))
        self._buffers = [(b, b.detach().clone()) for b in buffers]

    def after_loss(self, state: State) -> None:
        if not state.training:
            return
        if not self.deferred:
            value = state.loss.item()
            if not math.isfinite(value):
                raise self._error(value, state.model, state.epoch, state.batch_index)
            return
        loss = state.loss_value
        self._note(loss)
        self._optimizer.found_inf = self._bad
        self._recent.append((loss, state.epoch, state.batch_index))
        if self._sent is None and len(self._recent) >= self.every:
            self._sent = Arrival(self._bad), len(self._recent)
        elif self._sent is not None and self._sent[0].here():
            self._look(state, *self._sent)

    @torch.no_grad()
    def _note(self, loss: Tensor) -> None:
        """Make the flag 1, for good, if the loss is no number; in one operation where there is one."""
        if loss.dtype in _UNSCALED:
            # what looks for overflows in scaled gradients: the value, divided by one, stays what it is
            torch._amp_foreach_non_finite_check_and_unscale_([loss], self._bad, self._one)
        else:
            self._bad.logical_or_(~torch.isfinite(loss).reshape(()))

    def after_train(self, state: State) -> None:
        self._flush(state)

    def cleanup_fit(self, state: State) -> None:
        try:
            if sys.exc_info()[1] is None:
                self._flush(state)
        finally:
            if hasattr(self._optimizer, "found_inf"):
                del self._optimizer.found_inf
            self._optimizer, self._buffers, self._recent, self._sent = None, [], [], None

    def _flush(self, state: State) -> None:
        """Make sure that nothing bad lies among the batches not looked at yet."""
        if self._recent:
            self._look(state, Arrival(self._bad), len(self._recent))

    def _look(self, state: State, flag: Arrival, n: int) -> None:
        recent, self._recent, self._sent = self._recent[:n], self._recent[n:], None
        if bool(flag.read()):
            for loss, epoch, batch_index in recent:
                if not bool(torch.isfinite(loss)):
                    raise self._error(loss.item(), state.model, epoch, batch_index)

    @torch.no_grad()
    def _error(self, value: float, model: nn.Module, epoch: int, batch_index: int) -> NonFiniteLossError:
        for buffer, kept in self._buffers:
            if not bool(torch.isfinite(buffer).all()):
                buffer.copy_(kept)
        spoilt = [name for name, param in model.named_parameters() if not bool(torch.isfinite(param).all())]
        where = f"the loss is {value} in epoch {epoch}, batch {batch_index}"
        advice = (
            "Try a lower learning rate or gradient clipping (clip=...), and look for NaN or huge values in "
            "the data."
        )
        if spoilt:
            return NonFiniteLossError(
                f"{where}, because an earlier update already made these weights non-finite (its loss was "
                "finite, its "
                f"gradient was not): {some(spoilt)}; load saved weights or make the model anew. {advice}"
            )
        return NonFiniteLossError(f"{where}; training stopped before the weights were touched. {advice}")
