"""`Items`: from pictures to data, step by step; every step can be replaced.

Items.from_folder(...).split_by_random().label_by_folder().transform(tfms).data(bs=32)
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from zoo.errors import some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.far_points import tell_far_points
from zoo.vision.data.found import FoundPictures
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.data.loaders import checked_bs
from zoo.vision.data.picture_data import ImageData
from zoo.vision.data.sources.tables import table_column
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
from zoo.vision.files.file_list import FileList
from zoo.vision.targets.base import BadRow
from zoo.vision.targets.boxes import BoxTarget, checked_boxes
from zoo.vision.targets.coding import (
    Coded,
    CodedClasses,
    Coding,
    coded_classes,
    coded_points,
    coded_values,
)
from zoo.vision.targets.maps import MaskTarget, PictureTarget
from zoo.vision.targets.values import PointsTarget
from zoo.vision.transforms.augment import RandomCall, RandomGeometry, name_of
from zoo.vision.transforms.image_transform import ImageTransform, TransformPair, checked_pair

log = logging.getLogger(__name__)

Label = Callable[[Path], Any]
"""Takes the file of a picture to its raw target."""


@dataclass(frozen=True)
class Items(FoundPictures):
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

    _split: Split | None = None
    _raw: Sequence[Any] | None = None
    _coding: Coding | None = None
    _tfms: TransformPair = (None, None)

    def _only(self, keep: np.ndarray) -> Self:
        if self._raw is not None or self._split is not None:
            raise ValueError("choose the pictures (filter, check) before they are split and labelled")
        return super()._only(keep)

    # ---- which of them validate

    def split(self, rule: Split) -> Self:
        """By a rule of your own: takes the items and their labels (None for those that are no classes) to
        true (validation) or false for each.

        Raises:
            TypeError: it cannot be called.
        """
        if not callable(rule):
            raise TypeError(
                "split takes a rule (items, classes) -> one boolean a picture, or use split_by_random, "
                f"split_by_folder, ...; got {rule!r}"
            )
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

        Raises:
            ValueError: pictures of no group (None), when the data are made.
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

        Raises:
            TypeError: labels are a word, or the target is none.
            ValueError: another number of labels than of pictures.
        """
        if isinstance(labels, str):
            raise TypeError(
                f"label_by takes the labels of the pictures or a function of the file, got {labels!r}; the "
                "folders' names, a column or a part of the name are label_by_folder(), label_by_column(name) "
                "and label_by_regex(pattern)"
            )
        if target is not None and not callable(target):
            raise TypeError(
                f"target= takes what labels mean: coded_classes(), coded_values() or coded_points(...), got "
                f"{target!r}"
            )
        raw: Any = [labels(file) for file in self.files("label_by")] if callable(labels) else labels
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
        try:
            found = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from None
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
            points: takes a file to its k x 2 numbers, or a rows x k x 2 array; NaN: a point is not there.
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
            found, names = checked_boxes(raw, classes, origin)
            return Coded(found, BoxTarget(names))

        return self.label_by(boxes, target=code)

    def _maps(self, found: Any, target: MaskTarget | PictureTarget, what: str) -> Self:
        def fixed(raw: Any, train: np.ndarray, origin: str) -> Coded:
            return Coded(raw, target)

        done = self.label_by(found, target=fixed)
        assert done._raw is not None  # noqa: S101 (label_by has just set it)
        for row, raw in enumerate(done._raw if isinstance(target, MaskTarget) else ()):
            if not isinstance(raw, str | os.PathLike | np.ndarray):
                picture = f"picture {row}" if isinstance(self.pictures, np.ndarray) else self.pictures[row]
                hint = ": give np.asarray(picture)" if hasattr(raw, "getbands") else ""
                raise TypeError(
                    f"{picture}: expected a file or an array as {what}, got "
                    f"{'None' if raw is None else type(raw).__name__}{hint}"
                )
        files = [Path(raw) for raw in done._raw if isinstance(raw, str | os.PathLike)]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.origin}: {len(missing)} of {len(self)} pictures have no {what}: {some(missing, 3)}"
            )
        return done

    # ---- how they are seen, and the data

    def transform(self, tfms: TransformPair | None) -> Self:
        """The (train, valid) transforms, as of `tfms_from_model`; None only decodes.

        Raises:
            TypeError: it is no pair of transforms.
        """
        tfms = (None, None) if tfms is None else tfms
        return self._with(_tfms=checked_pair(tfms, "transform"))

    def data(
        self,
        bs: int = 64,
        *,
        num_workers: int | None = None,
        seed: int | None = None,
        path: str | os.PathLike[str] | None = None,
        balance: bool = False,
    ) -> ImageData:
        """The data object: `ImageClassifierData` for classes and tags, otherwise `ImageData`.

        Args:
            bs: pictures per batch.
            num_workers: decoding processes; None chooses.
            seed: of the order and the augmentation.
            path: base folder of the learner's files; default: the root.
            balance: whether pictures of rare classes are drawn more often in training.

        Raises:
            ValueError: the pictures have no labels, or a step does not fit them.
            TypeError: `bs` is no whole number.
        """
        bs = checked_bs(bs)
        if self._raw is None or self._coding is None:
            raise ValueError(
                "the pictures have no labels: use one of label_by..., masks_by, points_by, pictures_by"
            )
        valid = self._validating()
        train = np.flatnonzero(~valid)
        try:
            coded = self._coding(self._raw, train, self.origin)
        except BadRow as error:
            if isinstance(self.pictures, np.ndarray):
                raise
            raise ValueError(f"{error}; its file is {self.pictures[error.row]}") from None
        channels = _channels(self.pictures)
        if isinstance(self.test, np.ndarray) and _channels(self.test) != channels:
            raise ValueError(f"the test pictures have {_channels(self.test)} channels, the others {channels}")
        if isinstance(coded.target, PictureTarget):
            _tell_lights(self._tfms[0])
        if isinstance(coded.target, PointsTarget):
            tell_far_points(coded.raw, self.pictures, self.origin)
        whole = ImageDataset(self.pictures, coded.raw, None, channels=channels, target=coded.target)
        parts = [
            whole.only(train).with_tfm(self._tfms[0]),
            whole.only(np.flatnonzero(valid)).with_tfm(self._tfms[1]) if valid.any() else None,
            None if self.test is None else ImageDataset(self.test, None, self._tfms[1], channels=channels),
        ]
        return ImageClassifierData.of_target(
            coded.target, *parts, tfms=self._tfms, bs=bs, num_workers=num_workers, seed=seed,
            path=self.root if path is None else path, channels=channels, balance=balance,
        )  # fmt: skip

    def _validating(self) -> np.ndarray:
        """For each picture whether it validates."""
        if self._split is None:
            return np.zeros(len(self), bool)
        told = np.asarray(
            self._split(self, _plain(self._raw) if isinstance(self._coding, CodedClasses) else None)
        )
        odd = [] if told.dtype == bool else [one for one in told.ravel().tolist() if one not in (0, 1)]
        if odd:
            raise ValueError(
                f"the split gives numbers such as {odd[-1]}, expected true or false for each picture; "
                "split_by_rows takes row numbers"
            )
        valid = told.astype(bool)
        if valid.shape != (len(self),):
            raise ValueError(f"the split gives {valid.shape} answers for {len(self)} pictures")
        if valid.all():
            raise ValueError(f"{self.origin}: the split leaves no picture for training")
        if not valid.any():
            log.warning("%s: no picture validates by this split", self.origin)
        return valid

    def __repr__(self) -> str:
        done = [
            name
            for name, there in (
                ("split", self._split), ("labelled", self._coding), ("transformed", self._tfms[1])
            )
            if there is not None
        ]  # fmt: skip
        return f"Items({len(self)} pictures{', ' if done else ''}{', '.join(done)})"


def _tell_lights(tfm: ImageTransform | None) -> None:
    """Say which transforms change pictures whose target is another picture, which stays as it is."""
    kinds = (RandomGeometry, RandomCall)  # the points of both move; calls are told where the data are made
    lights = [name_of(one) for one in (() if tfm is None else tfm.augment) if not isinstance(one, kinds)]
    if lights:
        log.warning(
            "%s changes the pictures alone, pictures as targets stay as they are: a model learns to undo it; "
            "leave it out of aug_tfms where it should not",
            ", ".join(lights),
        )


def _channels(pictures: FileList | np.ndarray) -> int:
    if not isinstance(pictures, np.ndarray):
        return 3
    return 1 if pictures.ndim == 3 else pictures.shape[3]


def _plain(raw: Any) -> np.ndarray | None:
    """Raw targets as names of classes, for a split by class; None where they are nothing of that kind."""
    kinds = (str, int, np.integer, bool, np.bool_)
    if isinstance(raw, np.ndarray) and (raw.ndim != 1 or raw.dtype.kind == "f"):
        return None
    if not all(isinstance(one, kinds) for one in raw):
        return None
    return np.array([str(one) for one in raw])
