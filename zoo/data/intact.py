"""Digests by which damaged files are found. No torch here."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_FIRST_LINE = re.compile(r'\{\n "sha256": "([0-9a-f]{64})",\n')
_BLOCK, _BLOCKS = 65_536, 16


def with_digest(text: str) -> str:
    r"""The JSON text of an object, as `json_text` writes it, with the digest of the rest as its first entry.

    Example:
        >>> with_digest('{\n "a": 1\n}')[:24], with_digest('{\n "a": 1\n}')[-10:]
        ('{\n "sha256": "c6dd5c42e3', '\n "a": 1\n}')
    """
    rest = text.removeprefix("{\n")
    return f'{{\n "sha256": "{sha256(rest.encode())}",\n{rest}'


def check_text(text: str, where: str) -> None:
    """Make sure that a text is what `with_digest` gave. One without a digest, of an older version, and one
    that a program has written anew, in another form, are taken as they are.

    Raises:
        ValueError: if it is damaged.
    """
    found = _FIRST_LINE.match(text)
    if found is not None and sha256(text[found.end() :].encode()) != found[1]:
        raise ValueError(
            f"{where} is damaged: it does not match its digest. If it was changed on purpose, remove the "
            "entry sha256"
        )


def sha256(data: bytes) -> str:
    """The digest of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(file: Path) -> str:
    """The digest of a whole file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sample_digest(file: Path) -> str:
    """The digest of a file's length and of 16 blocks of 64 KiB, the first and the last among them: of all of
    it up to 1 MiB, and of an array larger than memory within milliseconds.
    """
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        for number in range(_BLOCKS):
            if size > _BLOCK * _BLOCKS:
                opened.seek((size - _BLOCK) * number // (_BLOCKS - 1))
            digest.update(opened.read(_BLOCK))
    return digest.hexdigest()
