"""Where models live, and the number formats that a device computes in."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.distributed.group import local_device, world_size


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


def computes_in(device: str | torch.device, dtype: torch.dtype, *, recurrent: bool = False) -> bool:
    """Whether a device computes in a number format, as opposed to converting to float32 and back.

    A processor without such arithmetic still answers for most operations, ten to thirty times more slowly
    than in float32, and has no kernel at all for others.

    Args:
        device: "cpu", "cuda", ... or a `torch.device`.
        dtype: `torch.bfloat16`, `torch.float16` or a wider format.
        recurrent: ask for the kernels of recurrent layers (LSTM) instead of those of dense ones.

    Example:
        >>> computes_in("cpu", torch.float32)
        True
    """
    device = torch.device(device)
    if dtype in (torch.float32, torch.float64):
        return dtype == torch.float32 or device.type != "mps"
    return _has_kernels(device, dtype, "dense") and (
        not recurrent or _has_kernels(device, dtype, "recurrent")
    )


_CPU_SUPPORT = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}


@functools.cache
def _has_kernels(device: torch.device, dtype: torch.dtype, kind: str) -> bool:
    """Ask the device where it can be asked, else try one small step."""
    if kind == "dense" and device.type == "cuda" and dtype == torch.bfloat16:
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "dense" and device.type == "cpu" and torch.backends.mkldnn.is_available():
        asked = getattr(torch.ops.mkldnn, _CPU_SUPPORT.get(dtype, ""), None)
        if asked is not None:
            return bool(asked())
    made = nn.LSTM if kind == "recurrent" else nn.Linear
    layer = made(8, 8, device="meta")  # draws no random numbers
    try:
        layer.to_empty(device=device)
        for param in layer.parameters():
            nn.init.constant_(param, 0.1)
        with torch.enable_grad(), torch.autocast(device.type, dtype=dtype):
            output = layer(torch.ones(2, 3, 8, device=device))
            total = (output[0] if isinstance(output, tuple) else output).float().sum()
            torch.autograd.grad(total, list(layer.parameters()))
    except torch.OutOfMemoryError:  # says nothing about the kernels
        raise
    except (RuntimeError, NotImplementedError):
        return False
    return True


@functools.cache
def times_slower(device: str | torch.device, dtype: torch.dtype) -> float:
    """How many times as long as in float32 a product of two matrices takes in a number format, measured once.

    Args:
        device: "cpu", "cuda", ... or a `torch.device`.
        dtype: the format.
    """
    device = torch.device(device)

    def seconds(kind: torch.dtype) -> float:
        matrix = torch.ones(256, 256, device=device, dtype=kind)
        taken = []
        for _ in range(4):  # the first makes the kernel
            started = time.perf_counter()
            (matrix @ matrix).sum().item()
            taken.append(time.perf_counter() - started)
        return min(taken[1:])

    return seconds(dtype) / seconds(torch.float32)


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


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host on `device`, for which the host does not wait."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def prefetch(batches: Iterable, device: torch.device) -> Iterator:
    """Yield batches on `device`, copying one batch ahead of the one in use.

    The host does not wait for the copy when the batches lie in pinned memory. On the CPU batches pass through
    untouched.
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
