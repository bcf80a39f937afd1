"""What a corpus for a language model is made from: texts, tokens, files, folders, frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from zoo.keywords import completed, takes
from zoo_text.data.columns import text_column
from zoo_text.data.encoded import encoded_texts, field_of, opened
from zoo_text.data.options import CORPUS_DEFAULTS, CorpusOptions
from zoo_text.tokens.listed import check_listed
from zoo_text.tokens.token_file import TokenFile
from zoo_text.tokens.vocab import Field

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class CorpusSources:
    """The constructors of `LanguageModelData` that read texts."""

    if TYPE_CHECKING:

        def __init__(self, field: Field, *ids: np.ndarray | None, **options: Any) -> None: ...

    @classmethod
    @takes(CorpusOptions, CORPUS_DEFAULTS)
    def from_texts(
        cls,
        field: Field,
        train: Iterable[str],
        validation: Iterable[str] | None = None,
        test: Iterable[str] | None = None,
        *,
        path: str | Path | None = None,
        **options: Unpack[CorpusOptions],
    ) -> Self:
        """From any iterables of strings, each read once, a few megabytes at a time.

        Args:
            field: Tokeniser and vocabulary; without a vocabulary one is built from `train`.
            train: Texts, joined in order.
            validation: Likewise.
            test: Likewise.
            path: Where the learner keeps files.
        """
        chosen = completed(CorpusOptions, CORPUS_DEFAULTS, options, "from_texts")
        for name, texts in (("train", train), ("validation", validation), ("test", test)):
            if isinstance(texts, str):
                raise TypeError(
                    f"{name} is one string: give a list of texts, or use from_text_files for a file name"
                )
            check_listed(texts, name)
        return cls._encoded(field, (train, validation, test), chosen, path)

    @classmethod
    def _encoded(
        cls,
        field: Field,
        sources: Sequence[Iterable[str] | Path | None],
        chosen: dict[str, Any],
        path: str | Path | None,
    ) -> Self:
        """From texts or files; the field gets its vocabulary when all of them have been read."""
        kept = {name: chosen.pop(name) for name in ("min_freq", "max_size", "workers", "cache")}
        train, *others = sources
        found = encoded_texts(() if train is None else train, field, path=path, **kept)
        if len(found.ids) == 0:
            raise ValueError("the training text has no tokens")
        reading = field if field.vocab is not None else field.with_vocab(found.vocab)
        rest = [None if one is None else encoded_texts(one, reading, path=path, **kept).ids for one in others]
        if field.vocab is None:
            field.vocab = found.vocab
        return cls(field, found.ids, *rest, path=path, counts=found.counts, offsets=found.offsets, **chosen)

    @classmethod
    def from_tokens(
        cls,
        train: TokenFile | str | Path,
        validation: TokenFile | str | Path | None = None,
        test: TokenFile | str | Path | None = None,
        *,
        field: Field | None = None,
        bs: int = 64,
        bptt: int = 70,
        seed: int | None = None,
        path: str | Path | None = None,
        backward: bool = False,
    ) -> Self:
        """From tokens on disk; the ids stay there and are memory-mapped.

        Args:
            train: What `TokenFile.build` made, or its folder.
            validation: Likewise, built with the vocabulary of `train`.
            test: Likewise.
            field: The one that read the texts; made anew by default, which a tokeniser that is a function
                does not allow.
            bs: Columns the text is cut into.
            bptt: Steps a batch, about.
            seed: Of the random lengths.
            path: Where the learner keeps files.
            backward: Read the texts from their end on.

        Raises:
            ValueError: If the files were not made in the same way, with the same vocabulary.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp()
            >>> from zoo_text import LanguageModelData
            >>> tokens = TokenFile.build(["a good film"] * 9, Field(tokenize="whitespace"), f"{folder}/films")
            >>> LanguageModelData.from_tokens(tokens, bs=2).nt
            5
        """
        named = [("training", train), ("validation", validation), ("test", test)]
        files = {name: opened(tokens, name) for name, tokens in named if tokens is not None}
        field = field_of(list(files.items()), field)
        ids = [files[name].ids if name in files else None for name, _ in named]
        read = files["training"]
        return cls(
            field, *ids, bs=bs, bptt=bptt, seed=seed, path=path, backward=backward, counts=read.counts,
            offsets=read.offsets,
        )  # fmt: skip

    @classmethod
    def from_text_files(
        cls,
        path: str | Path,
        field: Field,
        train: str,
        validation: str | None = None,
        test: str | None = None,
        bs: int = 64,
        bptt: int = 70,
        min_freq: int = 10,
        *,
        max_size: int | None = None,
        seed: int | None = None,
        backward: bool = False,
        workers: int = 1,
        cache: bool = False,
    ) -> Self:
        """From text files, or folders of them, below `path`.

        Args:
            path: Root folder; the learner keeps its files there.
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training text.
            train: File or folder name; of a folder all `.txt` files are read, in sorted order.
            validation: Likewise.
            test: Likewise.
            bs: Columns the text is cut into.
            bptt: Steps a batch, about.
            min_freq: Rarer words become unknown.
            max_size: Most words kept.
            seed: Of the random lengths.
            backward: Read the text from its end on, for a model that is averaged with a forward one.
            workers: Processes that make tokens; they give the same ids however many they are.
            cache: Keep the tokens in a `TokenFile` below `path/tokens`, where the next run finds them by the
                content of the text and the way it is read; the ids are memory-mapped.
        """
        root = Path(path)
        if not root.is_dir():
            raise FileNotFoundError(f"no folder {root}")
        files = [None if name is None else root / name for name in (train, validation, test)]
        chosen = {
            "bs": bs, "bptt": bptt, "min_freq": min_freq, "max_size": max_size, "seed": seed,
            "backward": backward, "workers": workers, "cache": cache,
        }  # fmt: skip
        return cls._encoded(field, files, chosen, root)

    @classmethod
    @takes(CorpusOptions, CORPUS_DEFAULTS)
    def from_folder(
        cls,
        path: str | Path,
        field: Field,
        train: str = "train",
        validation: str | None = "valid",
        test: str | None = None,
        **options: Unpack[CorpusOptions],
    ) -> Self:
        """From the folders `train` and `valid` below `path`, as `from_text_files` reads them.

        Args:
            path: Root folder; the learner keeps its files there.
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training text.
            train: Name of the training folder.
            validation: Likewise; None for none.
            test: Likewise.
        """
        completed(CorpusOptions, CORPUS_DEFAULTS, options, "from_folder")
        return cls.from_text_files(path, field, train, validation, test, **options)

    @classmethod
    @takes(CorpusOptions, CORPUS_DEFAULTS)
    def from_df(
        cls,
        path: str | Path | None,
        field: Field,
        col: str,
        train_df: pd.DataFrame,
        valid_df: pd.DataFrame | None = None,
        test_df: pd.DataFrame | None = None,
        **options: Unpack[CorpusOptions],
    ) -> Self:
        """From the text column `col` of data frames.

        Args:
            path: Where the learner keeps files.
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training text.
            col: Name of the column.
            train_df: Texts, joined in order.
            valid_df: Likewise.
            test_df: Likewise.
        """
        completed(CorpusOptions, CORPUS_DEFAULTS, options, "from_df")
        texts = [None if df is None else text_column(df, col) for df in (train_df, valid_df, test_df)]
        return cls.from_texts(field, texts[0] or [], texts[1], texts[2], path=path, **options)
