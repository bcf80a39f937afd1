"""Pictures in folders: one folder a class, or a flat folder without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.errors import did_you_mean, some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.splits import SplitPictures
from zoo.vision.picture_files import walk_images


def split_folders(
    path: Path, trn_name: str, val_name: str | None, test_name: str | None, *, limit: int | None = None
) -> SplitPictures:
    """Pictures below folders for training, validation (a folder a class each) and test (unlabelled)."""
    files, y, classes = read_class_folders(existing_folder(path, trn_name, "training"), limit=limit)
    train, valid = ImageDataset(files, y, None), None
    if val_name is not None:
        folder = existing_folder(path, val_name, "validation")
        files, y, _ = read_class_folders(folder, classes, limit=limit)
        valid = ImageDataset(files, y, None)
    return SplitPictures(train, valid, unlabelled(path, test_name), classes)


def unlabelled(path: Path, name: str | None) -> ImageDataset | None:
    """The pictures of the test folder, if one is named."""
    if name is None:
        return None
    return ImageDataset(read_flat_folder(existing_folder(path, name, "test")), None, None)


def existing_folder(path: Path, name: str, what: str) -> Path:
    """`path / name`, or a `FileNotFoundError` that suggests a near miss."""
    if not path.is_dir():
        raise FileNotFoundError(f"folder {path} does not exist")
    folder = path / name
    if not folder.is_dir():
        present = sorted(p.name for p in path.iterdir() if p.is_dir())
        raise FileNotFoundError(
            f"no {what} folder '{name}' in {path}{did_you_mean(name, present)}; folders there: "
            f"{some(present) or 'none'}"
        )
    return folder


def read_class_folders(
    folder: Path, classes: Sequence[str] | None = None, *, limit: int | None = None
) -> tuple[list[Path], np.ndarray, list[str]]:
    """Pictures of a folder that holds one folder per class.

    Args:
        folder: e.g. ``data/train`` with ``data/train/cats`` and ``data/train/dogs``. Links are followed.
        classes: when given, the only classes allowed; otherwise the sub-folders in alphabetical order.
        limit: largest number of pictures of one class, the first in sorted order.

    Returns:
        Paths, class numbers (int64), class names.

    Raises:
        ValueError: no class folders, a class folder without pictures, or a class not in `classes`.
    """
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise ValueError(f"{folder} holds no class folders; expected one folder of pictures per class")
    if classes is not None:
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise ValueError(
                f"{folder}: class {some(repr(n) for n in unknown)} does not exist in the training folder"
                f"{did_you_mean(unknown[0], classes)}; its classes: {some(classes)}"
            )
    if limit is not None and limit < 1:
        raise ValueError(f"the number of pictures per class must be at least 1, got {limit}")
    known = list(classes if classes is not None else names)
    files: list[Path] = []
    numbers: list[int] = []
    empty: list[str] = []
    for name in names:
        found = walk_images(folder / name)[:limit]
        if not found:
            empty.append(name)
        files += found
        numbers += [known.index(name)] * len(found)
    if empty:
        raise ValueError(
            f"{folder}: class folder {some(repr(n) for n in empty)} holds no pictures; fill or remove it"
        )
    return files, np.asarray(numbers, np.int64), known


def read_flat_folder(folder: Path) -> list[Path]:
    """Unlabelled pictures of a folder (sub-folders included), sorted by path."""
    files = walk_images(folder)
    if not files:
        raise ValueError(f"{folder} holds no pictures")
    return files
