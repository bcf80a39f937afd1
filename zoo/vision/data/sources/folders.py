"""Pictures in folders: one folder a class, or a flat folder without labels."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.data.classes import Classes
from zoo.data.splits import stratified_idxs
from zoo.errors import did_you_mean, some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.splits import SplitPictures
from zoo.vision.files.caches import is_cache
from zoo.vision.files.file_list import FileList
from zoo.vision.files.finding import (
    CACHE,
    HIDDEN,
    LOOP,
    STRAY,
    SYSTEM,
    LeftOut,
    find_pictures,
    is_above,
    is_system_folder,
    left_out_because,
)
from zoo.vision.files.names import check_class_names, tell_look_alikes

log = logging.getLogger(__name__)


def split_folders(
    path: Path,
    trn_name: str,
    val_name: str | None,
    test_name: str | None,
    *,
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    val_pct: float | None = None,
    seed: int | None = None,
) -> SplitPictures:
    """Pictures below folders for training, validation (a folder a class each) and test (unlabelled); see
    `ImageClassifierData.from_paths` for the arguments.
    """
    source = existing_folder(path, trn_name, "training")
    classes = None if classes is None else Classes.given(classes).names
    files, y, known = read_class_folders(source, classes, limit=limit, only=classes is not None)
    train, valid = ImageDataset(files, y, None), None
    if val_pct is not None and val_name is not None and (path / val_name).is_dir():
        raise ValueError(
            f"{path / val_name} exists, and val_pct={val_pct} splits the training folder: pass val_name=None "
            "to leave the validation folder out, or leave val_pct out"
        )
    if val_pct is not None:
        rows = stratified_idxs(y, val_pct, 42 if seed is None else seed)
        if not len(rows):
            raise ValueError(f"val_pct={val_pct} of {len(y)} pictures leaves none to validate on")
        train, valid = train.only(np.setdiff1d(np.arange(len(y)), rows)), train.only(rows)
    elif val_name is not None:
        hint = "; val_pct=0.2 validates on a fifth of the training pictures"
        folder = existing_folder(path, val_name, "validation", hint)
        files, y, _ = read_class_folders(folder, known, limit=limit, only=classes is not None)
        valid = ImageDataset(files, y, None)
    return SplitPictures(train, valid, unlabelled(path, test_name), known)


def unlabelled(path: Path, name: str | None) -> ImageDataset | None:
    """The pictures of the test folder, if one is named."""
    if name is None:
        return None
    return ImageDataset(read_flat_folder(existing_folder(path, name, "test")), None, None)


def existing_folder(path: Path, name: str, what: str, hint: str = "") -> Path:
    """`path / name`, or a `FileNotFoundError` that suggests a near miss."""
    if not path.is_dir():
        raise FileNotFoundError(f"folder {path} does not exist")
    folder = path / name
    if not folder.is_dir():
        present = sorted(p.name for p in path.iterdir() if p.is_dir())
        raise FileNotFoundError(
            f"no {what} folder '{name}' in {path}{did_you_mean(name, present)}; folders there: "
            f"{some(present) or 'none'}{hint}"
        )
    return folder


def read_class_folders(
    folder: Path,
    classes: Sequence[str] | None = None,
    *,
    limit: int | None = None,
    allow_empty: bool = False,
    only: bool = False,
) -> tuple[FileList, np.ndarray, list[str]]:
    """Pictures of a folder that holds one folder per class.

    What is left out (other files, folders that systems make, pictures beside the class folders) is told in
    the log, once for the folder.

    Args:
        folder: e.g. ``data/train`` with ``data/train/cats`` and ``data/train/dogs``. Links are followed,
            but not those to a folder above.
        classes: when given, the only classes allowed; otherwise the sub-folders in alphabetical order. A
            folder whose name differs only in Unicode composition belongs to the class.
        limit: largest number of pictures of one class, spread evenly over its sorted files.
        allow_empty: whether a class may have no pictures; it is told in the log.
        only: whether folders of other classes are passed over, which is told in the log.

    Returns:
        Paths, class numbers (int64), class names.

    Raises:
        ValueError: no class folders, a class folder without pictures, a class not in `classes`, or a name
            that is not UTF-8.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"the number of pictures per class must be at least 1, got {limit}")
    names, left = _class_folders(folder)
    if not names:
        raise ValueError(f"{folder} holds no class folders; expected one folder of pictures per class")
    check_class_names(names, folder)
    tell_look_alikes(names, str(folder))
    known = list(classes if classes is not None else names)
    if only:
        names = _chosen(names, known, folder)
    numbers = _class_numbers(names, known, folder)
    files: list[str] = []
    rows: list[np.ndarray] = []
    empty: list[str] = []
    for name in names:
        found, inner = find_pictures(folder / name)
        left.merge(inner, name)
        if not found:
            empty.append(name)
        taken = spread_rows(len(found), limit)
        files += [os.fsdecode(found.name(row)) for row in taken]
        rows.append(np.full(len(taken), numbers[name]))
    left.log(folder)
    if empty and not (allow_empty and files):
        raise ValueError(
            f"{folder}: class folder {some(repr(n) for n in empty)} holds no pictures; fill or remove it"
            + (f" (left out there: {left.text()})" if left.text() else "")
        )
    if empty:
        log.warning("%s: class folder %s holds no pictures", folder, some(repr(n) for n in empty))
    return FileList(files), np.concatenate(rows).astype(np.int64), known


