"""Running out of memory: how it is recognised, what is said, and how memory is given back."""

from __future__ import annotations

import traceback

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def advise(rows: int) -> str:
    """What to try after a batch of `rows` rows did not fit."""
    if rows <= 1:
        return "out of memory with a single row: use a smaller model or smaller inputs"
    return (
        f"out of memory with {rows} rows a batch: try bs={next_size(rows)}, or let learn.find_batch_size() "
        "find the largest that fits"
    )


def next_size(rows: int) -> int:
    """The largest power of two below `rows`.

    Example:
        >>> next_size(64), next_size(100), next_size(2)
        (32, 64, 1)
    """
    return 1 << ((rows - 1).bit_length() - 1)


def release(error: BaseException) -> None:
    """Let go of the tensors that the frames of an error's traceback hold, and of cached device memory."""
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
