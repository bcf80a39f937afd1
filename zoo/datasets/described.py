"""What a data set is: files with addresses and checksums, and what they unpack to."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LITTER = ("._*", ".DS_Store", "__MACOSX")  # what the file manager of macOS puts into archives
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)


class DatasetError(ValueError):
    """A data set cannot be had; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that a data set is published as.

    Archives (zip, tar, also compressed) are unpacked, `.gz` files decompressed, all others kept as they are.

    Args:
        name: as it is published; a mirror and a file put there by hand have this name.
        urls: where it lies, the first to be tried first; none if it can only be fetched by hand.
        size: in bytes, if known.
        sha256: the checksum, only where it is certain. Without it, that of the first download is written down
            and holds for every later one.
        md5: a published older checksum, which tells damage but not malice; used if there is no `sha256`.
        top: the archive's own outermost folder, which the unpacked set does not have.
        skip: patterns of names, of files and folders, that are not unpacked.

    Raises:
        ValueError: if a name, an address or a checksum is not one.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    top: str = ""
    skip: tuple[str, ...] = _LITTER

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w][\w.+-]*", self.name):
            raise ValueError(
                f"{self.name!r} is no name of a file: use letters, digits, '.', '-', '_' and '+'"
            )
        for kind, value, digits in (("sha256", self.sha256, 64), ("md5", self.md5, 32)):
            if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
                raise ValueError(
                    f"{self.name}: {kind} is {digits} hexadecimal digits in lower case, not {value!r}"
                )
        for url in self.urls:
            if not url.startswith(("https://", "http://")):
                raise ValueError(f"{self.name}: an address begins with https:// or http://, not {url!r}")

    @property
    def kind(self) -> str:
        """What is done with it: "archive" is unpacked, "gz" decompressed, "plain" copied."""
        if _ARCHIVE.search(self.name):
            return "archive"
        return "gz" if self.name.endswith(".gz") else "plain"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set: what it is, on which terms, and the files it is published as.

    Args:
        name: of the set and of its folder.
        about: what it is, in a line.
        terms: licence or terms of use, in a line.
        page: where it is described.
        files: what it is published as.
        holds: files and folders that the unpacked set has.
        by_hand: how to get it, where nobody but the user may download it.

    Raises:
        ValueError: if the name cannot be that of a folder, or two files have one name.
    """

    name: str
    about: str
    terms: str
    page: str
    files: tuple[File, ...]
    holds: tuple[str, ...]
    by_hand: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-zA-Z0-9][\w.-]*", self.name) or self.name.endswith((".", ".files")):
            raise ValueError(
                f"{self.name!r} cannot be the name of a data set: use letters, digits, '.', '-' and '_', and "
                "not '.files' at the end"
            )
        names = [file.name.lower() for file in self.files]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"data set {self.name!r} needs files, each of another name, not {names}")

    @property
    def size(self) -> int | None:
        """Bytes to download, if they are known of all files."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)
