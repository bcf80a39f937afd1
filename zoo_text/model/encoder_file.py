"""Encoders on disk, and how one fits a model with another vocabulary."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.distributed.group import write_once
from zoo.errors import did_you_mean, some
from zoo.storage.archive import ArchiveError, load_metadata, load_state, save_state
from zoo_text.model.awd_lstm import AWDLSTM
from zoo_text.tokens.packaged import names, packaged
from zoo_text.tokens.tokenize import CAPITAL, PADDING, REPEATED, START, UNKNOWN, UPPER
from zoo_text.tokens.vocab import PADDING_ID, Field, Vocab

log = logging.getLogger("zoo")
_MARKS = {UNKNOWN, PADDING, START, UPPER, CAPITAL, REPEATED}
_SUFFIX = ".encoder.safetensors"
_BIAS, _DOCUMENTS = "decoder.bias", "document.weight"


def encoder_file(folder: Path, name: str | Path) -> Path:
    """Where an encoder of this name lies: a path that ends in `.safetensors` is taken as it is."""
    if str(name).endswith(".safetensors"):
        return Path(name)
    return folder / "models" / f"{name}{_SUFFIX}"


@dataclass
class EncoderFile:
    """What `save_encoder` wrote, read and checked.

    Attributes:
        path: Where it lies.
        tensors: Of the encoder, float32.
        bias: Of the output layer, one number a word; None where a classifier wrote the file.
        documents: What `DocumentVectors` adds up, a row a word; None where there were too few texts.
        sizes: emb_sz, n_hid, n_layers, rnn.
        tokenising: How texts became words, see `Field.tokenising`.
        vocab: The words of the embedding's rows.
        backward: Whether texts were read from their end.
        notice: What has to be said of the texts that it was trained on; may be empty.
    """

    path: Path
    tensors: dict[str, Tensor]
    bias: Tensor | None
    documents: Tensor | None
    sizes: dict[str, Any]
    tokenising: dict[str, Any]
    vocab: Vocab
    backward: bool
    notice: str


def save_encoder(
    path: Path,
    encoder: AWDLSTM,
    field: Field,
    *,
    bias: Tensor | None = None,
    documents: Tensor | None = None,
    backward: bool = False,
    half: bool = False,
    notice: str = "",
) -> Path:
    """Writes the encoder's weights, sizes, tokeniser and vocabulary to one safetensors file, atomically.

    Args:
        path: The file.
        encoder: Whose weights.
        field: Its tokeniser and vocabulary.
        bias: Of a language model's output layer.
        documents: Of `DocumentVectors`.
        backward: Whether it reads texts from their end.
        half: In float16: half the size, rounded to three digits.
        notice: About the texts it was trained on.
    """
    described = {
        "zoo.kind": "text.encoder",
        "zoo.sizes": json.dumps(sizes_of(encoder)),
        "zoo.field": json.dumps(field.tokenising()),
        "zoo.vocab": json.dumps(_words(field).itos),
        "zoo.direction": "backward" if backward else "forward",
        "zoo.notice": notice,
    }
    tensors = dict(encoder.state_dict())
    if bias is not None:
        tensors[_BIAS] = bias.detach()
    if documents is not None:
        tensors[_DOCUMENTS] = documents
    if half:
        tensors = {name: value.half() for name, value in tensors.items()}
    write_once(path, lambda: save_state(path, tensors, described))
    return path


def read_encoder(path: Path) -> EncoderFile:
    """Reads a file that `save_encoder` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is no encoder, or a damaged one; it is never unpickled.
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
    sizes = _entry(path, described, "zoo.sizes", dict)
    tokenising = _entry(path, described, "zoo.field", dict)
    try:
        vocab = Vocab(_entry(path, described, "zoo.vocab", list))
    except (ValueError, TypeError) as error:
        raise ArchiveError(f"{path} is damaged: its vocabulary is not one ({error})") from None
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and bool(tensor.isfinite().all())):
            raise ArchiveError(f"{path} is damaged: {name} holds values that are not finite numbers")
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    bias = tensors.pop(_BIAS, None)
    if bias is not None and bias.shape != (len(vocab),):
        raise ArchiveError(
            f"{path} is damaged: {_BIAS} has shape {tuple(bias.shape)} instead of {(len(vocab),)}"
        )
    documents = tensors.pop(_DOCUMENTS, None)
    if documents is not None and (documents.ndim != 2 or len(documents) != len(vocab)):
        raise ArchiveError(
            f"{path} is damaged: {_DOCUMENTS} has shape {tuple(documents.shape)} instead of a row for "
            f"each of {len(vocab)} words"
        )
    backward = described.get("zoo.direction") == "backward"
    return EncoderFile(
        path, tensors, bias, documents, sizes, tokenising, vocab, backward, described.get("zoo.notice", "")
    )


