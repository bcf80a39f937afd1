"""What is written to disk: JSON and safetensors, never code.

An exported learner is a folder, or a zip file when the path ends in ".zip", with `config.json`,
`preprocess.json`, `model.safetensors` and, where the preprocessing needs arrays, `preprocess.safetensors`.
Reading one runs nothing from it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import _TYPES
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.nn.parameter import is_lazy

from zoo._version import __version__
from zoo.data.intact import check_text, sha256, with_digest
from zoo.data.utf8 import json_text
from zoo.folders import atomic_folder, present_folder
from zoo.storage.eight_bit import eight_bit, from_eight_bit
from zoo.storage.files import atomic_write
from zoo.storage.tensor_digest import tensor_digest

FORMAT_VERSION = 2
"""2: weights may be of 8 bits. Archives without such are written as 1."""
CONFIG, PREPROCESS, WEIGHTS, ARRAYS = (
    "config.json",
    "preprocess.json",
    "model.safetensors",
    "preprocess.safetensors",
)
_MEMBERS = (CONFIG, PREPROCESS, WEIGHTS, ARRAYS)
_ALIASES = "zoo.aliases"
_DOUBLES = "zoo.complex128"
_DIGEST = "zoo.sha256"
_LONGEST_HEADER = 100_000_000


class ArchiveError(ValueError):
    """A file is not what it should be: damaged, of another kind, or of a newer format."""


@dataclass
class Archive:
    """A read archive, all of it in memory on the CPU.

    Attributes:
        config: domain, model name and arguments, versions.
        preprocess: the data object's state.
        tensors: the model's weights and buffers.
        arrays: tensors that belong to `preprocess`.
    """

    config: dict[str, Any]
    preprocess: dict[str, Any]
    tensors: dict[str, Tensor]
    arrays: dict[str, Tensor] = field(default_factory=dict)


def save_state(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as a safetensors file with a digest, atomically; shared tensors are written once."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(tensors_to_bytes(tensors, metadata, digest=True))


def load_state(path: str | Path) -> dict[str, Tensor]:
    """Read tensors of a safetensors file onto the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ArchiveError: if it is no safetensors file (pickle files are refused unread), or damaged.
    """
    return load_file(path)[0]


def load_file(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, on the CPU, and its text metadata; raises as `load_state` does."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    data = path.read_bytes()
    return tensors_from_bytes(data, str(path)), _metadata(data, str(path))


def load_metadata(path: str | Path) -> dict[str, str]:
    """The text metadata of a safetensors file, of which only the beginning is read.

    Raises:
        ArchiveError: if it is no safetensors file.
    """
    with Path(path).open("rb") as file:
        size = file.read(8)
        length = int.from_bytes(size, "little")
        header = file.read(length) if length <= _LONGEST_HEADER else b""
    if len(size) < 8 or len(header) != length:
        raise ArchiveError(f"{path} is not a safetensors file: it has no header")
    return _metadata(size + header, str(path))


def tensors_to_bytes(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, digest: bool = False
) -> bytes:
    """Tensors in safetensors format; names that share memory are written once and remembered in the
    metadata.

    Args:
        tensors: by name.
        metadata: further texts to keep.
        digest: also keep a digest of tensors and metadata, which is compared when they are read.

    Raises:
        TypeError: naming a tensor that cannot be written.
    """
    first: dict[tuple, str] = {}
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    doubles: list[str] = []
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise TypeError(f"a tensor cannot be called {name!r} in a file of weights: give it another name")
        check_tensor(name, tensor)
        key = identity(tensor) if tensor.numel() else (name,)
        if tensor.dtype == torch.complex128:  # as pairs of numbers, which the format knows
            doubles.append(name)
            tensor = torch.view_as_real(tensor.detach().resolve_conj())
        if key in first:
            aliases[name] = first[key]
        else:
            first[key] = name
            kept[name] = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().clone()
    described = {**(metadata or {}), _ALIASES: json.dumps(aliases)}
    described |= {_DOUBLES: json.dumps(doubles)} if doubles else {}
    return save_tensors(kept, described | ({_DIGEST: _digest(kept, described)} if digest else {}))


def identity(tensor: Tensor) -> tuple[Any, ...]:
    """What two tensors have in common that are the same values in the same memory."""
    layout = (tensor.data_ptr(), tensor.shape, tensor.stride())
    return (*layout, tensor.dtype, tensor.device, tensor.is_conj(), tensor.is_neg())


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    text = json.dumps({name: text for name, text in metadata.items() if name != _DIGEST}, sort_keys=True)
    return tensor_digest(hashlib.sha256(text.encode()), tensors)


def _metadata(data: bytes, where: str) -> dict[str, str]:
    header = parse_object(data[8 : 8 + int.from_bytes(data[:8], "little")], where)
    return header.get("__metadata__", {})


def check_tensor(name: str, tensor: Any) -> None:
    """Make sure that a tensor can be written.

    Raises:
        TypeError: naming it and its format.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{name} is a {type(tensor).__name__}, and files of weights hold tensors only: let "
            "get_extra_state() return a tensor"
        )
    if is_lazy(tensor):
        raise TypeError(f"{name} has no values yet: run a batch through the model first (lazy modules)")
    trouble = None
    if tensor.is_meta:
        trouble = "on the meta device, without values"
    elif tensor.is_quantized or tensor.is_nested or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else str(tensor.layout)
        trouble = f"{kind} ({tensor.dtype})"
    elif tensor.dtype != torch.complex128 and tensor.dtype not in _TYPES.values():
        trouble = f"of format {tensor.dtype}"
    if trouble:
        raise TypeError(
            f"{name} is a tensor {trouble}, which safetensors files cannot hold: keep it in a plain format "
            "(such as float32, to_dense(), dequantize()), or outside the state"
        )


