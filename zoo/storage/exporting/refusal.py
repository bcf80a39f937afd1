"""Errors of exporters, which fill pages, in one line."""

from __future__ import annotations

import re


def refusal(name: str, error: Exception, what: str = "exported as a graph") -> TypeError:
    """The error that says that a model can't be exported, and why.

    Example:
        >>> fixed = "You marked rows as dynamic but your code specialized it to be a constant (3)"
        >>> print(refusal("Net", ValueError(fixed)))  # doctest: +ELLIPSIS
        Net can't be exported as a graph: its code is for 3 rows only: sizes must not pass through len(), ...
    """
    found = _FIXED.search(str(error))
    if found:
        reason = (
            f"its code is for {found[2]} {found[1]} only: sizes must not pass through len(), int() or a loop"
        )
        return TypeError(f"{name} can't be {what}: {reason} of Python")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return TypeError(f"{name} can't be {what}: {lines[0] if lines else type(error).__name__}")


_FIXED = re.compile(r"You marked (\w+) as dynamic but your code specialized it to be a constant \((\d+)\)")
