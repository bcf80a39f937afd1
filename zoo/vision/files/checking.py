"""Name the picture files that cannot be read, or leave them out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.data.loaders.cores import usable_cores
from zoo.vision.files.depths import NO_SCALE, ValueRange
from zoo.vision.files.file_list import FileList
from zoo.vision.files.finding import walk_images
from zoo.vision.files.headers import by_its_ends
from zoo.vision.files.names import shown as shown
from zoo.vision.files.opening import DECODE_ERRORS, TooLargeError
from zoo.vision.files.reading import open_image, reason_of
from zoo.vision.files.stamps import Remembered

log = logging.getLogger(__name__)

OnBroken = Literal["raise", "skip"]
"""What is done with pictures that cannot be read: named in an error, or left out with a line in the log."""

_CHUNK = 256
_FINE = ""
_WIDE = "\0"  # fine, with samples of 32 bits, whose scale may have to be given
_verdicts: Remembered[str] = Remembered()
_scales: Remembered[str] = Remembered()


def verify_images(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    num_threads: int | None = None,
    value_range: ValueRange | None = None,
) -> dict[Path, str]:
    """Decode every picture completely and name those that cannot be read.

    Pictures of floats or 32 bits whose scale nothing tells are among them.

    Args:
        source: a folder (searched with sub-folders) or paths.
        num_threads: decoding threads; default: the processors that this process may use.
        value_range: that of the transforms; see `open_image`.

    Returns:
        Broken files with the reason, in the order given; empty when all are fine.

    >>> verify_images([])
    {}
    """
    if isinstance(source, str | os.PathLike):
        if not Path(source).is_dir():
            raise FileNotFoundError(f"folder {os.fspath(source)} does not exist")
        paths = walk_images(source)
    else:
        paths = [Path(p) for p in source]
    with ThreadPoolExecutor(num_threads or usable_cores()) as pool:
        reasons = list(pool.map(partial(_broken_reason, value_range=value_range), paths))
    return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason is not None}


def check_headers(paths: Iterable[str | os.PathLike[str]], *, ranged: bool = True) -> dict[Path, str]:
    """Name picture files that are broken as far as that can be told without decoding them.

    Reads the beginning and the end of every file; only one that does not end as it should, or of a kind
    whose end tells nothing, is decoded. Damage inside the data is found by `verify_images`. A file that has
    not changed since is not read a second time by the same process.

    Args:
        paths: the files.
        ranged: whether a `value_range` is given, or still can be; without, pictures of 32 bits and floats are
            decoded, and those whose scale nothing tells count as broken.

    Returns:
        Broken files with the reason, in the order given.

    >>> check_headers([Path("nowhere.jpg")])
    {PosixPath('nowhere.jpg'): 'it does not exist'}
    """
    files = paths if isinstance(paths, FileList) else FileList(paths)
    return {
        files[row]: reason for row, reason in _broken_rows(files, partial(_verdict, ranged=ranged)).items()
    }


def check(
    files: Sequence[Path], *, on_broken: OnBroken = "raise", origin: str = "the data", ranged: bool = True
) -> np.ndarray:
    """The rows whose picture can be read, as far as `check_headers` tells.

    Args:
        files: paths; those that do not exist, and links that lead nowhere, count as broken.
        on_broken: "raise" names all broken files in an error; "skip" leaves them out, and logs how many and
            which.
        origin: names the list in errors and in the log.
        ranged: see `check_headers`.

    Returns:
        Row numbers to keep, int64.

    Raises:
        ValueError: broken files with "raise"; not one that can be read; or another `on_broken`.

    >>> check([])
    array([], dtype=int64)
    """
    if on_broken not in ("raise", "skip"):
        raise ValueError(f"on_broken must be 'raise' or 'skip', got {on_broken!r}")
    listed = files if isinstance(files, FileList) else FileList(files)
    rows = _broken_rows(listed, partial(_verdict, ranged=ranged))
    if not rows:
        return np.arange(len(listed))
    broken = {listed[row]: reason for row, reason in rows.items()}
    if on_broken == "raise":
        raise ValueError(f"{broken_error(broken)}; on_broken='skip' leaves them out")
    if len(rows) == len(listed):
        raise ValueError(f"{origin}: not one picture can be read. {broken_error(broken)}")
    log.warning(
        "%s: %d of %d pictures cannot be read and are left out: %s%s",
        origin,
        len(rows),
        len(listed),
        _named(broken, 3),
        "".join(f". {one}" for one in _advice(broken)[:1]),
    )
    return np.setdiff1d(np.arange(len(listed)), list(rows))


def check_before_training(
    labelled: Iterable[Sequence[Path]], unlabelled: Sequence[Path] = (), *, ranged: bool = True
) -> None:
    """Stop before a training that broken pictures would stop later.

    Args:
        labelled: files of the training and validation pictures.
        unlabelled: files of the test pictures; broken ones are told in the log.
        ranged: see `check_headers`.

    Raises:
        ValueError: names all broken files with labels.
    """
    broken = {
        file: reason for files in labelled for file, reason in check_headers(files, ranged=ranged).items()
    }
    if broken:
        raise broken_error(broken)
    if told := check_headers(unlabelled, ranged=ranged):
        log.warning(
            "%d of %d test pictures cannot be read (a prediction for them will stop there): %s",
            len(told),
            len(unlabelled),
            _named(told, 3),
        )


def broken_error(broken: dict[Path, str]) -> ValueError:
    """The error that names all broken files."""
    files = "1 picture file" if len(broken) == 1 else f"{len(broken)} picture files"
    deep = sum(NO_SCALE in reason for reason in broken.values())
    cure = "Remove or replace " + ("the others" if deep else "them") if deep < len(broken) else ""
    told = [*_advice(broken), *([cure] if cure else [])]
    return ValueError(f"cannot read {files}: {_named(broken, 20)}. {'. '.join(told)}")


def _advice(broken: dict[Path, str]) -> list[str]:
    """What is to be done with pictures whose scale nothing tells; empty where there are none."""
    if not any(NO_SCALE in reason for reason in broken.values()):
        return []
    return [
        f"{NO_SCALE.capitalize()} in float and 32-bit pictures: pass value_range=(black, white) to "
        "tfms_from_model, one for all pictures of the set, such as zoo.vision.value_range_of(files) gives"
    ]


def _named(broken: dict[Path, str], most: int) -> str:
    named = [f"{shown(path)} ({_short(reason)})" for path, reason in list(broken.items())[:most]]
    return "; ".join(named) + (f"; and {len(broken) - most} more" if len(broken) > most else "")


def _short(reason: str) -> str:
    return reason.splitlines()[0].split(f", and {NO_SCALE}")[0]


def _broken_rows(files: FileList, verdict: Callable[[bytes], str | None]) -> dict[int, str]:
    """Rows of broken files with the reason; many files a task, as a task costs more than a file."""
    names = list(files.names())
    starts = range(0, len(names), _CHUNK)

    def look(start: int) -> list[str | None]:
        return [verdict(name) for name in names[start : start + _CHUNK]]

    with ThreadPoolExecutor(min(8, max(1, len(starts)))) as pool:
        reasons = [reason for chunk in pool.map(look, starts) for reason in chunk]
    return {row: reason for row, reason in enumerate(reasons) if reason is not None}


def _verdict(name: bytes, *, ranged: bool = True) -> str | None:
    """Why a file is broken, or None; from memory where the file is as it was."""
    try:
        stat = os.stat(name)
    except FileNotFoundError:
        return _missing(name)
    except OSError as err:
        return reason_of(err)
    known = _verdicts.get(stat)
    if known is None:
        known = _look(name, stat.st_size) or _FINE
        _verdicts.put(stat, known)
    if known != _WIDE:
        return known or None
    if ranged:
        return None
    unscaled = _scales.get(stat)
    if unscaled is None:
        unscaled = _broken_reason(Path(os.fsdecode(name))) or _FINE
        _scales.put(stat, unscaled)
    return unscaled or None


def _look(name: bytes, size: int) -> str | None:
    if size == 0:
        return "it is empty"
    try:
        whole, wide = by_its_ends(name, size)
        if whole:
            return _WIDE if wide else None
    except IsADirectoryError:
        return "it is a folder"
    except DECODE_ERRORS as err:
        return reason_of(err)
    reason = _broken_reason(Path(os.fsdecode(name)))
    return _WIDE if reason is not None and NO_SCALE in reason else reason


def _missing(name: bytes) -> str:
    if os.path.islink(name):
        return f"it is a link to {shown(os.fsdecode(os.readlink(name)))}, which does not exist"
    return "it does not exist"


def _broken_reason(path: Path, value_range: ValueRange | None = None) -> str | None:
    try:
        try:
            open_image(path, value_range=value_range)
        except ValueError as err:
            if not isinstance(err.__cause__, TooLargeError):
                raise
            open_image(path, min_size=1, value_range=value_range)  # a large JPEG is read in a reduced size
    except FileNotFoundError:
        return _missing(os.fsencode(path))
    except (OSError, ValueError) as err:
        return reason_of(err.__cause__ or err)
    return None
