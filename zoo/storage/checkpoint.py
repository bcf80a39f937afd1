"""Checkpoints on disk: a tree of values and tensors in one safetensors file, and the folder that keeps them.

A file carries a digest of all it holds, so that a truncated or damaged one is recognised and the one before
it is used. Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from zoo.storage.archive import ArchiveError, load_file
from zoo.storage.files import atomic_write
from zoo.storage.tensor_digest import tensor_digest
from zoo.storage.tree import decode, encode

log = logging.getLogger("zoo")

FORMAT_VERSION = 2
KEPT = 2
_LONG = 10_000_000
_TEXT = "$text"
_NAME = re.compile(r"fit(\d{3,})-(?:done|batch\d+)\.safetensors")


def write_tree(path: str | Path, tree: Any) -> None:
    """Write nested dicts, lists and tuples of plain values, tensors and arrays, atomically.

    Args:
        path: the file.
        tree: see `zoo.storage.tree.encode`.

    Raises:
        TypeError: naming the place of a value that could not be read again; nothing is written then.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "tree.safetensors"
        >>> write_tree(file, {"step": 3, "rates": (0.1, [None]), 7: torch.ones(2)})
        >>> read_tree(file)
        {'step': 3, 'rates': (0.1, [None]), 7: tensor([1., 1.])}
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(encode(tree, tensors))
    metadata = {
        "zoo.kind": "tree",
        "zoo.format": str(FORMAT_VERSION),
        "zoo.tree": text,
        "zoo.digest": _digest(text, tensors),
    }
    if len(text) > _LONG:  # readers take headers of at most 100 MB
        metadata["zoo.tree"] = ""
        tensors[_TEXT] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    with atomic_write(path) as temporary:
        temporary.write_bytes(save_tensors(tensors, metadata))


def read_tree(path: str | Path) -> Any:
    """Read what `write_tree` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ArchiveError: if it is truncated, damaged, of another kind or of a newer format.
    """
    tensors, metadata = load_file(path)
    if metadata.get("zoo.kind") != "tree" or not metadata.get("zoo.format", "").isdecimal():
        raise ArchiveError(f"{path} is no checkpoint")
    if int(metadata["zoo.format"]) > FORMAT_VERSION:
        raise ArchiveError(f"{path} was written by a newer zoo: upgrade zoo to read it")
    text = metadata.get("zoo.tree", "")
    if not text and _TEXT in tensors:
        text = tensors.pop(_TEXT).numpy().tobytes().decode(errors="replace")
    if metadata.get("zoo.digest") != _digest(text, tensors):
        raise ArchiveError(f"{path} is damaged: its contents do not match their digest")
    try:
        return decode(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise ArchiveError(f"{path} is damaged: {error!r}") from None


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    return tensor_digest(hashlib.blake2b(text.encode(), digest_size=16), tensors)


class CheckpointFolder:
    """The checkpoints of one learner: `fit000-batch000000050.safetensors`, ..., `fit000-done.safetensors`.

    The newest two of a fit are kept, and of earlier fits the last one. A file that cannot be read, since it
    is damaged or of a newer zoo, is never removed, but set aside as `unreadable-fit000-...`. One that the
    file system does not give at the moment stays where it is.

    Args:
        path: the folder; made when the first checkpoint is written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._sound: set[Path] = set()  # written or read by this object

    def write(self, tree: Any, fit: int, batches: int | None, *, anew: bool = False) -> Path | None:
        """Write a checkpoint of fit number `fit` after so many batches, or of its end (`None`).

        Args:
            tree: what it holds.
            fit: number of the fit.
            batches: how many it has done.
            anew: this is the first of a fit that begins anew: what earlier runs left behind, checkpoints of
                this and of later fits and half-written files, is removed once this one is complete.

        Returns:
            The file, or `None` if it could not be written (no space left, no permission): the one before
            it then stays in use, and the user is told. A file of an earlier run that cannot be read is not
            replaced.

        Raises:
            TypeError: naming a value that could not be read again; nothing is written or removed then.
        """
        target = self.path / (
            f"fit{fit:03d}-done.safetensors"
            if batches is None
            else f"fit{fit:03d}-batch{batches:09d}.safetensors"
        )
        try:
            if target.exists():
                self._spare(target)
            write_tree(target, tree)
        except OSError as error:
            kept = self.files(fit)
            log.warning(
                "the checkpoint %s could not be written (%s); training goes on, and %s",
                target,
                error,
                f"{kept[0].name}, the one before it, stays in use" if kept else "there is none before it",
            )
            return None
        self._sound.add(target)
        if anew:
            old = [file for number, file in self._all() if number >= fit and file != target]
            self.sweep()
        else:
            old = self.files(fit)[KEPT:]
        earlier = [file for number in range(fit) for file in self.files(number)[1:]]
        for file in (*old, *earlier):
            try:
                if not self._spare(file):
                    file.unlink(missing_ok=True)
            except OSError as error:
                log.warning("the old checkpoint %s could not be removed (%s)", file, error)
        return target

    def read(self, fit: int) -> tuple[Path, Any] | None:
        """The newest whole checkpoint of fit number `fit`; those that are damaged or of a newer zoo are told
        of, set aside and passed over.

        Raises:
            OSError: if a file cannot be opened or read at the moment; it may be whole.
        """
        for file in self.files(fit):
            try:
                tree = read_tree(file)
            except FileNotFoundError:
                continue  # another process has set it aside
            except ArchiveError as error:
                log.warning(
                    "the checkpoint %s is not usable (%s)%s; looking for the one before it",
                    file,
                    error,
                    _set_aside(file),
                )
            else:
                self._sound.add(file)
                return file, tree
        return None

    def files(self, fit: int) -> list[Path]:
        """The files of fit number `fit`, newest first."""
        done = sorted(self.path.glob(f"fit{fit:03d}-done.safetensors"))
        return [*done, *sorted(self.path.glob(f"fit{fit:03d}-batch*.safetensors"), reverse=True)]

    def sweep(self) -> None:
        """Remove the half-written files of a process that was killed."""
        for file in self.path.glob(".fit*.tmp"):
            file.unlink(missing_ok=True)

    def _all(self) -> list[tuple[int, Path]]:
        """Number of the fit and file of every checkpoint here."""
        found = [(_NAME.fullmatch(file.name), file) for file in sorted(self.path.glob("fit*.safetensors"))]
        return [(int(match[1]), file) for match, file in found if match is not None]

    def _spare(self, file: Path) -> bool:
        """Set a damaged or newer file aside before it is removed or replaced; whether that was so."""
        if file in self._sound:
            return False
        try:
            read_tree(file)
        except FileNotFoundError:
            return True
        except ArchiveError as error:
            log.warning("the old checkpoint %s cannot be read (%s)%s", file, error, _set_aside(file))
            return True
        return False


def _set_aside(file: Path) -> str:
    """Give a file a name under which it is in nobody's way; what was done, as the end of a sentence."""
    aside, number = file.with_name(f"unreadable-{file.name}"), 1
    while aside.exists():
        aside, number = file.with_name(f"unreadable-{number}-{file.name}"), number + 1
    try:
        file.rename(aside)
    except OSError as error:
        return f" and cannot be renamed ({error})"
    return f" and kept as {aside.name}"
