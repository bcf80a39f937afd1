"""Many paths in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np


class FileList(Sequence[Path]):
    """Paths as one array of bytes and one of offsets: a sequence that gives `Path` objects.

    A list of 200,000 `Path` objects grows by tens of megabytes in every process that reads from it, as
    counting references writes to each object; arrays are shared by all processes as they are.

    Args:
        paths: any paths; names that are not UTF-8 are kept byte by byte.

    >>> files = FileList(["a/1.jpg", "a/2.jpg", "b/3.jpg"])
    >>> len(files), files[1].as_posix(), [file.name for file in files[::2]]
    (3, 'a/2.jpg', ['1.jpg', '3.jpg'])
    >>> files.take([2, 0]) == ["b/3.jpg", "a/1.jpg"]
    True
    """

    __slots__ = ("_names", "_offsets")

    def __init__(self, paths: Iterable[str | os.PathLike[str]] = ()) -> None:
        names = [os.fsencode(path) for path in paths]
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._offsets = np.zeros(len(names) + 1, np.int64)
        np.cumsum([len(name) for name in names], out=self._offsets[1:])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, key: int) -> Path: ...
    @overload
    def __getitem__(self, key: slice) -> FileList: ...
    def __getitem__(self, key: int | slice) -> Path | FileList:
        if isinstance(key, slice):
            return self.take(range(len(self))[key])
        return Path(os.fsdecode(self.name(key)))

    def __iter__(self) -> Iterator[Path]:
        return (Path(os.fsdecode(name)) for name in self.names())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FileList):
            return np.array_equal(self._offsets, other._offsets) and np.array_equal(self._names, other._names)
        if isinstance(other, Sequence) and not isinstance(other, str | bytes):
            return len(self) == len(other) and all(
                name == os.fsencode(one) for name, one in zip(self.names(), other, strict=True)
            )
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list

    def __repr__(self) -> str:
        few = ", ".join(repr(str(file)) for file in self[:3])
        return f"FileList([{few}{', ...' if len(self) > 3 else ''}], {len(self)} files)"

    def name(self, row: int) -> bytes:
        """The path of a row as the system knows it.

        Raises:
            IndexError: there is no such row.
        """
        row = int(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a list of {len(self)} files")
        row %= len(self)
        return self._names[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def names(self) -> Iterator[bytes]:
        """All paths, as `name` gives them."""
        for start, stop in zip(self._offsets[:-1].tolist(), self._offsets[1:].tolist(), strict=True):
            yield self._names[start:stop].tobytes()

    def take(self, rows: Iterable[int] | np.ndarray) -> FileList:
        """The files of the rows given, in their order."""
        return FileList(os.fsdecode(self.name(row)) for row in rows)

    @property
    def nbytes(self) -> int:
        """Memory of the names."""
        return self._names.nbytes + self._offsets.nbytes
