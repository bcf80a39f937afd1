"""Files of pictures: find them, and name those that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from zoo.vision.pictures import DECODE_ERRORS, open_image

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
    }
    | {".pnm", ".avif", ".jp2", ".tga"}
)
"""File endings (lower case) that folder readers take for pictures."""


_TRAILERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def is_image_file(name: str) -> bool:
    """Whether a file name looks like a visible picture file.

    >>> is_image_file("cat.JPG"), is_image_file("notes.txt"), is_image_file("._cat.jpg")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def walk_images(folder: str | os.PathLike[str]) -> list[Path]:
    """All picture files under `folder` in sorted order; symbolic links are followed, cycles are not."""
    found: list[Path] = []
    seen: set[str] = set()
    for root, dirs, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            dirs.clear()
            continue
        seen.add(real)
        dirs[:] = sorted(d for d in dirs if not d.startswith("."))
        found += [Path(root, name) for name in sorted(files) if is_image_file(name)]
    return found


def verify_images(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, num_threads: int | None = None
) -> dict[Path, str]:
    """Decode every picture completely and name those that cannot be read.

    Args:
        source: a folder (searched with sub-folders) or paths.
        num_threads: decoding threads; default: the number of processors.

    Returns:
        Broken files with the reason, in the order given; empty when all are fine.

    >>> verify_images([])
    {}
    """
    if isinstance(source, str | os.PathLike):
        if not Path(source).is_dir():
            raise FileNotFoundError(f"folder {os.fspath(source)} does not exist")
        paths = walk_images(source)
    else:
        paths = [Path(p) for p in source]
    with ThreadPoolExecutor(num_threads or os.cpu_count() or 1) as pool:
        reasons = list(pool.map(_broken_reason, paths))
    return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason is not None}


def check_headers(paths: Iterable[str | os.PathLike[str]]) -> dict[Path, str]:
    """Name picture files that are broken as far as that can be told without decoding them.

    Reads the header of every file (a fraction of a millisecond) and, of JPEG and PNG files, the end; only
    a file that does not end as it should is decoded. Damage inside the data is found by `verify_images`.

    >>> check_headers([])
    {}
    """
    files = [Path(p) for p in paths]
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        reasons = list(pool.map(_broken_header, files))
    return {file: reason for file, reason in zip(files, reasons, strict=True) if reason is not None}


def broken_error(broken: dict[Path, str]) -> ValueError:
    """The error that names all broken files."""
    listed = "; ".join(f"{path} ({reason.splitlines()[0]})" for path, reason in list(broken.items())[:20])
    more = f"; and {len(broken) - 20} more" if len(broken) > 20 else ""
    files = "1 picture file" if len(broken) == 1 else f"{len(broken)} picture files"
    return ValueError(f"cannot read {files}: {listed}{more}. Remove or replace them")


def _broken_header(path: Path) -> str | None:
    try:
        with Image.open(path) as img:
            trailer = _TRAILERS.get(img.format or "")
        if trailer is None:
            return None
        with path.open("rb") as file:
            file.seek(-min(64, path.stat().st_size), os.SEEK_END)
            ends_well = trailer in file.read()
    except DECODE_ERRORS as err:
        return str(err) or type(err).__name__
    return None if ends_well else _broken_reason(path)


def _broken_reason(path: Path) -> str | None:
    try:
        open_image(path)
    except (OSError, ValueError) as err:
        return str(err.__cause__ or err)
    return None
