"""Whether a file was written with data whose numbers mean the same: ids, words, classes, columns, scales."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.errors import some
from zoo.storage.archive import ArchiveError
from zoo.storage.tensor_digest import tensor_digest

KEY = "zoo.mapping"
_SHOWN, _LENGTH = 20, 40

Described = dict[str, dict[str, Any]]


def describe(data: Any) -> Described:
    """The mappings of a data object as a file keeps them: digest, count, and the first few values.

    Args:
        data: a `ModelData`; anything that has no method `mapping` says nothing of its numbers.
    """
    digests = data.mapping() if hasattr(data, "mapping") else {}
    values = data.mapping_values() if hasattr(data, "mapping_values") else {}
    learned = getattr(data, "learned_mappings", ())
    described: Described = {}
    for name, sha in digests.items():
        described[name] = {"sha256": sha, **({"learned": True} if name in learned else {})}
        if name in values:
            described[name] |= {"n": len(values[name]), "first": _first(values[name])}
    return described


def first_rows(loader: Any) -> str | None:
    """A digest of how many rows a loader has in memory and of the first 64; `None` if it has none there."""
    tensors = getattr(loader, "tensors", None)
    if not isinstance(tensors, tuple | list) or not all(isinstance(part, Tensor) for part in tensors):
        return None
    rows = {str(number): part[:64].detach().cpu().contiguous() for number, part in enumerate(tensors)}
    lengths = [len(part) for part in tensors]
    return tensor_digest(hashlib.sha256(json.dumps(lengths).encode()), rows)


def to_metadata(data: Any) -> dict[str, str]:
    """The entry for the metadata of a safetensors file."""
    return {KEY: json.dumps(describe(data))}


def from_metadata(metadata: Mapping[str, str], where: str) -> Described | None:
    """What `to_metadata` wrote; `None` if an older zoo wrote the file.

    Raises:
        ArchiveError: if it is damaged.
    """
    if KEY not in metadata:
        return None
    try:
        found = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{where} is damaged: {KEY} is not valid JSON ({error})") from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise ArchiveError(f"{where} is damaged: {KEY} holds no mappings")
    return found


def check_mapping(saved: Described | None, own: Described, where: str) -> None:
    """Refuse a file whose numbers stand for something else; warn where it does not say, and where only what
    was learned of the training rows differs, as it does when training goes on with more of them.

    Mappings that only one of both has are not compared: data without names of classes, for instance.

    Args:
        saved: what the file says, `None` if it is too old to say anything.
        own: `describe` of the data at hand.
        where: the file, for messages.

    Raises:
        ValueError: naming which mappings differ, and how.
    """
    if saved is None:
        if own:
            warnings.warn(
                f"{where} was written by an older zoo and does not say what its numbers stand for: make sure "
                f"that {some(own)} of these data are those of the training",
                stacklevel=3,
            )
        return
    differing = {
        name: f"{name} ({_difference(saved[name], mine)})"
        for name, mine in own.items()
        if name in saved and saved[name].get("sha256") != mine["sha256"]
    }
    other = [text for name, text in differing.items() if "learned" not in own[name]]
    if other:
        raise ValueError(
            f"{where} belongs to data whose numbers stand for something else, so answers would be wrong; "
            f"different: {some(other)}. Make the data with the same ones in the same order (from the same "
            "training rows, or with the classes, vocabulary, processor and options of that training), or "
            "train anew"
        )
    if differing:
        warnings.warn(
            f"the numbers of these data are on another scale than those that {where} was trained on; "
            f"different: {some(differing.values())}. That is right where training goes on with more rows of "
            "the same kind; to predict, make the data with the statistics and ranges of that training",
            stacklevel=3,
        )


def _first(values: Sequence[Any]) -> list[str]:
    shown = [str(value) for value in values[:_SHOWN]]
    return [text if len(text) <= _LENGTH else f"{text[: _LENGTH - 3]}..." for text in shown]


def _difference(saved: dict[str, Any], own: dict[str, Any]) -> str:
    """How a mapping differs, in words."""
    parts = []
    if saved.get("n") != own.get("n"):
        parts.append(f"{saved.get('n', '?')} there, {own.get('n', '?')} here")
    pairs = zip(saved.get("first", ()), own.get("first", ()), strict=False)
    place = next((number for number, (there, here) in enumerate(pairs) if there != here), None)
    if place is not None:
        there, here = saved["first"][place], own["first"][place]
        parts.append(f"number {place} is {there!r} there, {here!r} here")
    elif not parts:
        parts.append(f"other values or another order, not among the first {len(own.get('first', ()))}")
    return ", ".join(parts)
