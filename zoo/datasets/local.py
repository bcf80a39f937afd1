"""Finds data sets that lie on this machine, as folders or zip archives."""

from __future__ import annotations

import hashlib
from pathlib import Path

from zoo.datasets.places import cache_dir
from zoo.datasets.registry import available
from zoo.datasets.unpacking import unpack


def local_dataset(root: str | Path, name: str, marker: str | None = None) -> Path:
    """The folder (or file) of a data set; nothing is downloaded.

    Args:
        root: the data set's own folder, a folder that holds it as `name/`, or one that holds `name.zip`,
            which is unpacked once into the cache.
        name: of the data set.
        marker: a file or folder inside the data set, by which `root` itself is recognised.

    Raises:
        FileNotFoundError: if it is in none of these places, with the command to fetch it, if one does.
        DatasetError: if the archive is damaged, or may not be unpacked.
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
    hint = f"; `zoo data get {name} --folder {root}` fetches it" if name in available() else ""
    raise FileNotFoundError(f"no data set {name!r} in {root}: expected {root / name} or {archive}{hint}")


def _unpacked(archive: Path, name: str) -> Path:
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:12]
    target = cache_dir() / f"{name}-{key}"
    if not target.exists():
        try:
            unpack(archive, target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    inner = target / name
    return inner if inner.is_dir() else target
