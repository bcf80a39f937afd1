"""From a picture to what a network reads: scale, augment, crop (CPU, 8 bits), normalise (device)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.vision.files.depths import checked_range
from zoo.vision.pictures import FULL_SIZE, Picture, as_pixels
from zoo.vision.transforms.augment import RandomGeometry, RandomLighting, RandomTransform, name_of
from zoo.vision.transforms.view import CropMode, PadMode, Size, View
from zoo.vision.transforms.warp import as_image, picture_size, pixels_tensor, warp_picture, warp_pixels


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
        augment: random transforms. Those that move points are carried out in one step with scale and crop,
            about the centre of the crop; the others change the pixels of the result, in their order.
        max_zoom: the scale is drawn uniformly from [1, max_zoom].
        pad: pixels added on each side before the crop.
        pad_mode: what is seen beyond the edges: "reflect", "constant" (black) or "edge"; a turn or warp that
            has one of its own decides for its view.
        value_range: the values that are black and white in pictures of more than 8 bits and of floats, the
            same for all pictures of a set; None takes what the files declare.
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
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_range", checked_range(self.value_range))

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
        return self.seen(picture, rng, channels=channels)[0]

    def seen(
        self,
        picture: Picture,
        rng: np.random.Generator | None = None,
        *,
        channels: int = 3,
        followed: bool = False,
    ) -> tuple[Tensor, View]:
        """As `pixels`, with the view, through which masks, points and boxes of the picture follow it.

        Args:
            picture: as of `pixels`.
            rng: of the draws.
            channels: channels wanted.
            followed: whether something does follow.

        Raises:
            ValueError: a transform of pixels changed the size, so that what follows would not fit.
        """
        if rng is None and self.is_random:
            rng = np.random.default_rng(int(torch.randint(2**62, ()).item()))
        item, source = self.read(picture, channels=channels, roughly=self.is_random)
        view = self.view(source, rng)
        is_image = isinstance(item, Image.Image)  # what code of users is given, and ours need not be
        item = warp_pixels(item, view) if all(map(_takes_tensors, self.augment)) else warp_picture(item, view)
        for step in self.augment:
            if rng is None or isinstance(step, RandomGeometry):
                continue
            params = step.draw(rng, *view.size)
            if params is None:
                continue
            if is_image and isinstance(item, Tensor) and not _takes_tensors(step):
                item = as_image(item)
            item = step.apply(item, params)
            if followed and picture_size(item) != view.size:
                height, width = picture_size(item)
                raise ValueError(
                    f"the transform {name_of(step)} gave {width} x {height} pixels where "
                    f"{view.size[1]} x {view.size[0]} went in, and the targets "
                    "in the picture (mask, points, boxes) cannot "
                    "follow it: use the library's transforms for what moves pixels"
                )
        if picture_size(item) != view.size:
            item = warp_picture(item, View.fit(picture_size(item), view.size))
        return pixels_tensor(item), view

    def read(self, picture: Picture, *, channels: int, roughly: bool = False) -> tuple[Any, Size]:
        """A picture as it is warped, a JPEG not much larger than needed; and the size that it has in full.

        Args:
            picture: as of `pixels`.
            channels: channels wanted.
            roughly: it is for a view that is drawn at random, see `open_image`.
        """
        least = None if self.size is None else math.ceil(max(self.size) * self.max_zoom)
        item = as_pixels(
            picture, channels=channels, min_size=least, value_range=self.value_range, roughly=roughly
        )
        width, height = getattr(item, "info", {}).get(FULL_SIZE, picture_size(item)[::-1])
        return item, (height, width)

    def view(self, source: Size, rng: np.random.Generator | None = None) -> View:
        """What is shown of a picture of a size (height, width); with `rng` a random view."""
        fixed = {"pad_mode": self.pad_mode, "interpolation": self.interpolation, "pad": self.pad}
        if rng is None:
            return View.fit(source, self.size, crop=self.crop, **fixed)
        zoom = float(rng.uniform(1.0, self.max_zoom))
        moves: list[tuple[RandomGeometry, Any]] = []
        for transform in self.augment:
            if isinstance(transform, RandomGeometry):
                params = transform.draw(rng, *(self.size or source))
                if params is not None:
                    moves.append((transform, params))
        size = self.size
        if size is not None and sum(move.turns(params) for move, params in moves) % 2:
            size = size[1], size[0]  # so that the size is covered after a quarter turn
        found = View.fit(source, size, crop=self.crop, zoom=zoom, rng=rng, **fixed)
        for move, params in moves:
            found = move.onto(found, params)
        return found

    def normalize(self, batch: Tensor) -> Tensor:
        """The device half: N x C x H x W pixels (uint8, or float in [0, 1]) -> normalised float32."""
        unit = 1 / 255 if batch.dtype == torch.uint8 else 1.0
        if not self.mean:
            return batch.float().mul_(unit) if unit != 1.0 else batch.float()
        scale, shift = _scale_shift(self.mean, self.std, batch.shape[1], unit, str(batch.device))
        if batch.dtype != torch.float32:
            return batch.float().mul_(scale).add_(shift)
        return torch.mul(batch, scale).add_(shift)

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
            **({} if self.value_range is None else {"value_range": list(self.value_range)}),
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
            value_range=tuple(state["value_range"]) if state.get("value_range") else None,
        )


def _takes_tensors(step: RandomTransform) -> bool:
    return type(step) is RandomLighting or isinstance(step, RandomGeometry)


TransformPair: TypeAlias = tuple[ImageTransform | None, ImageTransform | None]
"""Transforms of the training pictures and of all others; None only decodes."""


def checked_pair(tfms: Any, what: str) -> TransformPair:
    """The (train, valid) transforms that a user gives.

    Args:
        tfms: a pair of transforms, each of which may be None.
        what: names the argument or method in the error.

    Raises:
        TypeError: it is no such pair.

    >>> checked_pair((None, None), "tfms")
    (None, None)
    """
    pair = tuple(tfms) if isinstance(tfms, tuple | list) else ()
    if len(pair) == 2 and all(one is None or hasattr(one, "seen") for one in pair):
        return pair[0], pair[1]
    kinds = [type(one).__name__ for one in pair] or [type(tfms).__name__]
    raise TypeError(
        f"{what} takes a pair (train, valid) of transforms, as tfms_from_model(arch, sz) gives: got "
        + ("None" if tfms is None else f"({', '.join(kinds)})" if pair else kinds[0])
    )


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
