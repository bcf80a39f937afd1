"""What a network for pictures reads and answers, for graphs that are read without this library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.data.ports import Port, Units
from zoo.vision.targets.values import PointsTarget, ValueTarget

if TYPE_CHECKING:
    from zoo.vision.transforms.image_transform import ImageTransform


class Normalising(nn.Module):
    """The device half of an `ImageTransform`, as a part of a graph: pixels to normalised floats."""

    scale: Tensor
    shift: Tensor

    def __init__(self, tfm: ImageTransform, channels: int, dtype: torch.dtype) -> None:
        super().__init__()
        # it is a factor and a shift a channel: what it makes of black and white tells both
        white = 255 if dtype == torch.uint8 else 1
        ends = torch.tensor([0, white], dtype=dtype)[:, None, None, None].expand(2, channels, 1, 1)
        low, high = tfm.normalize(ends.contiguous())
        self.register_buffer("scale", ((high.double() - low.double()) / white).float())
        self.register_buffer("shift", low)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() * self.scale + self.shift


def picture_ports(tfm: ImageTransform, channels: int, size: tuple[int, int]) -> list[Port]:
    """Pixels, which the graph normalises.

    Args:
        tfm: of pictures that are not trained on.
        channels: of the pictures.
        size: height and width that the network reads.
    """
    floats = tfm.value_range is not None
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, channels, *size), generator=generator, dtype=torch.uint8)
    example = pixels.float() / 255 if floats else pixels
    scale = "floats, 0 black and 1 white" if floats else "0 to 255, red, green, blue" if channels == 3 else ""
    meaning = f"pixels of pictures of this size ({scale or '0 to 255'}), not normalised"
    prepare = Normalising(tfm, channels, example.dtype)
    return [Port("pictures", ("rows", channels, *size), meaning, example, prepare)]


def picture_units(target: Any) -> Units | None:
    """What a target makes of outputs, where it is no class."""
    if isinstance(target, ValueTarget):
        return Units(target.names, target.std, target.mean)
    if isinstance(target, PointsTarget):
        names = [f"{axis} of {name}" for name in target.names for axis in "xy"]
        return Units(names, meaning="places from -1 (left, upper edge) to 1 (right, lower edge) of the input")
    return None
