"""Folders of what can be made anew: marked, so that no search for pictures, and no backup, takes them."""

from __future__ import annotations

import contextlib
import os

TAG = "CACHEDIR.TAG"
SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""First bytes of a tag (the Cache Directory Tagging Specification, bford.info/cachedir)."""


def mark_cache(folder: str | os.PathLike[str]) -> None:
    """Say that a folder, which exists, holds only what can be made anew.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> is_cache(folder), mark_cache(folder), is_cache(folder)
        (False, None, True)
    """
    tag = os.path.join(folder, TAG)
    if not os.path.exists(tag):
        with contextlib.suppress(OSError), open(tag, "wb") as file:  # a reader alone does not need it
            file.write(SIGNATURE + b"\n# This folder holds what zoo made of pictures; it can be removed.\n")


def is_cache(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is marked, or is one in which earlier versions kept shrunken pictures."""
    try:
        with open(os.path.join(folder, TAG), "rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return os.path.basename(folder) == "tmp" and os.path.isdir(os.path.join(folder, "resized"))
