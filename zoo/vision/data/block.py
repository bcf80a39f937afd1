"""`Items`: from pictures to data, step by step; every step can be replaced.

Items.from_folder(...).split_by_random().label_by_folder().transform(tfms).data(bs=32)
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from zoo.data.classes import Classes
from zoo.errors import some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.data.picture_data import ImageData
from zoo.vision.data.sources.arrays import check_array
from zoo.vision.data.sources.folders import existing_folder, read_flat_folder
from zoo.vision.data.sources.names import existing_rows
from zoo.vision.data.sources.tables import names_and_labels, open_table, table_column
from zoo.vision.data.split_rules import (
    Split,
    by_column,
    by_file,
    by_folder,
    by_function,
    by_group,
    by_random,
    by_rows,
)
from zoo.vision.files.checking import OnBroken, check
from zoo.vision.files.file_list import FileList
from zoo.vision.files.finding import find_pictures
from zoo.vision.targets.boxes import BoxTarget, checked_boxes
from zoo.vision.targets.coding import Coded, Coding, coded_classes, coded_points, coded_values
from zoo.vision.targets.maps import MaskTarget, PictureTarget
from zoo.vision.transforms.image_transform import TransformPair

Label = Callable[[Path], Any]
"""Takes the file of a picture to its raw target."""


@dataclass(frozen=True)
class Items:
    """Pictures on their way to `ImageData`. Every step gives a new object; the order of split and label does
    not matter, as both are carried out by `data`.

    Attributes:
        pictures: files, or an array of rows x H x W [x channels].
        root: folder that names are relative to.
        frame: the table the pictures were named by, one row each.
        test: unlabelled pictures.

    Example:
        >>> pictures = np.zeros((10, 8, 8, 3), np.uint8)
        >>> items = Items.from_arrays(pictures).split_by_random(0.2).label_by(["cat", "dog"] * 5)
        >>> items.data(bs=4)
        ImageClassifierData(train 8, valid 2)
    """

    pictures: FileList | np.ndarray
    root: Path = Path(".")
    frame: pd.DataFrame | None = None
    test: FileList | np.ndarray | None = None
    origin: str = "the pictures"
    _split: Split | None = None
    _raw: Sequence[Any] | None = None
    _coding: Coding | None = None
    _tfms: TransformPair = (None, None)

    # ---- where pictures come from

    @classmethod
    def from_folder(cls, path: str | os.PathLike[str], *, folders: Sequence[str] | None = None) -> Self:
        """All pictures below a folder, in sorted order.

        Args:
            path: the folder.
            folders: only these sub-folders of it, such as ["train", "valid"].

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: there are no pictures in it.
        """
        root = Path(path)
        if not root.is_dir():
            raise FileNotFoundError(f"folder {root} does not exist")
        tops = [root] if folders is None else [existing_folder(root, name, "picture") for name in folders]
        files: list[str] = []
        for top in tops:
            found, left = find_pictures(top)
            left.log(top)
            files += [os.fsdecode(name) for name in found.names()]
        if not files:
            raise ValueError(f"{root} holds no pictures")
        return cls(FileList(files), root, origin=str(root))

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        csv_fname: str | os.PathLike[str],
        *,
        suffix: str = "",
        id_col: str | int = 0,
        on_missing: Literal["raise", "skip"] = "raise",
    ) -> Self:
        """The pictures that a CSV file names in one of its columns.

        Args:
            path: base folder.
            folder: folder of the pictures, below `path`.
            csv_fname: the table; relative to `path` unless it exists as given.
            suffix: appended to each name, e.g. ".jpg".
            id_col: column of the file names, by name or position.
            on_missing: what is done with rows whose picture does not exist.
        """
        frame, origin = open_table(path, folder, csv_fname, suffix=suffix, id_col=id_col, skip_header=True)
        options = {"suffix": suffix, "id_col": id_col, "on_missing": on_missing, "origin": origin}
        return cls.from_df(path, folder, frame, **options)

    @classmethod
    def from_df(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        df: pd.DataFrame,
        *,
        suffix: str = "",
        id_col: str | int = 0,
        on_missing: Literal["raise", "skip"] = "raise",
        origin: str = "the data frame",
    ) -> Self:
        """Like `from_csv`, from a data frame, which is not changed."""
        names, _ = names_and_labels(df, folder, suffix=suffix, id_col=id_col, label_col=id_col, origin=origin)
        if not names:
            raise ValueError(f"{origin} has no rows")
        files = [Path(path) / name for name in names]
        kept = existing_rows(files, on_missing, origin)
        frame = df.iloc[kept].reset_index(drop=True)
        return cls(FileList(files[row] for row in kept), Path(path), frame, origin=origin)

    @classmethod
    def from_arrays(cls, pictures: np.ndarray, path: str | os.PathLike[str] = ".") -> Self:
        """Pictures in memory: rows x H x W [x channels], uint8 or float in [0, 1]."""
        return cls(check_array(pictures, "pictures"), Path(path))

    def with_test(self, pictures: str | os.PathLike[str] | np.ndarray) -> Self:
        """Unlabelled pictures to be predicted: a folder, below the root or as given, or an array."""
        if isinstance(pictures, np.ndarray):
            return self._with(test=check_array(pictures, "test"))
        folder = self.root / pictures if (self.root / pictures).is_dir() else Path(pictures)
        if not folder.is_dir():
            raise FileNotFoundError(f"test folder {folder} does not exist")
        return self._with(test=FileList(read_flat_folder(folder)))

    # ---- which of them are looked at

    def filter(self, keep: Callable[[Path], bool]) -> Self:
        """Only the pictures for whose file `keep` is true."""
        return self._only(np.array([bool(keep(file)) for file in self._files("filter")]))

    def check(self, on_broken: OnBroken = "raise") -> Self:
        """Look at the headers of all files; broken ones are named in an error, or ("skip") left out."""
        rows = check(self._files("check"), on_broken=on_broken, origin=self.origin)
        return self._only(np.isin(np.arange(len(self)), rows))

    def _only(self, keep: np.ndarray) -> Self:
        if not keep.any():
            raise ValueError(f"{self.origin}: not one of {len(self)} pictures is left")
        rows = np.flatnonzero(keep)
        if self._raw is not None or self._split is not None:
            raise ValueError("choose the pictures (filter, check) before they are split and labelled")
        pictures = self.pictures[rows] if isinstance(self.pictures, np.ndarray) else self.pictures.take(rows)
        frame = None if self.frame is None else self.frame.iloc[rows].reset_index(drop=True)
        return self._with(pictures=pictures, frame=frame)

    # ---- which of them validate

    def split(self, rule: Split) -> Self:
        """By a rule of your own: takes the items and their labels (None for those that are no classes) to
        true (validation) or false for each."""
        return self._with(_split=rule)

    def split_by_random(self, share: float = 0.2, *, seed: int = 42) -> Self:
        """A random share validates; of classes the same share each, and each keeps a picture for training."""
        return self.split(by_random(share, seed))

    def split_by_group(
        self, group: str | Callable[[Path], Any], share: float = 0.2, *, seed: int = 42
    ) -> Self:
        """A random share of the groups validates; pictures of one group (a patient, a film) stay together.

        Args:
            group: a column of the table, or a function of the file.
            share: of the groups.
            seed: another number draws others.
        """
        return self.split(by_group(group, share, seed))

    def split_by_folder(self, train: str = "train", valid: str = "valid") -> Self:
        """By the folder of that name in the path below the root.

        Raises:
            ValueError: pictures in neither, when the data are made.
        """
        return self.split(by_folder(train, valid))

    def split_by_file(self, names: str | os.PathLike[str]) -> Self:
        """Those validate whose name, with or without folder, is a line of a text file (as given, or below
        the root)."""
        return self.split(by_file(names))

    def split_by_column(self, column: str | int) -> Self:
        """Those validate whose cell in a column of the table is true, 1 or "valid"."""
        return self.split(by_column(column))

    def split_by_function(self, is_valid: Callable[[Path], bool]) -> Self:
        """Those validate for whose file the function is true."""
        return self.split(by_function(is_valid))

    def split_by_rows(self, rows: Sequence[int] | np.ndarray) -> Self:
        """These row numbers validate."""
        return self.split(by_rows(rows))

    # ---- what belongs to each

    def label_by(
        self, labels: Sequence[Any] | np.ndarray | pd.Series | Label, *, target: Coding | None = None
    ) -> Self:
        """By a sequence with one raw target a picture, or a function of the file.

        Args:
            labels: the raw targets, or what takes a file to its own.
            target: what they mean, such as `coded_values()`; by default classes, several a picture where
                they are lists.
        """
        raw: Any = [labels(file) for file in self._files("label_by")] if callable(labels) else labels
        if len(raw) != len(self):
            raise ValueError(f"{self.origin}: {len(self)} pictures but {len(raw)} labels")
        return self._with(_raw=raw, _coding=target or coded_classes(cat_separator=None))

    def label_by_folder(self, classes: Sequence[str] | None = None) -> Self:
        """The name of the folder that a picture lies in is its class.

        Args:
            classes: names in the order wanted; default: those seen, alphabetically.
        """
        return self.label_by(lambda file: file.parent.name, target=coded_classes(classes, None))

    def label_by_column(
        self,
        column: str | int = 1,
        *,
        cat_separator: str | None = None,
        classes: Sequence[str] | None = None,
        values: bool = False,
    ) -> Self:
        """A column of the table holds the labels, or with `values` numbers to predict.

        Args:
            column: by name or position.
            cat_separator: what separates several labels in a cell; None: a cell is one label.
            classes: names in the order wanted.
            values: whether the cells are numbers to predict.
        """
        cells = table_column(self._table("label_by_column"), column, "labels", self.origin)
        chosen = coded_values([str(cells.name)]) if values else coded_classes(classes, cat_separator)
        return self.label_by(cells.to_numpy(), target=chosen)

    def label_by_columns(self, columns: Sequence[str]) -> Self:
        """Several columns of the table hold numbers to predict."""
        cells = [
            table_column(self._table("label_by_columns"), c, "values", self.origin).to_numpy()
            for c in columns
        ]
        return self.label_by(np.stack(cells, 1), target=coded_values(list(columns)))

    def label_by_regex(self, pattern: str, classes: Sequence[str] | None = None) -> Self:
        """The first group of a pattern found in the path below the root is the class.

        Args:
            pattern: a regular expression with a group, such as r"([^/]+)_\\d+\\.jpg$".
            classes: names in the order wanted.
        """
        found = re.compile(pattern)
        if found.groups < 1:
            raise ValueError(f"the pattern {pattern!r} has no group: put what is the label in (parentheses)")

        def label(file: Path) -> str:
            name = self.name_of(file)
            match = found.search(name)
            if match is None:
                raise ValueError(f"the pattern {pattern!r} does not match {name}")
            return match.group(1)

        return self.label_by(label, target=coded_classes(classes, None))

    def masks_by(
        self,
        mask: Callable[[Path], str | os.PathLike[str] | np.ndarray] | Sequence[Any] | np.ndarray,
        codes: Sequence[str] | Mapping[int, str],
        *,
        void: str | Sequence[str] = (),
    ) -> Self:
        """A mask for each picture: segmentation.

        Args:
            mask: takes a file to its mask (a file or an array), or the masks themselves.
            codes: names of the classes by their value in the masks, see `MaskTarget`.
            void: names among them whose pixels do not count.

        Raises:
            FileNotFoundError: masks that do not exist.
        """
        return self._maps(mask, MaskTarget(codes, void), "mask")

    def pictures_by(
        self, picture: Callable[[Path], Any] | Sequence[Any] | np.ndarray, *, scale: int = 1
    ) -> Self:
        """Another picture for each: super-resolution, denoising, colour.

        Args:
            picture: takes a file to the file of the picture to predict, or these pictures themselves.
            scale: height and width of the answer in those of what the network sees.
        """
        return self._maps(picture, PictureTarget(scale), "target picture")

    def points_by(
        self, points: Callable[[Path], Any] | Sequence[Any] | np.ndarray, names: Sequence[str] | None = None
    ) -> Self:
        """Points in each picture, as x and y in its pixels.

        Args:
            points: takes a file to its k x 2 numbers, or a rows x k x 2 array.
            names: of the k points.
        """
        return self.label_by(points, target=coded_points(names))

    def boxes_by(
        self,
        boxes: Callable[[Path], tuple[Any, Sequence[Any]]] | Sequence[tuple[Any, Sequence[Any]]],
        classes: Sequence[str] | None = None,
    ) -> Self:
        """Boxes in each picture: detection.

        Args:
            boxes: takes a file to a pair (k x 4 numbers: left, top, right, bottom in its pixels; k names of
                classes), or these pairs themselves; k may be 0.
            classes: names in the order wanted; default: those seen, alphabetically.
        """

        def code(raw: Any, train: np.ndarray, origin: str) -> Coded:
            names = (
                Classes.given(classes)
                if classes is not None
                else Classes.found([list(labels) for _, labels in raw], several=True)
            )
            return Coded(checked_boxes(raw, names, origin), BoxTarget(names.names))

        return self.label_by(boxes, target=code)

    def _maps(self, found: Any, target: MaskTarget | PictureTarget, what: str) -> Self:
        def fixed(raw: Any, train: np.ndarray, origin: str) -> Coded:
            return Coded(raw, target)

        done = self.label_by(found, target=fixed)
        assert done._raw is not None  # noqa: S101 (label_by has just set it)
        files = [Path(raw) for raw in done._raw if isinstance(raw, str | os.PathLike)]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.origin}: {len(missing)} of {len(self)} pictures have no {what}: {some(missing, 3)}"
            )
        return done

    # ---- how they are seen, and the data

    def transform(self, tfms: TransformPair) -> Self:
        """The (train, valid) transforms, as of `tfms_from_model`."""
        return self._with(_tfms=tfms)

    def data(
        self,
        bs: int = 64,
        *,
        num_workers: int | None = None,
        seed: int | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> ImageData:
        """The data object: `ImageClassifierData` for classes and tags, otherwise `ImageData`.

        Args:
            bs: pictures per batch.
            num_workers: decoding processes; None chooses.
            seed: of the order and the augmentation.
            path: base folder of the learner's files; default: the root.

        Raises:
            ValueError: the pictures have no labels, or a step does not fit them.
        """
        if self._raw is None or self._coding is None:
            raise ValueError(
                "the pictures have no labels: use one of label_by..., masks_by, points_by, pictures_by"
            )
        classes = _plain(self._raw)
        valid = np.zeros(len(self), bool) if self._split is None else self._split(self, classes)
        valid = np.asarray(valid, bool)
        if valid.shape != (len(self),):
            raise ValueError(f"the split gives {valid.shape} answers for {len(self)} pictures")
        if valid.all():
            raise ValueError(f"{self.origin}: the split leaves no picture for training")
        train = np.flatnonzero(~valid)
        coded = self._coding(self._raw, train, self.origin)
        channels = 3
        if isinstance(self.pictures, np.ndarray):
            channels = 1 if self.pictures.ndim == 3 else self.pictures.shape[3]
        whole = ImageDataset(self.pictures, coded.raw, None, channels=channels, target=coded.target)
        parts = [
            whole.only(train).with_tfm(self._tfms[0]),
            whole.only(np.flatnonzero(valid)).with_tfm(self._tfms[1]) if valid.any() else None,
            None if self.test is None else ImageDataset(self.test, None, self._tfms[1], channels=channels),
        ]
        return ImageClassifierData.of_target(
            coded.target, *parts, tfms=self._tfms, bs=bs, num_workers=num_workers, seed=seed,
            path=self.root if path is None else path, channels=channels,
        )  # fmt: skip

    # ---- helpers of the steps

    def __len__(self) -> int:
        return len(self.pictures)

    def name_of(self, file: Path) -> str:
        """The path of a file below the root, with / between folders."""
        return (file.relative_to(self.root) if file.is_relative_to(self.root) else file).as_posix()

    def _files(self, step: str) -> FileList:
        if isinstance(self.pictures, np.ndarray):
            raise TypeError(
                f"{step} needs picture files; these pictures are in memory: give a sequence instead"
            )
        return self.pictures

    def _table(self, step: str) -> pd.DataFrame:
        if self.frame is None:
            raise TypeError(f"{step} needs a table: begin with Items.from_csv or Items.from_df")
        return self.frame

    def column(self, name: str | int, what: str) -> pd.Series:
        """A column of the table."""
        return table_column(self._table(f"the {what}"), name, what, self.origin)

    def _with(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        done = [
            name
            for name, there in (
                ("split", self._split), ("labelled", self._coding), ("transformed", self._tfms[1])
            )
            if there is not None
        ]  # fmt: skip
        return f"Items({len(self)} pictures{', ' if done else ''}{', '.join(done)})"


def _plain(raw: Sequence[Any]) -> np.ndarray | None:
    """Raw targets as names of classes, for a split by class; None where they are nothing of that kind."""
    kinds = (str, int, np.integer, bool, np.bool_)
    if isinstance(raw, np.ndarray) and (raw.ndim != 1 or raw.dtype.kind == "f"):
        return None
    if not all(isinstance(one, kinds) for one in raw):
        return None
    return np.array([str(one) for one in raw])
