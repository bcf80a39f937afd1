"""Know pictures by their content, wherever their files lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.loaders.cores import usable_cores
from zoo.vision.files.file_list import FileList
from zoo.vision.files.stamps import Remembered

KEY_BYTES = 16
_CHUNK = 64
_AT_ONCE = 1 << 22
_keys: Remembered[bytes] = Remembered()


def content_keys(pictures: Sequence[Path] | np.ndarray) -> np.ndarray:
    """A hash of the bytes of every picture (BLAKE2b of 16 bytes, RFC 7693).

    Files are read in threads, and not a second time by the same process while they stay as they are.

    Args:
        pictures: paths, or an array of pictures (rows x H x W [x C]).

    Returns:
        Rows of dtype ``V16``, equal where the content is.

    Raises:
        FileNotFoundError: names a file that is not there.

    >>> keys = content_keys(np.zeros((2, 4, 4), np.uint8))
    >>> keys.dtype, bool(keys[0] == keys[1])
    (dtype('V16'), True)
    """
    if isinstance(pictures, np.ndarray):
        shape = f"{pictures.shape[1:]}{pictures.dtype}".encode()
        keys = [_digest(shape, np.ascontiguousarray(row)) for row in pictures]
    else:
        files = pictures if isinstance(pictures, FileList) else FileList(pictures)
        names = list(files.names())

        def read(start: int) -> list[bytes]:
            return [_file_key(name) for name in names[start : start + _CHUNK]]

        with ThreadPoolExecutor(min(8, 2 * usable_cores())) as pool:
            keys = [key for chunk in pool.map(read, range(0, len(names), _CHUNK)) for key in chunk]
    return np.frombuffer(b"".join(keys), f"V{KEY_BYTES}")


def content_key(pictures: Sequence[Path] | np.ndarray) -> str:
    """One hash of all pictures and their order.

    >>> content_key(np.zeros((1, 2, 2), np.uint8)) == content_key(np.zeros((2, 2, 2), np.uint8))
    False
    """
    return hashlib.blake2b(content_keys(pictures).tobytes(), digest_size=KEY_BYTES).hexdigest()


def _file_key(name: bytes) -> bytes:
    known = _keys.get(os.stat(name))
    if known is not None:
        return known
    with open(name, "rb", buffering=0) as file:
        stat = os.fstat(file.fileno())
        if stat.st_size <= _AT_ONCE:  # file_digest makes a buffer, which costs more than a small file
            key = _digest(file.read())
        else:
            key = hashlib.file_digest(file, _hash).digest()
    _keys.put(stat, key)
    return key


def _hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=KEY_BYTES)


def _digest(*parts: Any) -> bytes:
    digest = _hash()
    for part in parts:
        digest.update(part)
    return digest.digest()
