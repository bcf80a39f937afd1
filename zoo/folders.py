"""Writing folders so that a reader never sees half of one; needs no torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def umask() -> int:
    """The permissions that new files shall not have."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` to write to; it takes the place of `path` only if the block succeeds.

    Whoever calls it has made sure that what lies at `path` may be replaced.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "notes"
        >>> with atomic_folder(target) as temporary:
        ...     _ = (temporary / "first.txt").write_text("done")
        >>> (target / "first.txt").read_text()
        'done'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
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
        shutil.rmtree(old, ignore_errors=True)
