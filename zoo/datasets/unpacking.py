"""Unpacking archives of strangers: nothing is written outside, nothing half, no more than was said."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zoo.datasets.described import DatasetError
from zoo.datasets.members import Limits as Limits
from zoo.datasets.members import Names, damage_named, open_archive
from zoo.folders import errors_name, sweep, temporary_prefix, umask

_CHUNK = 1 << 20


def unpack(archive: str | Path, folder: str | Path, *, limits: Limits | None = None, top: str = "") -> Path:
    """Unpack a zip or tar archive into a new folder, which appears when all of it is there.

    All members are looked at before one is written. Refused are paths that are absolute or lead out of the
    folder, links and devices of any kind, names that occur twice or differ in case only, and more than the
    limits allow.

    Args:
        archive: zip or tar, compressed or not.
        folder: that it unpacks to; it must not be there yet.
        limits: on the number of members, their size and the compression; generous by default.
        top: the archive's own outermost folder, which is left out.

    Returns:
        The folder.

    Raises:
        DatasetError: if the archive is refused or damaged; the folder is not there then.
        FileExistsError: if the folder is there already.

    Example:
        >>> import zipfile
        >>> place = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(place / "notes.zip", "w") as file:
        ...     file.writestr("notes/first.txt", "done")
        >>> (unpack(place / "notes.zip", place / "notes", top="notes") / "first.txt").read_text()
        'done'
    """
    folder = Path(folder)
    with appearing(folder) as fresh:
        unpack_into(Path(archive), fresh, Names(), limits or Limits(), top)
    return folder


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes it if the block succeeds, else is removed.

    What killed processes left of earlier ones is removed.

    Raises:
        FileExistsError: if something is there.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder} is there already: remove it first, or choose another folder")
    with errors_name(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        fresh = Path(tempfile.mkdtemp(prefix=temporary_prefix(folder), suffix=".tmp", dir=folder.parent))
    try:
        yield fresh
        fresh.chmod(0o777 & ~umask())
        with errors_name(folder):
            os.rename(fresh, folder)  # an empty folder is replaced, one with anything in it is not
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def unpack_into(
    archive: Path, folder: Path, names: Names, limits: Limits, top: str = "", skip: Iterable[str] = ()
) -> dict[str, str]:
    """Unpack an archive into an empty folder, or beside what `names` knows to be in it.

    Returns:
        The SHA-256 of every file, by its path in the folder.

    Raises:
        DatasetError: if the archive is refused or damaged; the folder may then hold some of it.
    """
    sums: dict[str, str] = {}
    with open_archive(archive, limits) as opened:
        members = opened.members(names, top, skip)
        needs_room(folder, opened.total, archive)
        made: set[tuple[str, ...]] = set()
        for member, is_folder in members:
            target, inside = folder.joinpath(*member.parts), member.parts if is_folder else member.parts[:-1]
            if inside not in made:
                folder.joinpath(*inside).mkdir(parents=True, exist_ok=True)
                made.add(inside)
            if not is_folder:
                with opened.open(member) as source:
                    sums["/".join(member.parts)] = _written(source, target)
    return sums


def decompress_into(archive: Path, folder: Path, names: Names, limits: Limits) -> dict[str, str]:
    """Decompress one gzip file into a folder, where it has the same name without `.gz`; as `unpack_into`."""
    (name,) = names.take(archive, archive.name.removesuffix(".gz"), False)
    with damage_named(archive), gzip.open(archive) as source:
        return {name: _written(source, folder / name, archive, limits)}


def copy_into(file: Path, folder: Path, names: Names) -> dict[str, str]:
    """Copy one file into a folder; as `unpack_into`."""
    (name,) = names.take(file, file.name, False)
    needs_room(folder, file.stat().st_size, file)
    with file.open("rb") as source:
        return {name: _written(source, folder / name)}


def needs_room(folder: Path, size: int, what: object) -> None:
    """See that there is room, before an hour is spent.

    Raises:
        OSError: that there is none.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            errno.ENOSPC,
            f"{what} needs {size:,} bytes, and {free:,} are free: make room, or choose another",
            str(folder),
        )


def _written(
    source: IO[bytes] | Any, target: Path, archive: Path | None = None, limits: Limits | None = None
) -> str:
    digest, size = hashlib.sha256(), 0
    with errors_name(target), target.open("xb") as file:
        while data := source.read(_CHUNK):
            size += len(data)
            if archive is not None and limits is not None:
                limits.check(archive, archive.stat().st_size, 1, size)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def read_sum(path: Path, kind: str = "sha256") -> str:
    """The checksum of a file, by default SHA-256.

    Raises:
        DatasetError: if it is not a plain file.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is not a file: move it away")
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
