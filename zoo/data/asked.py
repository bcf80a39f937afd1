"""How many rows somebody asked for."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

log = logging.getLogger(__name__)


def told_n(n: Any, there: int, what: str) -> int:
    """`n` checked; a log line tells where fewer are there.

    Args:
        n: how many are asked for.
        there: how many there are.
        what: they are called.

    Example:
        >>> told_n(3, 8, "texts")
        3
    """
    n = checked_n(n)
    if n > there:
        log.warning("%d asked for, there are %d %s", n, there, what)
    return min(n, there)


def checked_n(n: Any) -> int:
    """A number of rows that somebody asked for.

    Raises:
        ValueError: if it is no whole number of at least one.

    Example:
        >>> checked_n(np.int64(4))
        4
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    return int(n)
