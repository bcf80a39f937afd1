"""Random transforms of one picture. Every draw comes from the generator that is passed in.

A transform has two steps: `draw` picks the parameters of one view, `apply` carries them out. The same
parameters can therefore be applied to whatever belongs to the picture.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

Pixels: TypeAlias = Any
"""A Pillow image or a C x H x W tensor; torchvision's functions take both but are typed for one."""
PadMode: TypeAlias = Literal["reflect", "constant", "edge"]


class RandomTransform(ABC):
    """Base class of random picture transforms; subclass it for your own."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, height: int, width: int) -> Any:
        """Pick the parameters of one view of a height x width picture; None leaves the picture as it is."""

    @abstractmethod
    def apply(self, item: Pixels, params: Any) -> Pixels:
        """Carry out what `draw` picked."""


def picture_size(item: Pixels) -> tuple[int, int]:
    """Height and width in pixels."""
    height, width = F.get_size(item)
    return height, width


def pad_by(item: Pixels, x: int, y: int, mode: PadMode) -> Pixels:
    """Add x pixels left and right and y above and below; reflection never exceeds what the picture has."""
    if mode == "reflect":
        height, width = picture_size(item)
        x, y = min(x, width - 1), min(y, height - 1)
    if not x and not y:
        return item
    if isinstance(item, Image.Image):  # numpy pads small pictures twice as fast as torchvision
        pixels = np.asarray(item)
        return Image.fromarray(np.pad(pixels, ((y, y), (x, x), (0, 0))[: pixels.ndim], mode=mode))
    return F.pad(item, [x, y, x, y], padding_mode=mode)


@dataclass(frozen=True)
class RandomFlip(RandomTransform):
    """Mirror left-right with probability `p`."""

    p: float = 0.5

    def draw(self, rng: np.random.Generator, height: int, width: int) -> bool | None:
        return True if rng.random() < self.p else None

    def apply(self, item: Pixels, params: bool) -> Pixels:
        return F.horizontal_flip(item)


@dataclass(frozen=True)
class RandomDihedral(RandomTransform):
    """One of the eight symmetries of the square, all equally likely (four quarter turns, mirrored or not)."""

    def draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[int, bool]:
        symmetry = int(rng.integers(8))
        return symmetry % 4, symmetry >= 4

    def apply(self, item: Pixels, params: tuple[int, bool]) -> Pixels:
        turns, mirrored = params
        if mirrored:
            item = F.horizontal_flip(item)
        if turns == 0:
            return item
        if isinstance(item, Image.Image):
            return item.transpose(
                (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)[turns - 1]
            )
        return torch.rot90(item, turns, (-2, -1))


@dataclass(frozen=True)
class RandomRotate(RandomTransform):
    """Rotate by a uniform angle in [-degrees, degrees] with probability `p`; corners come from padding."""

    degrees: float = 10.0
    p: float = 0.75
    pad_mode: PadMode = "reflect"

    def draw(self, rng: np.random.Generator, height: int, width: int) -> float | None:
        chosen, angle = rng.random() < self.p, float(rng.uniform(-self.degrees, self.degrees))
        return angle if chosen else None

    def apply(self, item: Pixels, params: float) -> Pixels:
        height, width = picture_size(item)
        sin, cos = abs(math.sin(math.radians(params))), abs(math.cos(math.radians(params)))
        margin_x = max(0, math.ceil((width * cos + height * sin - width) / 2)) + 1
        margin_y = max(0, math.ceil((height * cos + width * sin - height) / 2)) + 1
        padded = pad_by(item, margin_x, margin_y, self.pad_mode)
        turned = F.rotate(padded, params, interpolation=InterpolationMode.BILINEAR)
        return F.center_crop(turned, [height, width])


@dataclass(frozen=True)
class RandomLighting(RandomTransform):
    """Scale brightness and contrast by uniform factors in [1 - amount, 1 + amount]."""

    brightness: float = 0.1
    contrast: float = 0.1

    def draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[float, float]:
        return (
            float(rng.uniform(1 - self.brightness, 1 + self.brightness)),
            float(rng.uniform(1 - self.contrast, 1 + self.contrast)),
        )

    def apply(self, item: Pixels, params: tuple[float, float]) -> Pixels:
        brightness, contrast = params
        if isinstance(item, Image.Image):
            lit: Pixels = F.adjust_brightness(cast("Any", item), brightness)
            return F.adjust_contrast(lit, contrast)
        values = item.float() * brightness
        values = (values - values.mean()) * contrast + values.mean()
        return (
            values.round_().clamp_(0, 255).to(torch.uint8)
            if item.dtype == torch.uint8
            else values.clamp_(0, 1)
        )


@dataclass(frozen=True)
class RandomPerspective(RandomTransform):
    """Move each corner by up to `magnitude` of the sides with probability `p`: another point of view."""

    magnitude: float = 0.1
    p: float = 0.5
    pad_mode: PadMode = "reflect"

    def draw(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray | None:
        chosen, shifts = rng.random() < self.p, rng.uniform(-self.magnitude, self.magnitude, (4, 2))
        return shifts if chosen else None

    def apply(self, item: Pixels, params: np.ndarray) -> Pixels:
        height, width = picture_size(item)
        margin_x, margin_y = math.ceil(self.magnitude * width) + 1, math.ceil(self.magnitude * height) + 1
        padded = pad_by(item, margin_x, margin_y, self.pad_mode)
        padded_height, padded_width = picture_size(padded)
        left, top = (padded_width - width) / 2, (padded_height - height) / 2
        corners = np.array(
            [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]
        )
        moved = corners + params * [width, height]
        warped = F.perspective(
            padded,
            corners.round().astype(int).tolist(),
            moved.round().astype(int).tolist(),
            InterpolationMode.BILINEAR,
        )
        return F.center_crop(warped, [height, width])


@dataclass(frozen=True)
class RandomCall(RandomTransform):
    """Any callable picture -> picture that draws from torch's global generator (torchvision's transforms do).

    The global generator is seeded from the sample's own seed for the call and put back afterwards.
    """

    function: Callable[[Any], Any]

    def draw(self, rng: np.random.Generator, height: int, width: int) -> int:
        return int(rng.integers(2**63 - 1))

    def apply(self, item: Pixels, params: int) -> Pixels:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params)
            return self.function(item)


transforms_basic: list[RandomTransform] = [RandomRotate(10), RandomLighting(0.1, 0.1)]
"""Small rotations, brightness and contrast: for pictures with a fixed left and right (digits, text)."""

transforms_side_on: list[RandomTransform] = [*transforms_basic, RandomFlip()]
"""For photos taken from the side: also mirrored left-right."""

transforms_top_down: list[RandomTransform] = [*transforms_basic, RandomDihedral()]
"""For pictures taken from above (satellite, microscope): also all eight symmetries of the square."""
