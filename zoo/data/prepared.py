"""Prepared data on disk: a folder of one JSON file and one memory-mappable `.npy` file an array.

`ModelData.save` writes such a folder, `zoo.load_data` opens it. Nothing in it is code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo._version import __version__
from zoo.data.intact import check_text, file_digest, sample_digest, with_digest
from zoo.data.utf8 import json_text
from zoo.folders import atomic_folder

FORMAT_VERSION = 1
CONTENTS = "data.json"
KIND = "prepared data"
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}  # what carries formats that numpy does not know
PLACE = ("epoch", "start_batch", "next_epoch")  # where the order of a loader stands


def write_prepared(folder: Path, contents: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
    """Write a folder of prepared data; older ones at the same place are replaced once all is written.

    Raises:
        FileExistsError: if `folder` is something other than prepared data or an empty folder.
        TypeError: if `contents` cannot be written as JSON, or an array is sparse or quantised.
    """
    if folder.exists() and not _may_replace(folder):
        raise FileExistsError(f"{folder} exists and holds no prepared data; choose another folder")
    kinds = {name: str(array.dtype).removeprefix("torch.") for name, array in arrays.items()}
    about = {"kind": KIND, "format": FORMAT_VERSION, "zoo": __version__, **contents, "arrays": kinds}
    try:
        json_text(about)
    except TypeError as error:
        raise TypeError(f"these data hold something that can't be written as JSON: {error}") from None
    with atomic_folder(folder) as fresh:
        digests = {}
        for name, array in arrays.items():
            file = fresh / f"{name}.npy"
            np.save(file, _as_numpy(name, array), allow_pickle=False)
            digests[name] = {"sha256": file_digest(file), "sample": sample_digest(file)}
        (fresh / CONTENTS).write_text(with_digest(json_text({**about, "digests": digests})), encoding="utf8")


def read_contents(folder: Path) -> dict[str, Any]:
    """What `data.json` of a folder of prepared data holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, of another kind or of a newer format.
    """
    file = folder / CONTENTS
    if not file.is_file():
        what = f"it holds no {CONTENTS}" if folder.exists() else "there is no such folder"
        raise FileNotFoundError(f"no prepared data at {folder}: {what}")
    try:
        text = file.read_text(encoding="utf8")
        contents = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(contents, dict) or contents.get("kind") != KIND:
        raise ValueError(f"{file} does not describe prepared data: write them with data.save(folder)")
    version = contents.get("format")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format {version!r}; this zoo reads prepared data of format 1 to "
            f"{FORMAT_VERSION}: upgrade zoo to read it"
        )
    check_text(text, str(file))
    return contents


def read_arrays(folder: Path, contents: Mapping[str, Any], verify: bool = False) -> dict[str, Tensor]:
    """The arrays of a folder, memory-mapped: pages are read as they are needed and shared by processes.

    What a program writes into them stays in its own memory and never reaches the files.

    Args:
        folder: of prepared data.
        contents: what its `data.json` holds.
        verify: read every array once, to compare all of it with its digest; otherwise its length and 16
            blocks of 64 KiB are compared.

    Raises:
        ValueError: if a file is absent, damaged, or holds another kind of number.
    """
    arrays = {name: _read_array(folder, name, kind) for name, kind in contents["arrays"].items()}
    for name, known in contents.get("digests", {}).items():
        file = folder / f"{name}.npy"
        intact = name in arrays and known["sample"] == sample_digest(file)
        if not intact or (verify and known["sha256"] != file_digest(file)):
            raise ValueError(f"{file} is damaged: it is not the array that was saved, its digest is another")
    return arrays


def _read_array(folder: Path, name: str, kind: str) -> Tensor:
    if Path(name).name != name:
        raise ValueError(f"{folder / CONTENTS}: {name!r} is no name of an array")
    file = folder / f"{name}.npy"
    dtype = getattr(torch, kind, None)
    try:
        array = _mapped(file)
        tensor = torch.from_numpy(array)
        if tensor.dtype != dtype:
            if not isinstance(dtype, torch.dtype) or tensor.dtype != _BITS.get(dtype.itemsize):
                raise ValueError(f"it holds {tensor.dtype}, not {kind}")
            tensor = tensor.view(dtype)
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise ValueError(f"{file} is absent or damaged: {error}") from None
    return tensor


def _mapped(file: Path) -> np.ndarray:
    if np.load(file, mmap_mode="r", allow_pickle=False).size == 0:
        return np.load(file, allow_pickle=False)
    return np.load(file, mmap_mode="c", allow_pickle=False)


def _as_numpy(name: str, array: Tensor) -> np.ndarray:
    if array.layout != torch.strided or array.is_quantized:
        raise TypeError(f"{name} is a sparse or quantised tensor: save keeps dense ones, use .to_dense()")
    plain = array.detach().cpu().resolve_conj().resolve_neg()
    try:
        return plain.numpy()
    except TypeError:  # such as bfloat16: its bits, as whole numbers
        return plain.contiguous().view(_BITS[plain.element_size()]).numpy()


def _may_replace(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    present = {file.name for file in folder.iterdir()}
    if not present:
        return True
    try:
        known = {CONTENTS, *(f"{name}.npy" for name in read_contents(folder)["arrays"])}
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return present <= known


def stored_path(path: Path, folder: Path) -> dict[str, str]:
    """The base path of data as it is written down: relative to a folder below it, so that both can move."""
    base, folder = path.resolve(), folder.resolve()
    below = folder.is_relative_to(base)
    return {"given": str(path), "place": os.path.relpath(base, folder) if below else str(base)}


def restored_path(stored: Mapping[str, str], folder: Path) -> Path:
    """The inverse of `stored_path`: as the user gave it, where that is still the same place."""
    place = (folder.resolve() / stored["place"]).resolve()
    given = Path(stored["given"])
    return given if given.resolve() == place else place
