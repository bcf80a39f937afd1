"""What an archive holds, looked at before anything is written: names, kinds and sizes of its members.

Python's own filter for tar (`tarfile.data_filter`) lets links inside the folder through, came with 3.11.4 and
knows neither zip nor limits; here both kinds of archive keep the same, stricter rules.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import fnmatch
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from zoo.datasets.described import DatasetError

MB = 1_000_000
_CHUNK = 4_194_304  # bytes; no header of a tar archive is as long
_SMALL = 10 * MB  # what unpacks to less is never called a bomb
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError,
    struct.error,
)  # fmt: skip
_NO_NAME = re.compile(r"[\\\x00-\x1f\ud800-\udfff]")  # the last: bytes that are no text
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an archive may unpack to.

    Args:
        members: files and folders.
        total: bytes of all files.
        ratio: how many times larger than the archive all may be, beyond ten megabytes.
    """

    members: int = 500_000
    total: int = 50_000 * MB
    ratio: float = 100.0

    def check(self, archive: Path, packed: int, count: int, total: int) -> None:
        """Refuse an archive of so many `packed` bytes that holds more.

        Raises:
            DatasetError: which limit it breaks.
        """
        if count > self.members:
            raise DatasetError(f"{archive} has more than {self.members:,} members: refused")
        if total > self.total:
            raise DatasetError(f"{archive} unpacks to more than {self.total:,} bytes: refused")
        if total > max(self.ratio * packed, _SMALL):
            raise DatasetError(
                f"{archive} unpacks to more than {self.ratio:g} times its {packed:,} bytes: refused as a bomb"
            )


class Names:
    """The names of what is written into one folder: none twice, none outside, on no file system."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], tuple[tuple[str, ...], bool]] = {}
        self._files: set[tuple[str, ...]] = set()
        self._parents: set[tuple[str, ...]] = set()

    def take(self, archive: Path, name: str, folder: bool) -> tuple[str, ...]:
        """The parts of a path, each a name that is safe on every platform.

        Raises:
            DatasetError: if it leads out of the folder, could be another path elsewhere, or is taken.
        """
        parts = safe_parts(archive, name)
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
        for depth in range(1 if parts[:-1] not in self._parents else len(parts), len(parts) + 1):
            known, is_folder = key[:depth], folder or depth < len(parts)
            spelled, was_folder = self._seen.setdefault(known, (parts[:depth], is_folder))
            if spelled != parts[:depth]:
                raise DatasetError(
                    f"{archive} holds {'/'.join(spelled)!r} and {'/'.join(parts[:depth])!r}, one name on "
                    "some file systems: refused"
                )
            if was_folder != is_folder:
                raise DatasetError(
                    f"{archive} holds {'/'.join(spelled)!r} as a file and as a folder: refused"
                )
        self._parents.add(parts[:-1])
        if not folder and key in self._files:
            raise DatasetError(f"{archive} holds {name!r} twice: refused")
        if not folder:
            self._files.add(key)
        return parts


def safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a path in an archive, each a name on every platform.

    Raises:
        DatasetError: if it is absolute, leads out of the folder or has a name that is none.
    """
    if name.startswith("/"):
        raise DatasetError(f"{archive} holds the absolute path {name!r}: refused")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    for part in parts:
        if part == "..":
            raise DatasetError(f"{archive} holds {name!r}, which leads out of its folder: refused")
        if not _is_name(part):
            raise DatasetError(f"{archive} holds a name that is not one on every platform, {name!r}: refused")
    return parts


def _is_name(part: str) -> bool:
    if _NO_NAME.search(part) or len(part.encode("utf8")) > 255:
        return False
    stem = part.split(".")[0].rstrip().lower()
    return os.name != "nt" or not (":" in part or stem in _RESERVED or part != part.rstrip(". "))


@dataclass(frozen=True)
class Member:
    """A file in an archive, and where it belongs."""

    parts: tuple[str, ...]
    handle: Any


