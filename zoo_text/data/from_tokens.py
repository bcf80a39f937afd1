"""Labelled texts whose tokens lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from zoo_text.data.checks import LabelledTexts
from zoo_text.data.encoded import field_of, opened
from zoo_text.data.options import TEXT_DEFAULTS
from zoo_text.tokens.token_file import TokenFile
from zoo_text.tokens.vocab import Field

Tokens = TokenFile | str | Path


class FromTokens:
    """The constructor of `TextData` that makes no tokens."""

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
        data: Any = cls
        return data._from_parts(field, trained, checked, tested, {**TEXT_DEFAULTS, **own}, path)
