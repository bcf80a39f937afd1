"""Downloads that go on where they broke off, and are what they should be.

By `requests`, which knows proxies and certificates of the system. `pooch` was looked at: it cannot go on with
half a file, nor does it look at what an archive holds before unpacking it in place.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
import urllib3
from tqdm.auto import tqdm

from zoo._version import __version__
from zoo.datasets.described import DatasetError, File
from zoo.datasets.unpacking import needs_room, read_sum
from zoo.folders import errors_name

_CHUNK = 1 << 18
_TRIES = 5  # without a new byte
_MOST = 200  # altogether
_PAUSE = 0.5  # seconds, doubled with every try
_LONGEST = 30.0  # seconds
_TIMEOUT = (15, 60)  # seconds to connect, and between two pieces
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Refused(DatasetError):
    """This address does not give the file, and will not if it is asked again."""


class _Broken(Exception):
    """It may go well the next time."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def download(file: File, folder: Path, urls: tuple[str, ...], progress: bool = True) -> tuple[Path, str]:
    """Get a file, from the first address that gives it; what an earlier try got is gone on with.

    Returns:
        Where it lies, and the address that it came from.

    Raises:
        Refused: what every address answered.
        OSError: if it cannot be written.
    """
    told = []
    with errors_name(folder):
        folder.mkdir(parents=True, exist_ok=True)
    part = _Part(folder / f"{file.name}.part", folder / f"{file.name}.part.json")
    with requests.Session() as session:
        session.headers["User-Agent"] = f"zoo/{__version__}"
        session.headers["Accept-Encoding"] = "identity"  # the file itself is what has a checksum
        for url in urls:
            try:
                _from(session, url, file, part, progress)
                return part.finish(folder / file.name), url
            except Refused as error:
                told.append(str(error))
    raise Refused("; ".join(told))


