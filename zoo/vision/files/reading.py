"""One picture file of any common kind as upright 8-bit RGB.

Greyscale, palette, alpha, CMYK, 16-bit, animated and EXIF-rotated files all come out as one upright RGB
picture. A file that cannot be read raises one `ValueError` that names it.
"""

from __future__ import annotations

import os

from PIL import Image, UnidentifiedImageError

from zoo.vision.files.depths import (
    DepthError,
    ValueRange,
    deep_to_8_bit,
    is_deep,
    range_in_use,
    tell_once,
    tell_small_range,
)
from zoo.vision.files.opening import DECODE_ERRORS, TooLargeError, drafted, opened, upright

FULL_SIZE = "full_size"
"""Key in `info` of a picture decoded at a reduced size: its true width and height.

Scaled sizes must be computed from it: a reduced side is rounded, and one pixel more or less after scaling
shifts the crop.
"""
_PLAIN_MODES = frozenset({"CMYK", "YCbCr", "LAB", "HSV", "L", "1"})


def open_image(
    source: str | os.PathLike[str] | bytes,
    *,
    min_size: int | None = None,
    value_range: ValueRange | None = None,
    roughly: bool = False,
) -> Image.Image:
    """Read one picture file as upright 8-bit RGB.

    Args:
        source: a path, or the bytes of an encoded file.
        min_size: when given, a JPEG may be decoded at a half, quarter or eighth of its size as long as both
            sides stay at least twice this long (and 256 pixels); several times faster on large photos, and
            after scaling to `min_size` hardly different from a full decode.
        value_range: the values that become black and white in grey pictures of 16 or 32 bits and floats,
            for example `(0, 4095)` for 12 bits in 16, or `(-20, 50)` for degrees; one for all pictures of a
            set. By default what the file declares (its bits), and [0, 1] for floats. Pictures of 8 bits are
            taken as they are.
        roughly: both sides only have to stay at least `min_size`.

    Returns:
        A Pillow image in mode ``RGB``. Transparent parts are laid over white; of an animation the first
        frame.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the content is not a readable picture, or nothing tells the scale of its values; the
            message names the file.
    """
    name = f"{len(source)} bytes of picture data" if isinstance(source, bytes) else os.fspath(source)
    try:
        with opened(source) as img:
            full = img.size
            reduced = drafted(img, min_size, roughly=roughly).size != full
            straight = upright(img)
            rgb = to_rgb(straight, value_range=value_range, name=name)
            if reduced:
                turned = straight is not img and (img.width < img.height) != (rgb.width < rgb.height)
                rgb.info[FULL_SIZE] = full[::-1] if turned else full
            return rgb
    except FileNotFoundError as err:
        raise FileNotFoundError(f"picture {name} does not exist{_dead_link(source)}") from err
    except IsADirectoryError as err:
        raise ValueError(f"{name} is a folder, expected a picture file") from err
    except (DepthError, TooLargeError) as err:
        raise ValueError(f"cannot read picture {name}: {err}") from err
    except DECODE_ERRORS as err:
        raise ValueError(
            f"cannot read picture {name}: {reason_of(err)}. Remove or replace the file; "
            "zoo.vision.verify_images(folder) lists all broken files"
        ) from err


def reason_of(err: BaseException) -> str:
    """The first line of an error, without a full stop; its kind where it says nothing.

    >>> reason_of(OSError("image file is truncated.")), reason_of(KeyError())
    ('image file is truncated', 'KeyError')
    """
    if isinstance(err, UnidentifiedImageError):  # its text repeats the name
        return "the content is no picture of a known kind"
    lines = str(err).splitlines()
    return lines[0].rstrip(". ") if lines and lines[0].strip() else type(err).__name__


def _dead_link(source: str | os.PathLike[str] | bytes) -> str:
    if isinstance(source, bytes) or not os.path.islink(source):
        return ""
    return f" (it is a link to {os.readlink(source)})"


def to_rgb(
    img: Image.Image, *, value_range: ValueRange | None = None, name: str = "a picture"
) -> Image.Image:
    """Convert a Pillow image of any mode to 8-bit RGB (deep greys are scaled, alpha laid over white).

    Args:
        img: the picture.
        value_range: see `open_image`.
        name: what it is called if its range is told to the user.
    """
    if is_deep(img):
        if value_range is None and (used := range_in_use(img)) is not None:
            tell_small_range(*used, f"picture {name}")
        return Image.fromarray(deep_to_8_bit(img, value_range)).convert("RGB")
    if value_range is not None:
        tell_once(
            "8 bits",
            f"picture {name} has 8 bits a sample as it is decoded: value_range={value_range} holds for "
            "deeper grey pictures only, and is not used for it and others like it",
        )
    if img.mode == "RGB" and "transparency" not in img.info:
        img.load()
        return img
    if img.mode in _PLAIN_MODES and "transparency" not in img.info:
        return img.convert("RGB")
    rgba = (img.convert("LA") if img.mode == "La" else img).convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")
