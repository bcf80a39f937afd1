"""Running out of memory: how it is recognised, what is said, and how memory is given back."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path

import torch

# how torch says it where there is no class of its own: kernels, libraries, other devices and systems
_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def advise(rows: int, *, training: bool) -> str:
    """What to try after a batch of `rows` rows did not fit.

    Example:
        >>> advise(48, training=False)
        'out of memory with 48 rows a batch: try bs=32'
    """
    if rows <= 1:
        return "out of memory with a single row: use a smaller model or smaller inputs"
    search = ", or let learn.find_batch_size() find the largest that fits" if training else ""
    return f"out of memory with {rows} rows a batch: try bs={next_size(rows)}{search}"


def next_size(rows: int) -> int:
    """The largest power of two below `rows`.

    Example:
        >>> next_size(64), next_size(100), next_size(2)
        (32, 64, 1)
    """
    return 1 << ((rows - 1).bit_length() - 1)


def release(error: BaseException) -> None:
    """Let go of the tensors that the frames of an error's traceback hold, and of cached device memory.

    The error may live on, as the latest one of an interactive session does.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            waiting += [one.__cause__, one.__context__]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class HostMemory:
    """How much of the machine's own memory growing batches will need, judged by smaller ones.

    Linux ends a process that takes more memory than there is, without an error that could be caught. So sizes
    that would not fit must not be tried. Where the system does not tell its numbers, nothing is foreseen.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
        self.before = _status("VmRSS")
        self._last: tuple[int, int] | None = None

    def note(self, rows: int) -> None:
        """Batches of `rows` rows have just been run."""
        self._last = (rows, max(0, _status("VmHWM") - self.before))

    def expected(self, rows: int) -> int:
        """Bytes that batches of `rows` rows would take on top of what is taken now."""
        if self._last is None:
            return 0
        known, grown = self._last
        return grown * rows // known - max(0, _status("VmRSS") - self.before)

    @staticmethod
    def free() -> int:
        """Bytes that this process may still take, less a tenth."""
        free = [kib * 1024 for kib in _table(Path("/proc/meminfo"), "MemAvailable")]
        group = Path("/sys/fs/cgroup")
        with contextlib.suppress(OSError, ValueError):
            most, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
            free.append(int(most) - int(used))
        return int(0.9 * min(free)) if free else 1 << 62


def _status(name: str) -> int:
    return sum(_table(Path("/proc/self/status"), name)) * 1024


def _table(file: Path, name: str) -> list[int]:
    """The number of KiB after `name` in a table of the kernel, if there is such a line."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
