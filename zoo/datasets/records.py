"""What is written down about fetched sets, in a hidden folder beside them: the checksums that hold."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo.datasets.described import Dataset, DatasetError, File
from zoo.folders import errors_name

log = logging.getLogger("zoo")

_LINE = "{}  {}\n"  # as sha256sum writes and checks them


@dataclass(frozen=True)
class Records:
    """The records of one data set in one folder.

    Args:
        root: the folder of data sets.
        name: of the set.
    """

    root: Path
    name: str

    @property
    def files(self) -> Path:
        """JSON: size, SHA-256, origin and day of every published file, from its first download on."""
        return self.root / ".zoo" / f"{self.name}.json"

    @property
    def contents(self) -> Path:
        """SHA-256 of every unpacked file, for `sha256sum -c` in the folder of the set."""
        return self.root / ".zoo" / f"{self.name}.sha256"

    @property
    def by_hand(self) -> Path:
        """The folder for files that are put there by hand, and for those being downloaded."""
        return self.root / f"{self.name}.files"

    def known(self, file: File) -> File:
        """The file with size and checksum of its first download, where nobody has published a SHA-256.

        Raises:
            DatasetError: if the record cannot be read.
        """
        found = self._read().get(file.name)
        if found is None or file.sha256 is not None:
            return file
        return replace(file, size=found["size"], sha256=found["sha256"])

    def first_seen(self, file: File) -> str | None:
        """The day of the first download, where its checksum is the only one there is."""
        found = self._read().get(file.name) if file.sha256 is None else None
        return found and found["first"]

    def write(
        self, dataset: Dataset, sums: dict[str, tuple[int, str, str]], contents: dict[str, str]
    ) -> None:
        """Write down the files, each with size, SHA-256 and origin, and what they unpacked to."""
        today, before = time.strftime("%Y-%m-%d"), self._read()
        rows = {}
        for file in dataset.files:
            size, sha256, origin = sums[file.name]
            seen = before.get(file.name, {})
            first = seen.get("first", today) if seen.get("sha256") == sha256 else today
            rows[file.name] = {"size": size, "sha256": sha256, "from": origin, "first": first}
        _write(self.files, json.dumps({"format": 1, "name": self.name, "files": rows}, indent=1) + "\n")
        _write(self.contents, "".join(_LINE.format(contents[path], path) for path in sorted(contents)))

    def read_contents(self) -> dict[str, str] | None:
        """The checksums of the unpacked files; None if `get` has not unpacked them."""
        if not self.contents.exists():
            return None
        lines = self.contents.read_text(encoding="utf8").split("\n")[:-1]
        return {line[66:]: line[:64] for line in lines}

    def _read(self) -> dict[str, Any]:
        if not self.files.exists():
            return {}
        try:
            found = json.loads(self.files.read_text(encoding="utf8"))
            files = found["files"]
            if found["format"] != 1 or not all(
                {"size", "sha256", "first"} <= set(row) for row in files.values()
            ):
                raise ValueError(f"format {found['format']}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{self.files} cannot be read ({error}): remove it if you trust what will be downloaded"
            ) from error
        return files

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this machine at a time; a killed one holds nothing."""
        path = self.files.with_suffix(".lock")
        with errors_name(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=1)
            except Timeout:
                log.warning("another process is at data set %r in %s: waiting for it", self.name, self.root)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _write(path: Path, text: str) -> None:
    with errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
