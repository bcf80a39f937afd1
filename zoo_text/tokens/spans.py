"""Where tokens stand in the text as it was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from zoo_text.tokens.tokenize import REPEATED, START

_FAR, _TRIES = 2048, 16  # characters in which a token that is not next is looked for, and finds looked at
_DOTTED = "i\u0307"  # what Python makes of a capital I with a dot: the only letter that grows when lowered


def _behind(pattern: str) -> Callable[[str, int, int], int]:
    match = re.compile(pattern).match

    def end(body: str, place: int, limit: int) -> int:
        found = match(body, place, limit)
        return found.end() if found else place

    return end


_WORD, _SIGN = re.compile(r"\w\S*"), re.compile(r"\S+")
_LONE_RETURN = re.compile(r"\r(?!\n)")
_BLANKS, _SIGNS = _behind(r"\s*"), _behind(r"[\W_]*")


class Span(NamedTuple):
    """A token and its place.

    Attributes:
        token: as the model reads it.
        start: its first character in the text.
        end: behind its last character; `start` for what is not in the text.
        mark: whether it was put there by a rule.
    """

    token: str
    start: int
    end: int
    mark: bool = False


def token_spans(text: str, tokens: Sequence[str], marks: Iterable[str] = ()) -> list[Span]:
    """The places of the tokens of a text, in order and without overlaps.

    Tokens are found in their order, whatever their case. One that is not in the text as it is, such as a
    stem, takes the words between its neighbours.

    Args:
        text: as it was written.
        tokens: all of its tokens.
        marks: those that rules put before others; they are empty, at the start of what they mark.

    Example:
        >>> [span[:3] for span in token_spans("So GOOD!", ["so", "<up>", "good", "!"], ["<up>"])]
        [('so', 0, 2), ('<up>', 3, 3), ('good', 3, 7), ('!', 7, 8)]
    """
    marks, body = frozenset(marks), _comparable(text)
    places: list[tuple[int, int] | None] = []
    marked: list[bool] = []
    place, number = 0, 0
    while number < len(tokens):
        token, behind = tokens[number], number + 1
        if token in marks and (token != START or number == 0):
            places.append(None)
            marked.append(True)
            number += 1
            if token != REPEATED:
                continue
            # a count and a character follow; the character stands for all of its repetitions
            places.append(None)
            marked.append(True)
            token, behind = tokens[number + 1] * int(tokens[number]), number + 2
            number += 1
        following = next((one for one in tokens[behind : behind + 4] if one not in marks), "")
        found = _find(body, token, following, place)
        places.append(found)
        marked.append(False)
        place = found[1] if found else place
        number += 1
    _fill(text, tokens, places, marked)
    return _spans(tokens, places, marked, len(text))


def _comparable(text: str) -> str:
    """A text in small letters, as many characters as it has."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(low if len(low := one.lower()) == 1 else one for one in text)
    if "\r" in lowered:  # which cleaning makes line feeds
        lowered = _LONE_RETURN.sub("\n", lowered)
    return lowered.replace("ς", "σ")  # which of the two it is depends on what follows


def _forms(token: str) -> tuple[str, ...]:
    """How a token may be written in a comparable text."""
    forms = {_comparable(token), _comparable(token.replace(_DOTTED, "İ"))}
    return tuple(form for form in forms if form)


def _find(body: str, token: str, following: str, place: int) -> tuple[int, int] | None:
    """Where a token stands: next, else not far behind with the following token next to it."""
    forms, after = _forms(token), _forms(following)
    found = _next(body, forms, place)
    if found is not None or token.isspace():
        return found
    for form in forms:
        start, end = place, place + _FAR
        for _ in range(_TRIES):
            start = body.find(form, start, end)
            if start < 0:
                break
            behind = start + len(form)
            if _is_word(body, start, behind) and (not after or _next(body, after, behind) is not None):
                return start, behind
            start += 1
    return None


def _next(body: str, forms: Sequence[str], place: int) -> tuple[int, int] | None:
    """The token if it comes next: behind nothing but whitespace or, if it is a word, signs."""
    for form in forms:
        if form.isspace():  # among the blanks that come next, not behind them
            start = body.find(form, place, _BLANKS(body, place, place + _FAR))
            if start >= 0:
                return start, start + len(form)
            continue
        behind = _SIGNS if form[0].isalnum() else _BLANKS
        for start in (place, behind(body, place, place + _FAR)):
            if body.startswith(form, start):
                return start, start + len(form)
    return None


def _is_word(body: str, start: int, end: int) -> bool:
    """Whether what lies between two places is no part of a longer word."""
    left = start == 0 or not (body[start - 1].isalnum() and body[start].isalnum())
    return left and (end == len(body) or not (body[end - 1].isalnum() and body[end].isalnum()))


def _fill(
    text: str, tokens: Sequence[str], places: list[tuple[int, int] | None], marked: Sequence[bool]
) -> None:
    """Gives tokens that were not found the words between their neighbours, each its own if there are as many,
    else all to the first. A stem takes the rest of its word."""
    last = -1
    waiting: list[int] = []
    for number, place in enumerate([*places, (len(text), len(text))]):
        if place is None:
            if not marked[number]:
                waiting.append(number)
            continue
        start, end = (0, 0) if last < 0 else places[last] or (0, 0)
        if end > start and text[end - 1].isalnum():
            while end < place[0] and text[end].isalnum():
                end += 1
            places[last] = start, end
        if waiting:
            words = _words(text, end, place[0], tokens[waiting[0]].isspace())
            if len(words) != len(waiting) and words:
                words = [(words[0][0], words[-1][1])]
            for one, span in zip(waiting, words, strict=False):
                places[one] = span
            waiting = []
        last = number


def _words(text: str, start: int, end: int, blank: bool) -> list[tuple[int, int]]:
    """The words between two places, or the signs where there are none; for a token of blanks all that lies
    there, such as what cleaning made a line break of."""
    if blank:
        inner = text[start:end].strip()
        first = text.index(inner, start)
        return [(first, first + len(inner))] if inner else [(start, end)] if end > start else []
    found = [match.span() for match in _WORD.finditer(text, start, end)]
    return found or [match.span() for match in _SIGN.finditer(text, start, end)]


def _spans(
    tokens: Sequence[str], places: Sequence[tuple[int, int] | None], marked: Sequence[bool], length: int
) -> list[Span]:
    """Marks stand at the start of the next token, others without a place at the end of the one before."""
    following, starts = length, [0] * len(tokens)
    for number in range(len(tokens) - 1, -1, -1):
        place = places[number]
        following = place[0] if place else following
        starts[number] = following
    end, spans = 0, []
    for token, place, mark, start in zip(tokens, places, marked, starts, strict=True):
        if place is None:
            place = (start, start) if mark else (end, end)
        end = place[1]
        spans.append(Span(token, *place, mark))
    return spans
