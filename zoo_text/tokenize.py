"""Turning text into tokens.

Every tokeniser here works in two steps, so that one cache serves them all:

1. `split(text)` cuts a text into *pieces* (for English: whitespace-separated chunks);
2. `resolve(pieces)` gives the tokens of each distinct piece.

spaCy's English tokeniser never looks across a whitespace chunk, so the tokens of a text are those of its
chunks one after the other, and a chunk has to be taken apart only the first time it is seen. The one
exception, an emoticon found inside a chunk, is recognised and such a text goes to spaCy whole (see
`EnglishTokenizer.risky`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Protocol

from zoo.errors import did_you_mean
from zoo_text.english import english

UNKNOWN, PADDING, START = "<unk>", "<pad>", "<bos>"
UPPER, CAPITAL, REPEATED = "<up>", "<cap>", "<rep>"
RULES = ("caps", "repetition", "start")

_PIECES = re.compile(r"\S+ ?|\s+")
_REPETITION = re.compile(r"(\S)\1{3,}")
_LONGEST_PIECE = 100


class Tokenizer(Protocol):
    """What a tokeniser offers; see the module's text."""

    @property
    def name(self) -> str | None: ...

    @property
    def risky(self) -> set[str]: ...

    def split(self, text: str) -> list[str]: ...

    def resolve(self, pieces: Iterable[str]) -> dict[str, tuple[str, ...]]: ...

    def whole(self, text: str) -> list[str]: ...


class _Plain:
    """Tokenisers whose pieces are the tokens."""

    name: str | None = None

    def __init__(self, lower: bool = True) -> None:
        self.lower = lower
        self.risky: set[str] = set()

    def split(self, text: str) -> list[str]:
        raise TypeError(f"{type(self).__name__} does not say how to split a text")

    def resolve(self, pieces: Iterable[str]) -> dict[str, tuple[str, ...]]:
        if self.lower:
            return {piece: (piece.lower(),) for piece in pieces}
        return {piece: (piece,) for piece in pieces}

    def whole(self, text: str) -> list[str]:
        pieces = self.split(text)
        return [piece.lower() for piece in pieces] if self.lower else pieces


class CharacterTokenizer(_Plain):
    """One token a character (`tokenize=list` means this one)."""

    name = "chars"

    def split(self, text: str) -> list[str]:
        return list(text)


class WhitespaceTokenizer(_Plain):
    """Tokens are what `str.split` gives: for text that is tokenised already."""

    name = "whitespace"

    def split(self, text: str) -> list[str]:
        return text.split()


class CallableTokenizer(_Plain):
    """A user's function from a text to its tokens."""

    def __init__(self, function: Callable[[str], Iterable[str]], lower: bool = True) -> None:
        super().__init__(lower)
        self.function = function

    def split(self, text: str) -> list[str]:
        return list(self.function(text))


