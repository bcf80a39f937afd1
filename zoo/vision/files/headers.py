"""Tell broken picture files by their first and last bytes, without decoding them.

JPEG (ITU T.81, B.1) and PNG (W3C PNG, 5) are looked at directly, as Pillow takes ten times as long to open
them. Of other kinds the header is read by Pillow, and the file must be as long as it says.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import IO, Any

from PIL import Image

from zoo.vision.files.opening import opened

_HEAD = 2048
_TAIL = 64
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_RAW_BITS = {
    "1": 1, "1;I": 1, "L": 8, "P": 8, "RGB": 24, "BGR": 24, "BGRX": 32, "BGRA": 32, "RGBA": 32, "LA": 16,
    "P;1": 1, "P;4": 4, "P;L": 8, "BGR;15": 16, "BGR;16": 16, "BGRA;15Z": 16, "I;16B": 16, "RGB;16B": 48,
    "F;32F": 32, "F;32BF": 32,
}  # fmt: skip


def by_its_ends(path: str | bytes, size: int) -> tuple[bool, bool]:
    """Whether a file begins and ends as a picture of its kind should, and whether its samples have 32 bits.

    Args:
        path: the file.
        size: its length in bytes.

    Returns:
        False first where only decoding can tell.

    Raises:
        Exception: any of `DECODE_ERRORS`, where the header cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        known = _jpeg_size(head, file) if head[:3] == b"\xff\xd8\xff" else _png_size(head)
        if known is not None and _within_limit(*known):
            file.seek(-min(_TAIL, size), os.SEEK_END)
            tail = file.read(_TAIL)
            return (b"\xff\xd9" if head[:1] == b"\xff" else b"IEND\xaeB`\x82") in tail, False
    with opened(os.fsdecode(path)) as img, open(path, "rb") as file:
        return _is_as_long_as_it_says(img, file, size), img.mode in ("I", "F")


def _within_limit(width: int, height: int) -> bool:
    limit = Image.MAX_IMAGE_PIXELS
    return limit is None or width * height <= limit


def _jpeg_size(head: bytes, file: IO[bytes]) -> tuple[int, int] | None:
    """Width and height of a JPEG of a common kind (baseline or progressive, 8 bits, 1, 3 or 4 components)."""
    place, start = 2, 0
    while True:
        if place + 10 > len(head):  # long metadata: go on from there
            start, place = start + place, 0
            file.seek(start)
            head = file.read(_HEAD)
            if len(head) < 10:
                return None
        marker = head[place + 1]
        if head[place] != 0xFF:
            return None
        if marker == 0xFF:
            place += 1
        elif marker in (0xC0, 0xC1, 0xC2):
            bits, height, width, components = struct.unpack_from(">BHHB", head, place + 4)
            usual = bits == 8 and height and width and components in (1, 3, 4)
            return (width, height) if usual else None
        elif marker in (0xDA, 0xD9) or (0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return None
        else:
            length = int.from_bytes(head[place + 2 : place + 4], "big")
            if length < 2:
                return None
            place += 2 + length


def _png_size(head: bytes) -> tuple[int, int] | None:
    if head[:8] != _PNG or head[8:16] != b"\0\0\0\rIHDR" or len(head) < 33:
        return None
    width, height, depth, colour, *methods = struct.unpack_from(">IIBBBBB", head, 16)
    fits = depth in _PNG_DEPTHS.get(colour, ()) and methods[0] == methods[1] == 0 and methods[2] < 2
    sound = zlib.crc32(head[12:29]) == int.from_bytes(head[29:33], "big")
    return (width, height) if fits and sound and width and height else None


def _is_as_long_as_it_says(img: Image.Image, file: IO[bytes], size: int) -> bool:
    kind = img.format
    if kind in ("JPEG", "MPO", "JPEG2000", "PNG", "GIF"):
        file.seek(-min(_TAIL, size), os.SEEK_END)
        tail = file.read(_TAIL)
        if kind == "GIF":
            return tail.rstrip(b"\0").endswith(b";") and b"\0;" in tail
        return (b"IEND\xaeB`\x82" if kind == "PNG" else b"\xff\xd9") in tail
    if kind == "WEBP":
        return int.from_bytes(file.read(8)[4:], "little") + 8 <= size
    if kind == "TIFF":
        return _tiff_reaches(img) <= size
    if kind == "AVIF":
        return _boxes_fit(file, size)
    return all(_raw_end(tile) <= size for tile in getattr(img, "tile", ())) and bool(getattr(img, "tile", ()))


def _tiff_reaches(img: Image.Image) -> float:
    """The end of the last strip or tile of the first picture (TIFF 6.0, sections 8 and 15)."""
    tags = img.tag_v2  # type: ignore[attr-defined]
    for offsets, counts in ((273, 279), (324, 325)):
        if offsets in tags and counts in tags:
            starts, lengths = _numbers(tags[offsets]), _numbers(tags[counts])
            if len(starts) == len(lengths):
                return max((a + b for a, b in zip(starts, lengths, strict=True)), default=float("inf"))
    return float("inf")


def _numbers(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _boxes_fit(file: IO[bytes], size: int) -> bool:
    """Whether the boxes of an ISO media file (ISO 14496-12, 4.2) end where the file does."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            return True  # up to the end of the file
        if length < 8:
            return False
        place += length
    return place == size


def _raw_end(tile: Any) -> float:
    """Where the rows of an uncompressed picture end; infinity where it is compressed or of a rare layout."""
    codec, extents, offset, args = tile[0], tile[1], tile[2], tile[3]
    if codec != "raw" or extents is None:
        return float("inf")
    args = (args,) if isinstance(args, str) else tuple(args or ())
    bits = _RAW_BITS.get(args[0]) if args else None
    if bits is None:
        return float("inf")
    stride = args[1] if len(args) > 1 and args[1] else (bits * (extents[2] - extents[0]) + 7) // 8
    return offset + stride * (extents[3] - extents[1])
