"""What is known of a file, as long as the file is the same."""

from __future__ import annotations

import os
import time
from typing import Generic, TypeVar

Value = TypeVar("Value")

SETTLED_SECONDS = 2.0
"""A file changed more recently is not remembered: another change could leave the same time."""
_MOST = 2_000_000


class Remembered(Generic[Value]):
    """Values by file, for this process; forgotten once size, time or inode change.

    The time of the last change of the inode (ctime) is part of it: unlike the time of the last writing, no
    program sets it, so copies that keep their times are noticed.

    Example:
        >>> known = Remembered(settled=0.0)
        >>> known.put(os.stat(os.curdir), "a folder")
        >>> known.get(os.stat(os.curdir))
        'a folder'
    """

    def __init__(self, settled: float = SETTLED_SECONDS) -> None:
        self.settled = settled
        self._values: dict[int, Value] = {}

    @staticmethod
    def _key(stat: os.stat_result) -> int:
        return hash((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))

    def get(self, stat: os.stat_result) -> Value | None:
        """What is remembered of a file in this state, or None."""
        return self._values.get(self._key(stat))

    def put(self, stat: os.stat_result, value: Value) -> None:
        """Remember it, unless the file has changed a moment ago."""
        if abs(time.time() - stat.st_ctime) < self.settled:
            return
        if len(self._values) >= _MOST:
            self._values.clear()
        self._values[self._key(stat)] = value