def find_encoder(folder: Path, name: str | Path) -> EncoderFile:
    """Reads an encoder by name: one that comes with the package, or that was saved.

    Args:
        folder: Where a learner keeps its files.
        name: Of one that comes with the package, a name under `folder/models`, or a path that ends in
            ".safetensors".
    """
    if not isinstance(name, str | Path):
        raise TypeError(
            f"an encoder is given by its name or the path of a file, not as a {type(name).__name__}: "
            "learn.save_encoder(name) writes one"
        )
    try:
        return read_encoder(packaged(name) or encoder_file(folder, name))
    except FileNotFoundError as error:
        comes = f"with the package comes: {', '.join(names()) or 'none'}{did_you_mean(str(name), names())}"
        raise FileNotFoundError(f"{error}; {comes}") from None


def sizes_for(file: EncoderFile | None, **given: Any) -> dict[str, Any]:
    """The sizes of a new encoder: those given, else those of the file, else the usual ones.

    Raises:
        ValueError: If a size is given that the file does not have.

    Example:
        >>> sizes_for(None, emb_sz=100, n_hid=None, n_layers=None, rnn=None)
        {'emb_sz': 100, 'n_hid': 400, 'n_layers': 2, 'rnn': 'lstm'}
    """
    found = {"emb_sz": 200, "n_hid": 400, "n_layers": 2, "rnn": "lstm"}
    if file is not None:
        found = file.sizes
        wrong = [
            f"{name} {value}, not {found[name]}"
            for name, value in given.items()
            if value is not None and value != found[name]
        ]
        if wrong:
            raise ValueError(
                f"the pretrained encoder {file.path} cannot have {', '.join(wrong)}: leave it out"
            )
    return {name: found[name] if value is None else value for name, value in given.items()}


def load_encoder(
    path: Path | EncoderFile,
    encoder: AWDLSTM,
    field: Field,
    *,
    bias: Tensor | None = None,
    backward: bool = False,
) -> int:
    """Reads an encoder into another one; words it did not know get the mean vector of those it knew.

    Args:
        path: What `save_encoder` wrote.
        encoder: Filled in place, once everything in the file has been checked.
        field: Tokeniser and vocabulary of `encoder`; the words may come in any order.
        bias: Of the output layer, likewise filled, if the file has one; new words get the mean.
        backward: Whether `encoder` is to read texts from their end.

    Returns:
        How many words of the vocabulary are new. More than half of them are worth a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is no encoder, or a damaged one; it is never unpickled.
        ValueError: If sizes, tokenisers or directions differ, or no word is known. Whatever is raised,
            nothing is changed.
    """
    file = path if isinstance(path, EncoderFile) else read_encoder(path)
    sizes = _differences(file.sizes, sizes_of(encoder))
    if sizes:
        raise ValueError(f"the encoder in {file.path} has {sizes}: make the model with the same sizes")
    # cleaning changes texts, not what their words mean
    read, wanted = (
        {name: value for name, value in told.items() if name != "clean"}
        for told in (file.tokenising, field.tokenising())
    )
    tokenising = _differences(read, wanted)
    if tokenising:
        raise ValueError(
            f"the encoder in {file.path} read texts with {tokenising}: make the Field with the same options"
        )
    if file.backward != backward:
        there, here = ("backward", "forward") if file.backward else ("forward", "backward")
        raise ValueError(
            f"the encoder in {file.path} reads texts {there}, these data {here}: make the data with "
            f"backward={file.backward}"
        )
    _check_tensors(file, encoder)
    words = _words(field)
    own = [word for word in words.itos if word not in _MARKS]
    strange = sum(word not in file.vocab for word in own)
    if own and strange == len(own):
        raise ValueError(f"the encoder in {file.path} knows none of the {len(own):,} words of the vocabulary")
    weight, new = remap_rows(file.tensors["embedding.weight"], file.vocab, words)
    encoder.load_state_dict({**file.tensors, "embedding.weight": weight})
    if bias is not None and file.bias is not None:
        with torch.no_grad():
            bias.copy_(remap_rows(file.bias[:, None], file.vocab, words)[0][:, 0])
    if strange > len(own) / 2:
        log.warning("%s knows only %d of %d words of the vocabulary", file.path, len(own) - strange, len(own))
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


def _check_tensors(file: EncoderFile, encoder: AWDLSTM) -> None:
    """That the tensors are those of the encoder, with a row of the embedding for each word."""
    path, tensors = file.path, file.tensors
    wanted = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    wanted["embedding.weight"] = (len(file.vocab), encoder.emb_sz)
    missing, strange = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or strange:
        trouble = f"lacks {some(missing)}" if missing else f"holds {some(strange)}, which no encoder has"
        raise ArchiveError(f"{path} is damaged: it {trouble}")
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise ArchiveError(
                f"{path} is damaged: {name} has shape {tuple(tensors[name].shape)} instead of {shape}"
            )


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


def documents_for(file: EncoderFile, field: Field) -> Tensor | None:
    """The vectors of whole texts for another vocabulary; words that the file does not know count nothing."""
    if file.documents is None:
        return None
    places = torch.tensor([file.vocab.stoi.get(word, -1) for word in _words(field).itos])
    return torch.where(places[:, None] < 0, 0.0, file.documents[places.clamp(min=0)])


def sizes_of(encoder: AWDLSTM) -> dict[str, int | str]:
    """What an encoder has to agree in with the file that it reads."""
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
