"""A loss that is not a number must not reach the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import some


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN; the weights are those before the offending batch."""


class FiniteGuard:
    """Stops training before a non-finite loss touches the weights.

    On the CPU the loss is looked at directly. On an accelerator that would make the host wait for every
    batch, so fused optimizers are told on the device to skip their update (`found_inf`, the mechanism of
    gradient scaling) from the first bad batch on, and the host looks at the flag only now and then; the
    message still names the right batch.

    Args:
        optimizer: the torch optimizer whose updates are guarded.
        model: for what is said, and set right, when a bad loss turns up.
        device: where the losses live.
        every: on an accelerator, batches between two looks.
    """

    def __init__(self, optimizer: Any, model: nn.Module, device: torch.device, every: int = 32) -> None:
        self.optimizer, self.model, self.every = optimizer, model, every
        self.deferred = device.type != "cpu" and bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self._bad = torch.zeros((), device=device)
        self._recent: list[tuple[Tensor, int, int]] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def remember_buffers(self) -> None:
        """Keep a copy of the running statistics, which a forward pass with bad values would spoil."""
        self._buffers = [(b, b.detach().clone()) for b in self.model.buffers() if b.is_floating_point()]

    def check(self, loss: Tensor, epoch: int, batch_index: int) -> None:
        """Look at a training loss before its backward pass.

        Raises:
            NonFiniteLossError: naming the epoch and the batch.
        """
        if not self.deferred:
            value = loss.item()
            if not math.isfinite(value):
                raise self._error(value, epoch, batch_index)
            return
        finite = torch.isfinite(loss.detach()).reshape(())
        self._bad = torch.maximum(self._bad, (~finite).to(self._bad.dtype))
        self.optimizer.found_inf = self._bad
        self._recent.append((loss.detach(), epoch, batch_index))
        if len(self._recent) >= self.every:
            self.flush()

    def flush(self) -> None:
        """Make sure that nothing bad lies among the batches not looked at yet."""
        recent, self._recent = self._recent, []
        if recent and bool(self._bad):
            for loss, epoch, batch_index in recent:
                if not bool(torch.isfinite(loss)):
                    raise self._error(loss.item(), epoch, batch_index)

    def close(self) -> None:
        """Give the optimizer back as it was."""
        if hasattr(self.optimizer, "found_inf"):
            del self.optimizer.found_inf

    @torch.no_grad()
    def _error(self, value: float, epoch: int, batch_index: int) -> NonFiniteLossError:
        for buffer, kept in self._buffers:
            if not bool(torch.isfinite(buffer).all()):
                buffer.copy_(kept)
        spoilt = [
            name for name, param in self.model.named_parameters() if not bool(torch.isfinite(param).all())
        ]
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
