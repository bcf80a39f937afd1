"""Helpers for error messages that say what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, options: Iterable[object]) -> str:
    """A short suggestion to append to an error message, or an empty string.

    Args:
        name: what the user wrote.
        options: what would have been accepted.

    Example:
        >>> did_you_mean("StoreTyp", ["Store", "StoreType"])
        " (did you mean 'StoreType'?)"
        >>> did_you_mean("xyz", ["Store"])
        ''
    """
    names = [str(option) for option in options]
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.6)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def some(values: Iterable[object], most: int = 5) -> str:
    """The first few values, then how many more there are.

    Example:
        >>> some([1, 2, 3], most=2)
        '1, 2 and 1 more'
    """
    listed = [str(value) for value in values]
    shown = ", ".join(listed[:most])
    return f"{shown} and {len(listed) - most} more" if len(listed) > most else shown
