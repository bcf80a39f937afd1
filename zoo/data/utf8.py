"""Text that every file can hold. No torch here."""

from __future__ import annotations

import re

_SURROGATES = re.compile("[\ud800-\udfff]")


def writable(text: str) -> str:
    """A text in which halves of surrogate pairs, which UTF-8 cannot write, are replacement characters.

    Readers of PDF files and cut-off JSON leave such halves behind.

    Example:
        >>> writable("good " + chr(0xD83D)), writable("good")
        ('good �', 'good')
    """
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
