"""Members of the prepared folder: arrays and texts in one xz file each, nothing in them is code."""

from __future__ import annotations

import functools
import io
import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SUFFIX = ".xz"


def pack(folder: Path, member: str, arrays: Mapping[str, np.ndarray], *, quick: bool = False) -> int:
    """Write arrays as `folder/member.xz`, an npz file in xz; returns its size in bytes.

    Tables are kept column by column, as their columns repeat.

    Args:
        folder: of the members.
        member: name of this one.
        arrays: of numbers.
        quick: pack fast rather than small.
    """
    plain = io.BytesIO()
    laid_out = {
        name: np.asfortranarray(array) if array.ndim == 2 else array for name, array in arrays.items()
    }
    np.savez(plain, **laid_out)  # type: ignore[arg-type]
    pairs = int(any(array.dtype.itemsize == 2 for array in arrays.values()))  # bytes come in pairs
    own = {"id": lzma.FILTER_LZMA2, "preset": 0 if quick else 9, "lc": 3, "lp": pairs, "pb": pairs}
    packed = lzma.compress(plain.getvalue(), format=lzma.FORMAT_XZ, filters=[own])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{member}{SUFFIX}").write_bytes(packed)
    return len(packed)


@functools.lru_cache(maxsize=8)
def unpack(folder: Path, member: str) -> dict[str, np.ndarray]:
    """The arrays of a member; kept for the next call, so do not write into them.

    Raises:
        FileNotFoundError: if the folder lacks it.
    """
    file = folder / f"{member}{SUFFIX}"
    if not file.is_file():
        raise FileNotFoundError(f"no {file}: run `python benchmarks/gpu.py prepare {folder}` first")
    with np.load(io.BytesIO(lzma.decompress(file.read_bytes())), allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed.files}
    return {name: np.ascontiguousarray(part) if part.ndim == 2 else part for name, part in arrays.items()}


def as_bytes(value: Any) -> np.ndarray:
    """A JSON-able value as an array of bytes."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), dtype=np.uint8)


def from_bytes(array: np.ndarray) -> Any:
    """The inverse of `as_bytes`.

    Example:
        >>> from_bytes(as_bytes({"words": ["a", "é"]}))
        {'words': ['a', 'é']}
    """
    return json.loads(array.tobytes().decode())
