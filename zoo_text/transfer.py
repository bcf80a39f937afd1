"""Learners whose encoder is saved, and begins as another one ended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from zoo_text.model.encoder_file import (
    EncoderFile,
    documents_for,
    encoder_file,
    find_encoder,
    load_encoder,
    save_encoder,
)

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger("zoo")


class EncoderMixin:
    """Saving and loading of the encoder, for learners whose model has one and whose data have a field."""

    model: Any
    data: Any
    path: Path
    freeze: Any

    def save_encoder(self, name: str | Path, *, half: bool = False, notice: str = "") -> Path:
        """Writes the encoder with its vocabulary to `path/models/{name}.encoder.safetensors`; of a language
        model also the bias of the output layer, and vectors of words that tell what a text is about
        (`zoo_text.data.documents`): those of its own training texts, or, where these are fewer than 1,000,
        those that came with the encoder that it started from.

        Args:
            name: A name, or a path that ends in ".safetensors".
            half: In float16: half the size.
            notice: Kept in the file: what is to be said of the texts that the encoder learned from.
        """
        documents = self._documents()
        if documents is None and self.data.train_dl is None:
            log.warning("save_encoder() without training texts writes no vectors of whole texts")
        return save_encoder(
            encoder_file(self.path, name), self.model.encoder, self.data.field,
            bias=self._output_bias(), documents=documents, backward=self.data.backward, half=half,
            notice=notice,
        )  # fmt: skip

    def load_encoder(self, name: str | Path) -> Self:
        """Reads an encoder that `save_encoder` wrote; the vocabularies may differ.

        Words that the encoder does not know get the mean vector of those that it knows. A file that does not
        fit (damaged, other sizes, another tokeniser or direction, no common word) is refused and changes
        nothing. A language model takes over the bias of the output layer too, where the file has one.

        Args:
            name: A name under `path/models`, a path that ends in ".safetensors", or the name of an encoder
                that comes with the package.
        """
        self._read(find_encoder(self.path, name))
        return self

    def start_from(self, file: EncoderFile) -> Self:
        """Take over a pretrained encoder and freeze all but what is new; see `get_model(pretrained=...)`."""
        self._read(file)
        self.freeze()
        return self

    def _read(self, file: EncoderFile) -> None:
        documents = documents_for(file, self.data.field)
        self._check_documents(documents)
        new = load_encoder(
            file, self.model.encoder, self.data.field,
            bias=self._output_bias(), backward=self.data.backward,
        )  # fmt: skip
        self._take_documents(documents)
        if new:
            log.info("%d of %d words are new to the encoder", new, len(self.data.field.vocab))

    def _check_documents(self, vectors: Tensor | None) -> None:
        """Raise where the model cannot keep them; before anything is changed."""

    def _take_documents(self, vectors: Tensor | None) -> None:
        """Keep the vectors of whole texts that came with an encoder."""
        raise NotImplementedError

    def _documents(self) -> Tensor | None:
        """The vectors of whole texts that go with the encoder."""
        raise NotImplementedError

    def _output_bias(self) -> Tensor | None:
        decoder = getattr(self.model, "decoder", None)
        return getattr(decoder, "bias", None)