@dataclass(frozen=True)
class _Part:
    """The beginning of a file, and beside it from where it is."""

    path: Path
    origin: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.origin.read_text(encoding="utf8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def begin(self, url: str, validator: str | None) -> None:
        self.drop()
        self.origin.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf8")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def finish(self, target: Path) -> Path:
        """Name it what it is; the note beside it says that it was not put there by hand."""
        downloaded_mark(target).write_text(_stamp(self.path), encoding="utf8")
        self.path.replace(target)
        self.origin.unlink(missing_ok=True)
        return target


def downloaded_mark(path: Path) -> Path:
    """Where the note beside a downloaded file lies, which tells that it was not put there by hand."""
    return path.with_name(f"{path.name}.downloaded")


def is_downloaded(path: Path) -> bool:
    """Whether a file is one that was downloaded, not one that was put there by hand."""
    mark = downloaded_mark(path)
    return path.is_file() and mark.is_file() and mark.read_text(encoding="utf8") == _stamp(path)


def _stamp(path: Path) -> str:
    return f"{path.stat().st_size} {path.stat().st_mtime_ns}"


def _from(session: requests.Session, url: str, file: File, part: _Part, progress: bool) -> None:
    """Get all of the file from one address, or raise Refused."""
    whole = part.size == 0
    for _ in range(2):
        pieces = _to_the_end(session, url, file, part, progress)
        wrong = _wrong(part.path, file)
        if wrong is None:
            return
        part.drop()
        if whole and pieces == 1:
            break
        whole = True  # once more: pieces of two versions may have met
    raise Refused(f"{url} gives another file: {wrong}")


def _to_the_end(session: requests.Session, url: str, file: File, part: _Part, progress: bool) -> int:
    """Ask until all is there; how often that was."""
    best, failures, pieces = part.size, 0, 0
    bar = tqdm(
        desc=file.name,
        total=file.size,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None if progress else True,
    )
    with bar:
        while True:
            try:
                pieces += 1
                _piece(session, url, file, part, bar)
                return pieces
            except _Broken as broken:
                if part.size > best:
                    best, failures = part.size, 0
                failures += 1
                if failures >= _TRIES or pieces >= _MOST:
                    raise Refused(f"{url}: {broken} ({pieces} tries)") from broken
                pause = _PAUSE * 2 ** (failures - 1) * random.uniform(0.8, 1.2)
                time.sleep(min(broken.wait if broken.wait is not None else pause, _LONGEST))


def _piece(session: requests.Session, url: str, file: File, part: _Part, bar: tqdm) -> None:
    """One request: all that is missing, as far as it comes."""
    have, headers = part.size, {}
    if have and have == file.size:
        return
    if have:
        known = part.read()
        same = known.get("url") == url and known.get("validator")
        if same or file.sha256 or file.md5:
            headers["Range"] = f"bytes={have}-"
            if same:
                headers["If-Range"] = known["validator"]
    with _answer(session, url, headers) as answer:
        if file.sha256 is None and url.startswith("https:") and not answer.url.startswith("https:"):
            raise Refused(f"{url} leads to {answer.url}, which is not encrypted, and no checksum is known")
        start, total = _begins(answer, url, have if headers else 0, part)
        if answer.status_code == 416:  # it is all there
            return
        chunks = _chunks(answer)
        first = next(chunks, b"")
        if (
            start == 0 and file.kind != "plain"
        ):  # what is there already is kept: a hotel may ask for a password
            _refuse_page(url, first)
        if file.size is not None and total is not None and total != file.size:
            raise Refused(f"{url} gives another file: {total:,} bytes instead of {file.size:,}")
        if start == 0:
            part.begin(url, _validator(answer))
        if total is not None:
            needs_room(part.path.parent, total - start, file.name)
        bar.total, bar.n = total or file.size, start
        bar.refresh()
        place = start
        with errors_name(part.path), part.path.open("ab") as target:
            for data in itertools.chain([first], chunks):
                place += len(data)
                if file.size is not None and place > file.size:
                    part.drop()
                    raise Refused(f"{url} gives another file: more than {file.size:,} bytes")
                target.write(data)
                bar.update(len(data))
    missing = (file.size if file.size is not None else total or place) - place
    if missing > 0:
        raise _Broken(f"it ended {missing:,} bytes early")


@contextlib.contextmanager
def _answer(session: requests.Session, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    try:
        answer = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except (requests.exceptions.SSLError, requests.exceptions.InvalidURL) as error:
        raise Refused(f"{url}: {_reason(error)}") from error
    except requests.exceptions.TooManyRedirects as error:
        raise Refused(f"{url}: {error}") from error
    except requests.exceptions.RequestException as error:
        raise _Broken(_reason(error)) from error
    try:
        yield answer
    finally:
        answer.close()


def _begins(answer: requests.Response, url: str, asked: int, part: _Part) -> tuple[int, int | None]:
    """At which byte the answer begins, and how many bytes the whole file has."""
    status = answer.status_code
    if status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if not asked or found is None or int(found[1]) != asked:
            part.drop()
            raise _Broken("it answered with another part of the file")
        return asked, None if found[2] == "*" else int(found[2])
    if status == 416:
        if asked and answer.headers.get("Content-Range", "").strip() == f"bytes */{asked}":
            return asked, asked
        part.drop()
        raise _Broken("it has no such part of the file")
    if status in _TRY_AGAIN:
        raise _Broken(f"it answered {status} {answer.reason}", _wait(answer))
    if status != 200:
        raise Refused(f"{url} answered {status} {answer.reason}")
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() and "Content-Encoding" not in answer.headers else None


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """The bytes as they are sent: a `.gz` that is said to be 'encoded' stays one."""
    try:
        yield from answer.raw.stream(_CHUNK, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _Broken(f"the connection broke ({_reason(error)})") from error


def _refuse_page(url: str, data: bytes) -> None:
    if re.match(rb"\s*(<!doctype html|<html|<\?xml)", data[:200], re.IGNORECASE):
        raise Refused(f"{url} answered with a web page instead of the file")


def _validator(answer: requests.Response) -> str | None:
    """What tells the server that its file is still the same: a strong ETag, else the date of the file."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _wait(answer: requests.Response) -> float | None:
    said = answer.headers.get("Retry-After", "")
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time()) if said else None
    except (ValueError, TypeError):
        return None


def _reason(error: BaseException) -> str:
    """The innermost message of a network error, without the addresses of objects."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = re.sub(r"<[^>]*>[:,]? ?|^\w+\([^()]*\): ", "", str(error)).strip("' ")
    return text or type(error).__name__


def _wrong(path: Path, file: File, sha256: str | None = None) -> str | None:
    """How a file differs from what it should be; None if it does not, as far as that is known."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size:,} bytes instead of {file.size:,}"
    if file.sha256 is not None:
        found = sha256 or read_sum(path)
        return None if found == file.sha256 else f"SHA-256 {found} instead of {file.sha256}"
    found = read_sum(path, "md5") if file.md5 is not None else None
    return None if found == file.md5 else f"MD5 {found} instead of {file.md5}"


def check(path: Path, file: File) -> str:
    """See that a file is what it should be.

    Returns:
        Its SHA-256.

    Raises:
        DatasetError: how it differs.
    """
    found = read_sum(path)  # first of all: that it is a file
    wrong = _wrong(path, file, found)
    if wrong is not None:
        raise DatasetError(f"{path} is another file than {file.name} should be: {wrong}")
    return found
