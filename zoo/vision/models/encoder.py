"""A body that hands over a map at every resolution, for networks that draw a picture again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from zoo.inspect.hooks import Hooks
from zoo.vision.models.bodies import body_units
from zoo.vision.models.shapes import resolution_octave, run_shapes, run_zeros

_PROBE_SIDES = (256, 224, 240, 384, 512)


@dataclass(frozen=True)
class Level:
    """One resolution of a body.

    Attributes:
        unit: number of the unit (see `body_units`) that gives it; -1 where the body itself hands over maps.
        channels: of the map.
        halvings: how often the picture was halved; 2 means a stride of 4.
        channels_last: whether the unit gives N x H x W x C.
    """

    unit: int
    channels: int
    halvings: int
    channels_last: bool = False


def find_levels(body: nn.Sequential, c_in: int) -> tuple[Level, ...]:
    """The last unit of every resolution, finest first, found with two pictures of zeros.

    Args:
        body: from `build_body`.
        c_in: channels of the pictures.

    Raises:
        ValueError: the body gives no map.

    >>> from zoo.vision.models.bodies import build_body
    >>> [(level.channels, 2**level.halvings) for level in find_levels(build_body("mobilenet_v2"), 3)]
    [(16, 2), (24, 4), (32, 8), (96, 16), (1280, 32)]
    """
    if hasattr(body, "feature_maps"):
        side, maps = _first_run(_Maps(body), c_in)
        return tuple(Level(-1, m.shape[1], resolution_octave(side, m.shape[-1])) for m in maps)
    units = {str(number): unit for number, unit in enumerate(body_units(body))}
    runs: list[list[tuple[int, ...]]] = []
    sides = _PROBE_SIDES[0], 96
    for side in sides:
        shapes: list[tuple[int, ...]] = []
        with Hooks(units, lambda _, output, shapes=shapes: shapes.append(tuple(output.shape))):
            run_zeros(body, c_in, side, side)
        runs.append(shapes)
    found: list[Level] = []
    for number, (small, large) in enumerate(zip(*runs, strict=True)):
        moving = [axis for axis in (1, 2, 3) if len(small) == 4 and small[axis] != large[axis]]
        if moving not in ([2, 3], [1, 2]):
            continue
        last = moving == [1, 2]
        level = Level(number, small[3 if last else 1], resolution_octave(sides[0], small[2]), last)
        if level.halvings == 0 and level.channels == c_in:
            continue  # the picture, scaled
        if found and level.halvings <= found[-1].halvings:
            found[-1] = level
        else:
            found.append(level)
    if not found:
        raise ValueError("the body gives no feature map")
    return tuple(found)


def _first_run(module: nn.Module, c_in: int) -> tuple[int, Any]:
    for side in _PROBE_SIDES:
        try:
            return side, run_shapes(module, c_in, side, side)
        except Exception:
            if side == _PROBE_SIDES[-1]:
                raise
    raise AssertionError("a map or an error")


class _Maps(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return self.body.feature_maps(pictures)


class Encoder(nn.Module):
    """Runs a body unit by unit and keeps its map at every resolution; there are no hooks, so it exports.

    Args:
        body: from `build_body`.
        c_in: channels of the pictures.

    Attributes:
        levels: what `forward` gives, in the same order.
    """

    def __init__(self, body: nn.Sequential, c_in: int = 3) -> None:
        super().__init__()
        self.body = body
        self.levels = find_levels(body, c_in)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """N x channels x H x W -> maps N x C x h x w, finest first."""
        own: Any = getattr(self.body, "feature_maps", None)
        if own is not None:
            return own(pictures)
        taken, maps, x = {level.unit: level for level in self.levels}, [], pictures
        for number, unit in enumerate(body_units(self.body)):
            x = unit(x)
            if number in taken:
                maps.append(x.permute(0, 3, 1, 2) if taken[number].channels_last else x)
        return maps

    def gaps(self) -> list[int]:
        """How many halvings lie before each level: after the picture, after the first level, ..."""
        at = [0, *(level.halvings for level in self.levels)]
        return [b - a for a, b in itertools.pairwise(at)]
