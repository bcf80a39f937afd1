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
from typing import Any, Protocol

from zoo.errors import did_you_mean

UNKNOWN, PADDING, START = "<unk>", "<pad>", "<bos>"
UPPER, CAPITAL, REPEATED = "<up>", "<cap>", "<rep>"
RULES = ("caps", "repetition", "start")

_PIECES = re.compile(r"\S+ ?|\s+")
_REPETITION = re.compile(r"(\S)\1{3,}")
# chunks simple enough to take apart here, the way spaCy does: an ASCII word ending in a small letter, perhaps
# one hyphen in it, perhaps 's, one mark before and one after
_SIMPLE = re.compile(r"""([("])?([A-Za-z]*[a-z])(?:(-)([A-Za-z]*[a-z]))?('s)?([,.!?;:)"])?""")
_SEPARATOR = "\n\n"
_LONGEST_PIECE = 100
_ORTH = 65  # spaCy's number for "the text of the token"


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


def _within(part: list[str], whole: list[str]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


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
        self._spacy: Any = None
        self._seen = 0

    def _library(self) -> Any:
        # spaCy keeps every string it has met: start afresh now and then, so that memory stays bounded
        if self._spacy is None or self._seen > 1_000_000:
            try:
                import spacy
            except ImportError as error:
                raise ImportError(
                    "tokenize='spacy' needs spaCy (pip install spacy); or use tokenize='whitespace' or a function"
                ) from error
            self._spacy = spacy.blank("en").tokenizer
            self._seen = 0
            self._exceptions = frozenset(self._spacy.rules)
            # exceptions that change the tokens of a chunk they are found in, by the first token they leave
            # there: their text, their tokens, and the tokens they would have otherwise, by which spaCy finds them
            self._plain = spacy.blank("en").tokenizer
            self._plain.rules = {}
            self._inside: dict[str, list[tuple[str, list[str], list[str]]]] = {}
            for text, rule in self._spacy.rules.items():
                tokens = [part.get(_ORTH, part.get("ORTH", "")) for part in rule]
                otherwise = [token.text for token in self._plain(text)]
                if tokens != otherwise and (
                    " " in text
                    or self._spacy.find_prefix(text)
                    or self._spacy.find_infix(text)
                    or self._spacy.find_suffix(text)
                ):
                    self._inside.setdefault(tokens[0], []).append((text, tokens, otherwise))
        return self._spacy

    def split(self, text: str) -> list[str]:
        pieces = text.split(" ")
        return pieces if pieces == text.split() else _PIECES.findall(text)

    def _holds_exception(self, chunk: str, tokens: list[str]) -> bool:
        for token in tokens:
            for text, parts, otherwise in self._inside.get(token, ()):
                if text == chunk or not _within(parts, tokens):
                    continue
                if _within(otherwise, [plain.text for plain in self._plain(chunk)]):
                    return True
        return False

    def _simple(self, chunk: str) -> tuple[str, ...]:
        exceptions = self._exceptions
        if chunk in exceptions:
            return ()
        match = _SIMPLE.fullmatch(chunk)
        if match is None:
            return (chunk.lower() if self.lower else chunk,) if chunk.isascii() and chunk.isalpha() else ()
        before, word, hyphen, second, owner, after = match.groups()
        if before or owner or after:
            # no exception may appear on the way from the outside in
            start, end = len(before or ""), len(chunk) - len(after or "")
            if chunk[start:] in exceptions or chunk[:end] in exceptions or chunk[start:end] in exceptions:
                return ()
            if second and chunk[match.start(4) :] in exceptions:
                return ()
            if owner and (chunk[: end - 2] in exceptions or chunk[start : end - 2] in exceptions):
                return ()
        parts = [before, word, hyphen, second, owner, after]
        return tuple([part.lower() if self.lower else part for part in parts if part])

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

    def _repeated(self, piece: str) -> list[str]:
        tokenizer, tokens, end = self._library(), [], 0
        for match in _REPETITION.finditer(piece):
            tokens += [token.text for token in tokenizer(piece[end : match.start()])]
            tokens += [REPEATED, str(len(match[0])), match[1]]
            end = match.end()
        return tokens + [token.text for token in tokenizer(piece[end:])]

    def resolve(self, pieces: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The tokens of each piece."""
        tokenizer = self._library()
        found: dict[str, tuple[str, ...]] = {}
        waiting: list[str] = []
        bare: list[str] = []
        for piece in pieces:
            # a piece carries the one space that follows it, which is not a token
            chunk = piece[:-1] if piece[-1:] == " " and not piece.isspace() else piece
            simple = () if self.rules else self._simple(chunk)
            if simple:
                found[piece] = simple
            elif piece.isspace() or not piece:
                found[piece] = tuple(token.text for token in tokenizer(piece))
            elif "repetition" in self.rules and _REPETITION.search(chunk):
                found[piece] = tuple(self._finish(self._repeated(chunk)))
            else:
                waiting.append(piece)
                bare.append(chunk)
        self._seen += len(waiting)
        for start in range(0, len(waiting), 5000):
            # many chunks in one call; the blank lines between them keep them apart
            block = tokenizer(_SEPARATOR.join(bare[start : start + 5000]))
            tokens: list[list[str]] = [[]]
            for token in block:
                text = token.text
                if text == _SEPARATOR:
                    tokens.append([])
                else:
                    tokens[-1].append(text)
            for piece, chunk, own in zip(
                waiting[start : start + 5000], bare[start : start + 5000], tokens, strict=True
            ):
                if not self.rules and len(own) > 1 and self._holds_exception(chunk, own):
                    self.risky.add(piece)
                found[piece] = tuple(self._finish(own))
        return found

    def whole(self, text: str) -> list[str]:
        """The tokens of one text, without the detour over pieces."""
        if self.rules:
            pieces = self.split(text)
            found = self.resolve(set(pieces))
            return [token for piece in pieces for token in found[piece]]
        return self._finish([token.text for token in self._library()(text)])


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
