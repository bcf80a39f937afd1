"""spaCy's English tokeniser, taken apart: what it does with single whitespace-separated chunks."""

from __future__ import annotations

import re
from typing import Any

_ORTH = 65  # spaCy's number for "the text of the token"
_RENEW_AFTER = 1_000_000
# chunks simple enough to take apart here, the way spaCy does: an ASCII word ending in a small letter, perhaps
# one hyphen in it, perhaps 's, one mark before and one after
_SIMPLE = re.compile(r"""([("])?([A-Za-z]*[a-z])(?:(-)([A-Za-z]*[a-z]))?('s)?([,.!?;:)"])?""")

# a chunk with one longer word in it: what stands around the word decides how it is split, not the word
_AROUND_WORD = re.compile(r"([^A-Za-z]*)([A-Za-z]{2,}[a-z]{2})([^A-Za-z]*)")
_RUNS = re.compile(r"[A-Za-z]+")


class English:
    """The tokens of chunks, as spaCy's blank English pipeline gives them.

    spaCy splits a text at whitespace and treats each chunk alone. One later step looks at the whole text: it
    finds exceptions (mostly emoticons) that were split although they should not have been, longest first.
    Such a find inside a chunk can be lost to a longer one across chunks; those chunks are reported, so that a
    text with one can be given to spaCy whole.
    """

    def __init__(self) -> None:
        try:
            import spacy
        except ImportError as error:
            raise ImportError(
                "tokenize='spacy' needs spaCy (pip install spacy); or use 'whitespace' or a function"
            ) from error
        self.spacy: Any = spacy.blank("en").tokenizer
        self.seen = 0
        self._exceptions = frozenset(self.spacy.rules)
        self._words_in_exceptions = {word for text in self._exceptions for word in _RUNS.findall(text)}
        self._shapes: dict[tuple[str, str, str], tuple[str, ...] | None] = {}
        self._plain = spacy.blank("en").tokenizer
        self._plain.rules = {}
        # exceptions that change the tokens of a chunk they are found in, by the first token they leave there:
        # their text, their tokens, and those they would have otherwise, by which spaCy finds them
        self._inside: dict[str, list[tuple[str, list[str], list[str]]]] = {}
        for text, rule in self.spacy.rules.items():
            tokens = [part.get(_ORTH, part.get("ORTH", "")) for part in rule]
            otherwise = [token.text for token in self._plain(text)]
            if tokens != otherwise and (
                " " in text
                or self.spacy.find_prefix(text)
                or self.spacy.find_infix(text)
                or self.spacy.find_suffix(text)
            ):
                self._inside.setdefault(tokens[0], []).append((text, tokens, otherwise))

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text, by spaCy itself."""
        return [token.text for token in self.spacy(text)]

    def simple(self, chunk: str) -> tuple[str, ...]:
        """The tokens of a chunk that is so simple that spaCy need not be asked; else nothing."""
        exceptions = self._exceptions
        if chunk in exceptions:
            return ()
        match = _SIMPLE.fullmatch(chunk)
        if match is None:
            return (chunk,) if chunk.isascii() and chunk.isalpha() else ()
        before, _, _, second, owner, after = match.groups()
        if before or owner or after:
            # no exception may appear on the way from the outside in
            start, end = len(before or ""), len(chunk) - len(after or "")
            if chunk[start:] in exceptions or chunk[:end] in exceptions or chunk[start:end] in exceptions:
                return ()
            if second and chunk[match.start(4) :] in exceptions:
                return ()
            if owner and (chunk[: end - 2] in exceptions or chunk[start : end - 2] in exceptions):
                return ()
        return tuple(part for part in match.groups() if part)

    def around_word(self, chunk: str) -> tuple[str, ...] | None:
        """The tokens of a chunk with one longer word, by what is known of chunks of the same shape."""
        match = _AROUND_WORD.fullmatch(chunk)
        if match is None or len(match[1]) + len(match[3]) > 12 or match[2] in self._words_in_exceptions:
            return None
        before, word, after = match.groups()
        stand_in = "Zqvzq" if word[0].isupper() else "zqvzq"
        shape = (before, stand_in, after)
        if shape not in self._shapes:
            if len(self._shapes) > 50_000:
                self._shapes.clear()
            tokens, holds_find = self.chunk(before + stand_in + after)
            once = sum(stand_in in token for token in tokens) == 1
            self._shapes[shape] = tuple(tokens) if once and not holds_find else None
        known = self._shapes[shape]
        return None if known is None else tuple([token.replace(stand_in, word) for token in known])

    def chunk(self, chunk: str) -> tuple[list[str], bool]:
        """The tokens of any chunk, and whether it holds a find (see the class)."""
        self.seen += 1
        tokens = [token.text for token in self.spacy(chunk)]
        return tokens, len(tokens) > 1 and self._holds_find(chunk, tokens)

    def _holds_find(self, chunk: str, tokens: list[str]) -> bool:
        for token in tokens:
            for text, parts, otherwise in self._inside.get(token, ()):
                if text == chunk or not _within(parts, tokens):
                    continue
                if _within(otherwise, [plain.text for plain in self._plain(chunk)]):
                    return True
        return False


def _within(part: list[str], whole: list[str]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


_shared: list[English] = []


def english() -> English:
    """The English tokeniser that all fields share; loaded at the first use.

    spaCy keeps every string it has met, so a fresh one takes over now and then: memory stays bounded.
    """
    if not _shared or _shared[0].seen > _RENEW_AFTER:
        _shared[:] = [English()]
    return _shared[0]
