"""Tokens are spaCy's, whatever the text."""

from __future__ import annotations

import pandas as pd
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_text.tokens.tokenize import (
    CharacterTokenizer,
    EnglishTokenizer,
    PieceCache,
    WhitespaceTokenizer,
    make_tokenizer,
)

SPACY = spacy.blank("en").tokenizer
OURS = EnglishTokenizer()

PIECES = [
    "don't", "Don't", "cannot", "Dr.", "U.S.", "e.g.", ":-)", ":)", "(:", "hello:)", "o.O", "film.",
    "Film,", "A.", "\"Quoted\"", "(1978)", "well-made", "Elton-Ms.", "it's.", "'s", "he's", "10km", "$5",
    "a.", "...", "!!!", "<br", "/><br", "/>The", "www.imdb.com", "x@y.org", "I'm,", "gonna", "ALL",
    "Mr.Smith", "naïve", "it’s", "—", "1990s.", "\u00a0", "C++", "''", "St.,", "'em?\"", "i.e.,", "=D",
    "8)", "(8)", "xD", "we'll",
]  # fmt: skip
SPACES = [" ", " ", " ", " ", "  ", "\n", "\n\n", " \n", "\n ", "\t", "   ", "\u00a0", ""]


def spacy_tokens(text: str) -> list[str]:
    return [token.text.lower() for token in SPACY(text)]


def our_tokens(tokenizer, texts: list[str]) -> list[list[str]]:
    """Through the cache, as data are read."""
    words: list[str] = []
    numbers: dict[str, int] = {}

    def number(token: str) -> int:
        if token not in numbers:
            numbers[token] = len(words)
            words.append(token)
        return numbers[token]

    cache = PieceCache(tokenizer, number)
    return [[words[one] for one in ids] for ids in cache.encode(texts)]


def test_tokens_of_real_reviews_are_spacys(reviews: pd.DataFrame) -> None:
    texts = reviews.text.tolist()
    for text, tokens in zip(texts, our_tokens(OURS, texts), strict=True):
        assert tokens == spacy_tokens(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SPACES)), max_size=25))
def test_tokens_of_mixed_pieces_are_spacys(parts: list[tuple[str, str]]) -> None:
    text = "".join(piece + space for piece, space in parts)
    assert our_tokens(OURS, [text]) == [spacy_tokens(text)]
    assert OURS.whole(text) == spacy_tokens(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_tokens_of_any_text_are_spacys(text: str) -> None:
    assert our_tokens(OURS, [text]) == [spacy_tokens(text)]


def test_exceptions_of_spacy_beside_marks_and_each_other() -> None:
    texts = []
    for rule in SPACY.rules:
        texts += [
            rule,
            f"({rule})",
            f"{rule},",
            f"{rule}.",
            f"x{rule}",
            f"well-{rule}",
            f"( {rule} )",
            f"{rule} {rule}",
        ]
    for text, tokens in zip(texts, our_tokens(OURS, texts), strict=True):
        assert tokens == spacy_tokens(text), text


def test_a_full_cache_is_emptied_and_nothing_changes() -> None:
    texts = [f"word{number} and so on, number {number}." for number in range(50)]
    numbers: dict[str, int] = {}
    cache = PieceCache(OURS, lambda token: numbers.setdefault(token, len(numbers)), limit=20)
    encoded = [cache.encode([text])[0].tolist() for text in texts]
    assert len(cache) <= 20
    assert encoded == [[numbers[token] for token in spacy_tokens(text)] for text in texts]


def test_case_can_be_kept() -> None:
    assert EnglishTokenizer(lower=False).whole("The U.S. isn't far") == ["The", "U.S.", "is", "n't", "far"]


def test_rule_tokens() -> None:
    tokenizer = EnglishTokenizer(rules=["caps", "repetition"])
    assert tokenizer.whole("The BEST film ever!!!!! I say") == [
        "<cap>", "the", "<up>", "best", "film", "ever", "<rep>", "5", "!", "i", "say",
    ]  # fmt: skip


def test_characters_and_whitespace_by_their_python_names() -> None:
    assert isinstance(make_tokenizer(list), CharacterTokenizer)
    assert isinstance(make_tokenizer(str.split), WhitespaceTokenizer)
    assert make_tokenizer(list, lower=False).whole("Ab c") == ["A", "b", " ", "c"]
    assert make_tokenizer(lambda text: text.split("-")).whole("A-b") == ["a", "b"]


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'spacy'\?"):
        make_tokenizer("spaccy")
    with pytest.raises(TypeError, match="a name or a function"):
        make_tokenizer(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need tokenize='spacy'"):
        make_tokenizer("chars", rules=["caps"])
