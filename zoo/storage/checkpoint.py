"""Checkpoints on disk: a tree of values and tensors in one safetensors file, and the folder that keeps them.

A file carries a digest of all it holds, so that a truncated or damaged one is recognised and the one before
it is used. Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from zoo.storage.archive import ArchiveError, load_metadata, load_state
from zoo.storage.files import atomic_write

log = logging.getLogger("zoo")

FORMAT_VERSION = 1
KEPT = 2


def write_tree(path: str | Path, tree: Any) -> None:
    """Write nested dicts, lists and tuples of plain values, tensors and arrays, atomically.

    Raises:
        TypeError: naming the place of a value that is none of these.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "tree.safetensors"
        >>> write_tree(file, {"step": 3, "rates": (0.1, [None]), 7: torch.ones(2)})
        >>> read_tree(file)
        {'step': 3, 'rates': (0.1, [None]), 7: tensor([1., 1.])}
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encode(tree, "", tensors))
    metadata = {
        "zoo.kind": "tree",
        "zoo.format": str(FORMAT_VERSION),
        "zoo.tree": text,
        "zoo.digest": _digest(text, tensors),
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(save_tensors(tensors, metadata))


def read_tree(path: str | Path) -> Any:
    """Read what `write_tree` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ArchiveError: if it is truncated, damaged, of another kind or of a newer format.
    """
    tensors = load_state(path)
    metadata = load_metadata(path)
    if metadata.get("zoo.kind") != "tree" or not metadata.get("zoo.format", "").isdecimal():
        raise ArchiveError(f"{path} is no checkpoint")
    if int(metadata["zoo.format"]) > FORMAT_VERSION:
        raise ArchiveError(f"{path} was written by a newer zoo: upgrade zoo to read it")
    text = metadata.get("zoo.tree", "")
    if metadata.get("zoo.digest") != _digest(text, tensors):
        raise ArchiveError(f"{path} is damaged: its contents do not match their digest")
    try:
        return _decode(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{path} is damaged: {error!r}") from None


def _encode(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor):
        return {"$tensor": _keep(value.detach().cpu().contiguous().clone(), place, tensors)}
    if isinstance(value, np.ndarray):
        try:
            return {"$array": _keep(torch.from_numpy(value.copy()), place, tensors)}
        except TypeError as error:
            raise TypeError(f"a checkpoint cannot hold the array at {place or 'its root'}: {error}") from None
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item, f"{place}/{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_encode(item, f"{place}/{i}", tensors) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item, f"{place}/{key}", tensors) for key, item in value.items()}
        pairs = [[key, _encode(item, f"{place}/{key}", tensors)] for key, item in value.items()]
        return {"$items": pairs}
    raise TypeError(
        f"a checkpoint holds plain values, tensors and arrays, but at {place or 'its root'} there is a "
        f"{type(value).__name__}: let state_dict() return something simpler"
    )


def _keep(tensor: Tensor, place: str, tensors: dict[str, Tensor]) -> str:
    """The name under which a tensor is kept: its place, unless another one has the same, as 1 and "1" do."""
    name, number = place, 1
    while name in tensors:
        name, number = f"{place}#{number}", number + 1
    tensors[name] = tensor
    return name


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$array" in value:
        return tensors[value["$array"]].numpy()
    if "$tuple" in value:
        return tuple(_decode(item, tensors) for item in value["$tuple"])
    if "$items" in value:
        return {key: _decode(item, tensors) for key, item in value["$items"]}
    return {key: _decode(item, tensors) for key, item in value.items()}


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class CheckpointFolder:
    """The checkpoints of one learner: `fit000-batch000000050.safetensors`, ..., `fit000-done.safetensors`.

    The newest two of a fit are kept, and of earlier fits the last one.

    Args:
        path: the folder; made when the first checkpoint is written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def write(self, tree: Any, fit: int, batches: int | None) -> Path | None:
        """Write a checkpoint of fit number `fit` after so many batches, or of its end (`None`).

        Returns:
            The file, or `None` if it could not be written (no space left, no permission): the one before
            it then stays in use, and the user is told.
        """
        target = self.path / (
            f"fit{fit:03d}-done.safetensors"
            if batches is None
            else f"fit{fit:03d}-batch{batches:09d}.safetensors"
        )
        try:
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
        for old in [*self.files(fit)[KEPT:], *(file for n in range(fit) for file in self.files(n)[1:])]:
            old.unlink(missing_ok=True)
        return target

    def read(self, fit: int) -> tuple[Path, Any] | None:
        """The newest whole checkpoint of fit number `fit`; damaged ones are told of and passed over."""
        for file in self.files(fit):
            try:
                return file, read_tree(file)
            except (ArchiveError, OSError) as error:
                log.warning(
                    "the checkpoint %s is not usable (%s); looking for the one before it", file, error
                )
        return None

    def files(self, fit: int) -> list[Path]:
        """The files of fit number `fit`, newest first."""
        done = sorted(self.path.glob(f"fit{fit:03d}-done.safetensors"))
        return [*done, *sorted(self.path.glob(f"fit{fit:03d}-batch*.safetensors"), reverse=True)]

    def begin(self, fit: int) -> None:
        """Remove what earlier runs left behind: this and later fits' checkpoints, half-written files."""
        for file in self.path.glob("fit*.safetensors"):
            if int(file.name[3:6]) >= fit:
                file.unlink(missing_ok=True)
        self.sweep()

    def sweep(self) -> None:
        """Remove the half-written files of a process that was killed."""
        for file in self.path.glob(".fit*.tmp"):
            file.unlink(missing_ok=True)
