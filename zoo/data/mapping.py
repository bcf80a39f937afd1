"""What the numbers of a data set stand for, as digests that tell whether two of them mean the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def digest(values: Iterable[Any]) -> str:
    """The sha256 (hex) of values in their order; 1 and "1" are two values, 1 and `np.int64(1)` are one.

    Args:
        values: plain values, numpy scalars or timestamps, also nested in lists.

    Example:
        >>> digest(["cat", "dog"]) == digest(("cat", "dog"))
        True
        >>> digest(["cat", "dog"]) == digest(["dog", "cat"])
        False
    """
    text = json.dumps(list(values), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        plain = value.tolist()
        if type(plain) is not type(value):
            return plain
    return [type(value).__name__, str(value)]
