"""Fetch pictures from the web into a folder, and keep only those that can be read."""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from zoo.data.utf8 import read_lines
from zoo.storage.files import atomic_write
from zoo.vision.files.opening import opened
from zoo.vision.files.reading import open_image, reason_of

log = logging.getLogger(__name__)

_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2", "PPM": ".ppm"}
_AGENT = "Mozilla/5.0 (compatible; zoo download_images)"
_PIECE = 1 << 16


@dataclass(frozen=True)
class Downloads:
    """What `download_images` did.

    Attributes:
        files: the picture of each address that could be read.
        failed: the reason of each that could not.
    """

    files: dict[str, Path]
    failed: dict[str, str]


def download_images(
    urls: str | os.PathLike[str] | Iterable[str],
    folder: str | os.PathLike[str],
    *,
    most: int | None = None,
    num_threads: int = 8,
    timeout: float = 20.0,
    max_bytes: int = 50_000_000,
) -> Downloads:
    """Download pictures, decode each completely, and write those that can be read.

    A picture is named by a hash of its address and the kind of its content, so a second call fetches only
    what is missing, and none is overwritten by another. What fails is told in the log and in the result; no
    broken file is written.

    Args:
        urls: addresses (http or https), or a text file with one a line.
        folder: where the pictures go; it is made.
        most: largest number of addresses tried, the first ones; default all.
        num_threads: downloads at one time.
        timeout: seconds that a server may be silent.
        max_bytes: largest size of a file.

    Returns:
        Files and failures by address, in the order given.

    Raises:
        OSError: the folder cannot be written.
        ValueError: `most` or `num_threads` below 1.

    >>> import tempfile
    >>> download_images(["ftp://example.com/cat.jpg"], tempfile.mkdtemp()).failed
    {'ftp://example.com/cat.jpg': 'expected an address that begins with http:// or https://'}
    """
    if num_threads < 1 or (most is not None and most < 1):
        raise ValueError(f"num_threads and most must be at least 1, got {num_threads} and {most}")
    if isinstance(urls, str | os.PathLike):
        urls = read_lines(urls)
    listed = list(dict.fromkeys(url.strip() for url in urls if url.strip()))[:most]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    present = {file.stem: file for file in target.iterdir() if not file.name.startswith(".")}

    def one(url: str) -> Path | str:
        stem = hashlib.blake2b(url.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        if stem in present:
            return present[stem]
        try:
            content = _fetch(url, timeout, max_bytes)
            ending = _checked_ending(content)
        except (OSError, ValueError, HTTPException) as err:
            return reason_of(err)
        with atomic_write(target / f"{stem}{ending}") as temporary:
            temporary.write_bytes(content)
        return target / f"{stem}{ending}"

    with ThreadPoolExecutor(num_threads) as pool:
        results = dict(zip(listed, pool.map(one, listed), strict=True))
    files = {url: found for url, found in results.items() if isinstance(found, Path)}
    failed = {url: reason for url, reason in results.items() if isinstance(reason, str)}
    if failed:
        few = "; ".join(f"{url} ({reason})" for url, reason in list(failed.items())[:3])
        log.warning("%d of %d pictures could not be downloaded: %s", len(failed), len(listed), few)
    return Downloads(files, failed)


def _fetch(url: str, timeout: float, max_bytes: int) -> bytes:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("expected an address that begins with http:// or https://")
    quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    request = urllib.request.Request(quoted, headers={"User-Agent": _AGENT})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        expected = answer.headers.get("Content-Length")
        pieces: list[bytes] = []
        total = 0
        while piece := answer.read(_PIECE):
            pieces.append(piece)
            total += len(piece)
            if total > max_bytes:
                raise ValueError(f"it is larger than max_bytes={max_bytes}")
    if expected is not None and expected.isdigit() and total < int(expected):
        raise ValueError(f"the connection ended after {total} of {expected} bytes")
    return b"".join(pieces)


def _checked_ending(content: bytes) -> str:
    """The file ending of a picture's kind, after decoding it."""
    try:
        open_image(content)
    except ValueError as err:
        raise ValueError(reason_of(err.__cause__ or err)) from err
    with opened(content) as img:
        kind = img.format or ""
    return _ENDINGS.get(kind, f".{kind.lower()}")
