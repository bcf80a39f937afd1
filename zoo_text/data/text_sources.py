"""What labelled texts are read from: folders, frames, CSV files, tokens on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from zoo.data.csv_file import read_csv
from zoo.data.row_names import RowNames
from zoo.keywords import completed, takes
from zoo_text.data.checks import LabelledTexts, held_out
from zoo_text.data.columns import label_cells, text_column
from zoo_text.data.encoded import Encoded, encoded_part, field_of, opened
from zoo_text.data.folders import read_split
from zoo_text.data.options import FRAME_DEFAULTS, TEXT_DEFAULTS, FrameOptions, TextOptions
from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.targets import TextTargets
from zoo_text.tokens.token_file import TokenFile
from zoo_text.tokens.vocab import Field

if TYPE_CHECKING:
    import pandas as pd

Texts = Sequence[str]
Tokens = TokenFile | str | Path
_OF_FRAMES = ("label", "val_idxs", "label_delim")  # what of `FrameOptions` ends at the frame


class TextSources:
    """The constructors of `TextData` that read texts."""

    _rows: dict[str, RowNames]

    if TYPE_CHECKING:

        def __init__(
            self, field: Field, classes: Sequence[str] | None, *loaders: TextLoader | None, **options: Any
        ) -> None: ...

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
    ) -> Self:
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

        def part(given: Any, name: str) -> LabelledTexts:
            values = chosen["task"] == "regression"
            return LabelledTexts.of_pair(given, name, chosen["classes"], values=values)

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
        names: Sequence[str] | None = None,
    ) -> Self:
        coded = TextTargets.of(train, chosen["task"], chosen["classes"], names)
        batches = {name: chosen[name] for name in ("bs", "seed", "max_tokens", "backward")}

        def loader(part: LabelledTexts, ids: Encoded, targets: np.ndarray) -> TextLoader:
            return TextLoader(ids.ids, ids.offsets, targets, shuffle=part is train, **batches)

        targets = coded.encode(train)
        coded.check_enough()
        ids = encoded_part(train, field, chosen, path)
        reading = field if field.vocab is not None else field.with_vocab(ids.vocab)
        loaders: list[TextLoader | None] = [loader(train, ids, targets)]
        for part in (valid, test):
            loaders += [part and loader(part, encoded_part(part, reading, chosen, path), coded.encode(part))]
        if field.vocab is None:  # now that all texts are in order
            field.vocab = ids.vocab
        data = cls(
            field,
            None if coded.classes is None else coded.classes.names,
            *loaders,
            task=coded.task,
            scale=coded.scale,
            max_tokens=chosen["max_tokens"],
            text=chosen["text"],
            path=path,
            backward=chosen["backward"],
        )
        given = {"train": train, "valid": valid, "test": test}
        data._rows = {name: part.rows for name, part in given.items() if part is not None}
        return data

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
    ) -> Self:
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
        chosen = completed(TextOptions, TEXT_DEFAULTS, options, "from_folder")
        root = Path(path)
        names, parts = read_split(root, (train, validation, test), chosen["classes"])
        classes = None if chosen["task"] == "regression" else names
        return cls.from_texts(field, *parts, path=root, **{**options, "classes": classes})

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
    ) -> Self:
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
            kept = np.setdiff1d(np.arange(len(train_df)), held)
            rows, valid_rows = rows.at(kept), rows.at(held)
            train_df, valid_df = train_df.iloc[kept], train_df.iloc[held]
        columns = [label] if isinstance(label, str) else list(label)
        values = chosen["task"] == "regression"

        def part(frame: pd.DataFrame, where: str, rows: RowNames) -> LabelledTexts:
            labels = label_cells(frame, label, delim, where, rows, values=values)
            return LabelledTexts(text_column(frame, text, rows), labels, where, rows)

        tested: LabelledTexts | None = None
        if test_df is not None:
            test_rows = RowNames.of(test_df)
            if set(columns) <= set(test_df.columns):
                tested = part(test_df, "test_df", test_rows)
            else:
                tested = LabelledTexts(text_column(test_df, text), None, "test_df", test_rows)
        if not isinstance(label, str) and not values and chosen["classes"] is None:
            chosen["classes"] = columns
        valid = None
        if valid_df is not None and valid_rows is not None:
            valid = part(valid_df, "train_df" if val_idxs is not None else "valid_df", valid_rows)
        chosen = {**completed(TextOptions, TEXT_DEFAULTS, chosen, "from_df"), "text": text}
        trained = part(train_df, "train_df", rows)
        return cls._from_parts(field, trained, valid, tested, chosen, path, columns)

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
    ) -> Self:
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

    @classmethod
    def from_tokens(
        cls,
        train: tuple[Tokens, Sequence[Any]],
        valid: tuple[Tokens, Sequence[Any]] | None = None,
        test: Tokens | tuple[Tokens, Sequence[Any]] | None = None,
        *,
        field: Field | None = None,
        bs: int = 64,
        max_tokens: int | None = None,
        classes: Sequence[str] | None = None,
        seed: int | None = None,
        text: str = "text",
        task: str | None = None,
        backward: bool = False,
        path: str | Path | None = None,
    ) -> Self:
        """From tokens on disk and labels; the ids stay there and are memory-mapped.

        Args:
            train: What `TokenFile.build` made of texts, or its folder, and their labels as of `from_texts`.
            valid: Likewise, built with the vocabulary of `train`.
            test: Likewise, with or without labels.
            field: The one that read the texts; made anew by default, which a tokeniser that is a function
                does not allow.
            bs: Texts a batch.
            max_tokens: Keep only the last so many tokens of a text.
            classes: Label names in the order wanted.
            seed: Of the order of training.
            text: Name of the text column when predicting from frames.
            task: What labels mean, as of `from_texts`.
            backward: Read each text from its end on.
            path: Where the learner keeps files.

        Raises:
            ValueError: If the files were not made in the same way, with the same vocabulary, or there are
                more or fewer labels than texts.

        Example:
            >>> import tempfile
            >>> from zoo_text import TextData
            >>> texts, labels = ["good film", "bad film"], ["pos", "neg"]
            >>> tokens = TokenFile.build(texts, Field(tokenize="whitespace"), tempfile.mkdtemp())
            >>> TextData.from_tokens((tokens, labels), bs=2).classes
            ['neg', 'pos']
        """

        def part(given: Any, name: str) -> LabelledTexts:
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise TypeError(f"{name} must be a pair: (tokens, labels)")
            tokens = opened(given[0], name)
            rows = range(len(tokens))
            labelled = LabelledTexts.of_pair((rows, given[1]), name, classes, values=task == "regression")
            return replace(labelled, texts=tokens)

        trained = part(train, "train")
        checked = None if valid is None else part(valid, "valid")
        tested: LabelledTexts | None = None
        if isinstance(test, tuple):
            tested = part(test, "test")
        elif test is not None:
            tested = LabelledTexts(opened(test, "test"), None, "test")
        field = field_of([(one.where, one.texts) for one in (trained, checked, tested) if one], field)
        own = {
            "bs": bs, "max_tokens": max_tokens, "classes": classes, "seed": seed, "text": text, "task": task,
            "backward": backward,
        }  # fmt: skip
        return cls._from_parts(field, trained, checked, tested, {**TEXT_DEFAULTS, **own}, path)
