"""How pictures look at a glance: size, light, and a hash that alike pictures share. One pass over them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from zoo.vision.files.depths import ValueRange
from zoo.vision.files.names import shown
from zoo.vision.pictures import DECODE_ERRORS, as_pixels, in_unit_range, open_image, to_rgb

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
TINY_SIDE = 8
_GLANCE = 64  # pixels of the shorter side; a JPEG is decoded at a fraction of its size


@dataclass(frozen=True)
class Looks:
    """What is seen at a glance of N pictures; rows of pictures that cannot be read are zero.

    Attributes:
        digests: N bytes objects; equal ones mean equal file contents (or equal arrays).
        hashes: N x 4 uint64, 256 bits each, see `difference_hash`.
        tiny: N x 8 x 8 x 3 uint8, the picture in 64 pixels.
        sizes: N x 2, height and width in pixels.
        light: mean grey value, 0 to 255.
        contrast: standard deviation of the grey values.
        broken: why a picture cannot be read, by row.
    """

    digests: list[bytes]
    hashes: np.ndarray
    tiny: np.ndarray
    sizes: np.ndarray
    light: np.ndarray
    contrast: np.ndarray
    broken: dict[int, str]

    def __len__(self) -> int:
        return len(self.digests)


def range_of(source: Any) -> ValueRange | None:
    """The values that are black and white in deep pictures, as the transform of data or a learner says."""
    tfms = getattr(source, "tfms", None) or getattr(getattr(source, "_pictures", None), "tfms", None)
    return getattr(tfms[1], "value_range", None) if tfms else None


def look_at(
    items: Sequence[Any], *, num_threads: int | None = None, value_range: ValueRange | None = None
) -> Looks:
    """Open every picture once and note how it looks.

    Args:
        items: paths, encoded bytes, Pillow images or arrays.
        num_threads: that decode; default: as many as processors.
        value_range: see `open_image`.

    Example:
        >>> looks = look_at([np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8)])
        >>> looks.sizes.tolist(), looks.light.tolist(), looks.broken
        ([[20, 30], [20, 30]], [0.0, 255.0], {})
    """
    with ThreadPoolExecutor(num_threads or min(8, os.cpu_count() or 1)) as pool:
        glances = list(pool.map(partial(_glance, value_range=value_range), items))
    n = len(glances)
    hashes, tiny = np.zeros((n, HASH_BITS // 64), np.uint64), np.zeros((n, TINY_SIDE, TINY_SIDE, 3), np.uint8)
    sizes, light, contrast = np.zeros((n, 2), np.int64), np.zeros(n), np.zeros(n)
    broken: dict[int, str] = {}
    for row, (_, seen) in enumerate(glances):
        if isinstance(seen, str):
            broken[row] = seen
        else:
            hashes[row], tiny[row], sizes[row], light[row], contrast[row] = seen
    return Looks([digest for digest, _ in glances], hashes, tiny, sizes, light, contrast, broken)


def difference_hash(grey: Image.Image) -> np.ndarray:
    """256 bits: whether each of 16 x 16 cells is darker than its right neighbour (dHash, N. Krawetz 2013).

    Scaling, mild compression and other brightness change few bits; unlike pictures differ in about half.

    Args:
        grey: a picture of mode "L".

    Returns:
        4 uint64.
    """
    cells = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), np.int16)
    bits = cells[:, 1:] > cells[:, :-1]
    return np.packbits(bits.reshape(-1)).view(np.uint64)


def _glance(item: Any, value_range: ValueRange | None) -> tuple[bytes, Any]:
    """A digest of the content, and what is seen; or why nothing is."""
    try:
        digest, image, size = _opened(item, value_range)
    except FileNotFoundError:
        return b"", f"{shown(item)} does not exist"
    except (*DECODE_ERRORS, TypeError) as error:
        reason = error.__cause__ or error
        return b"", (str(reason).splitlines() or [type(reason).__name__])[0]
    grey = image.convert("L")
    cells = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), np.float64)
    tiny = np.asarray(image.resize((TINY_SIDE, TINY_SIDE), Image.Resampling.BOX))
    return digest, (difference_hash(grey), tiny, size, float(cells.mean()), float(cells.std()))


def _opened(item: Any, value_range: ValueRange | None) -> tuple[bytes, Image.Image, tuple[int, int]]:
    """Digest, an RGB picture that may be reduced, and the true height and width."""
    if isinstance(item, str | os.PathLike | bytes):
        if isinstance(item, bytes):
            content = item
        else:
            with open(item, "rb") as file:
                content = file.read()
        image = open_image(content, min_size=_GLANCE, value_range=value_range)
        width, height = image.info.get("full_size", image.size)
        return hashlib.blake2b(content, digest_size=16).digest(), image, (height, width)
    if isinstance(item, Image.Image):
        image = to_rgb(item, value_range=value_range)
        return hashlib.blake2b(image.tobytes(), digest_size=16).digest(), image, (image.height, image.width)
    array = np.asarray(item)
    digest = hashlib.blake2b(
        np.ascontiguousarray(array).tobytes() + repr(array.shape).encode(), digest_size=16
    ).digest()
    image = shown_picture(array, value_range)
    return digest, image, (image.height, image.width)


def shown_picture(item: Any, value_range: ValueRange | None = None) -> Image.Image:
    """Any picture as an RGB image to look at: of arrays with other channels the first three, or the first.

    Args:
        item: path, encoded bytes, Pillow image, or H x W [x C] array (uint8, or float in [0, 1]).
        value_range: see `as_pixels`.
    """
    if not isinstance(item, np.ndarray):
        found = as_pixels(item, channels=3, value_range=value_range)
        return found if isinstance(found, Image.Image) else shown_picture(found.permute(1, 2, 0).numpy())
    array = item if item.ndim == 3 else item[:, :, None]
    if array.dtype != np.uint8:
        if value_range is not None:
            array = in_unit_range(array, value_range)
        array = (np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    array = array[:, :, :3] if array.shape[2] >= 3 else np.repeat(array[:, :, :1], 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(array))
