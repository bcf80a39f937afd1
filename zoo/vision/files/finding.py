"""Find the pictures below a folder, and tell what was left out and why."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from zoo.vision.files.caches import is_cache
from zoo.vision.files.file_list import FileList

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
    | {".pbm", ".pnm", ".avif", ".jp2", ".tga"}
)
"""File endings (lower case) that folder readers take for pictures."""

_WITH_PLUGIN = frozenset({".heic", ".heif", ".hif", ".jxl"})
"""Endings that count as pictures once a plugin has registered them with Pillow."""

_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "__macosx", "$recycle.bin", "lost+found", "#recycle", "@recycle", "#snapshot", "@tmp"}
    | {"@recently-snapshot", "@sharebin", "@sharesnap", "system volume information", "recycler", "found.000"}
    | {"__pycache__"}
)
_HARMLESS = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".htm", ".pdf"}
    | {".py", ".ipynb", ".log", ".db", ".ini", ".zip", ".gz", ".tar", ".parquet", ".npy", ".npz", ".mat"}
    | {".pkl", ".pt", ".pth", ".lnk", ".url", ".xls", ".xlsx", ".toml", ".lock", ".sh"}
)

HIDDEN = "hidden"
SYSTEM = "in folders that a system made"
CACHE = "folders of what can be made anew"
NO_PICTURE = "no pictures"
UNKNOWN = "of a kind that zoo does not read as a picture"
DEAD_LINK = "links that lead nowhere"
LOOP = "links to a folder that holds them"
AGAIN = "links to a folder that was read already"
UNREADABLE = "folders that cannot be read"
NO_FILE = "no ordinary files"
STRAY = "pictures beside the class folders"

_QUIET = frozenset({HIDDEN, NO_PICTURE, SYSTEM, AGAIN, CACHE})


@dataclass
class LeftOut:
    """What a search did not take, by reason.

    Attributes:
        counts: how many files or folders, a reason.
        names: the first three of each, below the folder searched.
        heic: whether pictures of phones are among them.

    >>> left = LeftOut(); left.add(UNKNOWN, "a.heic"); left.add(UNKNOWN, "b.heic"); left.counts[UNKNOWN]
    2
    """

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    heic: bool = False

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count a file or folder."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        shown = self.names.setdefault(reason, [])
        if len(shown) < 3:
            shown.append(name)
        self.heic |= reason == UNKNOWN and os.path.splitext(name)[1].lower() in _WITH_PLUGIN

    def merge(self, other: LeftOut, below: str = "") -> None:
        """Add what another search left out, in a folder `below` this one."""
        for reason, count in other.counts.items():
            names = [os.path.join(below, name) for name in other.names[reason]]
            self.add(reason, names[0], count)
            self.names[reason] += names[1 : 1 + 3 - len(self.names[reason])]
        self.heic |= other.heic

    def __len__(self) -> int:
        return sum(self.counts.values())

    def text(self, *, quiet: bool = False) -> str:
        """The report in one line; without what nobody misses (hidden files, tables, texts, folders that
        systems make), or that alone.
        """
        parts = []
        for reason, count in self.counts.items():
            if (reason in _QUIET) == quiet:
                names = ", ".join(ascii(one)[1:-1] for one in self.names[reason])
                parts.append(
                    f"{count} {reason} ({names}{' and more' if count > len(self.names[reason]) else ''})"
                )
        remedy = (
            "; to read HEIC, install pillow-heif and call pillow_heif.register_heif_opener(), or convert them"
            if self.heic and not quiet
            else ""
        )
        return "; ".join(parts) + remedy

    def log(self, folder: str | os.PathLike[str]) -> None:
        """Write the report to the log: a warning, or a note where nobody misses what was left out."""
        if told := self.text():
            log.warning("%s: left out: %s", _shown(folder), told)
        if told := self.text(quiet=True):
            log.info("%s: left out: %s", _shown(folder), told)


def _shown(path: str | os.PathLike[str]) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def is_image_file(name: str) -> bool:
    """Whether a file name looks like a visible picture file.

    >>> is_image_file("cat.JPG"), is_image_file("notes.txt"), is_image_file("._cat.jpg")
    (True, False, False)
    """
    return not name.startswith(".") and _is_picture_suffix(os.path.splitext(name)[1].lower())


def is_system_folder(name: str) -> bool:
    """Whether a folder is hidden, or one that systems and network drives make by themselves.

    >>> is_system_folder("@eaDir"), is_system_folder(".git"), is_system_folder("cats")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in _SYSTEM_FOLDERS


def _is_picture_suffix(suffix: str) -> bool:
    return suffix in IMAGE_SUFFIXES or (suffix in _WITH_PLUGIN and suffix in Image.EXTENSION)


def find_pictures(folder: str | os.PathLike[str]) -> tuple[FileList, LeftOut]:
    """All picture files under a folder, its own before those of sub-folders, each in sorted order.

    Symbolic links are followed, except to folders above them (which would bring in what belongs elsewhere)
    and to what was read already.

    Args:
        folder: where to look.

    Returns:
        The pictures, and what was left out.

    Raises:
        OSError: the folder itself cannot be read.
    """
    left = LeftOut()
    found: list[str] = []
    top = os.fspath(folder)
    real = os.path.realpath(top)
    _read(top, real, "", {real}, found, left)
    return FileList(found), left


def walk_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures that `find_pictures` finds; none in a folder that does not exist."""
    return list(find_pictures(folder)[0]) if os.path.isdir(folder) else []


def _read(top: str, real: str, below: str, seen: set[str], found: list[str], left: LeftOut) -> None:
    """Read one folder (`below` its top), then those in it.

    The real path is carried along, so that only links have to be resolved.
    """
    folders: list[tuple[str, bool]] = []
    files: list[str] = []
    with os.scandir(os.path.join(top, below)) as entries:
        for entry in sorted(entries, key=_name):
            name = entry.name
            if entry.is_dir():
                folders.append((name, entry.is_symlink()))
            elif reason := left_out_because(entry):
                left.add(reason, os.path.join(below, name))
            else:
                files.append(name)
    found += [os.path.join(top, below, name) for name in files]
    for name, is_link in folders:
        inner = os.path.join(below, name)
        if is_system_folder(name):
            left.add(HIDDEN if name.startswith(".") else SYSTEM, inner)
            continue
        if is_cache(os.path.join(top, inner)):
            left.add(CACHE, inner)
            continue
        own = os.path.realpath(os.path.join(top, inner)) if is_link else os.path.join(real, name)
        if is_link and is_above(own, real):
            left.add(LOOP, inner)
        elif own in seen:
            left.add(AGAIN, inner)
        else:
            seen.add(own)
            try:
                _read(top, own, inner, seen, found, left)
            except OSError as err:
                left.add(UNREADABLE, f"{inner}: {err.strerror}")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def is_above(other: str, folder: str) -> bool:
    """Whether a folder is another one or lies in it; both as real paths.

    >>> is_above("/a", "/a/b"), is_above("/a/b", "/a"), is_above("/a", "/ab")
    (True, False, False)
    """
    return folder == other or folder.startswith(other.rstrip(os.sep) + os.sep)


def left_out_because(entry: os.DirEntry[str]) -> str | None:
    """The reason why an entry that is no folder is no picture; None for pictures."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if entry.name.startswith("."):
        return HIDDEN
    if not _is_picture_suffix(suffix):
        return NO_PICTURE if suffix in _HARMLESS else UNKNOWN
    if entry.is_file():
        return None
    return DEAD_LINK if entry.is_symlink() else NO_FILE
