"""Getting a data set: fetched, verified, unpacked, once."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.datasets.described import Dataset, DatasetError, File
from zoo.datasets.downloading import Refused, check, download, downloaded_mark, is_downloaded
from zoo.datasets.members import Limits, Names
from zoo.datasets.places import home
from zoo.datasets.records import Records
from zoo.datasets.registry import dataset
from zoo.datasets.unpacking import appearing, copy_into, decompress_into, unpack_into
from zoo.errors import some


def get(
    name: str, folder: str | Path | None = None, *, mirror: str | None = None, progress: bool = True
) -> Path:
    """The folder of a data set, fetched and unpacked at the first call.

    The folder appears when all of it is there. Half a download is gone on with the next time. Several
    processes may call it at once: one fetches, the others wait. Size and checksum are verified; where nobody
    has published a checksum, that of the first download is written down and holds for every later one.

    Files that lie in `NAME.files/` beside the data set are verified and used instead of a download.

    Args:
        name: one of `available()`.
        folder: of data sets, in which the set is a folder of its name; `home()` by default.
        mirror: address or folder that is asked instead of the publisher, with the same file names; `{name}`
            and `{file}` in it stand for the set and the file, without `{file}` the file's name is appended;
            by default that of the environment variable `ZOO_DATASETS_MIRROR`.
        progress: show a bar, on a terminal.

    Returns:
        The folder of the set.

    Raises:
        DatasetError: if there is no such set, or it cannot be had: which file to put where by hand.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> (place / "nietzsche").mkdir()
        >>> _ = (place / "nietzsche" / "nietzsche.txt").write_text("PREFACE")
        >>> get("nietzsche", place).name
        'nietzsche'
    """
    wanted, root = dataset(name), root_of(folder)
    target = root / name
    if target.exists():
        return _present(wanted, target)
    records = Records(root, name)
    with records.locked():
        if target.exists():  # another process was first
            return _present(wanted, target)
        return _fetched(
            wanted, target, records, mirror or os.environ.get("ZOO_DATASETS_MIRROR") or None, progress
        )


def where(name: str, folder: str | Path | None = None) -> Path:
    """The folder of a data set that has been fetched; nothing is downloaded.

    Raises:
        DatasetError: if there is no such set.
        FileNotFoundError: if it is not there.
    """
    wanted, root = dataset(name), root_of(folder)
    if not (root / name).exists():
        option = "" if folder is None else f" --folder {root}"
        raise FileNotFoundError(
            f"data set {name!r} is not in {root}: `zoo data get {name}{option}` fetches it"
        )
    return _present(wanted, root / name)


def root_of(folder: str | Path | None) -> Path:
    """The folder of data sets."""
    return (home() if folder is None else Path(folder).expanduser()).absolute()


def _present(wanted: Dataset, target: Path) -> Path:
    missing = [part for part in wanted.holds if not (target / part).exists()]
    if missing:
        raise DatasetError(
            f"{target} holds no {missing[0]}, so it is not all of data set {wanted.name!r}: move it away, or "
            "choose another folder"
        )
    return target


def _fetched(wanted: Dataset, target: Path, records: Records, mirror: str | None, progress: bool) -> Path:
    sums: dict[str, tuple[int, str, str]] = {}
    contents: dict[str, str] = {}
    files = []
    for file in wanted.files:
        path, origin = _file(wanted, records.known(file), records, mirror, progress)
        sums[file.name] = (path.stat().st_size, _checked(path, records.known(file), records), origin)
        files.append((file, path))
    with appearing(target) as fresh:
        names = Names()
        for file, path in files:
            try:
                contents |= _unpacked(file, path, fresh, names)
            except DatasetError as error:
                if not _clean(path, records.by_hand):
                    raise
                raise DatasetError(f"{error} (that download is removed)") from error
        missing = [part for part in wanted.holds if not (fresh / part).exists()]
        if missing:
            raise DatasetError(
                f"what was fetched for {wanted.name!r} holds no {missing[0]}, but {some(sorted(contents))}: "
                f"remove {records.by_hand} and get it again"
            )
        records.write(wanted, sums, contents)
    for _, path in files:
        _clean(path, records.by_hand)
    return target


def _file(
    wanted: Dataset, file: File, records: Records, mirror: str | None, progress: bool
) -> tuple[Path, str]:
    """A published file on this machine, and where it is from."""
    place = records.by_hand / file.name
    if place.exists():
        if not is_downloaded(place):
            return place, "by hand"
        try:
            check(place, file)
            return place, "an earlier download"
        except DatasetError:
            place.unlink()
    urls = file.urls
    if mirror is not None:
        at = _mirrored(mirror, wanted, file)
        if at.startswith(("http://", "https://")):
            urls = (at,)
        elif Path(at).exists():
            return Path(at), at
        else:
            raise DatasetError(_by_hand(wanted, file, records, f"the mirror has no {at}"))
    if not urls:
        raise DatasetError(_by_hand(wanted, file, records, "it is not to be downloaded by programs"))
    try:
        return download(file, records.by_hand, urls, progress)
    except Refused as error:
        raise DatasetError(_by_hand(wanted, file, records, str(error))) from error


def _mirrored(mirror: str, wanted: Dataset, file: File) -> str:
    """The address or path of a file there."""
    place = mirror if "{file}" in mirror else f"{mirror.rstrip('/')}/{{file}}"
    place = place.replace("{name}", wanted.name).replace("{file}", file.name).removeprefix("file://")
    if "://" in place and not place.startswith(("http://", "https://")):
        raise DatasetError(f"the mirror {mirror} is no address of https:// or http://, and no folder")
    return place if "://" in place else str(Path(place).expanduser())


def _checked(path: Path, file: File, records: Records) -> str:
    try:
        return check(path, file)
    except DatasetError as error:
        day = records.first_seen(file)
        if day is None:
            raise DatasetError(f"{error}: move it away") from error
        raise DatasetError(
            f"{error}, which it was at its first download on {day}, as {records.files} has it: remove that "
            "record if you trust the new file"
        ) from error


def _unpacked(file: File, path: Path, fresh: Path, names: Names) -> dict[str, str]:
    if file.kind == "archive":
        return unpack_into(path, fresh, names, Limits(), file.top, file.skip)
    if file.kind == "gz":
        return decompress_into(path, fresh, names, Limits())
    return copy_into(path, fresh, names)


def _clean(path: Path, by_hand: Path) -> bool:
    """Remove a file that was downloaded; one that was put there by hand stays. Whether it was removed."""
    removed = path.parent == by_hand and is_downloaded(path)
    if removed:
        path.unlink()
        downloaded_mark(path).unlink()
    if by_hand.is_dir() and not any(by_hand.iterdir()):
        by_hand.rmdir()
    return removed


def _by_hand(wanted: Dataset, file: File, records: Records, reason: str) -> str:
    size = f"{file.size:,} bytes" if file.size is not None else "size not published"
    known = (
        f"SHA-256 {file.sha256}"
        if file.sha256
        else f"MD5 {file.md5}"
        if file.md5
        else "no checksum published"
    )
    source = f"from {' or '.join(file.urls)}" if file.urls else f"from {wanted.page}"
    how = f" ({wanted.by_hand})" if wanted.by_hand else ""
    return (
        f"cannot fetch data set {wanted.name!r}, {reason}: get {file.name} ({size}, {known}) {source} by "
        f"hand{how}, put it into {records.by_hand} and call again"
    )
