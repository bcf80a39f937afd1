"""A loss that is not a number must not reach the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
        device: where the losses live.
        every: on an accelerator, batches between two looks.
    """

    def __init__(self, optimizer: Any, device: torch.device, every: int = 32) -> None:
        self.optimizer = optimizer
        self.every = every
        self.deferred = device.type != "cpu" and bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self._bad = torch.zeros((), device=device)
        self._recent: list[tuple[Tensor, int, int]] = []

    def check(self, loss: Tensor, epoch: int, batch_index: int) -> None:
        """Look at a training loss after the backward pass, before the update.

        Raises:
            NonFiniteLossError: naming the epoch and the batch.
        """
        if not self.deferred:
            value = loss.item()
            if value != value or value in (float("inf"), float("-inf")):
                raise _error(value, epoch, batch_index)
            return
        self._bad = torch.maximum(self._bad, (~torch.isfinite(loss.detach())).to(self._bad.dtype).reshape(()))
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
                    raise _error(loss.item(), epoch, batch_index)

    def close(self) -> None:
        """Give the optimizer back as it was."""
        if hasattr(self.optimizer, "found_inf"):
            del self.optimizer.found_inf


def _error(value: float, epoch: int, batch_index: int) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"the loss is {value} in epoch {epoch}, batch {batch_index}; training stopped before the weights "
        "were touched. "
        "Try a lower learning rate or gradient clipping (clip=...), and look for NaN or huge values in that "
        "batch."
    )
