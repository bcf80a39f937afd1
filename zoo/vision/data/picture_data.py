"""`PictureData`: loaders of pictures with any kind of target."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from zoo.data.check.report import DataReport
from zoo.data.model_data import ModelData
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.loaders import picture_loader
from zoo.vision.data.raw import raw_batches
from zoo.vision.picture_files import broken_error, check_headers
from zoo.vision.transforms.image_transform import ImageTransform, TransformPair


class PictureData(ModelData):
    """Training, validation and test pictures; a subclass knows what their targets mean.

    Args:
        train_ds: training pictures; None for a data object that only reads new pictures.
        valid_ds: validation pictures.
        test_ds: unlabelled pictures.
        tfms: (train, valid) transforms.
        bs: pictures per batch.
        num_workers: decoding processes; None chooses.
        path: base folder; learners keep weights and caches below it.
        channels: channels of a picture.
        seed: of the order and the augmentation; None draws one from torch's global generator.
    """

    learned_mappings: ClassVar[frozenset[str]] = frozenset({"normalisation"})

    def __init__(
        self,
        train_ds: ImageDataset | None,
        valid_ds: ImageDataset | None,
        test_ds: ImageDataset | None,
        *,
        tfms: TransformPair,
        bs: int,
        num_workers: int | None,
        path: str | os.PathLike[str] | None,
        channels: int,
        seed: int | None,
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
        self.tfms = (tfms[0] or ImageTransform(None), tfms[1] or ImageTransform(None))
        self.bs, self.num_workers, self.channels = bs, num_workers, channels
        self._files_checked = False

    @property
    def sz(self) -> tuple[int, int] | None:
        """Height and width the model reads."""
        return self.tfms[1].size

    @property
    def trn_y(self) -> np.ndarray:
        """Training targets, one row a picture: class numbers, or rows x classes of 0/1."""
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

    def only(self, rows: Any) -> Self:
        """The same data with some of the training pictures; validation and test pictures stay.

        Args:
            rows: numbers of training pictures, or true and false for each.

        Returns:
            New data, for `learn.set_data(data.only(rows))`; these stay as they are.

        Raises:
            ValueError: for numbers that do not exist, or none.
        """
        from zoo.vision.data.only import only_rows

        return only_rows(self, rows)

    def check(self) -> DataReport:
        """Look at every picture once before training, see `zoo.check_data`; nothing is changed."""
        from zoo.vision.seeing.check import check_pictures

        return super().check() if self.trn_ds is None else check_pictures(self)

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

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The mean and deviation of each channel that pictures are normalised with, and what others add."""
        tfm = self.tfms[1]
        statistics = [f"{mean:.6g}, {std:.6g}" for mean, std in zip(tfm.mean, tfm.std, strict=True)]
        return super().mapping_values() | {"normalisation": statistics}

    def denorm(self, x: Tensor) -> Tensor:
        """Pictures of a batch as they can be shown: undoes the normalisation.

        Args:
            x: N x C x H x W, or one picture C x H x W.

        Returns:
            Values in [0, 1], same shape; `.permute(1, 2, 0)` of one picture is what matplotlib draws.
        """
        tfm = self.tfms[1]
        return tfm.denormalize(x) if x.ndim == 4 else tfm.denormalize(x[None])[0]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Normalised batches from paths, encoded bytes, Pillow images or arrays, in order.

        Args:
            items: a list, a column of a table, or a rows x H x W [x C] array; one picture stands for a list
                of one.
        """
        return raw_batches(items, self.tfms[1], channels=self.channels, bs=self.bs)
