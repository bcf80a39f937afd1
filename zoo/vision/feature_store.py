"""Vectors of pictures on disk, known by the content of each picture.

A file holds one array (rows x width, float32, as `numpy.save` writes it) and behind it the key of every row.
Files are written under a temporary name and renamed when complete, so no half of one is ever read, and
processes that write the same file do not disturb each other. Rows that another file of the same kind holds
already are taken from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from zoo.storage.files import atomic_write
from zoo.vision.files.content import KEY_BYTES

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024**3
MOST_FILES = 4
_IN_USE_SECONDS = 600
_STALE_SECONDS = 3600
_KEEP_IN_MEMORY = 2 * 1024**3
_OURS = re.compile(r".+-(train|valid|test)-[0-9a-f]{24}\.npy")


class FeatureStore:
    """Vectors of one kind: what is computed from a picture by one transform and one network.

    Args:
        folder: where the files lie; it exists.
        kind: how their names begin; it tells everything but the pictures.
        width: length of a vector.

    Example:
        >>> import tempfile
        >>> from zoo.vision.files.content import content_keys
        >>> keys = content_keys(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
        >>> store = FeatureStore(Path(tempfile.mkdtemp()), "net-1", 2)
        >>> def twos(out, rows): out[rows] = 2
        >>> store.get("train", keys, twos).tolist()
        [[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]]
        >>> store.get("valid", keys[:2], None).tolist()  # nothing left to compute
        [[2.0, 2.0], [2.0, 2.0]]
    """

    def __init__(self, folder: Path, kind: str, width: int) -> None:
        self.folder, self.kind, self.width = folder, kind, width

    def file(self, name: str, keys: np.ndarray) -> Path:
        """The file of a list of pictures, called "train", "valid" or "test"."""
        digest = hashlib.blake2b(keys.tobytes(), digest_size=12).hexdigest()
        return self.folder / f"{self.kind}-{name}-{digest}.npy"

    def get(
        self,
        name: str,
        keys: np.ndarray,
        compute: Callable[[np.ndarray, np.ndarray], None] | None,
        *,
        must_write: bool = False,
    ) -> np.ndarray:
        """The vectors of pictures: read, or put together from other files and computed.

        Args:
            name: what the list of pictures is called.
            keys: of `content_keys`.
            compute: `(out, rows)` fills `out[rows]`; called at most once, with the first row of every
                picture that no file holds.
            must_write: whether it is an error if the file cannot be written, because other processes wait
                for it; otherwise the log tells, and the vectors live in memory alone.

        Returns:
            Rows x width, float32; large ones are mapped from the file.
        """
        file = self.file(name, keys)
        found = self.read(file, keys)
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(file)
            return found
        sweep(self.folder)
        if len(keys) * self.width * 4 > _KEEP_IN_MEMORY:
            self._write_mapped(file, keys, compute)
            found = self.read(file, keys)
            if found is None:
                raise OSError(f"the activations written to {file} cannot be read back")
        else:
            found = np.empty((len(keys), self.width), np.float32)
            self._fill(found, keys, compute)
            try:
                with atomic_write(file) as temporary, temporary.open("wb") as out:
                    np.lib.format.write_array(out, found, allow_pickle=False)
                    out.write(keys.tobytes())
            except OSError as err:
                if must_write:
                    raise
                log.warning("activations are not kept on disk, only in memory: %s", err)
                return found
        self._prune(file)
        return found

    def read(self, file: Path, keys: np.ndarray) -> np.ndarray | None:
        """The vectors of a complete file of these pictures, or None."""
        found = self._open(file, True)
        return None if found is None or not np.array_equal(found[1], keys) else found[0]

    def _open(self, file: Path, tell: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Vectors and keys of a file that is as long, as wide, and of the pictures that it should be; `tell`:
        in memory where it is small, and what is wrong with it goes to the log.
        """
        try:
            with file.open("rb") as opened:
                found = self._parts(file, opened, tell)
        except FileNotFoundError:
            return None
        except (ValueError, OSError, EOFError) as err:
            if tell:
                log.warning("cache file %s is damaged (%s); it is computed again", file, err)
            return None
        if found is None and tell:
            log.warning("cache file %s does not fit the data; it is computed again", file)
        return found

    def _parts(self, file: Path, opened: BinaryIO, read: bool) -> tuple[np.ndarray, np.ndarray] | None:
        size = os.fstat(opened.fileno()).st_size
        np.lib.format.read_magic(opened)
        shape, _, dtype = np.lib.format.read_array_header_1_0(opened)
        start = opened.tell()
        if len(shape) != 2 or (shape[1], dtype) != (self.width, np.dtype(np.float32)):
            return None
        if size != start + shape[0] * (self.width * 4 + KEY_BYTES):
            return None
        opened.seek(size - shape[0] * KEY_BYTES)
        keys = np.frombuffer(opened.read(), f"V{KEY_BYTES}")
        if self.file("", keys).name[-28:] != file.name[-28:]:
            return None
        if not read or size > _KEEP_IN_MEMORY:
            return np.memmap(file, np.float32, "c", start, shape), keys
        opened.seek(start)
        return np.fromfile(opened, np.float32, shape[0] * shape[1]).reshape(shape), keys

    def _fill(
        self, out: np.ndarray, keys: np.ndarray, compute: Callable[[np.ndarray, np.ndarray], None] | None
    ) -> None:
        """Rows from other files, then from `compute`; equal pictures are computed once."""
        wanted: dict[bytes, list[int]] = {}
        for row, key in enumerate(_split(keys)):
            wanted.setdefault(key, []).append(row)
        for file in self._files(f"{self.kind}-*.npy"):
            if not wanted:
                return
            found = self._open(file, False)
            if found is None:
                continue
            pairs = [(wanted.pop(key), held) for held, key in enumerate(_split(found[1])) if key in wanted]
            for rows, held in pairs:
                out[rows] = found[0][held]
        if not wanted:
            return
        if compute is None:
            raise ValueError(f"{len(wanted)} pictures have no vectors in {self.folder}")
        first = np.array([rows[0] for rows in wanted.values()])
        compute(out, first)
        for rows in wanted.values():
            if len(rows) > 1:
                out[rows[1:]] = out[rows[0]]

    def _write_mapped(
        self, file: Path, keys: np.ndarray, compute: Callable[[np.ndarray, np.ndarray], None] | None
    ) -> None:
        """Compute into a file; its room is taken first, as a write to a mapping cannot fail with an error."""
        with atomic_write(file) as temporary:
            out = np.lib.format.open_memmap(temporary, "w+", np.float32, (len(keys), self.width))
            with temporary.open("rb+") as opened:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(opened.fileno(), 0, temporary.stat().st_size + keys.nbytes)
            self._fill(out, keys, compute)
            out.flush()
            with temporary.open("rb+") as opened:
                opened.seek(-keys.nbytes, os.SEEK_END)
                opened.write(keys.tobytes())

    def _files(self, pattern: str) -> list[Path]:
        """Files of finished writes, those used last first."""
        dated = []
        for file in self.folder.glob(pattern):
            with contextlib.suppress(OSError):
                if _OURS.fullmatch(file.name):
                    dated.append((file.stat().st_mtime, file))
        return [file for _, file in sorted(dated, reverse=True)]

    def _prune(self, newest: Path) -> None:
        """Remove what was used longest ago: beyond four lists of one name and kind, or 8 GiB in all."""
        alike = self._files(f"{newest.name.rsplit('-', 1)[0]}-*.npy")
        old = [file for file in alike if file != newest][MOST_FILES - 1 :]
        total = 0
        for file in self._files("*.npy"):
            with contextlib.suppress(OSError):
                stat = file.stat()
                total += stat.st_size
                if total > MOST_BYTES and time.time() - stat.st_mtime > _IN_USE_SECONDS:
                    old.append(file)
        for file in old:
            with contextlib.suppress(OSError):
                file.unlink()


def _split(keys: np.ndarray) -> list[bytes]:
    raw = keys.tobytes()
    return [raw[start : start + KEY_BYTES] for start in range(0, len(raw), KEY_BYTES)]


def sweep(folder: Path) -> None:
    """Remove what runs that were killed while writing left behind."""
    for file in folder.glob(".*.npy.*.tmp"):
        with contextlib.suppress(OSError):  # another run may be faster, or own the file
            if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                file.unlink()
