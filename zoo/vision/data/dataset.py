"""Pictures as a map-style dataset: decoded and augmented on a CPU worker, 8 bits until the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.data.loaders.row_errors import RowError
from zoo.vision.files.file_list import FileList
from zoo.vision.targets.base import TOLD, Misfit, Target
from zoo.vision.transforms.augment import RandomCall
from zoo.vision.transforms.batched import batch_views, can_batch, seen_row
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.view import View

PLAIN = ImageTransform(size=None)


class ImageDataset(Dataset):
    """Rows of (pixels, target).

    Args:
        items: paths, or one array of shape (rows, H, W) or (rows, H, W, C).
        y: raw targets with one entry a picture; None for unlabelled pictures.
        tfm: how pictures become tensors; None only decodes.
        channels: channels the model reads.
        target: how raw targets become those of a batch; None takes them as they are.
    """

    def __init__(
        self,
        items: Sequence[Path] | np.ndarray,
        y: Any,
        tfm: ImageTransform | None,
        *,
        channels: int = 3,
        target: Target | None = None,
    ) -> None:
        if y is not None and len(items) != len(y):
            raise ValueError(f"{len(items)} pictures but {len(y)} labels")
        self.items = items if isinstance(items, np.ndarray | FileList) else FileList(items)
        self.y, self.tfm, self.channels, self.target = y, tfm or PLAIN, channels, target

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int) -> tuple[Tensor, Any]:
        index = int(key)
        seed = getattr(key, "seed", None)
        rng = np.random.default_rng(seed) if seed is not None and self.tfm.is_random else None
        pixels, view = self.tfm.seen(
            self.items[index], rng, channels=self.channels, followed=self.y is not None and self._follows
        )
        return pixels, self._target(index, view)

    def __getitems__(self, keys: Sequence[int]) -> list[tuple[Tensor, Any] | RowError]:
        """The same of many rows, whose random views are drawn together; errors take the place of their
        rows."""
        tfm, seeds = self.tfm, [getattr(key, "seed", None) for key in keys]
        if not tfm.is_random or tfm.size is None or None in seeds or not can_batch(tfm):
            return [self._or_error(key) for key in keys]
        found: list[Any] = []
        for key in keys:
            try:
                found.append(tfm.read(self.items[int(key)], channels=self.channels, roughly=True))
            except Exception as error:  # raised by the loader, with the number of the row
                found.append(RowError(error, int(key)))
        sources = np.array([(1, 1) if isinstance(one, RowError) else one[1] for one in found])
        views = batch_views(tfm, sources, np.array(seeds, np.uint64))
        for place, key in enumerate(keys):
            if not isinstance(found[place], RowError):
                try:
                    pixels, view = seen_row(found[place][0], views, place)
                    found[place] = pixels, self._target(int(key), view)
                except Exception as error:
                    found[place] = RowError(error, int(key))
        return found

    def _or_error(self, key: int) -> tuple[Tensor, Any] | RowError:
        try:
            return self[key]
        except Exception as error:
            return RowError(error, int(key))

    def _target(self, index: int, view: View) -> Any:
        if self.y is None:
            return -1
        raw = self.y[index]
        if self.target is None:
            return torch.as_tensor(raw)
        try:
            return self.target.row(raw, view)
        except Misfit as error:
            name = f"picture {index}" if isinstance(self.items, np.ndarray) else self.items[index]
            raise ValueError(f"{name}: {error}") from None

    @property
    def _follows(self) -> bool:
        return self.target is not None and self.target.follows

    @property
    def seeds_itself(self) -> bool:
        """Whether all that is drawn for a row comes from the seed of its key: the code of users may draw from
        Python's, numpy's and torch's own generators."""
        parts = [type(self), type(self.tfm), *(type(one) for one in self.tfm.augment)]
        parts += [] if self.target is None else [type(self.target)]
        return all(one.__module__.startswith("zoo.") for one in parts) and RandomCall not in parts

    def with_tfm(self, tfm: ImageTransform | None) -> ImageDataset:
        """The same pictures with another transform."""
        return self._like(self.items, self.y, tfm)

    def with_target(self, target: Target | None) -> ImageDataset:
        """The same pictures and raw targets, read by `target`."""
        found = self._like(self.items, self.y, self.tfm)
        found.target = target
        return found

    def only(self, rows: Sequence[int] | np.ndarray) -> ImageDataset:
        """Some of the pictures, in the order given; a picture may come more than once."""
        rows = np.asarray(rows, np.int64)
        items = self.items[rows] if isinstance(self.items, np.ndarray) else self.items.take(rows)
        y = self.y
        if y is not None:
            y = y[rows] if isinstance(y, np.ndarray) else [y[int(row)] for row in rows]
        return self._like(items, y, self.tfm)

    def _like(self, items: Any, y: Any, tfm: ImageTransform | None) -> ImageDataset:
        return ImageDataset(items, y, tfm, channels=self.channels, target=self.target)

    def targets(self) -> Tensor:
        """All targets as those of one batch, -1 for unlabelled pictures.

        Raises:
            ValueError: the targets follow the view of their picture.
        """
        if self.y is None:
            return torch.full((len(self),), -1)
        if self.target is None:
            return torch.as_tensor(np.asarray(self.y))
        if self.target.follows:
            raise ValueError(
                f"{TOLD[self.target.kind]} follow the view of their picture, so there are none without it"
            )
        return self.target.rows(self.y)

    @property
    def files(self) -> Sequence[Path]:
        """The picture files; none for pictures in memory."""
        return [] if isinstance(self.items, np.ndarray) else self.items

    @property
    def fnames(self) -> list[str]:
        """File paths, or row numbers for pictures in memory."""
        if isinstance(self.items, np.ndarray):
            return [str(i) for i in range(len(self))]
        return [str(p) for p in self.items]
