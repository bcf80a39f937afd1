"""Runs the lines of Python that a plan stands for."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Running:
    """A script whose functions can be called.

    Attributes:
        data: makes the data.
        learner: makes the learner of data.
        train: trains it.
    """

    data: Callable[[], Any]
    learner: Callable[[Any], Any]
    train: Callable[[Any], None]


def load_script(text: str, name: str) -> Running:
    """The functions of a script; nothing of it is trained yet.

    Args:
        text: of the script.
        name: what it is called in tracebacks.
    """
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # for tracebacks
    space: dict[str, Any] = {"__name__": "zoo_script"}
    exec(compile(text, name, "exec"), space)  # noqa: S102 (what a recipe wrote)
    return Running(space["data"], space["learner"], space["train"])
