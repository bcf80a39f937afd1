"""Writing folders so that a reader never sees half of one, and what killed writers leave; needs no torch."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

_DAY = 86_400.0


def umask() -> int:
    """The permissions that new files shall not have."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` to write to; it takes the place of `path` only if the block succeeds.

    Whoever calls it has made sure that what lies at `path` may be replaced. A process that is killed in the
    moment of the replacement leaves the older folder beside `path`, where `present_folder` finds it and the
    next write puts it back. What killed processes left of earlier writes is removed.

    Raises:
        OSError: if it cannot be written, with the name of `path`.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "notes"
        >>> with atomic_folder(target) as temporary:
        ...     _ = (temporary / "first.txt").write_text("done")
        >>> (target / "first.txt").read_text()
        'done'
    """
    path = Path(path)
    with errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _put_back(path)
        sweep(path)
        fresh = Path(tempfile.mkdtemp(prefix=temporary_prefix(path), suffix=".tmp", dir=path.parent))
        old = fresh.with_name(f"{fresh.name}.old")
        try:
            yield fresh
            for written in fresh.iterdir():
                with written.open("rb+") as file:
                    os.fsync(file.fileno())
            fresh.chmod(0o777 & ~umask())
            if path.exists():
                path.replace(old)
            try:
                fresh.replace(path)
            except OSError:
                if old.exists():
                    old.replace(path)
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)


def present_folder(path: Path) -> Path:
    """Where the folder that belongs at `path` lies: there, or beside it, if a process was killed between
    moving it away and putting a new one in its place.
    """
    return path if path.exists() else max(_olds(path), key=_written, default=path)


def temporary_prefix(path: Path) -> str:
    """How the names of temporary files for `path` begin; they tell which process writes them."""
    return f".{path.name}.{_host()}-{os.getpid()}-"


def sweep(path: Path) -> None:
    """Remove the temporary files and folders for `path` whose process is gone, on this machine, or that are
    a day old.
    """
    for left, whose in _leftovers(path):
        if not _is_abandoned(left, whose) or (left.suffix == ".old" and not path.exists()):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                left.unlink()


@contextlib.contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Errors of the file system, such as that there is no space left, name what was written."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _put_back(path: Path) -> None:
    if path.exists():
        return
    for left, whose in _leftovers(path):
        if left == present_folder(path) and _is_abandoned(left, whose):
            left.replace(path)


def _leftovers(path: Path) -> list[tuple[Path, re.Match[str]]]:
    """Temporary files and folders for `path`, also those that earlier versions named."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(?:([0-9a-f]{{8}})-(\d+)-)?\w+\.tmp(?:\.old)?")
    try:
        found = [(entry, name.fullmatch(entry.name)) for entry in path.parent.iterdir()]
    except OSError:
        return []
    return [(entry, match) for entry, match in found if match is not None]


def _olds(path: Path) -> list[Path]:
    return [left for left, _ in _leftovers(path) if left.suffix == ".old"]


def _is_abandoned(left: Path, whose: re.Match[str]) -> bool:
    """Whether the process that made it is gone."""
    if whose[1] == _host() and os.name == "posix" and not _lives(int(whose[2])):
        return True
    return time.time() - _written(left) > _DAY  # another machine's, or of a number that was given anew


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _written(entry: Path) -> float:
    try:
        return max(entry.stat().st_mtime, entry.stat().st_ctime)  # a rename counts
    except OSError:
        return time.time()


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode(errors='replace')):08x}"
