"""Encoders on disk, and how one fits a model with another vocabulary."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.distributed.group import write_once
from zoo.errors import did_you_mean, some
from zoo.storage.archive import ArchiveError, load_metadata, load_state, save_state
from zoo_text.model.awd_lstm import AWDLSTM
from zoo_text.tokens.tokenize import CAPITAL, PADDING, REPEATED, START, UNKNOWN, UPPER
from zoo_text.tokens.vocab import PADDING_ID, Field, Vocab

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger("zoo")
_MARKS = {UNKNOWN, PADDING, START, UPPER, CAPITAL, REPEATED}
_SUFFIX = ".encoder.safetensors"


def encoder_file(folder: Path, name: str | Path) -> Path:
    """Where an encoder of this name lies: a path that ends in `.safetensors` is taken as it is."""
    if str(name).endswith(".safetensors"):
        return Path(name)
    return folder / "models" / f"{name}{_SUFFIX}"


def save_encoder(path: Path, encoder: AWDLSTM, field: Field) -> Path:
    """Writes the encoder's weights, sizes, tokeniser and vocabulary to one safetensors file, atomically."""
    described = {
        "zoo.kind": "text.encoder",
        "zoo.sizes": json.dumps(_sizes(encoder)),
        "zoo.field": json.dumps(field.tokenising()),
        "zoo.vocab": json.dumps(_words(field).itos),
    }
    write_once(path, lambda: save_state(path, encoder.state_dict(), described))
    return path


def load_encoder(path: Path, encoder: AWDLSTM, field: Field) -> int:
    """Reads an encoder into another one; words it did not know get the mean vector of those it knew.

    Args:
        path: What `save_encoder` wrote.
        encoder: Filled in place, once everything in the file has been checked.
        field: Tokeniser and vocabulary of `encoder`; the words may come in any order.

    Returns:
        How many words of the vocabulary are new. More than half of them are worth a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is no encoder, or a damaged one; it is never unpickled.
        ValueError: If sizes or tokenisers differ, or no word is known. Whatever is raised, nothing is
            changed.
    """
    if not path.is_file():
        present = sorted(file.name.removesuffix(_SUFFIX) for file in path.parent.glob(f"*{_SUFFIX}"))
        raise FileNotFoundError(
            f"no saved encoder {path}{did_you_mean(path.name.removesuffix(_SUFFIX), present)}; "
            f"saved there: {', '.join(present) or 'none'}"
        )
    tensors = load_state(path)
    described = load_metadata(path)
    if described.get("zoo.kind") != "text.encoder":
        raise ArchiveError(f"{path} holds no encoder: write one with learn.save_encoder(name)")
    sizes = _differences(_entry(path, described, "zoo.sizes", dict), _sizes(encoder))
    if sizes:
        raise ValueError(f"the encoder in {path} has {sizes}: make the model with the same sizes")
    tokenising = _differences(_entry(path, described, "zoo.field", dict), field.tokenising())
    if tokenising:
        raise ValueError(
            f"the encoder in {path} read texts with {tokenising}: make the Field with the same options"
        )
    try:
        known = Vocab(_entry(path, described, "zoo.vocab", list))
    except (ValueError, TypeError) as error:
        raise ArchiveError(f"{path} is damaged: its vocabulary is not one ({error})") from None
    _check_tensors(path, tensors, encoder, len(known))
    words = _words(field)
    own = [word for word in words.itos if word not in _MARKS]
    strange = sum(word not in known for word in own)
    if own and strange == len(own):
        raise ValueError(f"the encoder in {path} knows none of the {len(own):,} words of the vocabulary")
    weight, new = remap_rows(tensors["embedding.weight"], known, words)
    encoder.load_state_dict({**tensors, "embedding.weight": weight})
    if strange > len(own) / 2:
        log.warning("%s knows only %d of %d words of the vocabulary", path, len(own) - strange, len(own))
    return new


def _entry(path: Path, described: dict[str, str], key: str, kind: type) -> Any:
    """A JSON value of the metadata, of the type it should have."""
    try:
        value = json.loads(described[key])
    except KeyError:
        raise ArchiveError(f"{path} is damaged: its metadata hold no {key}") from None
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path} is damaged: {key} is not valid JSON ({error})") from None
    if not isinstance(value, kind):
        raise ArchiveError(f"{path} is damaged: {key} holds no {kind.__name__}")
    return value


def _check_tensors(path: Path, tensors: dict[str, Tensor], encoder: AWDLSTM, words: int) -> None:
    """That the tensors are those of the encoder, with a row of the embedding for each word, all finite."""
    wanted = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    wanted["embedding.weight"] = (words, encoder.emb_sz)
    missing, strange = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or strange:
        trouble = f"lacks {some(missing)}" if missing else f"holds {some(strange)}, which no encoder has"
        raise ArchiveError(f"{path} is damaged: it {trouble}")
    for name, shape in wanted.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise ArchiveError(
                f"{path} is damaged: {name} has shape {tuple(tensor.shape)} instead of {shape}"
            )
        if not (tensor.is_floating_point() and bool(tensor.isfinite().all())):
            raise ArchiveError(f"{path} is damaged: {name} holds values that are not finite numbers")


def _differences(found: dict[str, Any], own: dict[str, Any]) -> str:
    """What differs from the model's own values, in words."""
    return ", ".join(
        f"{name} {found.get(name)} instead of {own.get(name)}"
        for name in {**own, **found}
        if found.get(name) != own.get(name)
    )


def remap_rows(weight: Tensor, known: Vocab, wanted: Vocab) -> tuple[Tensor, int]:
    """Rows of an embedding in the order of another vocabulary; new words get the mean row.

    Returns:
        The rows (len(wanted), emb_sz), and how many words are new.
    """
    places = torch.tensor([known.stoi.get(word, -1) for word in wanted.itos])
    words = torch.ones(len(weight), dtype=torch.bool)
    words[PADDING_ID] = False
    rows = weight[places.clamp(min=0)]
    rows[places < 0] = weight[words].mean(0)
    return rows, int((places < 0).sum())


def _sizes(encoder: AWDLSTM) -> dict[str, int | str]:
    return {
        "emb_sz": encoder.emb_sz,
        "n_hid": encoder.n_hid,
        "n_layers": encoder.n_layers,
        "rnn": encoder.rnn,
    }


def _words(field: Field) -> Vocab:
    if field.vocab is None:
        raise ValueError("the field has no vocabulary: build data with it first")
    return field.vocab


class EncoderMixin:
    """Saving and loading of the encoder, for learners whose model has one and whose data have a field."""

    model: Any
    data: Any
    path: Path

    def save_encoder(self, name: str | Path) -> Path:
        """Writes the encoder with its vocabulary to `path/models/{name}.encoder.safetensors`.

        Args:
            name: A name, or a path that ends in ".safetensors".
        """
        return save_encoder(encoder_file(self.path, name), self.model.encoder, self.data.field)

    def load_encoder(self, name: str | Path) -> Self:
        """Reads an encoder that `save_encoder` wrote; the vocabularies may differ.

        Words that the encoder does not know get the mean vector of those that it knows. A file that does not
        fit (damaged, other sizes, another tokeniser, no common word) is refused and changes nothing.

        Args:
            name: A name under `path/models`, or a path that ends in ".safetensors".
        """
        new = load_encoder(encoder_file(self.path, name), self.model.encoder, self.data.field)
        if new:
            log.info("%d of %d words are new to the encoder", new, len(self.data.field.vocab))
        return self
