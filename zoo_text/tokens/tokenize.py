"""Turning text into tokens.

Every tokeniser here works in two steps, so that one cache serves them all:

1. `split(text)` cuts a text into *pieces* (for English: whitespace-separated chunks);
2. `piece(piece)` gives the tokens of one piece.

spaCy's English tokeniser hardly ever looks across a whitespace chunk, so the tokens of a text are those of
its chunks one after the other, and a chunk has to be taken apart only the first time it is seen. The
exception are chunks with an emoticon or the like inside: what becomes of them depends on their neighbours.
Such pieces are *open*, and `settle` tells their tokens (see `zoo_text.tokens.english`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from zoo.errors import did_you_mean
from zoo_text.tokens.english import english

UNKNOWN, PADDING, START = "<unk>", "<pad>", "<bos>"
UPPER, CAPITAL, REPEATED, LINE_END = "<up>", "<cap>", "<rep>", "<eos>"
RULES = ("caps", "repetition", "start", "eos")
OF_ANY_TOKENIZER = ("start", "eos")  # rules that the field itself follows

# chunks, and what whitespace spaCy makes a token of: all but one blank after a chunk
_PIECES = re.compile(r"\S+|(?<=\S )\s+|(?<=\S)[^\S ]\s*|\A\s+")
_REPETITION = re.compile(r"(\S)\1{3,}")
_LONGEST_PIECE = 100


class Tokenizer(Protocol):
    """What a tokeniser offers; see the module's text."""

    @property
    def name(self) -> str | None: ...

    def split(self, text: str) -> list[str]: ...

    def piece(self, piece: str) -> tuple[str, ...] | None: ...

    def settle(self, pieces: Sequence[str], places: Sequence[int]) -> Iterator[tuple[int, list[str]]]: ...

    def whole(self, text: str) -> list[str]: ...


class _Plain:
    """Tokenisers whose pieces are the tokens."""

    name: str | None = None

    def __init__(self, lower: bool = True) -> None:
        self.lower = lower

    def split(self, text: str) -> list[str]:
        raise TypeError(f"{type(self).__name__} does not say how to split a text")

    def piece(self, piece: str) -> tuple[str, ...] | None:
        return (piece.lower() if self.lower else piece,)

    def settle(self, pieces: Sequence[str], places: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        return iter(())  # none is open

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
        tokens = list(self.function(text))
        strange = next((token for token in tokens if not isinstance(token, str)), None)
        if strange is not None:
            raise TypeError(
                f"tokenize must give strings, got {type(strange).__name__}: {strange!r}; of a spaCy pipeline "
                "take the texts, tokenize=lambda text: [token.text for token in nlp(text)]"
            )
        return tokens


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

    def split(self, text: str) -> list[str]:
        # the quick way, for texts in which single blanks are the only whitespace
        if text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " ":
            return text.split(" ") if text else []
        return _PIECES.findall(text)

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
            tokens += english().alone(chunk[end : match.start()])
            tokens += [REPEATED, str(len(match[0])), match[1]]
            end = match.end()
        return tokens + english().alone(chunk[end:])

    def piece(self, piece: str) -> tuple[str, ...] | None:
        """The tokens of one piece; None if they depend on its neighbours."""
        if self.rules:
            repeated = "repetition" in self.rules and _REPETITION.search(piece)
            return tuple(self._finish(self._repeated(piece) if repeated else english().alone(piece)))
        return english().closed(piece, self.lower)

    def settle(self, pieces: Sequence[str], places: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        """The tokens of the open pieces of a text, with their places."""
        for place, tokens in english().settle(pieces, places):
            yield place, self._finish(tokens)

    def whole(self, text: str) -> list[str]:
        """The tokens of one text."""
        pieces = self.split(text)
        found: list[Sequence[str] | None] = [self.piece(piece) for piece in pieces]
        for place, tokens in self.settle(pieces, [n for n, known in enumerate(found) if known is None]):
            found[place] = tokens
        return [token for tokens in found for token in tokens or ()]


_NAMED: dict[str, Callable[..., Tokenizer]] = {
    "spacy": EnglishTokenizer,
    "chars": CharacterTokenizer,
    "whitespace": WhitespaceTokenizer,
}


def make_tokenizer(
    tokenize: str | Callable[[str], Iterable[str]], lower: bool = True, rules: Iterable[str] = ()
) -> Tokenizer:
    """A tokeniser by name ("spacy", "chars", "whitespace") or from any function of a text."""
    rules = [rule for rule in rules if rule not in OF_ANY_TOKENIZER]
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


class PieceCache(dict):
    """Ids of pieces already met, as the bytes of int32. Emptied when it holds `limit` pieces.

    Args:
        tokenizer: Where tokens come from.
        lookup: token -> id.
        limit: Most pieces kept.
    """

    def __init__(self, tokenizer: Tokenizer, lookup: Callable[[str], int], limit: int = 1_000_000) -> None:
        super().__init__()
        self.tokenizer, self.lookup, self.limit = tokenizer, lookup, limit
        self._tokens_of = tokenizer.piece
        self._open: set[str] = set()
        self._met_open = False

    def __missing__(self, piece: str) -> bytes:
        tokens = None if piece in self._open else self._tokens_of(piece)
        if tokens is None:
            self._met_open = True
            self._open.add(piece)
            return b""
        ids = self._ids(tokens)
        if len(piece) <= _LONGEST_PIECE:
            if len(self) >= self.limit:
                self.clear()
                self._open.clear()
            self[piece] = ids
        return ids

    def _ids(self, tokens: Sequence[str]) -> bytes:
        if len(tokens) == 1:
            return self.lookup(tokens[0]).to_bytes(4, sys.byteorder)
        return b"".join([number.to_bytes(4, sys.byteorder) for number in map(self.lookup, tokens)])

    def _settled(self, pieces: list[str]) -> bytes:
        """Ids of a text with open pieces."""
        parts = [b""] * len(pieces)
        places = []
        for place, piece in enumerate(pieces):
            self._met_open = False
            parts[place] = self[piece]
            if self._met_open:
                places.append(place)
        for place, tokens in self.tokenizer.settle(pieces, places):
            parts[place] = self._ids(tokens)
        return b"".join(parts)

    def encode(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Ids of each text, int32."""
        split, find = self.tokenizer.split, self.__getitem__
        encoded = []
        for text in texts:
            pieces = split(text)
            self._met_open = False
            ids = b"".join(map(find, pieces))
            if self._met_open:
                ids = self._settled(pieces)
            encoded.append(np.frombuffer(ids, np.int32))
        return encoded
