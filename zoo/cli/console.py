"""What commands say: tables and lines for people, one JSON object for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from zoo.cli.plans import Choice

_WIDE = 160


class Console:
    """Says things on the error stream, where they disturb no output; the answer goes to the output.

    Args:
        as_json: say nothing but one JSON object at the end.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out, self._err = (RichConsole(stderr=error, highlight=False) for error in (False, True))
        for console in (self._out, self._err):
            if not console.is_terminal:  # a file or another program reads it
                console.width = _WIDE

    def say(self, line: str) -> None:
        """A line about what happens."""
        if not self.as_json:
            self._err.print(line, markup=False, soft_wrap=True)

    def choices(self, choices: Iterable[Choice]) -> None:
        """What was decided, why, and how to overrule it."""
        if self.as_json:
            return
        table = Table("what", "taken", "why", "overrule with", box=None, pad_edge=False, header_style="bold")
        for one in choices:
            table.add_row(*(_plain(cell) for cell in (one.what, one.value, one.why, one.option)))
        self._err.print(table)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        """A table as the answer."""
        if self.as_json:
            return
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(_plain(_cell(cell)) for cell in row))
        self._out.print(table)

    def answer(self, found: dict[str, Any], lines: Iterable[str] = ()) -> None:
        """The end: an object for machines, lines for people."""
        if self.as_json:
            print(json.dumps(found, default=_as_json, allow_nan=False))
            return
        for line in lines:
            self._out.print(line, markup=False, soft_wrap=True)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _cell(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _as_json(value: Any) -> Any:
    """Numbers of numpy as Python's, and anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
