"""Memory that a process has freed stays with it, for the tensors of the next batch.

The C library gives large blocks back to the system as soon as they are freed, and every batch pays anew for
pages that the system first has to fill with zeros: a third to a half of the time of a convolutional network
on a CPU. The price is up to a fifth more memory at the peak, as blocks of different sizes fill each other's
gaps imperfectly.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

# glibc's mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = 2**31 - 1, 128 * 2**20
_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD")


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is one that can be told, and nobody else has."""
    if sys.platform != "linux" or any(os.environ.get(name) for name in _OWN):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except OSError:
        return None


@functools.cache
def reuse_freed_memory() -> bool:
    """Have freed blocks of up to 128 MiB used again, until `return_freed_memory`; for the whole process.

    On Linux with glibc, unless the environment chooses an allocator (`LD_PRELOAD`) or sets one of glibc's
    own variables, such as `MALLOC_TRIM_THRESHOLD_`.

    Returns:
        Whether that could be arranged.
    """
    library = _glibc()
    if library is None:
        return False
    told = library.mallopt(_MMAP_THRESHOLD, _LARGEST), library.mallopt(_TRIM_THRESHOLD, _KEPT)
    return told == (1, 1)


def return_freed_memory() -> None:
    """Give the system what is free now."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
