"""Where models live: found once, overridable per learner."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.distributed import local_device, world_size


@functools.cache
def default_device() -> torch.device:
    """The best device of this machine: CUDA, then Apple's MPS, then the CPU.

    Of several processes each has a GPU of its own.
    """
    if world_size() > 1:
        return local_device()
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def resolve_device(device: str | torch.device | None) -> torch.device:
    """`device` as a `torch.device`; `None` means the default of the machine.

    Raises:
        ValueError: if the name is unknown or the machine has no such device.
    """
    if device is None:
        return default_device()
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {str(device)!r} is not available here: {str(error).splitlines()[0]}"
        ) from None
    if found.type == "cuda" and found.index is None:
        return default_device()
    return found


def to_device(batch: Any, device: torch.device) -> Any:
    """Every tensor of a (nested) batch on `device`; other leaves are kept as they are."""
    if isinstance(batch, Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, tuple | list):
        moved = [to_device(item, device) for item in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch


def prefetch(batches: Iterable, device: torch.device) -> Iterator:
    """Yield batches on `device`, copying one batch ahead of the one in use.

    The copy is asynchronous when the batches lie in pinned memory, so it overlaps with the work on the
    previous batch. On the CPU batches pass through untouched.
    """
    if device.type == "cpu":
        yield from batches
        return
    ahead = None
    for batch in batches:
        moved = to_device(batch, device)
        if ahead is not None:
            yield ahead
        ahead = moved
    if ahead is not None:
        yield ahead
