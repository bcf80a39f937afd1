"""Which pictures validate: rules that take items and their classes to true or false for each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd

from zoo.data.splits import get_cv_idxs, stratified_idxs
from zoo.data.utf8 import read_lines
from zoo.errors import some


class Pictures(Protocol):
    """What a rule sees of the items."""

    pictures: Any
    root: Path
    origin: str

    def __len__(self) -> int: ...

    def name_of(self, file: Path) -> str: ...

    def files(self, step: str) -> Sequence[Path]: ...

    def column(self, name: str | int, what: str) -> pd.Series: ...


Split: TypeAlias = Callable[[Any, np.ndarray | None], np.ndarray]
"""Takes items, and the class of each where they have one, to an array of booleans: True validates."""

_YES = {"true", "1", "1.0", "yes", "valid", "validation", "val", "dev"}
_NO = {"false", "0", "0.0", "no", "train", "training", ""}


def by_random(share: float = 0.2, seed: int = 42) -> Split:
    """A random share; of classes the same share each, and each keeps a picture for training.

    Example:
        >>> rule = by_random(0.5)
        >>> rule([None] * 4, np.array(["a", "a", "b", "b"])).tolist().count(True)
        2
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the pictures that validate lies between 0 and 1, got {share}")

    def rule(items: Any, classes: np.ndarray | None) -> np.ndarray:
        n = len(items)
        rows = get_cv_idxs(n, share, seed) if classes is None else stratified_idxs(classes, share, seed)
        return np.isin(np.arange(n), rows)

    return rule


def by_group(group: str | Callable[[Path], Any], share: float = 0.2, seed: int = 42) -> Split:
    """A random share of the groups, of all pictures of a group or none."""
    if not 0 < share < 1:
        raise ValueError(f"the share of the groups that validate lies between 0 and 1, got {share}")

    def rule(items: Pictures, classes: np.ndarray | None) -> np.ndarray:
        if callable(group):
            files = items.files("split_by_group")
            named = [group(file) for file in files]
            lost = [items.name_of(file) for file, one in zip(files, named, strict=True) if _is_absent(one)]
            if lost:
                raise ValueError(
                    f"{items.origin}: split_by_group: the function gives no group for {len(lost)} of "
                    f"{len(files)} pictures, the first is {lost[0]}: give each its own, or leave these "
                    "pictures out"
                )
            groups = np.array([str(one) for one in named])
        else:
            cells = items.column(group, "groups")
            absent = np.flatnonzero(cells.isna())
            if len(absent):
                raise ValueError(
                    f"{items.origin}: column {cells.name!r} names no group in {len(absent)} rows (first row, "
                    f"from 0: {absent[0]})"
                )
            groups = cells.astype(str).to_numpy()
        names = np.unique(groups)
        if len(names) < 2:
            only = str(names[0])
            raise ValueError(f"{items.origin}: there is only one group, {only!r}, so none can validate")
        drawn = get_cv_idxs(len(names), max(share, 1 / len(names) + 1e-9), seed)
        return np.isin(groups, names[drawn])

    return rule


def _is_absent(group: Any) -> bool:
    return group is None or group is pd.NA or (isinstance(group, float) and math.isnan(group))


def by_folder(train: str = "train", valid: str = "valid") -> Split:
    """By the names of folders below the root."""

    def rule(items: Pictures, classes: np.ndarray | None) -> np.ndarray:
        files = items.files("split_by_folder")
        parts = [items.name_of(file).split("/")[:-1] for file in files]
        is_valid = np.array([valid in names for names in parts])
        is_train = np.array([train in names for names in parts])
        odd = np.flatnonzero(is_valid == is_train)
        if len(odd):
            names = [items.name_of(files[int(row)]) for row in odd[:3]]
            raise ValueError(
                f"{items.origin}: {len(odd)} pictures lie neither in '{train}' nor in '{valid}', or in both: "
                f"{some(names, 3)}; read only these folders with folders=['{train}', '{valid}']"
            )
        return is_valid

    return rule


def by_file(names: str | os.PathLike[str]) -> Split:
    """By the lines of a text file, each the name of a picture that validates."""
    if not isinstance(names, str | os.PathLike):
        raise TypeError(
            f"split_by_file takes a text file of names, got a {type(names).__name__}; for names at hand: "
            "split_by_function(lambda file: file.name in names)"
        )

    def rule(items: Pictures, classes: np.ndarray | None) -> np.ndarray:
        files = items.files("split_by_file")
        listing = next((p for p in (Path(names), items.root / names) if p.is_file()), None)
        if listing is None:
            raise FileNotFoundError(f"the file of names {names} does not exist (nor below {items.root})")
        lines = {line.strip() for line in read_lines(listing) if line.strip()}
        found = np.zeros(len(items), bool)
        named: dict[str, list[str]] = {}  # by line: the pictures that it may mean
        for row, file in enumerate(files):
            name = items.name_of(file)
            known = {name} & lines or {file.name, file.stem} & lines
            found[row] = bool(known)
            for line in known:
                named.setdefault(line, []).append(name)
        absent = sorted(lines - named.keys())
        if absent:
            raise ValueError(
                f"{listing}: {len(absent)} of {len(lines)} names are none of the pictures: {some(absent, 3)}"
            )
        several = sorted(line for line, meant in named.items() if line not in meant and len(meant) > 1)
        if several:
            raise ValueError(
                f"{listing}: {len(several)} of {len(lines)} names fit several pictures; {several[0]!r} is "
                f"{some(named[several[0]], 3)}: write them with their folders"
            )
        return found

    return rule


def by_column(column: str | int) -> Split:
    """By the cells of a column: true, 1, "valid" and the like validate."""

    def rule(items: Pictures, classes: np.ndarray | None) -> np.ndarray:
        rows = rows_of_column(items.column(column, "split"), items.origin)
        return np.isin(np.arange(len(items)), rows)

    return rule


def rows_of_column(cells: pd.Series, origin: str) -> np.ndarray:
    """The row numbers whose cell is true, 1, "valid" and the like.

    Raises:
        ValueError: for cells that say something else.

    Example:
        >>> rows_of_column(pd.Series(["train", "valid", "train"], name="part"), "the table")
        array([1])
    """
    told = [str(cell).strip().lower() for cell in cells]
    strange = sorted({cell for cell in told if cell not in _YES | _NO})
    if strange:
        raise ValueError(
            f"{origin}: column {cells.name!r} says which pictures validate with true and false, 1 and 0, or "
            f"valid and train; it holds {some(map(repr, strange))}"
        )
    return np.flatnonzero([cell in _YES for cell in told])


def by_function(is_valid: Callable[[Path], bool]) -> Split:
    """By a function of the file."""
    return lambda items, classes: np.array(
        [bool(is_valid(file)) for file in items.files("split_by_function")]
    )


def by_rows(rows: Sequence[int] | np.ndarray) -> Split:
    """These row numbers."""

    def rule(items: Pictures, classes: np.ndarray | None) -> np.ndarray:
        numbers = np.asarray(rows)
        if numbers.dtype == bool:
            raise ValueError("split_by_rows takes row numbers, got booleans; use numpy.flatnonzero(mask)")
        if numbers.size and numbers.dtype.kind not in "iu":
            raise ValueError(f"split_by_rows takes whole row numbers, got {numbers.dtype}")
        outside = [int(row) for row in numbers if not 0 <= row < len(items)]
        if outside:
            raise ValueError(
                f"split_by_rows: row {some(outside)} is outside the {len(items)} rows of {items.origin}"
            )
        return np.isin(np.arange(len(items)), numbers)

    return rule
