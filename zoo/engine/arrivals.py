"""Values on their way from a device to the host, for which nobody waits."""

from __future__ import annotations

import torch
from torch import Tensor

ASYNCHRONOUS = {"cuda"}
"""Devices whose copies to the host go on while the host does other things."""


class Arrival:
    """A copy of a tensor in the host's memory, complete once the device got there.

    On a GPU the copy goes to pinned memory and an event marks its end; elsewhere it is there at once.

    Args:
        value: of any device.

    Example:
        >>> copied = Arrival(torch.ones(2))
        >>> copied.here(), copied.read()
        (True, tensor([1., 1.]))
    """

    def __init__(self, value: Tensor) -> None:
        self._host = value.detach().to("cpu", non_blocking=value.device.type in ASYNCHRONOUS, copy=True)
        self._end: torch.cuda.Event | None = None
        if value.is_cuda:
            self._end = torch.cuda.Event()
            self._end.record(torch.cuda.current_stream(value.device))

    def here(self) -> bool:
        """Whether the copy is complete; does not wait."""
        return self._end is None or self._end.query()

    def read(self) -> Tensor:
        """The copy; waits until it is complete."""
        if self._end is not None:
            self._end.synchronize()
        return self._host
