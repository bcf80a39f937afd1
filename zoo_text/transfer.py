"""Encoders on disk, and how one fits a model with another vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from zoo.archive import ArchiveError, load_metadata, load_state, save_state
from zoo.errors import did_you_mean
from zoo_text.awd_lstm import AWDLSTM
from zoo_text.vocab import PADDING_ID, Vocab

_SUFFIX = ".encoder.safetensors"


def encoder_file(folder: Path, name: str | Path) -> Path:
    """Where an encoder of this name lies: a path that ends in `.safetensors` is taken as it is."""
    if str(name).endswith(".safetensors"):
        return Path(name)
    return folder / "models" / f"{name}{_SUFFIX}"


def save_encoder(path: Path, encoder: AWDLSTM, vocab: Vocab) -> Path:
    """Writes the encoder's weights, sizes and vocabulary to one safetensors file, atomically."""
    described = {
        "zoo.kind": "text.encoder",
        "zoo.sizes": json.dumps(_sizes(encoder)),
        "zoo.vocab": json.dumps(vocab.itos, ensure_ascii=False),
    }
    save_state(path, encoder.state_dict(), described)
    return path


def load_encoder(path: Path, encoder: AWDLSTM, vocab: Vocab) -> int:
    """Reads an encoder into another one; words it did not know get the mean vector of those it knew.

    Args:
        path: What `save_encoder` wrote.
        encoder: Filled in place.
        vocab: The vocabulary of `encoder`, in any order.

    Returns:
        How many words of `vocab` are new.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is no encoder; it is never unpickled.
        ValueError: If the sizes differ; nothing is changed then.
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
    sizes, own = json.loads(described["zoo.sizes"]), _sizes(encoder)
    other = [
        f"{name} {sizes.get(name)} instead of {value}"
        for name, value in own.items()
        if sizes.get(name) != value
    ]
    if other:
        raise ValueError(f"the encoder in {path} has {', '.join(other)}: make the model with the same sizes")
    known = Vocab(json.loads(described["zoo.vocab"]))
    weight, new = remap_rows(tensors["embedding.weight"], known, vocab)
    encoder.load_state_dict({**tensors, "embedding.weight": weight})
    return new


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
