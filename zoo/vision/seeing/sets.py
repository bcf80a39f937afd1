"""`PictureSet`: the pictures of a learner, of data or of a folder in one row, with where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import did_you_mean, some
from zoo.vision.files.finding import walk_images

_TOLD = ("classification", "multilabel", "regression")  # kinds of targets that a line of text can tell
PARTS = (("train", "trn_ds"), ("valid", "val_ds"), ("test", "test_ds"))


@dataclass(frozen=True)
class PictureSet:
    """Pictures one after another: those of training, of validation, to predict.

    Attributes:
        items: what can be opened as a picture: a path, or an array.
        names: file names; of pictures in memory the part and the row number.
        parts: "train", "valid" or "test"; empty texts where there is no split.
        rows: the number of each within its part.
        y: targets of the first `n_labelled` pictures, those of training and validation; `None` without any.
        classes: names of the classes or labels.
        is_multi: whether a picture can have several labels.
        base: folder that file names are told from.
    """

    items: list[Any]
    names: list[str]
    parts: np.ndarray
    rows: np.ndarray
    y: np.ndarray | None = None
    classes: Sequence[str] | None = None
    is_multi: bool = False
    base: Path = Path(".")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def n_labelled(self) -> int:
        """How many pictures have a target; they come first."""
        return 0 if self.y is None else len(self.y)

    def label(self, row: int) -> str:
        """What a picture is labelled as, several labels with blanks between; empty for none."""
        if self.y is None or row >= len(self.y):
            return ""
        target = self.y[row]
        names = self.classes
        if names is None:
            values = np.asarray(target).reshape(-1)  # in full: what is looked at comes back as the truth
            return " ".join(np.format_float_positional(value, trim="-") for value in values)
        if np.ndim(target) == 1:
            return " ".join(str(names[int(i)]) for i in np.flatnonzero(np.asarray(target) > 0.5))
        return str(names[int(target)]) if int(target) >= 0 else ""


def picture_set(source: Any) -> PictureSet:
    """The pictures of a learner, of data, of a folder, or of a list of files or arrays.

    Raises:
        TypeError: for anything else.
        ValueError: if there are none.

    Example:
        >>> found = picture_set([np.zeros((4, 4, 3), np.uint8)])
        >>> len(found), found.names
        (1, ['picture 0'])
    """
    data = data_of(source)
    if data is not None:
        return _of_data(data)
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"folder {folder} does not exist: give a folder, data, or a list of files"
            )
        return _listed(walk_images(folder), f"folder {folder}", folder)
    if isinstance(source, np.ndarray) or (isinstance(source, Iterable) and not isinstance(source, bytes)):
        return _listed(list(source), "the list", Path("."))
    raise TypeError(
        "expected a learner, picture data, a folder, or a list of files or arrays, got "
        f"{type(source).__name__}"
    )


def data_of(source: Any) -> Any:
    """The picture data behind a learner or data; `None` if it is something else."""
    data = getattr(source, "_pictures", None)
    data = source if data is None else data
    return data if hasattr(data, "trn_ds") and hasattr(data, "val_ds") else None


def _listed(items: list[Any], origin: str, base: Path) -> PictureSet:
    if not items:
        raise ValueError(f"{origin} holds no pictures")
    items = [Path(item) if isinstance(item, str) else item for item in items]
    names = [
        os.fspath(item) if isinstance(item, os.PathLike) else f"picture {i}" for i, item in enumerate(items)
    ]
    return PictureSet(items, names, np.full(len(items), ""), np.arange(len(items)), base=base)


def _of_data(data: Any) -> PictureSet:
    items: list[Any] = []
    names: list[str] = []
    parts: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for part, attribute in PARTS:
        dataset = getattr(data, attribute, None)
        if dataset is None:
            continue
        in_memory = isinstance(dataset.items, np.ndarray)
        items += [dataset.items[i] for i in range(len(dataset))]
        names += [f"{part} {name}" if in_memory else name for name in dataset.fnames]
        parts.append(np.full(len(dataset), part))
        if part != "test" and dataset.y is not None and data.task in _TOLD:
            targets.append(np.asarray(dataset.y))
    if not items:
        raise ValueError("these data have no pictures: give the data that the learner was trained on")
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    return PictureSet(
        items,
        names,
        np.concatenate(parts),
        rows,
        np.concatenate(targets) if targets else None,
        getattr(data, "classes", None),
        bool(getattr(data, "is_multi", False)),
        Path(getattr(data, "path", ".")),
    )


def class_number(label: str | int, classes: list[str]) -> int:
    """The number of a class given by name or number.

    Raises:
        ValueError: if there is no such class.

    Example:
        >>> class_number("dog", ["cat", "dog"]), class_number(0, ["cat", "dog"])
        (1, 0)
    """
    if isinstance(label, str):
        if label not in classes:
            raise ValueError(
                f"there is no class '{label}'{did_you_mean(label, classes)}; classes: {some(classes, 10)}"
            )
        return classes.index(label)
    if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
        raise TypeError(f"label is the name or the number of a class, got {label!r}")
    if not 0 <= label < len(classes):
        raise ValueError(
            f"there is no class number {label}: there are {len(classes)}, from 0: {some(classes, 10)}"
        )
    return int(label)
