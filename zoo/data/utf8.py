"""Text that every file can hold. No torch here."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")


def writable(text: str) -> str:
    """A text in which halves of surrogate pairs, which UTF-8 cannot write, are replacement characters.

    Readers of PDF files and cut-off JSON leave such halves behind.

    Example:
        >>> writable("good " + chr(0xD83D)), writable("good")
        ('good �', 'good')
    """
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def json_text(value: Any) -> str:
    r"""Indented JSON to be read by people too; where UTF-8 cannot write its texts they are escaped, and come
    back as they are.

    Args:
        value: whatever JSON holds.

    Raises:
        TypeError: for anything else.

    Example:
        >>> json.loads(json_text({"wort": "B\\u00e4r" + chr(0xD83D)})) == {"wort": "B\\u00e4r" + chr(0xD83D)}
        True
    """
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return json.dumps(value, indent=1) if _SURROGATES.search(text) else text


def read_lines(file: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file in UTF-8, with or without a mark at its beginning.

    Raises:
        ValueError: naming the file, where it is no such text.
    """
    content = Path(file).read_bytes()
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        wide = ", but in UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else f" ({error})"
        raise ValueError(f"{file} is no text in UTF-8{wide}: save it as UTF-8 first") from error
