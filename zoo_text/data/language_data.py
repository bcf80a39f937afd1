"""Text as batches for language models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.seeding import seeded
from zoo.data.model_data import ModelData
from zoo.data.ports import Port
from zoo.engine.layer_groups import GroupSpec
from zoo.keywords import completed, takes
from zoo.metrics import Perplexity, accuracy
from zoo.storage.registry import domain_learner
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_text.data.corpus_sources import CorpusSources
from zoo_text.data.documents import document_vectors
from zoo_text.data.running_text import LanguageModelLoader, evaluated_columns
from zoo_text.model.encoder_file import find_encoder, sizes_for
from zoo_text.model.language_model import LanguageModel
from zoo_text.model.ports import text_ports
from zoo_text.model.softmax import FusedCrossEntropy
from zoo_text.tokens.corpus import count_ids
from zoo_text.tokens.vocab import UNKNOWN_ID, Field

if TYPE_CHECKING:
    import pandas as pd

    from zoo_text import LanguageLearner


log = logging.getLogger("zoo")


class LanguageModelData(ModelData, CorpusSources):
    """A corpus for a language model; `field` gets its vocabulary from the training text, unless it has one.

    Args:
        field: Tokeniser and vocabulary.
        train: Token ids of the training text.
        valid: Token ids of the validation text.
        test: Token ids of a test text.
        bs: Columns the training text is cut into. Validation and test texts are read in columns of their own
            (`evaluated_columns`), every word once: a perplexity is a figure of the text, whatever `bs`.
        bptt: Steps a batch, about.
        seed: Of the random lengths.
        path: Where the learner keeps files.
        backward: Read the texts from their end on.
        counts: How often each word occurs in the training text, (words,); counted if None.
        offsets: Where each training text starts, and the end; None where they cannot be told apart.

    Attributes:
        nt: Size of the vocabulary.
    """

    domain: ClassVar[str] = "language_model"
    loader_kind: ClassVar[Any] = LanguageModelLoader

    task = "sequence"
    _document_vectors: Tensor | None = None

    def __init__(
        self,
        field: Field,
        train: np.ndarray | None,
        valid: np.ndarray | None = None,
        test: np.ndarray | None = None,
        *,
        bs: int = 64,
        bptt: int = 70,
        seed: int | None = None,
        path: str | Path | None = None,
        backward: bool = False,
        counts: np.ndarray | None = None,
        offsets: np.ndarray | None = None,
    ) -> None:
        vocab = field.vocab
        if vocab is None:
            raise ValueError("the field has no vocabulary: build it with field.build_vocab(texts) first")

        def loader(ids: np.ndarray | None, training: bool) -> LanguageModelLoader | None:
            if ids is None:
                return None
            if training:
                return LanguageModelLoader(ids, bs, bptt, random_length=True, seed=seed, backward=backward)
            columns = evaluated_columns(len(ids) - 1)
            # no more words at a time than in training: the state is carried, so that this changes no answer
            steps = min(bptt, max(1, bs * bptt // columns))
            return LanguageModelLoader(ids, columns, steps, whole=True, backward=backward)

        for name, ids in (("training", train), ("validation", valid), ("test", test)):
            if ids is not None and len(ids) == 0:
                hint = "" if name == "training" else ": give None for none"
                raise ValueError(f"the {name} text has no tokens{hint}")
            if ids is not None and len(ids) == 1:
                raise ValueError(f"the {name} text is a single token: there is nothing to predict")
        super().__init__(loader(train, True), loader(valid, False), loader(test, False), path)
        self.field = field
        self.bs, self.bptt, self.backward = bs, bptt, backward
        self.nt = len(vocab)
        self.counts = count_ids(train, self.nt) if counts is None and train is not None else counts
        self.offsets = offsets
        for name, ids in (("training", train), ("validation", valid), ("test", test)):
            if ids is not None:
                known = self.counts if name == "training" else None
                _tell_unknown(name, count_ids(ids, self.nt) if known is None else known)

    @takes(LearnerOptions, LEARNER_DEFAULTS, without=("opt_fn",))
    def get_model(
        self,
        opt_fn: Callable[..., torch.optim.Optimizer] | None = None,
        emb_sz: int | None = None,
        n_hid: int | None = None,
        n_layers: int | None = None,
        dropouti: float = 0.05,
        dropout: float = 0.05,
        wdrop: float = 0.1,
        dropoute: float = 0.02,
        dropouth: float = 0.05,
        tie_weights: bool = True,
        *,
        drop_mult: float = 1.0,
        rnn: str | None = None,
        identity_init: bool = False,
        pretrained: str | Path | None = None,
        sampled: int | None = None,
        layer_groups: GroupSpec | None = None,
        **options: Any,
    ) -> LanguageLearner:
        """An AWD-LSTM language model of this corpus in a learner.

        Args:
            opt_fn: Optimizer class; AdamW by default.
            emb_sz: Features of a word; 200, or as the pretrained encoder has them.
            n_hid: Features of the inner layers; 400, likewise.
            n_layers: Number of recurrent layers; 2, likewise.
            dropouti: Dropout on the embedded input.
            dropout: Dropout on the encoder's output.
            wdrop: Dropout of recurrent weights.
            dropoute: Share of words dropped.
            dropouth: Dropout between the layers.
            tie_weights: Use the embedding as the output weights too.
            drop_mult: Multiplies all dropouts.
            rnn: "lstm" (default), "gru" or "rnn".
            identity_init: Identity recurrent weights at the start.
            pretrained: What `save_encoder` wrote (a name, or a path that ends in ".safetensors"), or the
                encoder "english-small" of the package. The model starts from it and frozen: only
                the output layer trains (and the embedding, if tied) until `unfreeze()`; `fine_tune` does
                both.
            sampled: Score only the batch's words and this many others in training: several times faster with
                a large vocabulary (2,000 to 4,000 of 20,000 is a good choice); the training loss is then an
                estimate.
            layer_groups: Of the learner; those of the model by default.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, {**options, "opt_fn": opt_fn}, "get_model")
        start = None if pretrained is None else find_encoder(chosen["path"] or self.path, pretrained)
        sizes = sizes_for(start, emb_sz=emb_sz, n_hid=n_hid, n_layers=n_layers, rnn=rnn)
        with seeded(chosen["seed"]):
            model = LanguageModel(
                self.nt, **sizes,
                dropouti=dropouti, dropout=dropout, wdrop=wdrop, dropoute=dropoute, dropouth=dropouth,
                tie_weights=tie_weights, drop_mult=drop_mult, identity_init=identity_init,
            )  # fmt: skip
        if sampled is not None and chosen["loss_fn"] is not None:
            log.warning("sampled=%s is for the loss by default; the loss_fn given scores as it does", sampled)
        elif sampled is not None:
            counts = None if self.counts is None else torch.from_numpy(self.counts).float()
            chosen["loss_fn"] = FusedCrossEntropy(sampled, counts)
        learn = domain_learner("language_model")(self, model, layer_groups=layer_groups, **chosen)
        return learn if start is None else learn.start_from(start)

    def document_vectors(self) -> Tensor | None:
        """What words say of whole texts, from the training text; see `zoo_text.data.documents`.

        Returns:
            (nt, 50), computed once; None for fewer than 1,000 texts, or stretches of 500 words of them.
        """
        if self.train_dl is None:
            return None
        if self._document_vectors is None:
            self._document_vectors = document_vectors(self.train_dl.text, self.nt, self.offsets)
        return self._document_vectors

    def default_loss(self) -> Callable:
        """Cross entropy in nats, computed together with the output layer."""
        return FusedCrossEntropy()

    def default_metrics(self) -> list:
        """Accuracy of the next word, and perplexity."""
        return [accuracy, Perplexity]

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The words in the order of their ids, how texts become words, and the classes if there are any."""
        return super().mapping_values() | self.field.mapping_values(self.backward)

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The field, with its vocabulary."""
        return {
            "task": self.task,
            "field": self.field.state(),
            "bptt": self.bptt,
            "backward": self.backward,
        }, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> LanguageModelData:
        """Data without rows, for generation and scoring."""
        backward = state.get("backward", False)  # older files: always forward
        return cls(Field.from_state(state["field"]), None, bptt=state["bptt"], backward=backward)

    def show_batch(self, n: int = 9, *, train: bool = True) -> pd.DataFrame:
        """The first rows of a batch as text, each with the words that are to be predicted at every step;
        arguments as of `ModelData.show_batch`.
        """
        import pandas as pd

        ids, target = self.one_batch(train, "cpu")
        rows = {"text": ids[:n], "target": target.reshape(ids.shape)[:n]}
        return pd.DataFrame({name: [self.field.text_of(row) for row in part] for name, part in rows.items()})

    def prepared_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        state, tensors = self.export_state()
        if self.counts is not None:
            tensors = {**tensors, "counts": torch.from_numpy(self.counts)}
        if self.offsets is not None:
            tensors = {**tensors, "offsets": torch.from_numpy(np.asarray(self.offsets))}
        return {**state, "bs": self.bs}, tensors

    @classmethod
    def from_prepared(cls, contents: Mapping[str, Any], arrays: Mapping[str, Tensor], path: Path) -> Self:
        data = super().from_prepared(contents, arrays, path)
        data.bs = contents["state"]["bs"]
        data.counts, data.offsets = (
            arrays[f"state.{name}"].numpy() if f"state.{name}" in arrays else None
            for name in ("counts", "offsets")
        )
        return data

    def input_ports(self) -> list[Port]:
        return text_ports(self.nt, backward=self.backward)[:1]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Not for language models: `learn.generate(prompt)` continues a text."""
        raise TypeError("a language model continues texts: use learn.generate(prompt)")


def _tell_unknown(name: str, counts: np.ndarray) -> None:
    """A text of unknown words has a low perplexity, and teaches nothing: say how many there are."""
    share = counts[UNKNOWN_ID] / counts.sum()
    if share > 0.1:
        log.warning(
            "%.0f%% of the words of the %s text are unknown to the vocabulary, so its perplexity is low for "
            "the wrong reason: a smaller min_freq (or a larger max_size) makes a larger vocabulary",
            100 * share, name,
        )  # fmt: skip
