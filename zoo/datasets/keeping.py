"""Looking after data sets that have been fetched: are they as they were, and away with them."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from zoo.datasets.described import DatasetError
from zoo.datasets.downloading import downloaded_mark, is_downloaded
from zoo.datasets.getting import root_of, where
from zoo.datasets.records import Records
from zoo.datasets.registry import dataset
from zoo.datasets.unpacking import read_sum
from zoo.folders import temporary_prefix


@dataclass(frozen=True)
class Verified:
    """How the files of a data set compare with what was unpacked.

    Args:
        path: folder of the set.
        files: how many are as they were.
        missing: paths of those that are gone.
        changed: of those that hold something else.
        added: of those that came later.
    """

    path: Path
    files: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing or changed; files that were added do no harm."""
        return not self.missing and not self.changed


@dataclass(frozen=True)
class Removed:
    """What `remove` took away.

    Args:
        path: folder of the set.
        files: how many were removed.
        kept: paths of those that stay, because they were not unpacked there or have changed since.
    """

    path: Path
    files: int
    kept: tuple[str, ...]


def verify(name: str, folder: str | Path | None = None) -> Verified:
    """Compare the checksums of all files of a data set with those of when it was unpacked.

    Args:
        name: of the set.
        folder: of data sets; `home()` by default.

    Raises:
        DatasetError: if there is no such set, or it was not unpacked by `get`.
        FileNotFoundError: if it is not there.
    """
    root = root_of(folder)
    if not (root / dataset(name).name).is_dir():
        where(name, folder)
    target, wanted = root / name, _contents(name, root)
    there = _listed(target)
    changed = tuple(path for path in sorted(wanted) if path in there and _sum(target / path) != wanted[path])
    missing = tuple(path for path in sorted(wanted) if path not in there)
    added = tuple(sorted(there - set(wanted)))
    return Verified(target, len(wanted) - len(changed) - len(missing), missing, changed, added)


def remove(name: str, folder: str | Path | None = None, *, forget: bool = False) -> Removed:
    """Remove a data set and what is left of its download.

    Files that `get` did not put there, or that have changed, stay, as does what was put there by hand. The
    checksums of the first download hold on, unless they shall be forgotten.

    Args:
        name: of the set.
        folder: of data sets; `home()` by default.
        forget: also forget the checksums, so that the next download is the first one.

    Raises:
        DatasetError: if there is no such set, or it was not unpacked by `get`.
        FileNotFoundError: if nothing of it is there.
    """
    wanted, root = dataset(name), root_of(folder)
    records, target = Records(root, name), root / dataset(name).name
    left = [path for file in wanted.files for path in _of_download(records.by_hand / file.name)]
    if not (target.exists() or left or (forget and records.files.exists())):
        where(name, folder)
    removed, kept = 0, ()
    with records.locked():
        if target.exists():
            contents = _contents(name, root)
            mine = [
                path
                for path in contents
                if (target / path).is_file() and _sum(target / path) == contents[path]
            ]
            kept = tuple(sorted(_listed(target) - set(mine)))
            removed = _taken_away(target, mine, kept)
        for path in left:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something else, or is not there
            records.by_hand.rmdir()
        records.contents.unlink(missing_ok=True)
        if forget:
            records.files.unlink(missing_ok=True)
    return Removed(target, removed, kept)


def _taken_away(target: Path, mine: list[str], kept: tuple[str, ...]) -> int:
    if not kept:  # in one move, so that nobody finds half of it
        away = target.with_name(f"{temporary_prefix(target)}removed.tmp")  # a name that is swept
        target.rename(away)
        shutil.rmtree(away)
        return len(mine)
    for path in mine:
        (target / path).unlink()
    for folder, _, _ in os.walk(target, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(folder)
    return len(mine)


def _contents(name: str, root: Path) -> dict[str, str]:
    found = Records(root, name).read_contents()
    if found is None:
        raise DatasetError(f"{root / name} was not unpacked by `zoo data get`: nothing is known of its files")
    return found


def _listed(target: Path) -> set[str]:
    """The paths of all that is not a folder."""
    return {
        (Path(folder) / file).relative_to(target).as_posix()
        for folder, folders, files in os.walk(target)
        for file in [*files, *(one for one in folders if (Path(folder) / one).is_symlink())]
    }


def _sum(path: Path) -> str | None:
    return read_sum(path) if path.is_file() else None


def _of_download(path: Path) -> list[Path]:
    """What is there of a download: half of a file, or one not unpacked yet; not one put there by hand."""
    mark = downloaded_mark(path)
    parts = [path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json"), mark]
    return [one for one in (*parts, *([path] if is_downloaded(path) else [])) if one.exists()]
