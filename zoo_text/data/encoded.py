"""Texts as ids, in memory or in token files that the next run finds again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.distributed.group import write_once
from zoo_text.data.checks import LabelledTexts, check_lengths, check_texts
from zoo_text.tokens.corpus import encode_new, encode_texts, read_files
from zoo_text.tokens.token_build import Recipe
from zoo_text.tokens.token_file import TokenFile
from zoo_text.tokens.vocab import Field, Vocab


class Encoded(NamedTuple):
    """Ids of texts.

    Attributes:
        ids: integers, all texts joined.
        offsets: int64, where each text starts, one more than there are texts.
        vocab: the field's vocabulary, or the one that these texts made.
        counts: how often each word occurs, where that is known.
    """

    ids: np.ndarray
    offsets: np.ndarray
    vocab: Vocab
    counts: np.ndarray | None = None

    @classmethod
    def of_file(cls, tokens: TokenFile) -> Encoded:
        """Those of a token file."""
        return cls(tokens.ids, tokens.offsets, tokens.vocab, tokens.counts)


def encoded_texts(
    source: Path | Iterable[str],
    field: Field,
    *,
    min_freq: int,
    max_size: int | None,
    workers: int = 1,
    cache: bool = False,
    path: str | Path | None = None,
) -> Encoded:
    """Ids of texts; without a vocabulary the texts make one, which the field does not get yet.

    Args:
        source: texts, or a file or folder of them.
        field: tokeniser and vocabulary.
        min_freq: of a new vocabulary.
        max_size: of a new vocabulary.
        workers: processes that make tokens.
        cache: keep the ids in a token file below `path`.
        path: folder of the data.

    Raises:
        ValueError: if nothing can be kept: without a path, for tokenisers that are functions, for texts that
            can be read only once.
    """
    check_field(field)
    if cache:
        return Encoded.of_file(_cached(source, field, min_freq, max_size, workers, path))
    texts = read_files(source, field) if isinstance(source, Path) else source
    if field.vocab is None:
        return Encoded(*encode_new(texts, field, min_freq, max_size, workers))
    return Encoded(*encode_texts(texts, field, workers=workers), field.vocab)


def check_field(field: Any) -> None:
    """That a field is one, and no name of a tokeniser."""
    if not isinstance(field, Field):
        given = "the class itself" if field is Field else repr(field)
        raise TypeError(
            f"field must be a Field, such as Field() or Field(tokenize='whitespace'), not {given}"
        )


def encoded_part(
    part: LabelledTexts, field: Field, chosen: Mapping[str, Any], path: str | Path | None
) -> Encoded:
    """Ids of the texts of one part of labelled data, each of which has some token.

    Args:
        part: texts, or a token file.
        field: see `encoded_texts`.
        chosen: options of the data.
        path: folder of the data.
    """
    if isinstance(part.texts, TokenFile):
        ids = Encoded.of_file(part.texts)
    else:
        check_texts(part.texts, part.where, part.rows)
        kept = {name: chosen[name] for name in ("min_freq", "max_size", "workers", "cache")}
        ids = encoded_texts(part.texts, field, path=path, **kept)
    check_lengths(part.texts, ids.offsets, part.where, part.rows)
    return ids


def _cached(
    source: Path | Iterable[str],
    field: Field,
    min_freq: int,
    max_size: int | None,
    workers: int,
    path: str | Path | None,
) -> TokenFile:
    if path is None:
        raise ValueError("cache=True keeps tokens below path: give path=...")
    if field.tokenizer.name is None:
        raise ValueError(
            "cache=True needs a tokeniser by name: whether a function is still the same can't be known; "
            "TokenFile.build and from_tokens keep its tokens"
        )
    recipe = Recipe(source, field, min_freq, max_size)
    if recipe.key is None:
        raise ValueError("cache=True needs texts that can be read twice: give a list of them, or files")
    folder = Path(path) / "tokens" / recipe.key[:20]
    write_once(folder, lambda: TokenFile.make(recipe, folder, workers))
    return TokenFile.open(folder)


def opened(tokens: TokenFile | str | Path, name: str) -> TokenFile:
    """A token file, given as one or as its folder."""
    if isinstance(tokens, str | Path):
        return TokenFile.open(tokens)
    if not isinstance(tokens, TokenFile):
        raise TypeError(f"{name} must be a TokenFile or its folder, not {type(tokens).__name__}")
    return tokens


def field_of(parts: Sequence[tuple[str, TokenFile]], field: Field | None) -> Field:
    """The field of token files that belong together.

    Args:
        parts: names, for errors, and files; the training file first.
        field: the user's own, which gets the vocabulary if it has none.

    Raises:
        ValueError: if texts were read in different ways, or numbered by different vocabularies.
    """
    (first, train), *others = parts
    for name, tokens in others:
        if tokens.meta["reading"] != train.meta["reading"]:
            raise ValueError(
                f"the {name} tokens were made with other options of the field than the {first} ones"
            )
        if tokens.vocab.itos != train.vocab.itos:
            raise ValueError(
                f"the {name} tokens have another vocabulary than the {first} ones: "
                "build them with the field that has the vocabulary of the training text"
            )
    if field is None:
        return train.field()
    check_field(field)
    reading = field.without_vocab()
    if train.meta["reading"] is not None and reading.tokenizer.name is not None:
        kept = train.meta["reading"]
        differs = [name for name, value in reading.state().items() if kept[name] != value]
        if differs:
            raise ValueError(f"the tokens were made with another {', '.join(differs)} than the field has")
    if field.vocab is None:
        field.vocab = train.vocab
    elif field.vocab.itos != train.vocab.itos:
        raise ValueError("the tokens have another vocabulary than the field")
    return field
