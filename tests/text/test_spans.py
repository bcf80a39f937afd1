"""Where tokens stand in the text as it was written."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.test_tokenize import PIECES, SPACES
from zoo_text import Field
from zoo_text.tokens.spans import token_spans

RULES = ("caps", "repetition", "start")


def rebuilt(text: str, spans: list) -> str:
    """The text out of its spans and the whitespace between them; fails where anything else lies there."""
    joined, end = "", 0
    for span in spans:
        gap = text[end : span.start]
        assert span.start >= end, (span, end)
        assert not gap.strip(), (gap, span)
        joined += gap + text[span.start : span.end]
        end = span.end
    assert not text[end:].strip()
    return joined + text[end:]


def check_exact(text: str, field: Field) -> None:
    spans = field.spans(text)
    assert [span.token for span in spans] == field.tokens(text)
    assert rebuilt(text, spans) == text
    for span in spans:
        assert span.mark == (span.start == span.end)
        if not span.mark and not field.rules:
            written = text[span.start : span.end].lower()
            assert written.replace("\r\n", "\n").replace("\r", "\n") == span.token


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*PIECES, "<up>", "Sooooo", "!!!!!", "İİstanbul", "ΑΣ"]), st.sampled_from(SPACES)
        )
    )
)
@pytest.mark.parametrize("rules", [(), RULES])
def test_spans_give_back_any_text(rules: tuple[str, ...], parts: list[tuple[str, str]]) -> None:
    text = "".join(piece + space for piece, space in parts)
    check_exact(text, Field(rules=rules))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_spans_give_back_text_of_any_characters(text: str) -> None:
    for field in (Field(), Field(tokenize="whitespace"), Field(tokenize="chars"), Field(rules=RULES)):
        check_exact(text, field)


def test_line_breaks_behind_a_blank_are_found() -> None:
    check_exact("don't \n!!!!! ", Field(rules=RULES))
    check_exact("  a \n\n b \t", Field(rules=RULES))


def test_places_are_those_of_the_text_before_it_was_cleaned() -> None:
    check_exact("One.\r\n\r\nTwo\r three", Field())
    text = "Good.<br /><br />The film &amp; the end"
    spans = [text[span.start : span.end] for span in Field(clean=["html"]).spans(text)]
    assert spans[:5] == ["Good", ".", "<br /><br />", "The", "film"]
    assert spans[-2:] == ["the", "end"]


def test_spans_of_real_reviews(reviews: pd.DataFrame) -> None:
    plain, marked = Field(), Field(rules=RULES)
    for text in reviews.text[:15]:
        check_exact(text, plain)
        check_exact(text, marked)


def test_marks_stand_before_what_they_mark() -> None:
    text = "So GOOD Heeeeey!!!!!"
    spans = [(span.token, text[span.start : span.end], span.mark) for span in Field(rules=RULES).spans(text)]
    assert spans == [
        ("<bos>", "", True), ("<cap>", "", True), ("so", "So", False), ("<up>", "", True),
        ("good", "GOOD", False), ("h", "H", False), ("<rep>", "", True), ("5", "", True),
        ("e", "eeeee", False), ("y", "y", False), ("<rep>", "", True), ("5", "", True), ("!", "!!!!!", False),
    ]  # fmt: skip


def test_a_word_of_the_text_that_looks_like_a_mark_is_none() -> None:
    assert [span.mark for span in Field(tokenize="whitespace").spans("a <up> <bos> b")] == [False] * 4
    assert [span.mark for span in Field(tokenize="whitespace", rules="start").spans("<bos> a")] == [
        True,
        False,
        False,
    ]


LEMMAS = {"was": "be", "films": "film", "better": "good", "i've": "have", "running": "run"}


def lemmas(text: str) -> list[str]:
    return [LEMMAS.get(word.lower(), word.lower()) for word in re.findall(r"[\w']+", text)]


def test_functions_of_ones_own_find_their_words() -> None:
    text = "It was before films. I've  seen better, running!"
    spans = Field(tokenize=lemmas).spans(text)
    assert [text[span.start : span.end].strip(".,!") for span in spans] == [
        "It", "was", "before", "films", "I've", "seen", "better", "running",
    ]  # fmt: skip


def test_what_a_tokeniser_leaves_out_is_in_no_span() -> None:
    text = "good<br />bad film <a href='" + "x" * 900 + "'>that</a> indeed it is"
    tokens = ["good", "bad", "film", "indeed", "it", "is"]
    assert [text[span.start : span.end] for span in token_spans(text, tokens)] == tokens


def test_time_is_linear_where_no_token_is_found() -> None:
    text = "lorem ipsum dolor " * 20_000
    spans = token_spans(text, ["none"] * 60_000)
    assert (len(spans), spans[0].start, spans[-1].end) == (60_000, 0, len(text) - 1)