class Archive:
    """An open zip or tar archive.

    Args:
        path: of the archive.
        limits: on what it unpacks to.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self.limits = path, limits
        self.packed, self.total = path.stat().st_size, 0

    def members(self, names: Names, top: str = "", skip: Iterable[str] = ()) -> list[tuple[Member, bool]]:
        """All that shall be unpacked, and whether it is a folder.

        Raises:
            DatasetError: if one of its members may not be unpacked; nothing is written.
        """
        found, self.total = [], 0
        unwanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in skip) or r"(?!)")
        for count, (name, folder, size, handle) in enumerate(self._listed(), 1):
            self.total += size
            self.limits.check(self.path, self.packed, count, self.total)
            parts = safe_parts(self.path, name)
            if any(map(unwanted.match, parts)):
                continue
            if top and parts[:1] == (top,):
                parts = parts[1:]
            if not parts and not folder:
                raise DatasetError(f"{self.path} holds a file without a name: refused")
            if parts:
                found.append((Member(names.take(self.path, "/".join(parts), folder), handle), folder))
        return found

    def _listed(self) -> Iterator[tuple[str, bool, int, Any]]:
        raise NotImplementedError

    def open(self, member: Member) -> IO[bytes]:
        """The content of a file; to be asked for in the order of the members."""
        raise NotImplementedError


class _Zip(Archive):
    def __init__(self, path: Path, limits: Limits, file: zipfile.ZipFile) -> None:
        super().__init__(path, limits)
        self.file = file

    def _listed(self) -> Iterator[tuple[str, bool, int, Any]]:
        self.limits.check(self.path, self.packed, len(self.file.infolist()), 0)
        for info in self.file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DatasetError(f"{self.path} holds {info.filename!r}, {_what(kind)}: refused")
            if info.flag_bits & 1:
                raise DatasetError(f"{self.path} needs a password: unpack it by hand")
            yield info.orig_filename, info.is_dir() or kind == stat.S_IFDIR, info.file_size, info

    def open(self, member: Member) -> IO[bytes]:
        return self.file.open(member.handle)


class _Tar(Archive):
    def __init__(self, path: Path, limits: Limits, file: tarfile.TarFile, stream: _Guarded) -> None:
        super().__init__(path, limits)
        self.file, self.stream = file, stream

    def _listed(self) -> Iterator[tuple[str, bool, int, Any]]:
        for info in self.file:
            if not (info.isdir() or info.isreg()) or info.issparse():
                kind = "a link" if info.issym() or info.islnk() else "neither a file nor a folder"
                raise DatasetError(f"{self.path} holds {info.name!r}, {kind}: refused")
            yield info.name, info.isdir(), info.size, info
        if self.stream.last != bytes(512):  # tarfile stops at broken headers as if it were the end
            raise tarfile.ReadError("it ends without an end")
        while self.stream.read(_CHUNK):  # to its end, so that its checksum is looked at
            pass

    def open(self, member: Member) -> IO[bytes]:
        found = self.file.extractfile(member.handle)
        if found is None:
            raise DatasetError(f"{self.path} holds {member.handle.name!r}, which is no file: refused")
        return found


class _Guarded:
    """A stream that is not read beyond the limits, nor in one piece: `tarfile` reads a header at once,
    however long that says it is.
    """

    def __init__(self, path: Path, limits: Limits, stream: Any) -> None:
        self.path, self.limits, self.stream, self.last = path, limits, stream, b""
        packed = path.stat().st_size
        headers = 1024 * limits.members  # of each: its header, and what fills up the last block
        self.packed = packed
        self.bound = min(limits.total + headers, max(limits.ratio * packed, _SMALL + 1024))

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise DatasetError(f"{self.path} has a header of {size:,} bytes: refused")
        self.last = self.stream.read(size)
        self._check(self.stream.tell())
        return self.last

    def seek(self, place: int, whence: int = 0) -> int:
        if whence == 0:
            self._check(place)
        return self.stream.seek(place, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def _check(self, place: int) -> None:
        if place > self.bound:
            self.limits.check(self.path, self.packed, 0, place)
            raise DatasetError(f"{self.path} unpacks to more than {self.bound:,.0f} bytes: refused")


@contextlib.contextmanager
def open_archive(path: Path, limits: Limits) -> Iterator[Archive]:
    """A zip or tar archive, compressed by gzip, bzip2, xz or not; told by its content, not its name.

    Raises:
        DatasetError: if it is none, or damaged.
    """
    with damage_named(path), path.open("rb") as file:
        if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            with zipfile.ZipFile(path) as archive:
                yield _Zip(path, limits, archive)
            return
        with _decompressed(path) as stream:
            guarded = _Guarded(path, limits, stream)
            with tarfile.TarFile(fileobj=cast(Any, guarded)) as archive:
                yield _Tar(path, limits, archive, guarded)


def _decompressed(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(path)
    return lzma.LZMAFile(path) if start.startswith(b"\xfd7zXZ") else path.open("rb")


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever a broken archive raises becomes an error that names it."""
    try:
        yield
    except DatasetError:
        raise
    except NotImplementedError as error:  # a method or version that zipfile does not know
        raise DatasetError(f"{path} cannot be unpacked ({error}): unpack it by hand") from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and (error.errno not in (None, errno.EINVAL) or error.filename):
            raise  # of the disk, not of the content
        raise DatasetError(
            f"{path} is damaged or no archive ({error}): remove it and get it again"
        ) from error


def _what(kind: int) -> str:
    return "a link" if kind == stat.S_IFLNK else "neither a file nor a folder"
