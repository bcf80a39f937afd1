"""Pictures as a map-style dataset: decoded and augmented on a CPU worker, 8 bits until the device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.vision.transforms.image_transform import ImageTransform

PLAIN = ImageTransform(size=None)


class ImageDataset(Dataset):
    """Rows of (pixels, target).

    Args:
        items: paths, or one array of shape (rows, H, W) or (rows, H, W, C).
        y: targets with one row a picture; None for unlabelled pictures.
        tfm: how pictures become tensors; None only decodes.
        channels: channels the model reads.
    """

    def __init__(
        self,
        items: Sequence[Path] | np.ndarray,
        y: np.ndarray | None,
        tfm: ImageTransform | None,
        *,
        channels: int = 3,
    ) -> None:
        if y is not None and len(items) != len(y):
            raise ValueError(f"{len(items)} pictures but {len(y)} labels")
        self.items, self.y, self.tfm, self.channels = items, y, tfm or PLAIN, channels

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int) -> tuple[Tensor, Any]:
        index = int(key)
        seed = getattr(key, "seed", None)
        rng = np.random.default_rng(seed) if seed is not None and self.tfm.is_random else None
        pixels = self.tfm.pixels(self.items[index], rng, channels=self.channels)
        return pixels, -1 if self.y is None else torch.as_tensor(self.y[index])

    def with_tfm(self, tfm: ImageTransform | None) -> ImageDataset:
        """The same pictures with another transform."""
        return ImageDataset(self.items, self.y, tfm, channels=self.channels)

    @property
    def files(self) -> list[Path]:
        """The picture files; none for pictures in memory."""
        return [] if isinstance(self.items, np.ndarray) else list(self.items)

    @property
    def fnames(self) -> list[str]:
        """File paths, or row numbers for pictures in memory."""
        if isinstance(self.items, np.ndarray):
            return [str(i) for i in range(len(self))]
        return [str(p) for p in self.items]

    def content_key(self) -> str:
        """A hash of the pictures: names, sizes and times of files, or bytes in memory."""
        digest = hashlib.sha256()
        if isinstance(self.items, np.ndarray):
            digest.update(f"{self.items.shape}{self.items.dtype}".encode())
            for start in range(0, len(self), 4096):
                digest.update(np.ascontiguousarray(self.items[start : start + 4096]).tobytes())
        else:
            for path in self.items:
                stat = os.stat(path)
                digest.update(f"{os.path.abspath(path)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        digest.update(json.dumps([self.channels, len(self)]).encode())
        return digest.hexdigest()
