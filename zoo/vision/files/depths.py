"""Grey pictures of more than 8 bits a sample, brought to 8 bits by what their file declares.

The scale never depends on the values of one picture: the same value is the same grey in all pictures of a
set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

log = logging.getLogger(__name__)

ValueRange = tuple[float, float]
"""The values that become black and white."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_BLOCK = 1 << 20
_SMALL_SHARE = 1 / 8
NO_SCALE = "nothing tells which values are black and white"
_told: set[str] = set()


class DepthError(ValueError):
    """Samples whose scale nothing tells."""


def is_deep(img: Image.Image) -> bool:
    """Whether a picture's samples have more than 8 bits once Pillow has decoded it (modes I, I;16, F)."""
    return img.mode.startswith("I") or img.mode == "F"


def checked_range(value_range: ValueRange | None) -> ValueRange | None:
    """A range as two floats.

    Raises:
        ValueError: if it is not two finite numbers, the first below the second.

    >>> checked_range((0, 4095))
    (0.0, 4095.0)
    """
    if value_range is None:
        return None
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"value_range must be two finite numbers, the values of black and of white, got {value_range!r}"
        )
    return low, high


def deep_to_8_bit(img: Image.Image, value_range: ValueRange | None = None) -> np.ndarray:
    """The samples of a deep grey picture as height x width uint8.

    Unsigned samples of up to 16 bits are scaled by the largest value of the bits that the file declares (for
    16 bits: divided by 257), whole numbers of 32 bits likewise as long as they fit into 16, floats from
    [0, 1]. A file that declares white to be zero (TIFF 6.0, PhotometricInterpretation 0) is inverted; the
    transparent value of a 16-bit PNG becomes white.

    Args:
        img: of mode I, I;16 (any byte order) or F.
        value_range: the values that become black and white, instead of all that; others are cut off, and
            what is no number is black.

    Raises:
        DepthError: without `value_range`, for numbers outside of what the rules above cover.

    >>> deep_to_8_bit(Image.fromarray(np.array([[0, 257, 65535]], np.uint16))).tolist()
    [[0, 1, 255]]
    >>> deep_to_8_bit(Image.fromarray(np.array([[-5.0, 0.0, 5.0]], np.float32)), (-5, 5)).tolist()
    [[0, 128, 255]]
    """
    tags = getattr(img, "tag_v2", {})
    inverted = tags.get(_PHOTOMETRIC) == 0
    clear = img.info.get("transparency") if img.mode.startswith("I;16") else None
    bits = _declared_bits(tags)
    values = np.asarray(img)
    if values.dtype == np.int32 and bits == 32 and _first(tags.get(_SAMPLE_FORMAT, 1)) == 1:
        values = values.view(np.uint32)
    given = checked_range(value_range)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        top = float((1 << bits) - 1) if bits is not None and bits < 16 else 65535.0
        table = _table(given or (0.0, top), inverted, clear)
        return _blockwise(values, lambda block: table[block])
    low, high = given or _known_range(values, img.mode)
    scale = 255 / (high - low)

    def scaled(block: np.ndarray) -> np.ndarray:
        grey = np.clip(np.nan_to_num((block.astype(np.float64) - low) * scale), 0, 255)
        grey = np.rint(255 - grey if inverted else grey)
        return grey.astype(np.uint8)

    return _blockwise(values, scaled)


def _known_range(values: np.ndarray, mode: str) -> ValueRange:
    """The range of samples of 32 bits without a word of the user."""
    if values.size == 0:
        return 0.0, 1.0
    least, most = float(np.fmin.reduce(values, None)), float(np.fmax.reduce(values, None))
    top = 1.0 if mode == "F" else 65535.0
    slack = 1e-4 if mode == "F" else 0.0
    if least < -slack or most > top + slack:
        kind = "float samples" if mode == "F" else "32-bit samples"
        raise DepthError(
            f"its {kind} reach from {least:g} to {most:g}, and {NO_SCALE} "
            f"(without a word 0 and {top:g}): pass value_range=(black, white), one for all pictures of "
            f"the set, for example value_range={_suggested(least, most)}"
        )
    return 0.0, top


def _suggested(least: float, most: float) -> str:
    if least >= 0 and most <= 255:
        return "(0, 255)"
    return f"({least:g}, {most:g})"


def _blockwise(values: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Convert a few rows at a time, so that no wide copy of the whole picture is made."""
    result = np.empty(values.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, values.shape[-1]))
    for start in range(0, len(values), rows):
        result[start : start + rows] = convert(values[start : start + rows])
    return result


@lru_cache(maxsize=16)
def _table(value_range: ValueRange, inverted: bool, clear: int | None) -> np.ndarray:
    """The grey of each of the 65,536 values of two bytes."""
    low, high = value_range
    grey = np.arange(65536, dtype=np.float64)
    grey = grey / 257 if value_range == (0.0, 65535.0) else (grey - low) * (255 / (high - low))
    grey = np.clip(grey, 0, 255)
    table = np.rint(255 - grey if inverted else grey).astype(np.uint8)
    if clear is not None and 0 <= clear < 65536:
        table[clear] = 255
    table.flags.writeable = False
    return table


def _declared_bits(tags: Mapping[int, Any]) -> int | None:
    bits = _first(tags.get(_BITS_PER_SAMPLE))
    return bits if isinstance(bits, int) and 0 < bits <= 64 else None


def _first(value: object) -> object:
    return value[0] if isinstance(value, tuple) and value else value


# ---- what a user is told, once


def range_in_use(img: Image.Image) -> tuple[int, int] | None:
    """The largest sample of a picture with up to 16 bits, and the largest that its file allows.

    None for other pictures.

    >>> range_in_use(Image.fromarray(np.array([[0, 4095]], np.uint16)))
    (4095, 65535)
    """
    if not img.mode.startswith("I"):
        return None
    values = np.asarray(img)
    if values.size == 0 or values.min() < 0:
        return None
    bits = _declared_bits(getattr(img, "tag_v2", {}))
    return int(values.max()), (1 << bits) - 1 if bits is not None and bits < 16 else 65535


def tell_small_range(most: int, top: int, what: str) -> bool:
    """Log once a process that pictures use a small part of their range; whether they do.

    >>> tell_small_range(60000, 65535, "the pictures")
    False
    """
    if not 0 < most < top * _SMALL_SHARE:
        return False
    power = max(255, (1 << most.bit_length()) - 1)
    tell_once(
        "small range",
        f"{what}: no value is above {most}, of {top} that the file allows, so it is nearly black; if that "
        f"holds for all pictures of the set, pass value_range=(0, {power})",
    )
    return True


def tell_once(topic: str, text: str) -> None:
    """Log a warning the first time that a process has a topic."""
    if topic not in _told:
        _told.add(topic)
        log.warning("%s", text)
