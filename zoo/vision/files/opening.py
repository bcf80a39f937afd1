"""Open a picture file without letting its metadata or its size decide whether the pixels can be read."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, JpegImagePlugin

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,  # where a program turns warnings into errors
)
"""What Pillow's decoders raise for broken content."""

JPEG_FORMATS = frozenset({"JPEG", "MPO"})
"""What is decoded by the JPEG decoder; a phone's MPO is a JPEG with further pictures behind it."""

_ORIENTATION = 0x112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
_LEAST_DRAFT = 256


class TooLargeError(ValueError):
    """More pixels than Pillow's limit allows."""


@contextmanager
def opened(source: str | os.PathLike[str] | bytes) -> Iterator[Image.Image]:
    """A picture whose header is read, its pixels not yet.

    A JPEG above Pillow's limit of pixels is opened as well, as the decoder can reduce it; `drafted` refuses
    it where it does not become small enough.
    """
    try:
        img = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except Image.DecompressionBombError as err:
        file = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
        with file:
            if file.read(3) != b"\xff\xd8\xff":
                raise TooLargeError(_too_large(str(err))) from err
            file.seek(0)
            with JpegImagePlugin.JpegImageFile(file) as img:  # the decoder itself has no limit
                yield img
        return
    with img:
        yield img


def drafted(img: Image.Image, min_size: int | None, *, roughly: bool = False) -> Image.Image:
    """Ask the JPEG decoder for the smallest reduction that keeps twice `min_size`, and 256 pixels.

    The decoder's reduction and the antialiased resize that follows differ visibly only when the former does
    most of the work.

    Args:
        img: not decoded yet.
        min_size: None: as it is.
        roughly: only `min_size` itself has to be kept, as for pictures that are turned and zoomed at random.

    Raises:
        TooLargeError: it stays above Pillow's limit.
    """
    full = img.size
    if min_size is not None and img.format in JPEG_FORMATS:
        least = min_size if roughly else max(2 * min_size, _LEAST_DRAFT)
        scale = least / min(img.size)
        if scale < 1:
            img.draft(None, (int(np.ceil(img.width * scale)), int(np.ceil(img.height * scale))))
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or full[0] * full[1] <= 2 * limit:
        return img
    # all of a progressive JPEG lies in memory before it is reduced
    if img.width * img.height > limit or "progressive" in img.info:
        raise TooLargeError(_too_large(f"{full[0]} x {full[1]} pixels"))
    return img


def _too_large(size: str) -> str:
    allowed = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    return (
        f"it is too large, as a file made to exhaust the memory would be ({size.rstrip('.')}; limit "
        f"{allowed} pixels). If the file can be trusted, set PIL.Image.MAX_IMAGE_PIXELS to a larger number "
        "(None: no limit) before reading, or shrink the picture"
    )


def upright(img: Image.Image) -> Image.Image:
    """A picture turned as its EXIF orientation says; nothing else of its metadata is looked at.

    Returns:
        `img` itself, loaded, where it need not be turned; otherwise a new picture without the metadata that
        would turn it again.
    """
    img.load()  # a TIFF turns itself
    turn = _TURNS.get(_orientation(img))
    if turn is None:
        return img
    turned = img.transpose(turn)
    for name in _METADATA:
        turned.info.pop(name, None)
    return turned


def _orientation(img: Image.Image) -> int:
    try:
        value = img.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged block of metadata, of which nobody wants to hear
        return 1
    return value if isinstance(value, int) else 1
