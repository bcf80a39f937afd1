"""`ImageClassifierData`: pictures with one or several labels, from folders, tables or arrays."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import numpy as np
import pandas as pd

from zoo.keywords import completed, takes
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.loaders import checked_bs
from zoo.vision.data.options import COLUMN_DEFAULTS, ROW_DEFAULTS, TABLE_DEFAULTS, RowOptions, TableOptions
from zoo.vision.data.picture_data import ImageData
from zoo.vision.data.sources.arrays import split_arrays
from zoo.vision.data.sources.folders import split_folders
from zoo.vision.data.sources.names import split_names
from zoo.vision.data.sources.tables import names_and_labels, open_table, table_column
from zoo.vision.data.split_rules import rows_of_column
from zoo.vision.data.splits import SplitPictures
from zoo.vision.files.checking import OnBroken
from zoo.vision.targets.labelled import ClassTarget, TagsTarget
from zoo.vision.transforms.image_transform import TransformPair, checked_pair

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    pass


class ImageClassifierData(ImageData):
    """Training, validation and test pictures for a classifier.

    Use one of the constructors `from_paths`, `from_csv`, `from_df`, `from_arrays`, `from_names_and_labels`.

    Args:
        train_ds: training pictures; None for a data object that only reads new pictures.
        valid_ds: validation pictures.
        test_ds: unlabelled pictures.
        classes: class names; column i of the model's output belongs to `classes[i]`.
        is_multi: whether a picture can have several labels (targets 0/1 per class).
        tfms: (train, valid) transforms.
        bs: pictures per batch.
        num_workers: decoding processes; None chooses.
        path: base folder; learners keep weights and caches below it.
        seed: of the order and the augmentation; None draws one from torch's global generator.
        balance: draw training pictures of rare classes more often.

    Attributes:
        trn_ds, val_ds, test_ds: the datasets; `.fnames` and `.y` give file names and targets.
        classes: class names.
        c: number of classes.
        channels: channels of a picture.
    """

    domain: ClassVar[str] = "vision"

    def __init__(
        self,
        train_ds: ImageDataset | None,
        valid_ds: ImageDataset | None = None,
        test_ds: ImageDataset | None = None,
        *,
        classes: Sequence[str],
        is_multi: bool = False,
        tfms: TransformPair = (None, None),
        bs: int = 64,
        num_workers: int | None = None,
        path: str | os.PathLike[str] | None = None,
        channels: int = 3,
        seed: int | None = None,
        balance: bool = False,
    ) -> None:
        super().__init__(
            train_ds,
            valid_ds,
            test_ds,
            target=(TagsTarget if is_multi else ClassTarget)(classes),
            tfms=checked_pair(tfms, "tfms"),
            bs=checked_bs(bs),
            num_workers=num_workers,
            path=path,
            channels=channels,
            seed=seed,
            balance=balance,
        )
        if train_ds is not None and not is_multi and len(self.target.classes or []) == 1:
            warnings.warn(
                f"there is only one class, '{next(iter(classes))}': nothing can be learned",
                UserWarning,
                stacklevel=4,
            )

    # ---- constructors

    @classmethod
    def from_paths(
        cls,
        path: str | os.PathLike[str],
        bs: int = 64,
        tfms: TransformPair = (None, None),
        trn_name: str = "train",
        val_name: str | None = "valid",
        test_name: str | None = None,
        num_workers: int | None = None,
        *,
        n_per_class: int | None = None,
        classes: Sequence[str] | None = None,
        val_pct: float | None = None,
        on_broken: OnBroken = "raise",
        seed: int | None = None,
        balance: bool = False,
    ) -> Self:
        """Read ``path/train/CLASS/*.jpg`` and ``path/valid/CLASS/*.jpg``.

        Args:
            path: folder that holds the others. Symbolic links are followed.
            bs: pictures per batch.
            tfms: (train, valid) transforms, see `tfms_from_model`. With (None, None) all pictures must have
                one size.
            trn_name: name of the training folder; its sub-folders are the classes, in alphabetical order.
            val_name: name of the validation folder; None: no validation, or `val_pct`.
            test_name: name of a folder of unlabelled pictures.
            num_workers: decoding processes; None chooses.
            n_per_class: take only so many pictures of each class folder, spread evenly over its sorted names,
                for a quick trial.
            classes: only these class folders, in this order.
            val_pct: without a validation folder this share of the training pictures validates, of each class
                the same; `seed` draws it.
            on_broken: "raise" names pictures that cannot be read before a training begins; "skip" leaves them
                out now, as far as their headers tell, and logs how many.
            seed: of the order, the augmentation and the split.
            balance: draw training pictures of rare classes more often.

        Raises:
            FileNotFoundError: a folder is missing.
            ValueError: an empty class folder, or a class that only validation has.
        """
        split = split_folders(
            Path(path), trn_name, val_name, test_name,
            limit=n_per_class, classes=classes, val_pct=val_pct, seed=seed,
        )  # fmt: skip
        loading = {"num_workers": num_workers, "seed": seed, "on_broken": on_broken, "balance": balance}
        return cls._of(split, tfms, path=path, bs=bs, **loading)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        csv_fname: str | os.PathLike[str],
        bs: int = 64,
        tfms: TransformPair = (None, None),
        val_idxs: Sequence[int] | np.ndarray | None = None,
        *,
        skip_header: bool = True,
        **options: Unpack[TableOptions],
    ) -> Self:
        """Read a CSV of file names and labels.

        A label cell with several labels, in any row, makes the whole set multi-label.

        Args:
            path: base folder.
            folder: folder of the pictures, below `path`.
            csv_fname: the table; relative to `path` unless it exists as given.
            bs: pictures per batch.
            tfms: (train, valid) transforms.
            val_idxs: row numbers of the validation pictures (rows of the table, from 0), which come in this
                order; default: a fixed random fifth, in ascending order.
            skip_header: whether the first line holds column names.
        """
        chosen = completed(TableOptions, TABLE_DEFAULTS, options, "ImageClassifierData.from_csv")
        frame, origin = open_table(
            path,
            folder,
            csv_fname,
            suffix=chosen["suffix"],
            id_col=chosen["id_col"],
            skip_header=skip_header,
        )
        return cls.from_df(path, folder, frame, bs, tfms, val_idxs, origin=origin, **chosen)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_df(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        df: pd.DataFrame,
        bs: int = 64,
        tfms: TransformPair = (None, None),
        val_idxs: Sequence[int] | np.ndarray | None = None,
        *,
        origin: str = "the data frame",
        **options: Unpack[TableOptions],
    ) -> Self:
        """Like `from_csv`, from a data frame.

        Args:
            path: base folder.
            folder: folder of the pictures, below `path`.
            df: the table; it is not changed.
            bs: pictures per batch.
            tfms: (train, valid) transforms.
            val_idxs: row numbers of the validation pictures, as of `from_csv`.
            origin: names the table in errors.
        """
        chosen = completed(TableOptions, TABLE_DEFAULTS, options, "ImageClassifierData.from_df")
        columns = {name: chosen.pop(name) for name in COLUMN_DEFAULTS}
        valid_col = columns.pop("valid_col")
        names, labels = names_and_labels(df, folder, origin=origin, **columns)
        if valid_col is not None:
            if val_idxs is not None:
                raise ValueError("valid_col and val_idxs both say which pictures validate: leave one out")
            val_idxs = rows_of_column(table_column(df, valid_col, "split", origin), origin)
            if not len(val_idxs):
                log.warning("%s: no picture validates by column %r", origin, valid_col)
        return cls.from_names_and_labels(path, names, labels, bs, tfms, val_idxs, origin=origin, **chosen)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS, without=tuple(COLUMN_DEFAULTS))
    def from_names_and_labels(
        cls,
        path: str | os.PathLike[str],
        names: Iterable[str | os.PathLike[str]],
        labels: Sequence[Any] | np.ndarray | pd.Series,
        bs: int = 64,
        tfms: TransformPair = (None, None),
        val_idxs: Sequence[int] | np.ndarray | None = None,
        *,
        origin: str = "names",
        **options: Unpack[RowOptions],
    ) -> Self:
        """From file names (relative to `path`) and their labels.

        Args:
            path: base folder.
            names: one file a row.
            labels: one label a row; several as text separated by `cat_separator` or as a list; or a rows x
                classes array of 0/1.
            bs: pictures per batch.
            tfms: (train, valid) transforms.
            val_idxs: row numbers of the validation pictures, as of `from_csv`.
            origin: names the table in errors.
        """
        chosen = completed(RowOptions, ROW_DEFAULTS, options, "ImageClassifierData.from_names_and_labels")
        loading = {name: chosen.pop(name) for name in ("num_workers", "seed", "on_broken", "balance")}
        split = split_names(Path(path), names, labels, val_idxs, origin=origin, **chosen)
        return cls._of(split, tfms, path=path, bs=bs, **loading)

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str] | None,
        trn: tuple[np.ndarray, Any],
        val: tuple[np.ndarray, Any] | None = None,
        bs: int = 64,
        tfms: TransformPair = (None, None),
        *,
        classes: Sequence[str] | None = None,
        test: np.ndarray | None = None,
        num_workers: int | None = None,
        seed: int | None = None,
        balance: bool = False,
    ) -> Self:
        """From pictures in memory; uint8 arrays are kept as they are, without a copy.

        Args:
            path: base folder for weights and caches; None: the current one.
            trn: (pictures, labels): rows x H x W or rows x H x W x channels, uint8 or float in [0, 1]; labels
                as in `from_names_and_labels`.
            val: likewise, for validation.
            bs: pictures per batch.
            tfms: (train, valid) transforms.
            classes: class names in the order wanted.
            test: pictures without labels.
            num_workers: processes that transform; None chooses.
            seed: of the order and the augmentation.
            balance: draw training pictures of rare classes more often.
        """
        split = split_arrays(trn, val, test, classes)
        return cls._of(split, tfms, path=path, bs=bs, num_workers=num_workers, seed=seed, balance=balance)

    @classmethod
    def _of(
        cls, split: SplitPictures, tfms: TransformPair, *, on_broken: OnBroken = "raise", **loading: Any
    ) -> Self:
        """Transform what a source found, and load it; `loading` is for the constructor."""
        tfms = checked_pair(tfms, "tfms")
        split = split.readable(on_broken, ranged=getattr(tfms[0], "value_range", None) is not None)
        return cls(
            *split.transformed(tfms),
            classes=split.classes,
            is_multi=split.is_multi,
            tfms=tfms,
            channels=split.channels,
            **loading,
        )


ImageData.of_classes = ImageClassifierData
