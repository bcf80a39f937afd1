"""spaCy's English tokeniser, taken apart: what it does with single whitespace-separated chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from zoo_text.tokens.affixes import Affixes
from zoo_text.tokens.finds import Finds

# a word of which only the letters at its two ends can matter, if no rule names it
_WORD = re.compile("(?<![A-Za-z])([A-Za-z][a-z]{1,39}|[A-Z]{2,40})(?![A-Za-z])")
# what stands for such a word: not longer than any, so that it exceeds no limit that the word does not
_SMALL, _CAPITAL, _UPPER = "zq", "Zq", "ZQ"
_STAND_INS = re.compile(f"(?<![A-Za-z])({_SMALL}|{_CAPITAL}|{_UPPER})(?![A-Za-z])")
_LONGEST_SHAPE = 60  # shorter than the label of an address may be
_SHAPES = 200_000

# a token without words, or what stands around those that it holds (nothing for a word alone)
Template = str | tuple[str, ...]


class English:
    """The tokens of chunks, as spaCy's blank English pipeline gives them.

    spaCy splits a text at whitespace and treats each chunk alone (`Affixes`). One later step looks at the
    whole text (`Finds`). Chunks that it may change are *open*: their tokens depend on their neighbours. All
    others, and so nearly all of a text, have to be taken apart only the first time they are seen.
    """

    def __init__(self) -> None:
        try:
            import spacy
        except ImportError as error:
            raise ImportError(
                "tokenize='spacy' needs spaCy (pip install spacy); or use 'whitespace' or a function"
            ) from error
        spacy_tokenizer: Any = spacy.blank("en").tokenizer
        self.version: str = spacy.__version__
        self._affixes = Affixes(spacy_tokenizer)
        searched = [
            text
            for text in self._affixes.rules
            if " " in text
            or spacy_tokenizer.find_prefix(text)
            or spacy_tokenizer.find_infix(text)
            or spacy_tokenizer.find_suffix(text)
        ]
        self._finds = Finds(self._affixes, searched)
        self._rules, self._named = self._affixes.rules, self._affixes.words
        self._shapes: tuple[dict[str, tuple[Template, ...] | None], ...] = ({}, {})  # as written, lower case

    def closed(self, chunk: str, lower: bool) -> tuple[str, ...] | None:
        """The tokens of a chunk wherever it stands, None if it is an open one.

        Args:
            chunk: A text without whitespace, or nothing but whitespace.
            lower: Give them in lower case.
        """
        if chunk.isalpha() and chunk.isascii() and chunk not in self._rules:
            return (chunk.lower() if lower else chunk,)
        parts = _WORD.split(chunk)
        if len(parts) > 1 and len(chunk) <= _LONGEST_SHAPE:
            words = parts[1::2]
            if self._named.isdisjoint(words):
                return self._by_shape(parts, words, lower)
        tokens = self._affixes.split(chunk)
        if self._finds.changes(tokens):
            return None
        return tuple([token.lower() for token in tokens] if lower else tokens)

    def _by_shape(self, parts: list[str], words: list[str], lower: bool) -> tuple[str, ...] | None:
        """The tokens of a chunk with words that decide nothing, as of all chunks of its shape."""
        parts[1::2] = [_SMALL if word[0] > "Z" else _UPPER if word[1] < "a" else _CAPITAL for word in words]
        shape = "".join(parts)
        shapes = self._shapes[lower]
        try:
            templates = shapes[shape]
        except KeyError:
            templates = self._new_shape(shape, lower)
            if len(shapes) >= _SHAPES:
                shapes.clear()
            shapes[shape] = templates
        if templates is None:
            return None
        if len(words) == 1 and () in templates:  # by far the most: a word that is a token, and marks
            word = words[0].lower() if lower else words[0]
            return tuple([template or word for template in templates])  # type: ignore[misc]
        tokens, place = [], 0
        for template in templates:
            if isinstance(template, str):
                tokens.append(template)
                continue
            token = words[place]
            place += 1
            if template:
                before, *after = template
                token = before + token
                for part in after[:-1]:
                    token += part + words[place]
                    place += 1
                token += after[-1]
            tokens.append(token.lower() if lower else token)
        return tuple(tokens)

    def _new_shape(self, shape: str, lower: bool) -> tuple[Template, ...] | None:
        tokens = self._affixes.split(shape)
        if self._finds.changes(tokens):
            return None
        templates: list[Template] = []
        for token in tokens:
            around = _STAND_INS.split(token)[::2]
            if len(around) == 1:
                templates.append(token.lower() if lower else token)
            else:
                templates.append(tuple(around) if any(around) else ())
        return tuple(templates)

    def alone(self, chunk: str) -> list[str]:
        """The tokens of a text that is this chunk alone."""
        return self._finds.apply([self._affixes.split(chunk)])[0] if chunk else []

    def settle(self, chunks: Sequence[str], places: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        """The tokens of the open chunks of a text.

        Args:
            chunks: All chunks of the text, whitespace that is a token among them.
            places: Where the open ones stand, ascending.

        Yields:
            The place and the tokens of each open chunk.
        """
        settled = -1
        wanted = set(places)
        for place in places:
            if place <= settled:
                continue
            # the neighbours with which a find could begin or go on, up to one that no find reaches through
            before: list[list[str]] = []
            first = place
            while first > 0:
                first -= 1
                before.append(self._affixes.split(chunks[first]))
                if first not in wanted and not self._finds.may_take_part(before[-1]):
                    break
            stretch = [*reversed(before), self._affixes.split(chunks[place])]
            last = place
            while last < len(chunks) - 1:
                last += 1
                stretch.append(self._affixes.split(chunks[last]))
                if last not in wanted and not self._finds.may_take_part(stretch[-1]):
                    break
            for number, tokens in enumerate(self._finds.apply(stretch), first):
                if number in wanted:
                    yield number, tokens
            settled = last


@cache
def english() -> English:
    """The English tokeniser that all fields share; made at the first use."""
    return English()
