"""Read pictures of any common kind as 8-bit RGB.

Greyscale, palette, alpha, CMYK, 16-bit, animated and EXIF-rotated files all come out as one upright RGB
picture. A file that cannot be read raises one `ValueError` that names it.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps

Picture: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray | torch.Tensor"
"""What a user may hand over as one picture."""


DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    LookupError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise for broken content."""
FULL_SIZE = "full_size"
"""Key in `info` of a picture decoded at a reduced size: its true width and height.

Scaled sizes must be computed from it: a reduced side is rounded, and one pixel more or less after scaling
shifts the crop.
"""
_LEAST_DRAFT = 256
_PLAIN_MODES = frozenset({"CMYK", "YCbCr", "LAB", "HSV", "L", "1"})


def open_image(source: str | os.PathLike[str] | bytes, *, min_size: int | None = None) -> Image.Image:
    """Read one picture file as upright 8-bit RGB.

    Args:
        source: a path, or the bytes of an encoded file.
        min_size: when given, a JPEG may be decoded at a half, quarter or eighth of its size as long as both
            sides stay at least twice this long (and 256 pixels); several times faster on large photos, and
            after scaling to `min_size` hardly different from a full decode.

    Returns:
        A Pillow image in mode ``RGB``. Transparent parts are laid over white; of an animation the first
        frame.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the content is not a readable picture; the message names the file.
    """
    name = f"{len(source)} bytes of picture data" if isinstance(source, bytes) else os.fspath(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as img:
            full = img.size
            if min_size is not None and img.format == "JPEG":
                _draft(img, min_size)
            reduced = img.size != full
            rgb = to_rgb(ImageOps.exif_transpose(img))
            if reduced:
                turned = (img.width < img.height) != (rgb.width < rgb.height)
                rgb.info[FULL_SIZE] = full[::-1] if turned else full
            return rgb
    except FileNotFoundError as err:
        raise FileNotFoundError(f"picture {name} does not exist") from err
    except IsADirectoryError as err:
        raise ValueError(f"{name} is a folder, expected a picture file") from err
    except DECODE_ERRORS as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise ValueError(
            f"cannot read picture {name}: {reason}. Remove or replace the file; "
            "zoo.vision.verify_images(folder) lists all broken files"
        ) from err


def _draft(img: Image.Image, min_size: int) -> None:
    """Ask the JPEG decoder for the smallest reduction that keeps twice `min_size`, and 256 pixels.

    The decoder's reduction and the antialiased resize that follows differ visibly only when the former does
    most of the work.
    """
    scale = max(2 * min_size, _LEAST_DRAFT) / min(img.size)
    if scale < 1:
        img.draft(None, (int(np.ceil(img.width * scale)), int(np.ceil(img.height * scale))))


def to_rgb(img: Image.Image) -> Image.Image:
    """Convert a Pillow image of any mode to 8-bit RGB (16-bit values are scaled, alpha laid over white)."""
    if img.mode == "RGB" and "transparency" not in img.info:
        img.load()
        return img
    if img.mode in _PLAIN_MODES and "transparency" not in img.info:
        return img.convert("RGB")
    if img.mode.startswith("I") or img.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(img))).convert("RGB")
    rgba = img.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Scale integers of up to 16 bits by 1/257, floats in [0, 1] by 255, anything wider by its own range."""
    if values.size == 0:
        return values.astype(np.uint8)
    values = values.astype(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high <= 1 and np.any(values != np.rint(values)):
        scaled = values * 255
    elif low >= 0 and high <= 65535:
        scaled = values / 257
    else:
        scaled = (values - low) * (255 / max(high - low, 1e-12))
    return np.clip(np.rint(np.nan_to_num(scaled)), 0, 255).astype(np.uint8)


def as_pixels(
    picture: Picture, *, channels: int = 3, min_size: int | None = None
) -> Image.Image | torch.Tensor:
    """One picture in the form that transforms work on.

    Args:
        picture: path, encoded bytes, Pillow image, or an array: HxW or HxWxC uint8, or float in [0, 1].
        channels: channels the model expects; for 1 and 3 colour pictures are converted.
        min_size: see `open_image`.

    Returns:
        A Pillow image (mode ``L`` or ``RGB``) for 8-bit pictures of 1 or 3 channels, otherwise a CxHxW
        tensor.
    """
    if isinstance(picture, str | os.PathLike | bytes):
        return _as_mode(open_image(picture, min_size=min_size), channels)
    if isinstance(picture, bytearray | memoryview):
        return _as_mode(open_image(bytes(picture), min_size=min_size), channels)
    if isinstance(picture, Image.Image):
        return _as_mode(to_rgb(ImageOps.exif_transpose(picture)), channels)
    if isinstance(picture, torch.Tensor):
        picture = picture.detach().cpu()
        picture = (picture.float() if picture.is_floating_point() else picture).numpy()
    if isinstance(picture, np.ndarray):
        return _array_pixels(picture, channels)
    raise TypeError(
        f"expected a picture as path, bytes, Pillow image or array, got {type(picture).__module__}."
        f"{type(picture).__name__}"
    )


def _as_mode(img: Image.Image, channels: int) -> Image.Image:
    if channels == 3:
        return img
    if channels == 1:
        return img.convert("L")
    raise ValueError(f"the model expects {channels} channels: pass the picture as an HxWx{channels} array")


def _array_pixels(array: np.ndarray, channels: int) -> Image.Image | torch.Tensor:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"expected a picture array of shape HxW or HxWxC, got shape {array.shape}")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"expected a picture array of dtype uint8 or float, got {array.dtype}")
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
