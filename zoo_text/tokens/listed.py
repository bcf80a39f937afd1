"""What several texts may be given as, and how large a vocabulary may be."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any


def check_listed(texts: Any, where: str) -> None:
    """That texts are given as something that yields them: one string would be read character by character, a
    frame or a dict by its names.

    Args:
        texts: what a user gave.
        where: what it is, for errors.

    Raises:
        TypeError: if it is none.

    Example:
        >>> check_listed({"text": ["a film"]}, "train")
        Traceback (most recent call last):
        TypeError: train is a dict, which would be read by its names: give a list of texts or one column
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"{where} is one string: give a list of texts")
    if isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise TypeError(
            f"{where} is a {type(texts).__name__}, which would be read by its names: give a list of texts or "
            "one column"
        )


def check_vocab_size(min_freq: Any, max_size: Any) -> None:
    """That the bounds of a new vocabulary are whole numbers.

    Raises:
        ValueError: for the one that is not.
    """
    check_whole(0, min_freq=min_freq)
    if max_size is not None:
        check_whole(0, max_size=max_size)


def check_whole(least: int, **numbers: Any) -> None:
    """That options are whole numbers.

    Raises:
        ValueError: for the first that is not, or too small, by its name.

    Example:
        >>> check_whole(1, bs=2.5)
        Traceback (most recent call last):
        ValueError: bs must be a whole number of at least 1, not 2.5
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
