"""Texts in class folders: one `.txt` file a text, one folder a class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.data.classes import Classes
from zoo.errors import did_you_mean, some


def class_folders(path: Path) -> list[Path]:
    """The folders in a folder, sorted; hidden ones are left out."""
    if not path.is_dir():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"no folder {path}{did_you_mean(path.name, there)}")
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")


def read_texts(path: Path) -> list[str]:
    """All `.txt` (or `.TXT`) files below a folder, at any depth, sorted; hidden ones are left out."""
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() == ".txt"
        and file.is_file()
        and not any(part[0] == "." for part in file.relative_to(path).parts)
    )
    if not files:
        raise ValueError(f"folder {path} holds no .txt files: fill or remove it")
    return [_read(file) for file in files]


def read_classes(
    path: Path, classes: Sequence[str] | None = None, *, ignore_others: bool = False
) -> tuple[list[str], list[str]]:
    """Texts and labels of class folders.

    Args:
        path: Holds the class folders.
        classes: Those that may be there; all by default.
        ignore_others: Pass over other folders instead of raising.
    """
    folders = class_folders(path)
    if classes is not None and ignore_others:
        folders = [folder for folder in folders if folder.name in classes]
    if not folders:
        wanted = f" for {some(classes, 10)}" if classes is not None else ""
        raise ValueError(f"{path} holds no class folders{wanted}")
    texts: list[str] = []
    labels: list[str] = []
    for folder in folders:
        if classes is not None and folder.name not in classes:
            raise ValueError(
                f"class folder {folder} has no counterpart in training{did_you_mean(folder.name, classes)}: "
                f"the classes are {some(classes, 10)}; classes=[...] selects folders"
            )
        own = read_texts(folder)
        texts += own
        labels += [folder.name] * len(own)
    return texts, labels


def read_split(
    root: Path, parts: Sequence[str | None], chosen: Sequence[str] | None
) -> tuple[list[str], list[Any]]:
    """The texts of the folders of a split.

    Args:
        root: holds them.
        parts: names of the training, validation and test folders; None for none. The test folder holds class
            folders, or texts without labels.
        chosen: class folders to read, others are passed over; all those of training by default.

    Returns:
        The names of the classes, and for each part texts and labels, texts alone, or None.
    """
    train, validation, test = parts
    there = [folder.name for folder in class_folders(root / str(train))]
    names = there if chosen is None else Classes.given(chosen).names
    for name in names:
        if name not in there:
            raise FileNotFoundError(f"no class folder {root / str(train) / name}{did_you_mean(name, there)}")
    if validation is not None and chosen is None:
        checked = [folder.name for folder in class_folders(root / validation)]
        absent = [name for name in names if name not in checked]
        if absent and len(absent) < len(names):
            warnings.warn(
                f"{root / str(train)} has the class folders {some(map(repr, absent))}, which "
                f"{root / validation} lacks, so nothing measures them: if they are no classes, leave them "
                f"out by classes={[name for name in names if name in checked]}",
                stacklevel=3,
            )
    found: list[Any] = []
    for part in (train, validation, test):
        if part is None:
            found.append(None)
        elif part is test and not class_folders(root / part):
            found.append(read_texts(root / part))
        else:
            found.append(read_classes(root / part, names, ignore_others=chosen is not None))
    return names, found


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text (byte {error.start}): convert it first") from error
    if not text.strip():
        raise ValueError(f"{file} is empty: remove it")
    return text
