"""Which words of a text as written the tokens of a model belong to, and how words make sentences."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo_text.tokens.spans import Span
from zoo_text.tokens.tokenize import START
from zoo_text.tokens.vocab import Field

Place = tuple[int, int]

_LINES = re.compile(r"(?:<br\s*/?>|\n)(?:\s*<br\s*/?>)*\s*")
# an end of a sentence and what begins like one; or marks of a language that puts no space behind them
# (looked for from the first of several marks only: time is linear in their number)
_SENTENCES = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9])|[。！？]+")

_SHOWN_BLANKS = str.maketrans({"\n": "¶", "\t": "⇥", "\r": "", " ": "␣"})


@dataclass(frozen=True)
class Words:
    """The words of a text that a model reads.

    Attributes:
        places: where each stands in the text, in order.
        of_token: the number of the word of each token that the model reads, in its order; (steps,).
        kept: which tokens stand for no word and are never taken away; (steps,).
    """

    places: list[Place]
    of_token: np.ndarray
    kept: np.ndarray


def read_words(field: Field, text: str, ids: Sequence[int]) -> Words:
    """The words of a text by the tokens that a model reads of it.

    A word is what a token covers, with the marks before it; where tokens are characters, what stands between
    whitespace.

    Args:
        field: tokeniser and vocabulary.
        text: as it was written.
        ids: what the model reads: all tokens or the last ones, or the same backward.

    Raises:
        ValueError: for ids that are not of this text.
    """
    spans, order = field.spans(text), _order(field, text, ids)
    first = min(order)
    spans = spans[first : max(order) + 1]
    numbers = _word_numbers(text, spans, joined=field.tokenizer.name == "chars")
    places: list[Place] = []
    for span, number in zip(spans, numbers, strict=True):
        if number == len(places):
            places.append((span.start, span.end))
        elif span.end > span.start:
            start, end = places[number]
            places[number] = (span.start if start == end else start, span.end)
    order = np.asarray(order) - first
    kept = np.array([span.token == START and span.mark for span in spans])
    return Words(places, np.asarray(numbers)[order], kept[order])


def _order(field: Field, text: str, ids: Sequence[int]) -> list[int]:
    """Which token of the text each id is."""
    own, read = field.encode([text])[0].tolist(), list(ids)
    n = len(own)
    forward, backward = list(range(n)), list(range(n - 1, -1, -1))
    opened = [0, *backward[:-1]]  # backward, but for the mark of the start
    for order in (forward, opened, backward):
        for part in (order[-len(read) :], order[: len(read)]):
            if [own[number] for number in part] == read:
                return part
    raise ValueError(
        "explain(): the data give the model other tokens than those of the text, forward or backward: "
        "batches_from_raw must keep them"
    )


def _word_numbers(text: str, spans: Sequence[Span], *, joined: bool) -> list[int]:
    """The word of each token: marks go with the next token that stands in the text, others without a place
    with the one before."""
    numbers: list[int] = []
    count, end, waiting = 0, -1, 0
    for span in spans:
        there = span.end > span.start
        if there:
            goes_on = joined and span.start == end and not text[span.start].isspace() and count > 0
            goes_on = goes_on and not text[end - 1].isspace()
            count += not goes_on
            end = span.end
            numbers += [count - 1] * (waiting + 1)
            waiting = 0
        elif span.mark or not count:
            waiting += 1
        else:
            numbers.append(count - 1)
    return numbers + [max(count - 1, 0)] * waiting


def line_starts(text: str) -> list[int]:
    r"""Where the lines of a text begin: at its start, and behind line breaks, also those of HTML.

    Example:
        >>> line_starts("One.\n\nTwo.<br /><br />Three.")
        [0, 6, 22]
    """
    return [0, *(match.end() for match in _LINES.finditer(text) if 0 < match.end() < len(text))]


def sentence_starts(text: str) -> list[int]:
    """Where the sentences of a text begin; a new line begins one, too.

    Example:
        >>> sentence_starts('It began. "Well?" he said. Then it ended.')
        [0, 10, 27]
    """
    ends = {match.end() for match in _SENTENCES.finditer(text) if match.end() < len(text)}
    return sorted(ends.union(line_starts(text)))


def paragraph_starts(text: str, places: Sequence[Place], longest: int = 800) -> list[int]:
    """The first word of each paragraph: lines, those of more than `longest` characters cut between sentences,
    into parts of at least half as many."""
    lines, sentences = _first_words(places, line_starts(text)), sentence_words(text, places)
    starts = [*(start for start, _ in places), len(text)]
    found = []
    for line, end in zip(lines, [*lines[1:], len(places)], strict=True):
        found.append(line)
        if starts[end] - starts[line] > longest:
            for one in sentences[bisect_right(sentences, line) : bisect_left(sentences, end)]:
                if min(starts[one] - starts[found[-1]], starts[end] - starts[one]) >= longest // 2:
                    found.append(one)
    return found


def sentence_words(text: str, places: Sequence[Place], longest: int = 400) -> list[int]:
    """The first word of each sentence; those of more than `longest` characters, as in texts without full
    stops, are cut evenly."""
    sentences, starts = _first_words(places, sentence_starts(text)), [*(one for one, _ in places), len(text)]
    found = []
    for sentence, end in zip(sentences, [*sentences[1:], len(places)], strict=True):
        pieces = min(-(-(starts[end] - starts[sentence]) // longest), end - sentence)
        found += np.linspace(sentence, end, max(pieces, 1), endpoint=False).astype(int).tolist()
    return found


def _first_words(places: Sequence[Place], characters: Sequence[int]) -> list[int]:
    """The first words that reach behind some characters, each once, from the first word on."""
    found = np.searchsorted([end for _, end in places], characters, side="right")
    return sorted({0, *found[found < len(places)].tolist()})


def shown_word(word: str, longest: int = 40) -> str:
    r"""A word for a label: blanks are visible, long ones cut.

    Example:
        >>> shown_word("good"), shown_word("\n\n"), shown_word("It was good.")
        ('good', '¶¶', 'It was good.')
    """
    told = word.translate(_SHOWN_BLANKS) if word.isspace() else " ".join(word.split())
    return told if len(told) <= longest else f"{told[: longest - 1]}…"


def told_score(score: float) -> str:
    """A score as people write it.

    Example:
        >>> told_score(1.2345), told_score(-12345.6), told_score(0.0123), told_score(0.0)
        ('+1.23', '-12,346', '+0.012', '0')
    """
    if not score:
        return "0"
    size = abs(score)
    return f"{score:+,.0f}" if size >= 100 else f"{score:+.2f}" if size >= 0.1 else f"{score:+.2g}"
