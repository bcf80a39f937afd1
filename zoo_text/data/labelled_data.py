"""Labelled texts as batches for classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
from torch import Tensor

from zoo.data.classes import Classes, check_enough, is_number, is_several
from zoo.data.csv_file import read_csv
from zoo.data.loaders.seeding import seeded
from zoo.data.model_data import ModelData
from zoo.data.quick_models import QuickModel
from zoo.data.row_names import RowNames
from zoo.engine.layer_groups import GroupSpec
from zoo.errors import did_you_mean
from zoo.keywords import completed, takes
from zoo.metrics import accuracy, accuracy_thresh
from zoo.storage.registry import domain_learner
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_text.data.baseline import text_models
from zoo_text.data.checks import LabelledTexts, check_lengths, check_texts, held_out
from zoo_text.data.columns import label_cells, text_column
from zoo_text.data.folders import class_folders, read_classes, read_texts
from zoo_text.data.options import FRAME_DEFAULTS, TEXT_DEFAULTS, FrameOptions, TextOptions
from zoo_text.data.padded_batches import SortedBatches, TextLoader
from zoo_text.model.classifier import TextClassifier
from zoo_text.tokens.corpus import encode_texts
from zoo_text.tokens.vocab import Field

if TYPE_CHECKING:
    import pandas as pd

    from zoo_text import TextClassifierLearner

Texts = Sequence[str]
_OF_FRAMES = ("label", "val_idxs", "label_delim")  # what of `FrameOptions` ends at the frame


class TextData(ModelData):
    """Texts with one label each (classification), or with any number of labels (multi-label).

    Made by `from_folder`, `from_df`, `from_csv` or `from_texts`. The field's vocabulary is shared with
    whatever else uses the field; if it has none yet, the training texts make one. A text without any token is
    an error that names it.

    Attributes:
        classes: Label names, in alphabetical order unless given.
        field: Tokeniser and vocabulary.
        nt: Size of the vocabulary.
    """

    domain: ClassVar[str] = "text"
    loader_kind: ClassVar[Any] = TextLoader

    def __init__(
        self,
        field: Field,
        classes: Sequence[str],
        train_dl: TextLoader | None = None,
        valid_dl: TextLoader | None = None,
        test_dl: TextLoader | None = None,
        *,
        task: str = "classification",
        max_tokens: int | None = None,
        text: str = "text",
        path: str | Path | None = None,
    ) -> None:
        super().__init__(train_dl, valid_dl, test_dl, path)
        if field.vocab is None:
            raise ValueError("the field has no vocabulary: build it with field.build_vocab(texts) first")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {max_tokens}")
        self.field, self.classes, self.task = field, list(classes), task
        self.nt, self.max_tokens, self.text = len(field.vocab), max_tokens, text

    @classmethod
    @takes(TextOptions, TEXT_DEFAULTS)
    def from_texts(
        cls,
        field: Field,
        train: tuple[Texts, Sequence[Any]],
        valid: tuple[Texts, Sequence[Any]] | None = None,
        test: Texts | tuple[Texts, Sequence[Any]] | None = None,
        *,
        path: str | Path | None = None,
        **options: Unpack[TextOptions],
    ) -> TextData:
        """From lists of texts and labels.

        Args:
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training texts.
            train: Texts and their labels: one a text, or for multi-label data a list of them a text or an
                array of 0 and 1 (texts, classes).
            valid: Likewise.
            test: Texts, with or without labels.
            path: Where the learner keeps files.
        """
        chosen = completed(TextOptions, TEXT_DEFAULTS, options, "from_texts")
        classes = chosen["classes"]

        def part(given: Any, name: str) -> LabelledTexts:
            return LabelledTexts.of_pair(given, name, classes)

        if test is None or isinstance(test, tuple):
            tested = None if test is None else part(test, "test")
        else:
            tested = LabelledTexts.without_labels(test, "test")
        checked = None if valid is None else part(valid, "valid")
        return cls._from_parts(field, part(train, "train"), checked, tested, chosen, path)

    @classmethod
    def _from_parts(
        cls,
        field: Field,
        train: LabelledTexts,
        valid: LabelledTexts | None,
        test: LabelledTexts | None,
        chosen: dict[str, Any],
        path: str | Path | None,
    ) -> TextData:
        labels = train.labels or []
        multi = any(is_several(label) for label in labels)
        if chosen["classes"] is None:
            found = Classes.found(labels, several=multi)
            if all(map(is_number, found.names)):  # 10 after 9, as the user's own numbers
                found = Classes.found(labels, several=multi, by_value=True)
        else:
            found = Classes.given(chosen["classes"])
        batches = {name: chosen[name] for name in ("bs", "seed", "max_tokens")}

        def targets_of(part: LabelledTexts) -> np.ndarray:
            encode = found.marks if multi else found.numbers
            if part.labels is not None:
                return encode(part.labels, part.where, part.rows)
            # never read
            return np.zeros_like(targets, shape=(len(part.texts), *targets.shape[1:]))

        def loader(part: LabelledTexts, targets: np.ndarray) -> TextLoader:
            check_texts(part.texts, part.where, part.rows)
            ids, offsets = encode_texts(part.texts, field)
            check_lengths(part.texts, offsets, part.where, part.rows)
            return TextLoader(ids, offsets, targets, shuffle=part is train, **batches)

        targets = targets_of(train)
        check_enough(found.names, "the training labels hold", 1 if multi else 2)
        if field.vocab is None:
            check_texts(train.texts, train.where, train.rows)
            field.build_vocab(train.texts, chosen["min_freq"], chosen["max_size"])
        return cls(
            field,
            found.names,
            loader(train, targets),
            None if valid is None else loader(valid, targets_of(valid)),
            None if test is None else loader(test, targets_of(test)),
            task="multilabel" if multi else "classification",
            max_tokens=chosen["max_tokens"],
            text=chosen["text"],
            path=path,
        )

    @classmethod
    @takes(TextOptions, TEXT_DEFAULTS)
    def from_folder(
        cls,
        path: str | Path,
        field: Field,
        train: str = "train",
        validation: str | None = "valid",
        test: str | None = None,
        **options: Unpack[TextOptions],
    ) -> TextData:
        """From folders with a folder of `.txt` files for each class: `train/neg/1.txt`, `train/pos/2.txt`,
        ...

        Files are read at any depth below their class folder; hidden ones are left out. For film reviews with
        an extra folder of unlabelled ones in `train`:
        `TextData.from_folder("aclImdb", field, validation="test", classes=["neg", "pos"])`.

        Args:
            path: Root folder; the learner keeps its files there.
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training texts.
            train: Name of the training folder.
            validation: Likewise; None for none.
            test: Likewise; class folders, or unlabelled files.
        """
        classes = completed(TextOptions, TEXT_DEFAULTS, options, "from_folder")["classes"]
        root = Path(path)
        chosen = classes is not None
        there = [folder.name for folder in class_folders(root / train)]
        names = Classes.given(classes).names if chosen else there
        for name in names:
            if name not in there:
                raise FileNotFoundError(f"no class folder {root / train / name}{did_you_mean(name, there)}")
        trained = read_classes(root / train, names, ignore_others=chosen)
        checked = None
        if validation is not None:
            checked = read_classes(root / validation, names, ignore_others=chosen)
        tested: Any = None
        if test is not None:
            if class_folders(root / test):
                tested = read_classes(root / test, names, ignore_others=chosen)
            else:
                tested = read_texts(root / test)
        return cls.from_texts(field, trained, checked, tested, path=root, **{**options, "classes": names})

    @classmethod
    @takes(FrameOptions, FRAME_DEFAULTS)
    def from_df(
        cls,
        path: str | Path | None,
        field: Field,
        train_df: pd.DataFrame,
        valid_df: pd.DataFrame | None = None,
        test_df: pd.DataFrame | None = None,
        **options: Unpack[FrameOptions],
    ) -> TextData:
        """From data frames, which are not changed.

        Args:
            path: Where the learner keeps files.
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training texts.
            train_df: Texts and labels.
            valid_df: Likewise; or use `val_idxs`.
            test_df: Texts, with or without the label column.
        """
        chosen = completed(FrameOptions, FRAME_DEFAULTS, options, "from_df")
        text, label, val_idxs, delim = (chosen.pop(name) for name in ("text", *_OF_FRAMES))
        rows, valid_rows = RowNames.of(train_df), None if valid_df is None else RowNames.of(valid_df)
        if val_idxs is not None:
            if valid_df is not None:
                raise ValueError("give valid_df or val_idxs, not both")
            held = held_out(val_idxs, len(train_df))
            trained = np.setdiff1d(np.arange(len(train_df)), held)
            rows, valid_rows = rows.at(trained), rows.at(held)
            train_df, valid_df = train_df.iloc[trained], train_df.iloc[held]
        several = None if isinstance(label, str) else list(label)

        def part(frame: pd.DataFrame, where: str, rows: RowNames) -> LabelledTexts:
            labels = label_cells(frame, label, delim, where, rows)
            return LabelledTexts(text_column(frame, text, rows), labels, where, rows)

        tested: LabelledTexts | None = None
        if test_df is not None:
            test_rows = RowNames.of(test_df)
            if set(several or [str(label)]) <= set(test_df.columns):
                tested = part(test_df, "test_df", test_rows)
            else:
                tested = LabelledTexts(text_column(test_df, text), None, "test_df", test_rows)
        if several is not None and chosen["classes"] is None:
            chosen["classes"] = several
        valid = None
        if valid_df is not None and valid_rows is not None:
            valid = part(valid_df, "train_df" if val_idxs is not None else "valid_df", valid_rows)
        chosen = {**completed(TextOptions, TEXT_DEFAULTS, chosen, "from_df"), "text": text}
        return cls._from_parts(field, part(train_df, "train_df", rows), valid, tested, chosen, path)

    @classmethod
    @takes(FrameOptions, FRAME_DEFAULTS)
    def from_csv(
        cls,
        path: str | Path,
        field: Field,
        train: str,
        validation: str | None = None,
        test: str | None = None,
        **options: Unpack[FrameOptions],
    ) -> TextData:
        """From CSV files with a line of column names.

        Texts and labels stay as they are written: 007 is the class "007", and "NA" or "None" may be a label
        or a text; only empty cells are missing (with `label_delim` they are rows without any label).

        Args:
            path: Root folder; the learner keeps its files there.
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training texts.
            train: Name of the file with the training texts and their labels.
            validation: Likewise; or use `val_idxs`.
            test: Likewise; the label column may be absent.
        """
        chosen = completed(FrameOptions, FRAME_DEFAULTS, options, "from_csv")
        root, text, label = Path(path), chosen["text"], chosen["label"]
        labels = [label] if isinstance(label, str) else list(label)

        as_written = str if isinstance(label, str) else {text: str}  # of several labels the marks are numbers

        def frame(name: str, columns: list[str]) -> pd.DataFrame:
            return read_csv(root / name, columns=columns, dtype=as_written, missing="none")

        train_df = frame(train, [text, *labels])
        valid_df = None if validation is None else frame(validation, [text, *labels])
        test_df = None if test is None else frame(test, [text])
        return cls.from_df(root, field, train_df, valid_df, test_df, **options)

    @takes(LearnerOptions, LEARNER_DEFAULTS, without=("opt_fn",))
    def get_model(
        self,
        opt_fn: Callable[..., torch.optim.Optimizer] | None = None,
        emb_sz: int = 200,
        n_hid: int = 400,
        n_layers: int = 2,
        dropouti: float = 0.1,
        dropout: float = 0.4,
        wdrop: float = 0.1,
        dropoute: float = 0.02,
        dropouth: float = 0.1,
        *,
        max_len: int = 1400,
        hidden: int = 50,
        drop_mult: float = 1.0,
        rnn: str = "lstm",
        layer_groups: GroupSpec | None = None,
        **options: Any,
    ) -> TextClassifierLearner:
        """An AWD-LSTM classifier in a learner; `learn.load_encoder(name)` lets it start from a language
        model.

        Args:
            opt_fn: Optimizer class; AdamW by default.
            emb_sz: Features of a word, as in the language model.
            n_hid: Features of the inner layers, as in the language model.
            n_layers: Number of recurrent layers, as in the language model.
            dropouti: Dropout on the embedded input.
            dropout: Dropout on the pooled features.
            wdrop: Dropout of recurrent weights.
            dropoute: Share of words dropped.
            dropouth: Dropout between the layers.
            max_len: Gradients flow through the last so many words of a text at most, see `TextClassifier`.
            hidden: Features between the pooled ones and the classes.
            drop_mult: Multiplies all dropouts.
            rnn: "lstm", "gru" or "rnn".
            layer_groups: Of the learner; those of the model by default.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, {**options, "opt_fn": opt_fn}, "get_model")
        with seeded(chosen["seed"]):
            model = TextClassifier(
                self.nt, len(self.classes or ()), emb_sz, n_hid, n_layers,
                dropouti=dropouti, dropout=dropout, wdrop=wdrop, dropoute=dropoute, dropouth=dropouth,
                max_len=max_len, hidden=hidden, drop_mult=drop_mult, rnn=rnn,
            )  # fmt: skip
        return domain_learner("text")(self, model, layer_groups=layer_groups, **chosen)

    def default_metrics(self) -> list:
        """Accuracy; for multi-label data the share of right yes/no decisions."""
        return [accuracy_thresh(0.5)] if self.task == "multilabel" else [accuracy]

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
        if hasattr(items, "columns"):
            texts = text_column(items, self.text)
        else:
            texts = [items] if isinstance(items, str) else list(items)
        check_texts(texts, "input", rows)
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), 256):
            encoded += self.field.encode(texts[start : start + 256])
        check_lengths(texts, np.cumsum([0, *map(len, encoded)]), "input", rows)
        cut = self.max_tokens
        return SortedBatches([row[-cut:] for row in encoded] if cut else encoded)

    def quick_models(self, task: str | None = None, class_weights: Tensor | None = None) -> list[QuickModel]:
        """Constants and linear models on words and pairs of words; see `ModelData.quick_models`."""
        return text_models(self, self.task, class_weights)

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The words in the order of their ids, how texts become words, and the classes if there are any."""
        return super().mapping_values() | self.field.mapping_values()

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The field with its vocabulary, and the label names."""
        return {
            "task": self.task,
            "classes": self.classes,
            "field": self.field.state(),
            "max_tokens": self.max_tokens,
            "text": self.text,
        }, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> TextData:
        """Data without rows, for prediction."""
        field = Field.from_state(state["field"])
        return cls(
            field, state["classes"], task=state["task"], max_tokens=state["max_tokens"], text=state["text"]
        )
