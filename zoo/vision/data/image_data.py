"""`ImageClassifierData`: pictures with one or several labels, from folders, tables or arrays."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from zoo.data.loaders import ModelData
from zoo.errors import some
from zoo.metrics import accuracy, accuracy_thresh, fbeta
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.loaders import picture_loader
from zoo.vision.data.sources.arrays import check_array
from zoo.vision.data.sources.folders import existing_folder, read_class_folders, read_flat_folder
from zoo.vision.data.sources.names import check_duplicates, check_files, missing_files_error
from zoo.vision.data.splits import valid_mask
from zoo.vision.data.targets.labels import (
    Labels,
    classes_with_rows,
    classes_without_rows,
    encode_labels,
    label_rows,
    read_label_table,
    table_column,
)
from zoo.vision.picture_files import broken_error, check_headers
from zoo.vision.transforms.image_transform import ImageTransform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

TransformPair = tuple[ImageTransform | None, ImageTransform | None]
OnMissing = Literal["raise", "skip"]


class ImageClassifierData(ModelData):
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

    Attributes:
        trn_ds, val_ds, test_ds: the datasets; `.fnames` and `.y` give file names and targets.
        c: number of classes.
        channels: channels of a picture.
    """

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
    ) -> None:
        if bs < 1:
            raise ValueError(f"bs must be at least 1 picture per batch, got {bs}")
        train_dl, valid_dl, test_dl = (
            None
            if ds is None
            else picture_loader(ds, bs, shuffle=ds is train_ds, num_workers=num_workers, seed=seed)
            for ds in (train_ds, valid_ds, test_ds)
        )
        super().__init__(train_dl, valid_dl, test_dl, path=Path(path) if path is not None else None)
        self.trn_ds, self.val_ds, self.test_ds = train_ds, valid_ds, test_ds
        self.classes = list(classes)
        self.is_multi = is_multi
        self.task = "multilabel" if is_multi else "classification"
        self.tfms = (tfms[0] or ImageTransform(None), tfms[1] or ImageTransform(None))
        self.bs, self.num_workers, self.channels = bs, num_workers, channels
        self._files_checked = False
        if train_ds is not None and not is_multi and len(self.classes) == 1:
            warnings.warn(
                f"there is only one class, '{self.classes[0]}': nothing can be learned",
                UserWarning,
                stacklevel=3,
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
        seed: int | None = None,
    ) -> ImageClassifierData:
        """Read ``path/train/CLASS/*.jpg`` and ``path/valid/CLASS/*.jpg``.

        Args:
            path: folder that holds the others. Symbolic links are followed.
            bs: pictures per batch.
            tfms: (train, valid) transforms, see `tfms_from_model`. With (None, None) all pictures must have
                one size.
            trn_name: name of the training folder; its sub-folders are the classes, in alphabetical order.
            val_name: name of the validation folder; None: no validation.
            test_name: name of a folder of unlabelled pictures.
            num_workers: decoding processes; None chooses.
            n_per_class: take only the first so many pictures of each class folder, for a quick trial.
            seed: of the order and the augmentation.

        Raises:
            FileNotFoundError: a folder is missing.
            ValueError: an empty class folder, or a class that only validation has.
        """
        path = Path(path)
        folder = existing_folder(path, trn_name, "training")
        files, y, classes = read_class_folders(folder, limit=n_per_class)
        train = ImageDataset(files, y, tfms[0])
        valid = test = None
        if val_name is not None:
            folder = existing_folder(path, val_name, "validation")
            files, y, _ = read_class_folders(folder, classes, limit=n_per_class)
            valid = ImageDataset(files, y, tfms[1])
        if test_name is not None:
            files = read_flat_folder(existing_folder(path, test_name, "test"))
            test = ImageDataset(files, None, tfms[1])
        return cls(
            train,
            valid,
            test,
            classes=classes,
            tfms=tfms,
            bs=bs,
            num_workers=num_workers,
            path=path,
            seed=seed,
        )

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        csv_fname: str | os.PathLike[str],
        bs: int = 64,
        tfms: TransformPair = (None, None),
        val_idxs: Sequence[int] | np.ndarray | None = None,
        *,
        suffix: str = "",
        test_name: str | None = None,
        skip_header: bool = True,
        num_workers: int | None = None,
        cat_separator: str = " ",
        id_col: str | int = 0,
        label_col: str | int = 1,
        on_missing: OnMissing = "raise",
        seed: int | None = None,
    ) -> ImageClassifierData:
        """Read a CSV of file names and labels.

        A label cell with several labels, in any row, makes the whole set multi-label.

        Args:
            path: base folder.
            folder: folder of the pictures, below `path`.
            csv_fname: the table; relative to `path` unless it exists as given.
            bs: pictures per batch.
            tfms: (train, valid) transforms.
            val_idxs: row numbers of the validation pictures (rows of the table, from 0); default: a fixed
                random fifth.
            suffix: appended to each name, e.g. ".jpg".
            test_name: folder of unlabelled pictures, below `path`.
            skip_header: whether the first line holds column names.
            num_workers: decoding processes; None chooses.
            cat_separator: what separates several labels in one cell.
            id_col: column of the file names, by name or position.
            label_col: column of the labels, by name or position.
            on_missing: "raise" names rows whose picture does not exist; "skip" leaves them out and logs how
                many.
            seed: of the order and the augmentation.
        """
        csv = Path(path) / csv_fname
        if not csv.is_file() and Path(csv_fname).is_file():
            csv = Path(csv_fname)
        frame = read_label_table(csv, skip_header=skip_header)
        if skip_header and isinstance(id_col, int) and 0 <= id_col < frame.shape[1]:
            name = str(frame.columns[id_col]).strip()
            if Path(path, folder, f"{name}{suffix}").is_file():
                raise ValueError(
                    f"the first line of {csv} looks like data, not like column names: picture "
                    f"'{name}{suffix}' exists; pass skip_header=False"
                )
        return cls.from_df(
            path,
            folder,
            frame,
            bs,
            tfms,
            val_idxs,
            suffix=suffix,
            test_name=test_name,
            num_workers=num_workers,
            cat_separator=cat_separator,
            id_col=id_col,
            label_col=label_col,
            on_missing=on_missing,
            seed=seed,
            origin=str(csv),
        )

    @classmethod
    def from_df(
        cls,
        path: str | os.PathLike[str],
        folder: str,
        df: pd.DataFrame,
        bs: int = 64,
        tfms: TransformPair = (None, None),
        val_idxs: Sequence[int] | np.ndarray | None = None,
        *,
        suffix: str = "",
        test_name: str | None = None,
        num_workers: int | None = None,
        cat_separator: str = " ",
        id_col: str | int = 0,
        label_col: str | int = 1,
        on_missing: OnMissing = "raise",
        seed: int | None = None,
        origin: str = "the data frame",
    ) -> ImageClassifierData:
        """Like `from_csv`, from a data frame (which is not changed); `origin` names it in errors."""
        names = [str(name).strip() for name in table_column(df, id_col, "file names", origin)]
        blank = [i for i, name in enumerate(names) if name in ("", "nan", "None", "<NA>")]
        if blank:
            raise ValueError(
                f"{origin}: {len(blank)} rows have no file name (first rows, from 0: {some(blank)})"
            )
        labels = table_column(df, label_col, "labels", origin)
        return cls.from_names_and_labels(
            path,
            [os.path.join(folder, f"{name}{suffix}") for name in names],
            labels,
            bs,
            tfms,
            val_idxs,
            test_name=test_name,
            num_workers=num_workers,
            cat_separator=cat_separator,
            on_missing=on_missing,
            seed=seed,
            origin=origin,
        )

    @classmethod
    def from_names_and_labels(
        cls,
        path: str | os.PathLike[str],
        names: Iterable[str | os.PathLike[str]],
        labels: Sequence[Any] | np.ndarray | pd.Series,
        bs: int = 64,
        tfms: TransformPair = (None, None),
        val_idxs: Sequence[int] | np.ndarray | None = None,
        *,
        classes: Sequence[str] | None = None,
        test_name: str | None = None,
        num_workers: int | None = None,
        cat_separator: str | None = " ",
        on_missing: OnMissing = "raise",
        seed: int | None = None,
        origin: str = "names",
    ) -> ImageClassifierData:
        """From file names (relative to `path`) and their labels.

        Args:
            path: base folder.
            names: one file a row.
            labels: one label a row; several as text separated by `cat_separator` or as a list; or a rows x
                classes array of 0/1.
            bs: pictures per batch.
            tfms: (train, valid) transforms.
            val_idxs: validation rows; default: a fixed random fifth.
            classes: class names in the order wanted; default: those seen, alphabetically.
            test_name: folder of unlabelled pictures, below `path`.
            num_workers: decoding processes; None chooses.
            cat_separator: what separates several labels in one text; None: nothing does.
            on_missing: "raise" or "skip" rows whose picture does not exist.
            seed: of the order and the augmentation.
            origin: names the table in errors.
        """
        path = Path(path)
        files = [path / name for name in names]
        if not files:
            raise ValueError(f"{origin} has no rows")
        if len(labels) != len(files):
            raise ValueError(f"{origin}: {len(files)} file names but {len(labels)} labels")
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
        encoded = encode_labels(labels, cat_separator=cat_separator, classes=classes, origin=origin)
        kept = np.flatnonzero(exists)
        is_valid = valid_mask(val_idxs, len(files), kept, origin)
        train_rows, valid_rows = kept[~is_valid[kept]], kept[is_valid[kept]]
        if not len(train_rows):
            raise ValueError(f"{origin}: val_idxs leaves no training rows")
        check_duplicates(
            [files[i] for i in kept],
            Labels(encoded.y[kept], encoded.classes, encoded.multi),
            is_valid[kept],
            origin,
        )
        unseen = classes_without_rows(encoded, train_rows)
        if classes is None and not encoded.multi:
            present = set(classes_with_rows(encoded, valid_rows))
            only_valid = [name for name in unseen if name in present]
            if only_valid:
                raise ValueError(
                    f"{origin}: label {some(map(repr, only_valid))} exists only in the validation pictures, "
                    "so it cannot be learned: choose val_idxs that leave training pictures of every class"
                )
        if unseen:
            log.warning("%s: no training picture has the label %s", origin, some(map(repr, unseen)))
        train, valid = (
            ImageDataset([files[i] for i in rows], encoded.y[rows], tfm) if len(rows) else None
            for rows, tfm in ((train_rows, tfms[0]), (valid_rows, tfms[1]))
        )
        test = None
        if test_name is not None:
            test_files = read_flat_folder(existing_folder(path, test_name, "test"))
            test = ImageDataset(test_files, None, tfms[1])
        return cls(
            train,
            valid,
            test,
            classes=encoded.classes,
            is_multi=encoded.multi,
            tfms=tfms,
            bs=bs,
            num_workers=num_workers,
            path=path,
            seed=seed,
        )

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
    ) -> ImageClassifierData:
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
        """
        pictures = {"trn": trn[0], "val": None if val is None else val[0], "test": test}
        checked = {name: check_array(array, name) for name, array in pictures.items() if array is not None}
        channels = {name: 1 if a.ndim == 3 else a.shape[3] for name, a in checked.items()}
        if len(set(channels.values())) > 1:
            raise ValueError(f"pictures must have the same number of channels, got {channels}")
        for name, given in (("trn", trn), ("val", val)):
            if given is not None and len(given[0]) != len(given[1]):
                raise ValueError(f"{name}: {len(given[0])} pictures but {len(given[1])} labels")
        rows = [row for given in (trn, val) if given is not None for row in label_rows(given[1], "labels")]
        encoded = encode_labels(rows, cat_separator=None, classes=classes, origin="labels")
        n, c = len(trn[1]), channels["trn"]
        if not encoded.multi and val is not None:
            only_valid = set(encoded.y[n:].tolist()) - set(encoded.y[:n].tolist())
            if only_valid and classes is None:
                names = [encoded.classes[i] for i in sorted(only_valid)]
                raise ValueError(f"label {some(map(repr, names))} exists only in the validation pictures")
        train_ds = ImageDataset(checked["trn"], encoded.y[:n], tfms[0], channels=c)
        valid_ds = None if val is None else ImageDataset(checked["val"], encoded.y[n:], tfms[1], channels=c)
        test_ds = None if test is None else ImageDataset(checked["test"], None, tfms[1], channels=c)
        return cls(
            train_ds,
            valid_ds,
            test_ds,
            classes=encoded.classes,
            is_multi=encoded.multi,
            tfms=tfms,
            bs=bs,
            num_workers=num_workers,
            path=path,
            channels=c,
            seed=seed,
        )

    # ---- what is inside

    @property
    def c(self) -> int:
        """Number of classes."""
        return len(self.classes or [])

    @property
    def sz(self) -> tuple[int, int] | None:
        """Height and width the model reads."""
        return self.tfms[1].size

    @property
    def trn_y(self) -> np.ndarray:
        """Training targets: class numbers, or rows x classes of 0/1."""
        return self._targets(self.trn_ds, "training")

    @property
    def val_y(self) -> np.ndarray:
        """Validation targets."""
        return self._targets(self.val_ds, "validation")

    @staticmethod
    def _targets(dataset: ImageDataset | None, what: str) -> np.ndarray:
        if dataset is None or dataset.y is None:
            raise ValueError(f"there are no {what} pictures")
        return dataset.y

    @property
    def filenames(self) -> dict[str, list[str]]:
        """File names of the "train", "valid" and "test" pictures, in order."""
        named = {"train": self.trn_ds, "valid": self.val_ds, "test": self.test_ds}
        return {name: ds.fnames for name, ds in named.items() if ds is not None}

    def check_files(self) -> None:
        """Look at every picture file's header once, so that a broken one stops a training before it begins.

        Learners call it before the first fit. Damage inside the data of a file that begins and ends well is
        found only by decoding it, see `zoo.vision.verify_images`.

        Raises:
            ValueError: names all broken files.
        """
        if self._files_checked:
            return
        datasets = [ds for ds in (self.trn_ds, self.val_ds, self.test_ds) if ds is not None]
        broken = check_headers(path for ds in datasets for path in ds.files)
        if broken:
            raise broken_error(broken)
        self._files_checked = True

    # ---- what the core asks

    def default_metrics(self) -> list:
        """Accuracy, or F2 and the share of correct labels for several labels."""
        return [fbeta(), accuracy_thresh()] if self.is_multi else [accuracy]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Normalised batches from paths, encoded bytes, Pillow images or arrays, in order.

        Args:
            items: a list, a column of a table, or a rows x H x W [x C] array; one picture stands for a list
                of one.
        """
        tfm = self.tfms[1]
        chunk: list[Tensor] = []
        for item in self._picture_list(items):
            pixels = tfm.pixels(item, channels=self.channels)
            full = tfm.size is None or len(chunk) == self.bs
            if chunk and (full or pixels.dtype != chunk[0].dtype):  # bytes and floats are scaled differently
                yield (tfm.normalize(torch.stack(chunk)),)
                chunk = []
            chunk.append(pixels)
        if chunk:
            yield (tfm.normalize(torch.stack(chunk)),)

    def _picture_list(self, items: Any) -> Iterable[Any]:
        """What was given as pictures: several, or one that must not be taken apart."""
        one = str | os.PathLike | bytes | bytearray | memoryview | Image.Image
        if isinstance(items, one) or hasattr(items, "read"):
            return [items]
        if isinstance(items, pd.DataFrame | dict):
            raise TypeError(
                f"expected a list of pictures, got a {type(items).__name__}: pass the column of file names"
            )
        if not isinstance(items, np.ndarray | Tensor) or items.ndim < 2:
            return items
        if items.ndim == 2 or (items.ndim == 3 and items.shape[-1] in (1, self.channels)):
            return [items]
        if items.ndim == 3 and items.shape[0] == self.channels > 1:
            raise ValueError(
                f"expected pictures with channels last (H x W x {self.channels}), got an array of shape "
                f"{tuple(items.shape)}; for {self.channels} grey pictures pass a list of arrays"
            )
        return items

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Classes, kind of target, size and statistics."""
        state = {
            "classes": self.classes,
            "is_multi": self.is_multi,
            "channels": self.channels,
            "bs": self.bs,
            "transform": self.tfms[1].to_state(),
        }
        return state, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> ImageClassifierData:
        """A data object without pictures that reads new ones as the exported one did."""
        tfm = ImageTransform.from_state(state["transform"])
        return cls(
            None,
            classes=state["classes"],
            is_multi=bool(state["is_multi"]),
            tfms=(tfm, tfm),
            bs=int(state["bs"]),
            channels=int(state["channels"]),
        )

    def show_batch(self, n: int = 9, *, epoch: int = 0) -> Figure:
        """Draw `n` training pictures as the model sees them (augmented), with their labels.

        Args:
            n: number of pictures.
            epoch: another number shows other views.
        """
        from zoo.vision.show import show_batch

        if self.trn_ds is None:
            raise ValueError("there are no training pictures to show")
        return show_batch(self.trn_ds, self.classes, n, epoch=epoch)
