"""Finds data sets that lie on this machine, as folders or zip archives."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path


def cache_dir() -> Path:
    """Where unpacked files are kept: `$ZOO_CACHE`, else `zoo` in the user's cache folder."""
    chosen = os.environ.get("ZOO_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zoo"


def local_dataset(root: str | Path, name: str, marker: str | None = None) -> Path:
    """The folder (or file) of a data set.

    Args:
        root: the data set's own folder, a folder that holds it as `name/`, or one that holds `name.zip`,
            which is unpacked once into the cache.
        name: of the data set.
        marker: a file or folder inside the data set, by which `root` itself is recognised.

    Raises:
        FileNotFoundError: if it is in none of these places.
    """
    root = Path(root).expanduser()
    if marker is not None and (root / marker).exists():
        return root
    if (root / name).exists():
        return root / name
    archive = root / f"{name}.zip"
    if archive.is_file():
        return _unpacked(archive, name)
    if root.is_file() and root.name == f"{name}.zip":
        return _unpacked(root, name)
    raise FileNotFoundError(f"no data set {name!r} in {root}: expected {root / name} or {archive}")


def _unpacked(archive: Path, name: str) -> Path:
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:12]
    target = cache_dir() / f"{name}-{key}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
        try:
            with zipfile.ZipFile(archive) as file:  # extractall drops absolute paths and ".."
                file.extractall(fresh)
            if not target.exists():
                fresh.replace(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    inner = target / name
    return inner if inner.is_dir() else target