def tensors_from_bytes(data: bytes, where: str) -> dict[str, Tensor]:
    """The inverse of `tensors_to_bytes`."""
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ArchiveError(
            f"{where} is not a safetensors file (damaged, or of another format): {error}"
        ) from None
    metadata = _metadata(data, where)
    if _DIGEST in metadata and metadata[_DIGEST] != _digest(tensors, metadata):
        raise ArchiveError(f"{where} is damaged: its contents do not match their digest")
    aliases = parse_object(metadata.get(_ALIASES, "{}").encode(), where)
    doubles = parse_names(metadata.get(_DOUBLES, "[]"), where)
    tensors |= {name: torch.view_as_complex(tensors[name]) for name in doubles if name in tensors}
    for name, source in aliases.items():
        if source not in tensors:
            raise ArchiveError(
                f"{where}: {name!r} is said to share the tensor {source!r}, which is not there"
            )
        tensors[name] = tensors[source]
    return tensors


def parse_names(text: str, where: str) -> list[str]:
    """A list of names that a file holds as JSON."""
    try:
        return [str(name) for name in json.loads(text)]
    except (ValueError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{where} is damaged: a list of names is not valid JSON ({error})") from None


def archive_members(
    config: Mapping[str, Any],
    preprocess: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    arrays: Mapping[str, Tensor] | None = None,
    *,
    small: bool = False,
) -> dict[str, bytes]:
    """The files of an archive by name.

    Args:
        config, preprocess, tensors, arrays: see `Archive`.
        small: write large weights in 8 bits.

    Raises:
        TypeError: if the state is not JSON-able.
    """
    kept = eight_bit(tensors) if small else tensors
    members = {PREPROCESS: json_text(preprocess).encode("utf8"), WEIGHTS: tensors_to_bytes(kept)}
    if arrays:
        members[ARRAYS] = tensors_to_bytes(arrays)
    digests = {name: sha256(data) for name, data in members.items()}
    version = FORMAT_VERSION if small else 1
    full = {"format": version, "zoo": __version__, "torch": torch.__version__, "digests": digests}
    return {CONFIG: with_digest(json_text({**full, **config})).encode("utf8"), **members}


def write_archive(path: str | Path, members: Mapping[str, bytes]) -> Path:
    """Write the files of an archive; an older one at the same place is replaced only once the new one is
    complete.

    Raises:
        FileExistsError: if `path` is something other than an archive.
    """
    path = Path(path).resolve()
    if path.exists() and not _may_replace(path):
        raise FileExistsError(f"{path} exists and is not an exported learner; choose another path")
    if path.suffix.lower() == ".zip":
        with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    with atomic_folder(path) as fresh:
        for name, data in members.items():
            (fresh / name).write_bytes(data)
    return path


def _may_replace(path: Path) -> bool:
    """Whether `path` is an archive, with nothing else in it, or an empty folder."""
    if path.is_dir():
        present = {file.name for file in path.iterdir()}
        if not present:
            return path.suffix.lower() != ".zip"
        if not present <= set(_MEMBERS):
            return False
    try:
        read_archive(path)
    except (ArchiveError, OSError):
        return False
    return True


def read_archive(path: str | Path) -> Archive:
    """Read an archive without running anything from it.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ArchiveError: if it is not an exported learner, is damaged, or is of a newer format.
    """
    path = present_folder(Path(path))
    if not path.exists():
        raise FileNotFoundError(f"no exported learner at {path}")
    try:
        members = _read_members(path)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:
        raise ArchiveError(f"{path} is not an exported learner: {error}") from None
    for name in (CONFIG, PREPROCESS, WEIGHTS):
        if name not in members:
            raise ArchiveError(f"{path} is not an exported learner: it holds no {name}")
    config = parse_object(members[CONFIG], f"{path}: {CONFIG}")
    version = config.get("format")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ArchiveError(
            f"{path} has format {version!r}; this zoo ({FORMAT_VERSION}) reads 1 to {FORMAT_VERSION}: "
            "upgrade zoo to read it"
        )
    arrays = tensors_from_bytes(members[ARRAYS], f"{path}: {ARRAYS}") if ARRAYS in members else {}
    archive = Archive(
        config,
        parse_object(members[PREPROCESS], f"{path}: {PREPROCESS}"),
        tensors_from_bytes(members[WEIGHTS], f"{path}: {WEIGHTS}"),
        arrays,
    )
    _check_digests(path, config.get("digests", {}), members)
    if version > 1:
        try:
            archive.tensors = from_eight_bit(archive.tensors)
        except ValueError as error:
            raise ArchiveError(f"{path} is damaged: {WEIGHTS}: {error}") from None
    return archive


def _check_digests(path: Path, digests: Mapping[str, str], members: Mapping[str, bytes]) -> None:
    """Compare members with their digests; archives of older versions have none."""
    try:
        check_text(members[CONFIG].decode("utf8"), f"{path}: {CONFIG}")
    except ValueError as error:
        raise ArchiveError(str(error)) from None
    for name, known in digests.items():
        if name not in members or sha256(members[name]) != known:
            raise ArchiveError(f"{path} is damaged: {name} is not what was exported, its digest is another")


def _read_members(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {name: (path / name).read_bytes() for name in _MEMBERS if (path / name).is_file()}
    with zipfile.ZipFile(path) as file:
        present = {info.filename: info for info in file.infolist()}
        found = {name: present[name] for name in _MEMBERS if name in present}
        for name, info in found.items():
            if info.file_size > 1_000_000 + 50 * info.compress_size:
                raise ArchiveError(
                    f"{path}: {name} unpacks to {info.file_size:,} bytes, far more than it takes"
                )
        return {name: file.read(info) for name, info in found.items()}


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """The object that JSON text of a file holds."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ArchiveError(f"{where} must hold a JSON object")
    return value
