"""Labelled texts as batches for classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.data.check.report import DataReport
from zoo.data.loaders.seeding import seeded
from zoo.data.quick_models import QuickModel
from zoo.data.row_names import BY_NUMBER, RowNames
from zoo.data.value_scale import ValueScale
from zoo.engine.layer_groups import GroupSpec
from zoo.keywords import completed, takes
from zoo.storage.registry import domain_learner
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_text.data.baseline import text_models
from zoo_text.data.check_texts import check_text_data
from zoo_text.data.checks import check_lengths, check_texts, tell_unread
from zoo_text.data.columns import raw_texts
from zoo_text.data.labels import LabelledData
from zoo_text.data.ngrams import CountedNGrams, counted_ngrams
from zoo_text.data.padded_batches import SortedBatches, TextLoader
from zoo_text.data.text_sources import TextSources
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.encoder_file import find_encoder, sizes_for
from zoo_text.tokens.listed import check_whole
from zoo_text.tokens.vocab import Field

if TYPE_CHECKING:
    import pandas as pd

    from zoo_text import TextClassifierLearner


class TextData(LabelledData, TextSources):
    """Texts with one label each (classification), with any number of labels (multi-label), or with values
    (regression).

    Made by `from_folder`, `from_df`, `from_csv`, `from_texts` or `from_tokens`. The field's vocabulary is
    shared with whatever else uses the field; if it has none yet, the training texts make one. A text without
    any token is an error that names it.

    Attributes:
        classes: Label names, in alphabetical order (numbers by their value) unless given; None for values.
        scale: On which values are learned; None for labels.
        field: Tokeniser and vocabulary.
        nt: Size of the vocabulary.
    """

    domain: ClassVar[str] = "text"
    loader_kind: ClassVar[Any] = TextLoader

    def __init__(
        self,
        field: Field,
        classes: Sequence[str] | None,
        train_dl: TextLoader | None = None,
        valid_dl: TextLoader | None = None,
        test_dl: TextLoader | None = None,
        *,
        task: str = "classification",
        scale: ValueScale | None = None,
        max_tokens: int | None = None,
        text: str = "text",
        path: str | Path | None = None,
        backward: bool = False,
    ) -> None:
        super().__init__(train_dl, valid_dl, test_dl, path)
        if field.vocab is None:
            raise ValueError("the field has no vocabulary: build it with field.build_vocab(texts) first")
        if max_tokens is not None:
            check_whole(1, max_tokens=max_tokens)
        self._set_task(task, classes, scale)
        self.field = field
        self._rows: dict[str, RowNames] = {}
        self.nt, self.max_tokens, self.text = len(field.vocab), max_tokens, text
        self.backward = backward

    @takes(LearnerOptions, LEARNER_DEFAULTS, without=("opt_fn",))
    def get_model(
        self,
        opt_fn: Callable[..., torch.optim.Optimizer] | None = None,
        emb_sz: int | None = None,
        n_hid: int | None = None,
        n_layers: int | None = None,
        dropouti: float = 0.1,
        dropout: float = 0.4,
        wdrop: float = 0.1,
        dropoute: float = 0.02,
        dropouth: float = 0.1,
        *,
        max_len: int = 1400,
        hidden: int = 50,
        drop_mult: float = 1.0,
        rnn: str | None = None,
        pretrained: str | Path | None = None,
        n_grams: bool = True,
        documents: bool = True,
        layer_groups: GroupSpec | None = None,
        **options: Any,
    ) -> TextClassifierLearner:
        """An AWD-LSTM classifier in a learner; `learn.load_encoder(name)` lets it start from a language
        model.

        Args:
            opt_fn: Optimizer class; AdamW by default.
            emb_sz: Features of a word, as in the language model; 200, or as the pretrained encoder has them.
            n_hid: Features of the inner layers; 400, likewise.
            n_layers: Number of recurrent layers; 2, likewise.
            dropouti: Dropout on the embedded input.
            dropout: Dropout on the pooled features.
            wdrop: Dropout of recurrent weights.
            dropoute: Share of words dropped.
            dropouth: Dropout between the layers.
            max_len: Gradients flow through the last so many words of a text at most, see `TextClassifier`.
            hidden: Features between the pooled ones and the classes.
            drop_mult: Multiplies all dropouts.
            rnn: "lstm" (default), "gru" or "rnn".
            pretrained: What `save_encoder` of a language model wrote (a name, or a path that ends in
                ".safetensors"), or "english-small", which comes with the package. The classifier
                starts from it and frozen: only the head trains until `unfreeze()`; `fine_tune` unfreezes
                step by step.
            n_grams: Begin as a linear model on the words and pairs of words of the training texts, from 50
                texts on: the network learns what that one misses (`LinearScores`). Its weights stay as they
                are.
            documents: Use the pretrained encoder's vectors of whole texts, if it has some, in that linear
                model.
            layer_groups: Of the learner; those of the model by default.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, {**options, "opt_fn": opt_fn}, "get_model")
        start = None if pretrained is None else find_encoder(chosen["path"] or self.path, pretrained)
        sizes = sizes_for(start, emb_sz=emb_sz, n_hid=n_hid, n_layers=n_layers, rnn=rnn)
        vectors = None if start is None or not documents else start.documents
        counted = self.counted_ngrams() if n_grams else None
        with seeded(chosen["seed"]):
            model = TextClassifier(
                self.nt, self.n_out, **sizes,
                dropouti=dropouti, dropout=dropout, wdrop=wdrop, dropoute=dropoute, dropouth=dropouth,
                max_len=max_len, hidden=hidden, drop_mult=drop_mult,
                document_sz=0 if vectors is None else vectors.shape[1],
                n_grams=0 if counted is None else len(counted.keys),
            )  # fmt: skip
        learn = domain_learner("text")(self, model, layer_groups=layer_groups, **chosen)
        if start is not None:
            learn.start_from(start)
        return learn.start_linear(counted)

    def show_batch(self, n: int = 9, *, train: bool = True) -> pd.DataFrame:
        """The first texts of a batch as the model reads them, with their labels; arguments as of
        `ModelData.show_batch`.
        """
        import pandas as pd

        ids, lengths, target = self.one_batch(train, "cpu")
        texts = [self.field.text_of(row[:length]) for row, length in zip(ids[:n], lengths[:n], strict=True)]
        return pd.DataFrame({self.text: texts, **self._target_columns(target, n)})

    def batches_from_raw(self, items: Any) -> SortedBatches:
        """Strings, a series of them, or a frame with the text column, as batches of ids and lengths, texts of
        similar length together; answers go back by `.order`, as `learn.outputs_of` does it.
        """
        rows = RowNames.of(items)
        texts = raw_texts(items, self.text)
        check_texts(texts, "input", rows)
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), 256):
            encoded += self.field.encode(texts[start : start + 256])
        check_lengths(texts, np.cumsum([0, *map(len, encoded)]), "input", rows)
        tell_unread(encoded, [self.field.number(mark) for mark in self.field.marks], "input", rows)
        if self.max_tokens is not None:
            encoded = [row[-self.max_tokens :] for row in encoded]
        if self.backward:
            encoded = [np.ascontiguousarray(row[::-1]) for row in encoded]
        return SortedBatches(encoded)

    def card_rows(self) -> Iterator[tuple[str, str]]:
        """What a model card tells of the inputs."""
        yield "texts", f"of {self.nt:,} words; others are unknown"
        if self.max_tokens is not None:
            yield "length", f"the last {self.max_tokens:,} words of a text are read"

    def row_name(self, part: str, row: int) -> str:
        """What a text is called in reports: its part of the split, and its row as the user has it.

        Args:
            part: "train", "valid" or "test".
            row: number of the text in that part.
        """
        return f"{part} {self._rows.get(part, BY_NUMBER)(row)}"

    def row_index(self, part: str, row: int) -> Any:
        """The label of a text in the index of the user's own frame, or its position in what the user gave."""
        return self._rows.get(part, BY_NUMBER).label(row)

    def counted_ngrams(self) -> CountedNGrams | None:
        """What a new classifier's linear model is fitted to."""
        two = self.task == "classification" and self.n_out == 2
        return counted_ngrams(self.train_dl, self.nt, self.n_out, two_classes=two)

    def check(self) -> DataReport:
        """Look at the texts before training, see `zoo_text.data.check_texts.check_text_data`."""
        return check_text_data(self)

    def quick_models(self, task: str | None = None, class_weights: Tensor | None = None) -> list[QuickModel]:
        """Constants and linear models on words and pairs of words; see `ModelData.quick_models`."""
        return text_models(self, self.task, class_weights)

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The words in the order of their ids, how texts become words, and what targets mean."""
        return super().mapping_values() | self.field.mapping_values(self.backward)

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The field with its vocabulary, and the label names."""
        return {
            **self.task_state(),
            "field": self.field.state(),
            "max_tokens": self.max_tokens,
            "text": self.text,
            "backward": self.backward,
        }, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> TextData:
        """Data without rows, for prediction."""
        field, scale = Field.from_state(state["field"]), state.get("scale")
        return cls(
            field, state["classes"], task=state["task"], max_tokens=state["max_tokens"], text=state["text"],
            backward=state.get("backward", False),  # older files: always forward
            scale=None if scale is None else ValueScale.from_numbers(scale),
        )  # fmt: skip
