"""Where lines and sentences of a text begin, and that finding them takes linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_text.seeing.words import line_starts, sentence_starts

PARTS = [
    "<br>",
    "<br />",
    "<br",
    "\n",
    " ",
    "\t",
    "a",
    "B",
    "1",
    ".",
    "!",
    "…",
    '"',
    "”",
    "(",
    ")",
    "。",
    "？",
]
LINES = re.compile(r"(?:\s*<br\s*/?>)+\s*|[^\S\n]*\n\s*")
SENTENCES = re.compile(r"[.!?…]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9])|[。！？]+")


def ends(pattern: re.Pattern[str], text: str) -> set[int]:
    return {match.end() for match in pattern.finditer(text) if 0 < match.end() < len(text)}


@given(st.lists(st.sampled_from(PARTS), max_size=16).map("".join))
@settings(max_examples=500, deadline=None)
def test_they_are_what_the_plain_expressions_find(text: str) -> None:
    lines = ends(LINES, text)
    assert line_starts(text) == sorted({0, *lines})
    assert sentence_starts(text) == sorted({0, *lines, *ends(SENTENCES, text)})


@pytest.mark.parametrize("row", ["!", "?!", " ", "\t", "\n ", '!"', "<br", "<br "])
def test_time_is_linear_in_the_length_of_rows(row: str) -> None:
    text = "a" + row * 200_000 + "b"  # by those expressions minutes
    started = time.process_time()
    assert sentence_starts(text)[0] == 0
    assert time.process_time() - started < 5
