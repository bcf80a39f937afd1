"""`View`: which part of a picture is shown, how large, and how it is turned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

PadMode: TypeAlias = Literal["reflect", "constant", "edge"]
CropMode: TypeAlias = Literal["random", "center", "squash", "letterbox"]
Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class View:
    """Where every point of a result lies in the picture that it shows.

    The picture is scaled along its sides, and the result is cut from that, turned or warped. Whatever belongs
    to the picture (a mask, points, boxes) goes through the same view. Coordinates are (x, y) in pixels, and
    pixel i covers the range from i to i + 1.

    Attributes:
        source: size of the picture.
        scaled: size to which it is scaled, before anything is cut.
        size: size of the result.
        matrix: nine numbers, row by row: takes (x, y, 1) of the result to the scaled picture, up to a common
            factor (a homography).
        pad_mode: what is seen beyond the edges of the scaled picture.
        interpolation: "bilinear", "bicubic" or "nearest", of the scaling.
        plain: whether nothing in it was drawn at random.
        bordered: whether it shows borders beside the picture (letterbox), which stay black.

    Example:
        >>> view = View.fit((100, 200), (50, 50))
        >>> view.scaled, view.from_source([[100.0, 50.0]]).tolist()
        ((50, 100), [[25.0, 25.0]])
    """

    source: Size
    scaled: Size
    size: Size
    matrix: tuple[float, ...] = IDENTITY
    pad_mode: PadMode = "reflect"
    interpolation: str = "bilinear"
    plain: bool = field(default=True, compare=False)
    bordered: bool = field(default=False, compare=False)

    @classmethod
    def fit(
        cls,
        source: Size,
        size: Size | None,
        *,
        crop: CropMode = "center",
        zoom: float = 1.0,
        pad: int = 0,
        pad_mode: PadMode = "reflect",
        interpolation: str = "bilinear",
        rng: np.random.Generator | None = None,
    ) -> View:
        """A picture scaled to a size and cut to it.

        Args:
            source: size of the picture.
            size: of the result; None leaves the picture as it is.
            crop: "center" and "random" scale until the size is covered, "letterbox" until the picture lies
                inside (black beside it), "squash" changes the aspect ratio.
            zoom: further enlargement.
            pad: pixels beyond each edge that may be seen.
            pad_mode: what is seen there.
            interpolation: of the scaling.
            rng: draws the place of the cut; None cuts in the centre.
        """
        height, width = source
        if size is None:
            grown = (height + 2 * pad, width + 2 * pad)
            shift = (-float(pad), -float(pad))
            return cls(source, source, grown, translation(*shift), pad_mode, interpolation, rng is None)
        scale_y, scale_x = size[0] / height, size[1] / width
        if crop == "letterbox":
            scale_y = scale_x = min(scale_y, scale_x)
        elif crop != "squash":
            scale_y = scale_x = max(scale_y, scale_x)
        scaled = (max(1, round(height * scale_y * zoom)), max(1, round(width * scale_x * zoom)))
        spare = [scaled[i] + 2 * pad - size[i] for i in (0, 1)]
        if rng is None or crop in ("center", "letterbox") or min(spare) < 0:
            offset = [_centred(scaled[i] - size[i]) for i in (0, 1)]
        else:
            offset = [int(rng.integers(spare[i] + 1)) - pad for i in (0, 1)]
        bordered = crop == "letterbox"
        mode: PadMode = "constant" if bordered else pad_mode
        return cls(
            source,
            scaled,
            size,
            translation(offset[1], offset[0]),
            mode,
            interpolation,
            rng is None,
            bordered,
        )

    def through(self, matrix: Sequence[float], size: Size, *, pad_mode: PadMode | None = None) -> View:
        """What is seen of this view's result through another one.

        Args:
            matrix: nine numbers that take points of the new result to this one.
            size: of the new result.
            pad_mode: what is seen beyond the edges; None: what this view says.
        """
        mode = self.pad_mode if pad_mode is None or self.bordered else pad_mode
        return replace(self, matrix=times(self.matrix, matrix), size=size, pad_mode=mode, plain=False)

    def enlarged(self, factor: int) -> View:
        """The same view, `factor` times as large, of the picture `factor` times as large."""
        grow, shrink = np.diag([factor, factor, 1.0]), np.diag([1 / factor, 1 / factor, 1.0])
        matrix = grow @ np.reshape(self.matrix, (3, 3)) @ shrink
        scaled, size = (tuple(factor * side for side in sides) for sides in (self.scaled, self.size))
        return replace(self, scaled=scaled, size=size, matrix=tuple(matrix.ravel().tolist()))

    def from_source(self, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Points of the picture, (n, 2) of x and y in pixels, as they lie in the result; float64."""
        scale = self.scaled[1] / self.source[1], self.scaled[0] / self.source[0]
        inverse = np.linalg.inv(np.reshape(self.matrix, (3, 3)))
        return _moved(np.asarray(points, np.float64).reshape(-1, 2) * scale, inverse)

    def to_source(self, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Points of the result, (n, 2) of x and y in pixels, as they lie in the picture; float64."""
        return self.to_scaled(points) * (self.source[1] / self.scaled[1], self.source[0] / self.scaled[0])

    def to_scaled(self, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Points of the result as they lie in the scaled picture."""
        return _moved(np.asarray(points, np.float64).reshape(-1, 2), np.reshape(self.matrix, (3, 3)))

    @property
    def on_grid(self) -> bool:
        """Whether pixels of the result are pixels of the scaled picture: shifted, mirrored, quarter turns."""
        a, b, tx, c, d, ty, g, h, i = self.matrix
        upright = {abs(a), abs(d)} == {1.0} and b == c == 0
        turned = {abs(b), abs(c)} == {1.0} and a == d == 0
        return (upright or turned) and g == h == 0 and i == 1 and tx.is_integer() and ty.is_integer()

    def window(self, margin: int = 0) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of what is seen of the scaled picture, in whole pixels."""
        height, width = self.size
        a, b, c, d, e, f, g, h, i = self.matrix
        x, y = [], []
        for right, down in ((0, 0), (width, 0), (0, height), (width, height)):
            w = g * right + h * down + i
            x.append((a * right + b * down + c) / w)
            y.append((d * right + e * down + f) / w)
        return (
            math.floor(min(y)) - margin,
            math.floor(min(x)) - margin,
            math.ceil(max(y)) + margin,
            math.ceil(max(x)) + margin,
        )


def translation(x: float, y: float) -> tuple[float, ...]:
    """The matrix that adds x and y.

    >>> translation(2, 3)
    (1.0, 0.0, 2.0, 0.0, 1.0, 3.0, 0.0, 0.0, 1.0)
    """
    return (1.0, 0.0, float(x), 0.0, 1.0, float(y), 0.0, 0.0, 1.0)


def about_centres(matrix: np.ndarray, before: Size, after: Size) -> tuple[float, ...]:
    """A 3 x 3 matrix about the centres of two pictures as one between their corners.

    Args:
        matrix: takes (x, y, 1) about the centre of the second to the same about that of the first.
        before: height and width of the first.
        after: of the second.

    >>> about_centres(np.diag([-1.0, 1.0, 1.0]), (2, 6), (2, 6))[:3]
    (-1.0, 0.0, 6.0)
    """
    there, back = translation(before[1] / 2, before[0] / 2), translation(-after[1] / 2, -after[0] / 2)
    return times(times(there, np.ravel(matrix).tolist()), back)


def times(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    """The product of two matrices of nine numbers, scaled so that the last number is 1.

    Plain numbers: for so small a product numpy takes longer to begin than to multiply.

    >>> times((1, 0, 5, 0, 1, 0, 0, 0, 1), (2, 0, 0, 0, 2, 0, 0, 0, 1))[:3]
    (2.0, 0.0, 5.0)
    """
    a, b, c, d, e, f, g, h, i = first
    j, k, l, m, n, o, p, q, r = second  # noqa: E741
    w = g * l + h * o + i * r
    return (
        (a * j + b * m + c * p) / w, (a * k + b * n + c * q) / w, (a * l + b * o + c * r) / w,
        (d * j + e * m + f * p) / w, (d * k + e * n + f * q) / w, (d * l + e * o + f * r) / w,
        (g * j + h * m + i * p) / w, (g * k + h * n + i * q) / w, 1.0,
    )  # fmt: skip


def _centred(spare: int) -> int:
    """Half of what is to be cut off, or (negative) to be added, rounded as torchvision's centre crops do."""
    return round(spare / 2) if spare >= 0 else -(-spare // 2)


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    moved = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix.T
    return moved[:, :2] / moved[:, 2:]
