"""Names of files and classes as text: byte for byte on the disk, in several forms in Unicode."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)


def check_class_names(names: Iterable[str], where: str | os.PathLike[str]) -> None:
    """Refuse class names that are no UTF-8, which no archive could keep.

    Args:
        names: of folders.
        where: the folder that holds them.

    Raises:
        ValueError: names the folder, and how it is renamed.

    >>> check_class_names(["caf\\udce9"], "train")
    Traceback (most recent call last):
    ...
    ValueError: train: the name of the class folder b'caf\\xe9' is not UTF-8, so no saved model could keep \
it. Rename it (all such names at once: convmv -f latin1 -t utf8 -r --notest FOLDER)
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{os.fspath(where)}: the name of the class folder {os.fsencode(name)!r} is not UTF-8, so no "
                "saved model could keep it. Rename it (all such names at once: convmv -f latin1 -t utf8 -r "
                "--notest FOLDER)"
            ) from None


def shown(path: str | os.PathLike[str]) -> str:
    """A path that can be printed and stand in a table: bytes that are no UTF-8 are escaped.

    >>> shown("caf\\udce9.jpg")
    'caf\\\\xe9.jpg'
    """
    return os.fsencode(path).decode(errors="backslashreplace")


def look_of(text: str) -> str:
    """What a text looks like: composed characters, no invisible ones, single spaces (Unicode, NFKC).

    >>> look_of("e\\u0301t\\u00e9\\u200b ") == "\\u00e9t\\u00e9"
    True
    """
    if text.isascii():
        return " ".join(text.split())
    visible = "".join(one for one in text if unicodedata.category(one) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).split())


def look_alikes(labels: Iterable[str]) -> list[list[str]]:
    """Groups of different labels that look the same.

    >>> look_alikes(["a", "b", "a\\u200b", "c"])
    [['a', 'a\\u200b']]
    """
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(look_of(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def tell_look_alikes(labels: Iterable[str], origin: str) -> bool:
    """Log a warning that names labels which look the same but are classes of their own; whether there are
    any.
    """
    groups = look_alikes(labels)
    if groups:
        named = "; ".join(" and ".join(ascii(label) for label in group) for group in groups[:3])
        log.warning(
            "%s: labels that look the same are different classes, as their characters differ: %s%s. Write "
            "them alike",
            origin,
            named,
            f"; and {len(groups) - 3} more" if len(groups) > 3 else "",
        )
    return bool(groups)


def on_disk(files: Sequence[Path]) -> tuple[list[Path], np.ndarray]:
    """The files as their folders list them, and whether each is there.

    A name that a folder holds only in another Unicode composition (an archive made on a Mac has decomposed
    names) is replaced by the one it holds. A link that leads nowhere is not there.

    Returns:
        Paths in the order given, and rows of true or false.

    >>> on_disk([Path("nowhere/a.jpg")])[1].tolist()
    [False]
    """
    listed: dict[Path, _Listing] = {}
    found: list[Path] = []
    exists = np.zeros(len(files), bool)
    for row, file in enumerate(files):
        parent = file.parent
        if parent not in listed:
            listed[parent] = _Listing(parent)
        name = listed[parent].match(file.name)
        exists[row] = name is not None
        found.append(file if name is None or name == file.name else parent / name)
    return found, exists


class _Listing:
    """What a folder holds, read once."""

    def __init__(self, folder: Path) -> None:
        self._names: dict[str, bool] = {}
        self._composed: dict[str, str] | None = None
        if folder.is_dir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._names[entry.name] = not entry.is_symlink() or os.path.exists(entry.path)

    def match(self, name: str) -> str | None:
        there = self._names.get(name)
        if there is not None:
            return name if there else None
        if name.isascii():
            return None
        if self._composed is None:
            self._composed = {
                unicodedata.normalize("NFC", one): one for one, alive in self._names.items() if alive
            }
        return self._composed.get(unicodedata.normalize("NFC", name))
