"""Pictures named by the rows of a list, with a label for each."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.classes import Labels
from zoo.errors import some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.options import OnMissing
from zoo.vision.data.sources.folders import unlabelled
from zoo.vision.data.splits import SplitPictures, validation_rows, without_stranded
from zoo.vision.files.names import on_disk
from zoo.vision.targets.coding import check_classes
from zoo.vision.targets.labels import encode_labels

log = logging.getLogger(__name__)


def split_names(
    path: Path,
    names: Iterable[str | os.PathLike[str]],
    labels: Any,
    val_idxs: Sequence[int] | np.ndarray | None,
    *,
    classes: Sequence[str] | None,
    test_name: str | None,
    cat_separator: str | None,
    on_missing: OnMissing,
    origin: str,
) -> SplitPictures:
    """Find the pictures, encode their labels, split the rows; see `from_names_and_labels` for the arguments.

    Raises:
        FileNotFoundError: pictures that do not exist, with `on_missing="raise"`.
        ValueError: names, labels and validation rows do not fit each other.
    """
    files = [path / name for name in names]
    if not files:
        raise ValueError(f"{origin} has no rows")
    if len(labels) != len(files):
        raise ValueError(f"{origin}: {len(files)} file names but {len(labels)} labels")
    files = on_disk(files)[0]  # names that differ only in Unicode composition
    kept = existing_rows(files, on_missing, origin)
    encoded = encode_labels(labels, cat_separator=cat_separator, classes=classes, origin=origin)
    valid_rows = validation_rows(val_idxs, len(files), kept, origin)
    if val_idxs is None:
        valid_rows = without_stranded(encoded, valid_rows, kept, origin)
    train_rows = np.setdiff1d(kept, valid_rows)
    if not len(train_rows):
        raise ValueError(f"{origin}: val_idxs leaves no training rows")
    check_duplicates(
        [files[i] for i in kept],
        Labels(encoded.y[kept], encoded.classes, encoded.multi),
        np.isin(kept, valid_rows),
        origin,
    )
    check_classes(encoded, train_rows, valid_rows, chosen=classes is not None, origin=origin)
    train, valid = (
        ImageDataset([files[i] for i in rows], encoded.y[rows], None) for rows in (train_rows, valid_rows)
    )
    test = unlabelled(path, test_name)
    return SplitPictures(train, valid if len(valid) else None, test, encoded.classes, encoded.multi)


def existing_rows(files: Sequence[Path], on_missing: OnMissing, origin: str) -> np.ndarray:
    """Numbers of the rows whose picture exists; the others are an error, or left out and counted."""
    if on_missing not in ("raise", "skip"):
        raise ValueError(f"on_missing must be 'raise' or 'skip', got {on_missing!r}")
    exists = check_files(files, origin)
    if not exists.all():
        if on_missing == "raise" or not exists.any():
            raise missing_files_error(files, exists, origin)
        log.warning(
            "%d of %d pictures named by %s do not exist and are left out",
            (~exists).sum(),
            len(files),
            origin,
        )
    return np.flatnonzero(exists)


def check_files(files: Sequence[Path], origin: str) -> np.ndarray:
    """Which files exist, true or false for each; a link that leads nowhere does not."""
    return on_disk(files)[1]


def missing_files_error(files: Sequence[Path], exists: np.ndarray, origin: str) -> FileNotFoundError:
    """The error for table rows whose picture is not there."""
    missing = [f for f, there in zip(files, exists, strict=True) if not there]
    hint = ""
    siblings = (
        sorted(p.name for p in missing[0].parent.iterdir())[:2000] if missing[0].parent.is_dir() else None
    )
    if siblings is None:
        hint = f"; folder {missing[0].parent} does not exist"
    elif any(name.startswith(missing[0].name + ".") for name in siblings):
        found = next(name for name in siblings if name.startswith(missing[0].name + "."))
        hint = f"; did you mean suffix='{found[len(missing[0].name) :]}'?"
    return FileNotFoundError(
        f"{len(missing)} of {len(files)} pictures named by {origin} do not exist: {some(missing, 3)}{hint}; "
        "on_missing='skip' leaves them out"
    )


def check_duplicates(files: Sequence[Path], labels: Labels, is_valid: np.ndarray, origin: str) -> None:
    """Refuse files that are listed twice with different labels; tell of files on both sides of the split."""
    first: dict[Path, int] = {}
    conflicts: list[str] = []
    shared: list[str] = []
    for i, file in enumerate(files):
        j = first.setdefault(file, i)
        if j == i:
            continue
        if not np.array_equal(labels.y[i], labels.y[j]):
            conflicts.append(f"{file.name} (rows {j} and {i})")
        elif is_valid[i] != is_valid[j]:
            shared.append(file.name)
    if conflicts:
        raise ValueError(
            f"{origin}: {len(conflicts)} pictures are listed more than once with different labels: "
            f"{some(conflicts, 3)}; rows count from 0"
        )
    if shared:
        log.warning(
            "%s: %d pictures are listed more than once, in training and in validation: %s",
            origin,
            len(shared),
            some(shared, 3),
        )
