"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"),)


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, at most what its container grants.

    Of several processes of one training on this machine (`LOCAL_WORLD_SIZE`, as torchrun sets it) each has
    its share.

    Example:
        >>> 1 <= usable_cores() <= (os.cpu_count() or 1)
        True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    for file in _QUOTAS:
        cores = min(cores, granted(file) or cores)
    shared = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, cores // max(1, int(shared) if shared.isdigit() else 1))


def granted(file: Path) -> int | None:
    """Cores that a control group grants, rounded up; None without a limit (Linux, cgroup v2, `cpu.max`)."""
    try:
        quota, period = file.read_text().split()[:2]
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
