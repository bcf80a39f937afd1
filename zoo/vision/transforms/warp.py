"""Carry out a `View`: on pictures, masks, points and boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as nnf
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from zoo.vision.transforms.view import PadMode, Size, View, times

Pixels: TypeAlias = Any
"""A Pillow image or a C x H x W tensor; torchvision's functions take both but are typed for one."""

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom and right in whole pixels."""

VOID = 255
"""Value of mask pixels that stand for nothing: those that no picture covers, and those that do not count."""

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
_MUCH_UNSEEN = 4  # times the seen area: then only what is seen is scaled


def picture_size(item: Pixels) -> Size:
    """Height and width in pixels."""
    height, width = F.get_size(item)
    return height, width


def warp_picture(item: Pixels, view: View) -> Pixels:
    """What a view shows of a picture.

    A plain view is cut from the scaled picture, which is scaled with antialiasing; one drawn at random is cut
    from the picture itself where it is not scaled nor turned by odd angles. The pixels of all others are
    taken from the picture in one bilinear step, after it was reduced by a whole factor, by the means of
    squares, where it is much larger.

    Args:
        item: a Pillow image, or a C x H x W tensor (uint8 or float), of any size that has the proportions of
            `view.source` (a JPEG may be decoded at a reduced size).
        view: what to show.

    Returns:
        The same kind, of height and width `view.size`.
    """
    if _is_cut(item, view):
        return _on_grid(_window(item, view, *view.window()), view)
    values = warp_pixels(item, view)
    if not isinstance(item, Image.Image):
        return values
    return as_image(values)


def as_image(pixels: Tensor) -> Image.Image:
    """A C x H x W tensor of 1 or 3 channels (uint8) as a Pillow image."""
    array = pixels.numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def warp_pixels(item: Pixels, view: View) -> Tensor:
    """What a view shows of a picture as a C x H x W tensor: `pixels_tensor(warp_picture(item, view))`."""
    if _is_cut(item, view):
        return pixels_tensor(warp_picture(item, view))
    values = warp_values(item, view)
    if not isinstance(item, Image.Image) and item.dtype != torch.uint8:
        return values
    array = values.numpy()
    return torch.from_numpy(np.rint(array, out=array).astype(np.uint8))


def warp_values(item: Pixels, view: View) -> Tensor:
    """The same in the unit of the picture's pixels, but as floats that are not rounded."""
    if _is_cut(item, view):
        return pixels_tensor(warp_picture(item, view)).float()
    have = picture_size(item)
    factors = reductions(have, view.scaled)
    size = -(-have[0] // factors[0]), -(-have[1] // factors[1])  # of the reduced picture
    scale_y, scale_x = have[0] / factors[0] / view.scaled[0], have[1] / factors[1] / view.scaled[1]
    top, left, bottom, right = view.window(2)
    reach = (
        math.floor(top * scale_y), math.floor(left * scale_x),
        math.ceil(bottom * scale_y), math.ceil(right * scale_x),
    )  # fmt: skip
    inside = _seen(reach, size, view.pad_mode)
    part = _reduced_part(item, factors, size, inside)
    onto = times((scale_x, 0, -inside[1], 0, scale_y, -inside[0], 0, 0, 1), view.matrix)
    if isinstance(part, Image.Image):
        pixels = np.asarray(part)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        part = torch.from_numpy(pixels.astype(np.float32))
    else:
        part = part.float()
    height, width = part.shape[1:]
    places = places_of(times(to_unit((height, width), view.pad_mode), onto), view.size)
    return sampled(part[None], torch.from_numpy(places)[None], view.pad_mode)[0]


def places_of(matrix: Sequence[float], size: Size) -> np.ndarray:
    """Where the centres of all pixels of a result lie, height x width x 2 of x and y (float32).

    Args:
        matrix: nine numbers, as of a `View`.
        size: of the result.
    """
    a, b, c, d, e, f, g, h, i = matrix
    x = np.arange(size[1]) + 0.5
    y = np.arange(size[0])[:, None] + 0.5
    # x and y as one complex number are added in one sweep
    along, down = (a + 1j * d) * x + (c + 1j * f), (b + 1j * e) * y
    found = (along.astype(np.complex64) + down.astype(np.complex64)).view(np.float32).reshape(*size, 2)
    if g == h == 0:
        return found
    depth = (g * x + i) + h * y
    return np.divide(found, depth[..., None].astype(np.float32), out=found)


def to_unit(size: Size, mode: PadMode) -> tuple[float, ...]:
    """The matrix from pixels of a picture, where pixel i covers the range from i to i + 1, to the coordinates
    of `sampled`, which reach from -1 to 1.

    >>> to_unit((4, 4), "edge")[:3]
    (0.5, 0, -1.0)
    """
    height, width = size
    if mode == "reflect":  # about the centres of the first and the last pixel
        x, y = 2 / max(1, width - 1), 2 / max(1, height - 1)
        return (x, 0, -1.0 - x / 2, 0, y, -1.0 - y / 2, 0, 0, 1)
    return (2 / width, 0, -1.0, 0, 2 / height, -1.0, 0, 0, 1)


def sampled(pictures: Tensor, places: Tensor, mode: PadMode) -> Tensor:
    """Pictures at places between their pixels, bilinearly.

    Args:
        pictures: N x C x H x W, float.
        places: N x h x w x 2 of x and y, see `to_unit`; float.
        mode: what is seen beyond the edges; mirrored without repeating the edge, as often as is needed.

    Returns:
        N x C x h x w, float.
    """
    if mode == "reflect":
        return nnf.grid_sample(pictures, places, padding_mode="reflection", align_corners=True)
    beyond = "zeros" if mode == "constant" else "border"
    return nnf.grid_sample(pictures, places, padding_mode=beyond, align_corners=False)


def _is_cut(item: Pixels, view: View) -> bool:
    """Whether a view is cut from the picture, scaled with antialiasing where nothing is drawn at random."""
    return view.on_grid and (view.plain or picture_size(item) == view.scaled)


def reductions(have: Size, scaled: Size) -> tuple[int, int]:
    """Whole factors by which a picture is reduced before it is scaled and warped in one bilinear step, so
    that this shrinks it by at most one and a half.

    >>> reductions((180, 180), (128, 128)), reductions((400, 200), (128, 128))
    ((1, 1), (3, 2))
    """
    return max(1, int(have[0] / scaled[0] + 0.5)), max(1, int(have[1] / scaled[1] + 0.5))


def warp_mask(mask: np.ndarray, view: View, *, outside: int = VOID) -> np.ndarray:
    """What a view shows of a mask: the nearest pixel's value, never a mixture.

    Args:
        mask: H x W of whole numbers, of any size that has the proportions of `view.source`.
        view: the picture's.
        outside: the value beyond the edges, where the view pads with a constant.
    """
    height, width = view.size
    if view.on_grid or view.matrix[6] == view.matrix[7] == view.matrix[1] == view.matrix[3] == 0:
        # rows and columns go separately
        turned = view.matrix[0] == 0
        along_x = view.to_scaled(np.stack([np.arange(width) + 0.5, np.full(width, 0.5)], 1))
        along_y = view.to_scaled(np.stack([np.full(height, 0.5), np.arange(height) + 0.5], 1))
        x, y = (along_y[:, 0], along_x[:, 1]) if turned else (along_x[:, 0], along_y[:, 1])
        columns, beside = _nearest(x, view.scaled[1], mask.shape[1], view.pad_mode)
        rows, above = _nearest(y, view.scaled[0], mask.shape[0], view.pad_mode)
        seen = mask[rows][:, columns]
        if beside is not None and above is not None:
            seen[above] = outside
            seen[:, beside] = outside
        return np.ascontiguousarray(seen.T if turned else seen)
    grid_y, grid_x = np.mgrid[0:height, 0:width] + 0.5
    points = view.to_scaled(np.stack([grid_x.ravel(), grid_y.ravel()], 1))
    columns, beside = _nearest(points[:, 0], view.scaled[1], mask.shape[1], view.pad_mode)
    rows, above = _nearest(points[:, 1], view.scaled[0], mask.shape[0], view.pad_mode)
    seen = mask[rows, columns]
    if beside is not None and above is not None:
        seen[beside | above] = outside
    return seen.reshape(height, width)


def warp_boxes(boxes: np.ndarray, view: View, *, least_seen: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as a view shows them: the upright box around each turned one, cut at the edges.

    Args:
        boxes: n x 4 of left, top, right, bottom in pixels of the picture.
        view: the picture's.
        least_seen: boxes of which a smaller share of the area is left are dropped.

    Returns:
        The boxes in pixels of the result (float32), and the numbers of the rows that are left.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    moved = view.from_source(corners).reshape(-1, 4, 2)
    around = np.concatenate([moved.min(1), moved.max(1)], 1)
    height, width = view.size
    cut = around.clip(0, [width, height, width, height])
    whole, left = _areas(around), _areas(cut)
    kept = np.flatnonzero((left >= 1) & (left >= least_seen * whole))
    return cut[kept].astype(np.float32), kept


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)


def _window(item: Pixels, view: View, top: int, left: int, bottom: int, right: int) -> Pixels:
    """A part of the scaled picture, padded where it reaches beyond the edges."""
    reach = top, left, bottom, right
    inside = _seen(reach, view.scaled, view.pad_mode)
    part = _scaled_part(item, view, *inside)
    return part if inside == reach else _padded(part, reach, inside, view.scaled, view.pad_mode)


def _seen(reach: Box, size: Size, mode: PadMode) -> Box:
    """The part of a picture of a size that is needed for all pixels from top, left to bottom, right."""
    top, left, bottom, right = reach
    height, width = size
    inside = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
    if inside != reach and mode == "reflect":  # what is mirrored lies farther inside
        inside = (
            min(inside[0], max(0, height - 1 - (bottom - height))),
            min(inside[1], max(0, width - 1 - (right - width))),
            max(inside[2], min(height, 1 - top)),
            max(inside[3], min(width, 1 - left)),
        )
    if inside[2] <= inside[0] or inside[3] <= inside[1]:  # seen from so far that only the edge is left
        return 0, 0, height, width
    return inside


def _padded(part: Pixels, reach: Box, inside: Box, size: Size, mode: PadMode) -> Pixels:
    """A part of a picture, grown beyond the edges of the picture as far as is reached."""
    return _gathered(
        part, _places(reach[0], reach[2], size[0], mode, inside[0], inside[2]),
        _places(reach[1], reach[3], size[1], mode, inside[1], inside[3]), mode == "constant",
    )  # fmt: skip


def _reduced_part(item: Pixels, factors: tuple[int, int], size: Size, inside: Box) -> Pixels:
    """A part of a picture that is reduced by whole factors (y, x) to a size."""
    top, left, bottom, right = inside
    factor_y, factor_x = factors
    whole = inside == (0, 0, *size)
    if isinstance(item, Image.Image):
        if factors == (1, 1):
            return item if whole else item.crop((left, top, right, bottom))
        box = (
            left * factor_x, top * factor_y, min(right * factor_x, item.width),
            min(bottom * factor_y, item.height),
        )  # fmt: skip
        return item.reduce((factor_x, factor_y), box)
    part = item[:, top * factor_y : bottom * factor_y, left * factor_x : right * factor_x]
    if factors == (1, 1):
        return part
    means = nnf.avg_pool2d(part.float(), factors, ceil_mode=True, count_include_pad=False)
    return means.round_().to(torch.uint8) if part.dtype == torch.uint8 else means


def _scaled_part(item: Pixels, view: View, top: int, left: int, bottom: int, right: int) -> Pixels:
    height, width = view.scaled
    whole = (top, left, bottom, right) == (0, 0, height, width)
    unseen = height * width > _MUCH_UNSEEN * (bottom - top) * (right - left)
    have = picture_size(item)
    if have != view.scaled and not whole and (unseen or not view.plain):
        scale_y, scale_x = have[0] / height, have[1] / width
        if isinstance(item, Image.Image):
            box = (
                left * scale_x,
                top * scale_y,
                min(right * scale_x, have[1]),
                min(bottom * scale_y, have[0]),
            )
            return item.resize((right - left, bottom - top), _RESAMPLING[view.interpolation], box=box)
        if unseen:
            rows = slice(int(top * scale_y), max(int(top * scale_y) + 1, round(bottom * scale_y)))
            columns = slice(int(left * scale_x), max(int(left * scale_x) + 1, round(right * scale_x)))
            return _resized(item[:, rows, columns], (bottom - top, right - left), view.interpolation)
    scaled = _resized(item, view.scaled, view.interpolation)
    if whole:
        return scaled
    if isinstance(scaled, Image.Image):
        return scaled.crop((left, top, right, bottom))
    return scaled[:, top:bottom, left:right]


def _resized(item: Pixels, size: Size, interpolation: str) -> Pixels:
    if picture_size(item) == size:
        return item
    return F.resize(item, list(size), interpolation=InterpolationMode(interpolation), antialias=True)


def _places(
    start: int, stop: int, n: int, mode: PadMode, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each of the places from start to stop its place in the part from first to last, and which of them
    lie beyond the n that there are."""
    places = np.arange(start, stop)
    beyond = (places < 0) | (places >= n)
    inner = _folded(places, n, mode)
    return (inner - first).clip(0, last - first - 1), beyond


def _folded(places: np.ndarray, n: int, mode: PadMode) -> np.ndarray:
    """Whole numbers brought into 0 to n - 1, mirrored without repeating the edge, or held at the edge."""
    if mode != "reflect" or n == 1:
        return places.clip(0, n - 1)
    period = 2 * (n - 1)
    places = np.abs(places) % period
    return np.minimum(places, period - places)


def _gathered(
    part: Pixels,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
    black: bool,
) -> Pixels:
    if isinstance(part, Image.Image):
        pixels = _taken(_taken(np.asarray(part), rows[0], 0), columns[0], 1)
        if black:
            pixels[rows[1]] = 0
            pixels[:, columns[1]] = 0
        return Image.fromarray(pixels)
    values = part[:, torch.from_numpy(rows[0])][:, :, torch.from_numpy(columns[0])]
    if black:
        values[:, torch.from_numpy(rows[1])] = 0
        values[:, :, torch.from_numpy(columns[1])] = 0
    return values


def _taken(pixels: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """`pixels.take(places, axis)`, of places that go on by one but for some at both ends."""
    inner = np.flatnonzero(np.diff(places) == 1)
    if not len(inner) or not (np.diff(inner) == 1).all():
        return pixels.take(places, axis)
    first, last = int(inner[0]), int(inner[-1]) + 1
    whole = slice(int(places[first]), int(places[last]) + 1)
    return np.concatenate(
        [
            pixels.take(places[:first], axis),
            pixels[whole] if axis == 0 else pixels[:, whole],
            pixels.take(places[last + 1 :], axis),
        ],
        axis,
    )


def _on_grid(part: Pixels, view: View) -> Pixels:
    """Mirrored and turned as the matrix says, without any arithmetic on pixels."""
    a, b, _, c, d, *_ = view.matrix
    turned = a == 0
    mirror_x, mirror_y = (c < 0, b < 0) if turned else (a < 0, d < 0)
    if isinstance(part, Image.Image):
        if turned:
            part = part.transpose(Image.Transpose.TRANSPOSE)
        if mirror_x:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return part.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if mirror_y else part
    part = part.transpose(1, 2) if turned else part
    axes = [axis for axis, mirrored in ((1, mirror_y), (2, mirror_x)) if mirrored]
    return part.flip(axes) if axes else part


def _nearest(places: np.ndarray, scaled: int, n: int, mode: PadMode) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers of the pixels of a row of n that lie at places of the row scaled, and which lie beyond it
    (None where that does not matter)."""
    pixel = np.floor(places).astype(np.int64)
    inner = _folded(pixel, scaled, mode)
    found = ((inner + 0.5) * n / scaled).astype(np.int64).clip(0, n - 1)
    return found, (pixel < 0) | (pixel >= scaled) if mode == "constant" else None


def pixels_tensor(item: Pixels) -> Tensor:
    """A Pillow image or tensor as a C x H x W tensor, contiguous."""
    if not isinstance(item, Image.Image):
        return item.contiguous()
    pixels = np.asarray(item)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(np.array(pixels, order="C"))  # a copy: Pillow's memory is read-only
