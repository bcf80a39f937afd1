"""Pictures named by the rows of a table or list."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.errors import some
from zoo.vision.data.targets.labels import Labels

log = logging.getLogger(__name__)


def check_files(files: Sequence[Path], origin: str) -> np.ndarray:
    """Which files exist; true or false for each."""
    listed: dict[Path, set[str]] = {}
    exists = np.zeros(len(files), bool)
    for i, file in enumerate(files):
        if file.parent not in listed:
            listed[file.parent] = set(os.listdir(file.parent)) if file.parent.is_dir() else set()
        exists[i] = file.name in listed[file.parent]
    return exists


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
