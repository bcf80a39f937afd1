"""A line that shows how far something is, rewritten in place, where somebody looks on."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, Protocol, Self

REDRAW_SECONDS = 0.25


class Screen(Protocol):
    """Where a bar is drawn."""

    def width(self) -> int:
        """Characters that fit into one line."""
        ...

    def blocks(self) -> bool:
        """Whether it can show block characters."""
        ...

    def draw(self, text: str) -> None:
        """Put `text` in the place of what was drawn before; an empty text leaves nothing."""
        ...


class Terminal:
    """A line of a terminal, overwritten with a carriage return and blanks, which every terminal knows."""

    def __init__(self, out: Any) -> None:
        self.out = out
        self._drawn = 0

    def width(self) -> int:
        return shutil.get_terminal_size().columns - 1  # in the last column some terminals begin a new line

    def blocks(self) -> bool:
        try:
            "█▏".encode(getattr(self.out, "encoding", None) or "ascii")
        except UnicodeEncodeError:
            return False
        return True

    def draw(self, text: str) -> None:
        rest = " " * (min(self._drawn, self.width()) - len(text))
        self.out.write(f"\r{text}{rest}" if text else f"\r{rest}\r")
        self.out.flush()
        self._drawn = len(text)


class Notebook:
    """An output of a notebook's cell, replaced in place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def width(self) -> int:
        return 100

    def blocks(self) -> bool:
        return True

    def draw(self, text: str) -> None:
        shown = {"text/plain": text}
        if self._handle is None:
            from IPython.display import display  # pyright: ignore[reportMissingImports]

            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel (also of Colab and of editors)."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def find_screen() -> Screen | None:
    """The notebook or the terminal that the output goes to; `None` for a file or a pipe."""
    if in_notebook():
        return Notebook()
    out = sys.stdout
    if out is None or not out.isatty() or os.environ.get("TERM") == "dumb":
        return None
    return Terminal(out)


class Bar:
    """How far something is, with rate and remaining time, redrawn a few times a second.

    Args:
        total: how many there are.
        label: what runs.
        start: how many are done already.
        unit: what is counted.
        screen: where to draw; `None` draws nothing.

    Example:
        >>> with Bar(3, "reading", screen=find_screen()) as bar:
        ...     for number in range(3):
        ...         bar.update(number + 1)
    """

    def __init__(
        self, total: int, label: str, *, start: int = 0, unit: str = "batch", screen: Screen | None
    ) -> None:
        self.total, self.label, self.start, self.unit = total, label, start, unit
        self.screen = screen
        self._began = time.monotonic()
        self._next = 0.0
        self.update(start)

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self.screen is not None and time.monotonic() >= self._next

    def update(self, done: int, note: str = "") -> None:
        """Draw, if it is time, that `done` of them are done."""
        if self.screen is None or not self.due():
            return
        now = time.monotonic()
        self._next = now + REDRAW_SECONDS
        self.screen.draw(
            bar_text(
                done,
                self.total,
                self.label,
                start=self.start,
                seconds=now - self._began,
                unit=self.unit,
                note=note,
                width=self.screen.width(),
                blocks=self.screen.blocks(),
            )
        )

    def close(self) -> None:
        """Leave nothing behind."""
        if self.screen is not None:
            self.screen.draw("")
            self.screen = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def bar_text(
    done: int,
    total: int,
    label: str,
    *,
    start: int = 0,
    seconds: float,
    unit: str = "batch",
    note: str = "",
    width: int = 80,
    blocks: bool = True,
) -> str:
    """The line of a bar, at most `width` characters.

    Example:
        >>> bar_text(30, 120, "epoch 0", seconds=6.0, note="loss 0.41", width=70, blocks=False)
        'epoch 0  25% |###         | 30/120 [0:06<0:18, 5.0 batch/s, loss 0.41]'
    """
    share = min(1.0, done / total) if total else 1.0
    made = done - start
    rate = made / seconds if seconds > 0 and made > 0 else None
    left = duration(max(0, total - done) / rate) if rate else "?"
    details = [
        f"{duration(seconds)}<{left}",
        *([speed(rate, unit)] if rate else []),
        *([note] if note else []),
    ]
    head, tail = f"{label} {share:4.0%} ", f" {done:,}/{total:,} [{', '.join(details)}]"
    space = min(40, width - len(head) - len(tail) - 2)
    if space < 4:
        return (head.rstrip() + tail)[: max(0, width)]
    return f"{head}|{_filling(share, space, blocks)}|{tail}"


def _filling(share: float, space: int, blocks: bool) -> str:
    if not blocks:
        return ("#" * int(share * space)).ljust(space)
    eighths = int(share * space * 8)
    return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()).ljust(space)


def speed(rate: float, unit: str) -> str:
    """A rate, or its inverse for what takes longer than a second each.

    Example:
        >>> speed(1234.5, "batch"), speed(7.25, "batch"), speed(0.4, "batch")
        ('1,234 batch/s', '7.2 batch/s', '2.5 s/batch')
    """
    if rate < 1:
        return f"{1 / rate:.1f} s/{unit}"
    return f"{rate:,.0f} {unit}/s" if rate >= 100 else f"{rate:.1f} {unit}/s"


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some.

    Example:
        >>> duration(65), duration(4000)
        ('1:05', '1:06:40')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
