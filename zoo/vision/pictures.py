"""Pictures in whatever form a user hands them over, in the form that transforms work on."""

from __future__ import annotations

import contextlib
import inspect
import os
from typing import IO, Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from zoo.vision.files.depths import ValueRange, checked_range, tell_once
from zoo.vision.files.opening import DECODE_ERRORS as DECODE_ERRORS
from zoo.vision.files.opening import upright
from zoo.vision.files.reading import FULL_SIZE as FULL_SIZE
from zoo.vision.files.reading import open_image as open_image
from zoo.vision.files.reading import to_rgb as to_rgb

Encoded: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]"
"""A picture file, or its content."""
Picture: TypeAlias = "Encoded | Image.Image | np.ndarray | torch.Tensor"
"""What a user may hand over as one picture."""


def as_pixels(
    picture: Picture,
    *,
    channels: int = 3,
    min_size: int | None = None,
    value_range: ValueRange | None = None,
    roughly: bool = False,
) -> Image.Image | torch.Tensor:
    """One picture in the form that transforms work on.

    Args:
        picture: path, encoded bytes, a file open for reading bytes (read from its beginning, its position is
            put back), Pillow image, or an array: HxW or HxWxC uint8, or float in [0, 1].
        channels: channels the model expects; for 1 and 3 colour pictures are converted.
        min_size: see `open_image`.
        value_range: see `open_image`; arrays of floats, and of integers other than uint8, are brought to
            [0, 1] by it.
        roughly: see `open_image`.

    Returns:
        A Pillow image (mode ``L`` or ``RGB``) for 8-bit pictures of 1 or 3 channels, otherwise a CxHxW
        tensor.

    Raises:
        TypeError: what was given is no picture.
        ValueError: it cannot be read, or does not fit `channels`.
    """
    if isinstance(picture, bytearray | memoryview):
        picture = bytes(picture)
    elif not isinstance(picture, Image.Image | np.ndarray | torch.Tensor) and hasattr(picture, "read"):
        picture = read_bytes(picture)
    if isinstance(picture, str | os.PathLike | bytes):
        found = open_image(picture, min_size=min_size, value_range=value_range, roughly=roughly)
        return _as_mode(found, channels)
    if isinstance(picture, Image.Image):
        return _as_mode(to_rgb(upright(picture), value_range=value_range), channels)
    if isinstance(picture, torch.Tensor):
        picture = picture.detach().cpu()
        picture = (picture.float() if picture.is_floating_point() else picture).numpy()
    if isinstance(picture, np.ndarray):
        return _array_pixels(picture, channels, value_range)
    raise TypeError(
        f"expected a picture as path, bytes, open file, Pillow image or array, got "
        f"{type(picture).__module__}.{type(picture).__name__}"
    )


def read_bytes(file: Any) -> bytes:
    """All bytes of an open file, from its beginning where that can be reached; its position is put back.

    Raises:
        TypeError: it gives text, or has to be awaited.

    >>> import io
    >>> buffer = io.BytesIO(b"picture"); _ = buffer.seek(4)
    >>> read_bytes(buffer), buffer.tell()
    (b'picture', 4)
    """
    if inspect.iscoroutinefunction(file.read):
        raise TypeError(
            f"{type(file).__name__}.read has to be awaited: pass the bytes, picture = await file.read()"
        )
    place = None
    with contextlib.suppress(OSError, AttributeError, ValueError):
        place = file.tell()
        file.seek(0)
    content = file.read()
    if place is not None:
        with contextlib.suppress(OSError, AttributeError, ValueError):
            file.seek(place)
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(
            f"the open file gives {type(content).__name__}, expected bytes: open it with open(name, 'rb')"
        )
    return bytes(content)


def _as_mode(img: Image.Image, channels: int) -> Image.Image:
    if channels == 3:
        return img
    if channels == 1:
        return img.convert("L")
    raise ValueError(f"the model expects {channels} channels: pass the picture as an HxWx{channels} array")


def _array_pixels(
    array: np.ndarray, channels: int, value_range: ValueRange | None
) -> Image.Image | torch.Tensor:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"expected a picture array of shape HxW or HxWxC, got shape {array.shape}")
    array = in_unit_range(array, value_range)
    if array.shape[2] == 1 and channels == 3:
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] != channels:
        hint = "; channels come last (HxWxC)" if array.shape[0] == channels else ""
        raise ValueError(f"expected {channels} channels, got a picture array of shape {array.shape}{hint}")
    if array.dtype == np.uint8 and channels in (1, 3):
        return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if channels == 1 else array))
    if array.dtype != np.uint8:
        check_unit_range(array, "a picture array")
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def in_unit_range(array: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    """Deep arrays by the range of the set; arrays that can be taken as they are."""
    if value_range is not None and array.dtype != np.uint8 and array.dtype.kind in "iuf":
        low, high = checked_range(value_range) or (0.0, 1.0)
        scaled = (array.astype(np.float64) - low) / (high - low)
        return np.clip(np.nan_to_num(scaled), 0, 1).astype(np.float32)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(
            f"expected a picture array of dtype uint8 or float, got {array.dtype}"
            + ("; give the values of black and white as value_range" if array.dtype.kind in "iu" else "")
        )
    if value_range is not None:
        tell_once(
            "8 bits", f"picture arrays of uint8 are taken as they are, not by value_range={value_range}"
        )
    return array


def check_unit_range(array: np.ndarray, name: str) -> None:
    """Refuse float pictures with values outside [0, 1], which nothing downstream would notice."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: float pictures must lie in [0, 1], got NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"{name}: float pictures must lie in [0, 1], got values from {low:g} to {high:g}; divide by 255 "
            "or pass uint8"
        )