def spread_rows(n: int, limit: int | None) -> np.ndarray:
    """At most `limit` of `n` rows, spread evenly and in order: the first ones would be one film, one camera.

    >>> spread_rows(10, 3).tolist(), spread_rows(2, 3).tolist()
    ([1, 5, 8], [0, 1])
    """
    if limit is None or n <= limit:
        return np.arange(n)
    return ((np.arange(limit) + 0.5) * n / limit).astype(np.int64)


def _class_folders(folder: Path) -> tuple[list[str], LeftOut]:
    """Sub-folders in sorted order, and what else lies beside them."""
    left = LeftOut()
    names: list[str] = []
    real = os.path.realpath(folder)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.is_dir():
                reason = left_out_because(entry)
                left.add(STRAY if reason is None else reason, entry.name)
            elif is_system_folder(entry.name):
                left.add(HIDDEN if entry.name.startswith(".") else SYSTEM, entry.name)
            elif is_cache(entry.path):
                left.add(CACHE, entry.name)
            elif entry.is_symlink() and is_above(os.path.realpath(entry.path), real):
                left.add(LOOP, entry.name)
            else:
                names.append(entry.name)
    return names, left


def _chosen(names: Sequence[str], classes: Sequence[str], folder: Path) -> list[str]:
    """The folders of the classes that were asked for."""
    wanted = {unicodedata.normalize("NFC", name) for name in classes}
    absent = wanted - {unicodedata.normalize("NFC", name) for name in names}
    if absent:
        first = min(absent)
        raise ValueError(
            f"{folder}: there is no class folder {first!r}{did_you_mean(first, names)}; there are: "
            f"{some(names)}"
        )
    found = [name for name in names if unicodedata.normalize("NFC", name) in wanted]
    others = [name for name in names if name not in found]
    if others:
        log.info("%s: class folders passed over: %s", folder, some(others))
    return found


def _class_numbers(names: Sequence[str], known: Sequence[str], folder: Path) -> dict[str, int]:
    """The number of the class of every folder, also where the name is composed in another way."""
    numbers = {name: number for number, name in enumerate(known)}
    composed = {unicodedata.normalize("NFC", name): number for name, number in numbers.items()}
    found = {name: numbers.get(name, composed.get(unicodedata.normalize("NFC", name))) for name in names}
    unknown = [name for name, number in found.items() if number is None]
    if unknown:
        raise ValueError(
            f"{folder}: class {some(repr(n) for n in unknown)} does not exist in the training folder"
            f"{did_you_mean(unknown[0], known)}; its classes: {some(known)}"
        )
    return {name: number for name, number in found.items() if number is not None}


def read_flat_folder(folder: Path) -> FileList:
    """Unlabelled pictures of a folder (sub-folders included), sorted by path; what is left out is told."""
    files, left = find_pictures(folder)
    left.log(folder)
    if not files:
        told = f" (left out there: {left.text()})" if left.text() else ""
        raise ValueError(f"{folder} holds no pictures{told}")
    return files