class EnglishTokenizer:
    """spaCy's English tokens, many times faster on a corpus than spaCy called per document.

    Args:
        lower: Lower-case each token (after tokenising, as spaCy's exceptions depend on case).
        rules: Which marks to add: "caps" puts `<up>` before a word in capitals and `<cap>` before a
            capitalised one; "repetition" turns "!!!!!" into `<rep> 5 !`. Without rules the tokens are exactly
            spaCy's.

    Example:
        >>> tokenizer = EnglishTokenizer()
        >>> tokenizer.whole("It isn't  GOOD :-)")
        ['it', 'is', "n't", ' ', 'good', ':-)']
    """

    name = "spacy"

    def __init__(self, lower: bool = True, rules: Iterable[str] = ()) -> None:
        self.lower = lower
        self.rules = frozenset(rules)
        self.risky: set[str] = set()

    def split(self, text: str) -> list[str]:
        pieces = text.split(" ")
        return pieces if pieces == text.split() else _PIECES.findall(text)

    def _finish(self, tokens: list[str]) -> list[str]:
        if "caps" in self.rules:
            marked = []
            for token in tokens:
                if len(token) > 1 and token.isupper():
                    marked.append(UPPER)
                elif len(token) > 1 and token[0].isupper() and token[1:].islower():
                    marked.append(CAPITAL)
                marked.append(token)
            tokens = marked
        return [token.lower() for token in tokens] if self.lower else tokens

    def _repeated(self, chunk: str) -> list[str]:
        tokens, end = [], 0
        for match in _REPETITION.finditer(chunk):
            tokens += english().tokens(chunk[end : match.start()])
            tokens += [REPEATED, str(len(match[0])), match[1]]
            end = match.end()
        return tokens + english().tokens(chunk[end:])

    def resolve(self, pieces: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The tokens of each piece."""
        library = english()
        found: dict[str, tuple[str, ...]] = {}
        waiting: list[str] = []
        chunks: list[str] = []
        for piece in pieces:
            # a piece carries the one space that follows it, which is not a token
            chunk = piece[:-1] if piece[-1:] == " " and not piece.isspace() else piece
            if not self.rules and (simple := library.simple(chunk)):
                found[piece] = tuple([token.lower() for token in simple]) if self.lower else simple
            elif piece.isspace() or not piece:
                found[piece] = tuple(library.tokens(piece))
            elif "repetition" in self.rules and _REPETITION.search(chunk):
                found[piece] = tuple(self._finish(self._repeated(chunk)))
            else:
                waiting.append(piece)
                chunks.append(chunk)
        for piece, (tokens, holds_find) in zip(waiting, library.chunks(chunks), strict=True):
            if holds_find and not self.rules:
                self.risky.add(piece)
            found[piece] = tuple(self._finish(tokens))
        return found

    def whole(self, text: str) -> list[str]:
        """The tokens of one text, without the detour over pieces."""
        if self.rules:
            pieces = self.split(text)
            found = self.resolve(set(pieces))
            return [token for piece in pieces for token in found[piece]]
        return self._finish(english().tokens(text))


_NAMED: dict[str, Callable[..., Tokenizer]] = {
    "spacy": EnglishTokenizer,
    "chars": CharacterTokenizer,
    "whitespace": WhitespaceTokenizer,
}


def make_tokenizer(
    tokenize: str | Callable[[str], Iterable[str]], lower: bool = True, rules: Iterable[str] = ()
) -> Tokenizer:
    """A tokeniser by name ("spacy", "chars", "whitespace") or from any function of a text."""
    rules = [rule for rule in rules if rule != "start"]
    if tokenize is list:
        tokenize = "chars"
    elif tokenize is str.split:
        tokenize = "whitespace"
    if isinstance(tokenize, str):
        if tokenize not in _NAMED:
            raise ValueError(
                f"tokenize={tokenize!r} is not known{did_you_mean(tokenize, _NAMED)}: "
                f"use one of {', '.join(sorted(_NAMED))}, or a function from a text to its tokens"
            )
        if tokenize == "spacy":
            return EnglishTokenizer(lower, rules)
        if rules:
            raise ValueError(f"rules {sorted(rules)} need tokenize='spacy', not {tokenize!r}")
        return _NAMED[tokenize](lower)
    if not callable(tokenize):
        raise TypeError(f"tokenize must be a name or a function, not {type(tokenize).__name__}")
    if rules:
        raise ValueError(f"rules {sorted(rules)} need tokenize='spacy'")
    return CallableTokenizer(tokenize, lower)


class PieceCache:
    """Ids of pieces already met: piece -> tuple of ids. Emptied when it holds `limit` pieces.

    Args:
        tokenizer: Where tokens come from.
        lookup: token -> id.
        limit: Most pieces kept.
    """

    def __init__(self, tokenizer: Tokenizer, lookup: Callable[[str], int], limit: int = 1_000_000) -> None:
        self.tokenizer = tokenizer
        self.lookup = lookup
        self.limit = limit
        self._ids: dict[str, tuple[int, ...]] = {}

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text."""
        tokenizer, lookup, known = self.tokenizer, self.lookup, self._ids
        pieces = [tokenizer.split(text) for text in texts]
        distinct = set(chain.from_iterable(pieces))
        missing = distinct.difference(known)
        long: list[str] = []
        if missing:
            if len(known) + len(missing) > self.limit:
                missing = distinct
                known.clear()
            for piece, tokens in tokenizer.resolve(sorted(missing)).items():
                known[piece] = tuple([lookup(token) for token in tokens])
                if len(piece) > _LONGEST_PIECE:
                    long.append(piece)
        risky = tokenizer.risky
        encoded = []
        for text, own in zip(texts, pieces, strict=True):
            if risky and not risky.isdisjoint(own):
                encoded.append([lookup(token) for token in tokenizer.whole(text)])
            else:
                encoded.append(list(chain.from_iterable(map(known.__getitem__, own))))
        for piece in long:
            del known[piece]
        return encoded
