"""From a picture to what a network reads: scale, augment, crop (CPU, 8 bits), normalise (device)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from zoo.vision.pictures import FULL_SIZE, Picture, as_pixels
from zoo.vision.transforms.augment import PadMode, Pixels, RandomTransform, pad_by, picture_size

CropMode: TypeAlias = Literal["random", "center", "squash", "letterbox"]


@dataclass(frozen=True)
class ImageTransform:
    """Turn one picture into a C x height x width tensor; usable directly and inside a loader.

    `tfm(picture)` gives the normalised float tensor. Loaders use the two halves: `pixels` on a CPU worker
    (uint8), `normalize` on the device for a whole batch.

    Attributes:
        size: height and width of the result, pixels; None leaves pictures as they are.
        mean: one value a channel, for values in [0, 1]; empty: values are only scaled to [0, 1].
        std: likewise.
        interpolation: "bilinear", "bicubic" or "nearest".
        augment: random transforms, applied after scaling and before the crop.
        max_zoom: the scale is drawn uniformly from [1, max_zoom].
        pad: pixels added on each side before the crop.
        pad_mode: "reflect", "constant" (black) or "edge".
        crop: "random", "center", "squash" (change the aspect ratio) or "letterbox" (add borders).
    """

    size: tuple[int, int] | None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bilinear"
    augment: tuple[RandomTransform, ...] = ()
    max_zoom: float = 1.0
    pad: int = 0
    pad_mode: PadMode = "reflect"
    crop: CropMode = "center"

    def __call__(self, picture: Picture, seed: int | None = None, *, channels: int = 3) -> Tensor:
        """The normalised C x height x width float tensor of one picture.

        Args:
            picture: path, encoded bytes, Pillow image, or HxW / HxWxC array (uint8, or float in [0, 1]).
            seed: makes the random draws repeatable; default: drawn from torch's global generator.
            channels: channels wanted.
        """
        rng = np.random.default_rng(seed) if seed is not None else None
        return self.normalize(self.pixels(picture, rng, channels=channels)[None])[0]

    @property
    def is_random(self) -> bool:
        """Whether two views of one picture can differ."""
        return (
            bool(self.augment)
            or self.max_zoom > 1
            or self.crop == "random"
            or (self.pad > 0 and self.crop == "squash")
        )

    def pixels(
        self, picture: Picture, rng: np.random.Generator | None = None, *, channels: int = 3
    ) -> Tensor:
        """The CPU half: a C x height x width uint8 tensor (float for float arrays), not normalised."""
        if rng is None and self.is_random:
            rng = np.random.default_rng(int(torch.randint(2**62, ()).item()))
        shortest = None if self.size is None else math.ceil(max(self.size) * self.max_zoom)
        item = as_pixels(picture, channels=channels, min_size=shortest)
        if self.size is not None:
            zoom = 1.0 if rng is None else float(rng.uniform(1.0, self.max_zoom))
            item = self._resize(item, self.size, zoom)
        if rng is not None:
            for transform in self.augment:
                params = transform.draw(rng, *picture_size(item))
                if params is not None:
                    item = transform.apply(item, params)
        item = pad_by(item, self.pad, self.pad, self.pad_mode)
        if self.size is not None:
            item = self._crop(item, self.size, rng)
        return F.pil_to_tensor(item) if isinstance(item, Image.Image) else item.contiguous()

    def _resize(self, item: Pixels, size: tuple[int, int], zoom: float) -> Pixels:
        height, width = picture_size(item)
        width, height = getattr(item, "info", {}).get(FULL_SIZE, (width, height))
        scale_y, scale_x = size[0] / height, size[1] / width
        if self.crop == "letterbox":
            scale_y = scale_x = min(scale_y, scale_x)
        elif self.crop != "squash":
            scale_y = scale_x = max(scale_y, scale_x)
        wanted = [max(1, round(height * scale_y * zoom)), max(1, round(width * scale_x * zoom))]
        if wanted == [*picture_size(item)]:
            return item
        return F.resize(item, wanted, interpolation=InterpolationMode(self.interpolation), antialias=True)

    def _crop(self, item: Pixels, size: tuple[int, int], rng: np.random.Generator | None) -> Pixels:
        height, width = picture_size(item)
        if (height, width) == size:
            return item
        spare_y, spare_x = height - size[0], width - size[1]
        if rng is None or self.crop == "letterbox" or min(spare_y, spare_x) < 0:
            return F.center_crop(item, list(size))
        if self.crop != "center":
            top, left = int(rng.integers(spare_y + 1)), int(rng.integers(spare_x + 1))
            return F.crop(item, top, left, *size)
        return F.center_crop(item, list(size))

    def normalize(self, batch: Tensor) -> Tensor:
        """The device half: N x C x H x W pixels (uint8, or float in [0, 1]) -> normalised float32."""
        unit = 1 / 255 if batch.dtype == torch.uint8 else 1.0
        if not self.mean:
            return batch.float() * unit if unit != 1.0 else batch.float()
        scale, shift = _scale_shift(self.mean, self.std, batch.shape[1], unit, str(batch.device))
        return batch.float() * scale + shift

    def denormalize(self, batch: Tensor) -> Tensor:
        """Undo `normalize`: N x C x H x W -> float values in [0, 1]."""
        if not self.mean:
            return batch.float().clamp(0, 1)
        scale, shift = _scale_shift(self.mean, self.std, batch.shape[1], 1.0, str(batch.device))
        return ((batch.float() - shift) / scale).clamp(0, 1)

    def without_augmentation(self) -> ImageTransform:
        """The same scale and statistics with no random part and a centre crop."""
        crop: CropMode = "center" if self.crop == "random" else self.crop
        return replace(self, augment=(), max_zoom=1.0, pad=0, crop=crop)

    def to_state(self) -> dict[str, Any]:
        """What an archive keeps (without the augmentation): JSON values only."""
        return {
            "size": None if self.size is None else list(self.size),
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "crop": self.without_augmentation().crop,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ImageTransform:
        """Rebuild a transform from `to_state`."""
        size = state["size"]
        return cls(
            size=None if size is None else (int(size[0]), int(size[1])),
            mean=tuple(float(v) for v in state["mean"]),
            std=tuple(float(v) for v in state["std"]),
            interpolation=str(state["interpolation"]),
            crop=state["crop"],
        )


TransformPair: TypeAlias = tuple[ImageTransform | None, ImageTransform | None]
"""Transforms of the training pictures and of all others; None only decodes."""


@lru_cache(maxsize=64)
def _scale_shift(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int, unit: float, device: str
) -> tuple[Tensor, Tensor]:
    """Factors such that `pixels * scale + shift` is normalised; C x 1 x 1 each.

    Statistics of other channel counts: one channel takes their mean, further channels get the mean value.
    """
    mean_row, std_row = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if channels == 1 and len(mean) > 1:
        mean_row, std_row = mean_row.mean(keepdims=True), std_row.mean(keepdims=True)
    elif channels != len(mean):
        extra = max(0, channels - len(mean))
        mean_row = np.concatenate([mean_row[:channels], np.full(extra, mean_row.mean())])
        std_row = np.concatenate([std_row[:channels], np.full(extra, std_row.mean())])
    with torch.inference_mode(False):
        scale = torch.tensor(unit / std_row, dtype=torch.float32, device=device)[:, None, None]
        shift = torch.tensor(-mean_row / std_row, dtype=torch.float32, device=device)[:, None, None]
    return scale, shift
