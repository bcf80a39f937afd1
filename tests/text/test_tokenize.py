"""Tokens are spaCy's, whatever the text."""

from __future__ import annotations

import time

import pandas as pd
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_text.tokens.affixes import Affixes
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


def test_tokens_of_2000_real_reviews_are_spacys(data_dir) -> None:
    frame = pd.read_parquet(data_dir("imdb.parquet"), columns=["text", "split"])
    texts = frame.text[frame.split == "test"].iloc[::12][:2000].tolist()
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


FINDS = [
    "film:)",
    "x:)",
    ":)=",
    "(Bill):",
    "Dr.Doom",
    "''your",
    "them..''..",
    ":O(((",
    "(3-8)",
    "^_^!",
    "_",
    ">",
    "(",
]
BESIDE = [
    ":",
    ")",
    "(",
    ":)",
    "-",
    "'",
    "''",
    "=",
    "8",
    "o",
    ".",
    "^",
    "(-",
    ":-",
    "s",
    "<",
    "3",
    "12/5",
    "word",
    "4,5",
]
CHUNKS = st.lists(st.sampled_from(FINDS + BESIDE + PIECES[:12]), min_size=1, max_size=4).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(CHUNKS, st.sampled_from(SPACES)), max_size=20), st.booleans())
def test_finds_depend_on_their_neighbours_as_in_spacy(parts: list[tuple[str, str]], lower: bool) -> None:
    text = "".join(chunk + space for chunk, space in parts)
    expected = [token.text.lower() if lower else token.text for token in SPACY(text)]
    tokenizer = EnglishTokenizer(lower)
    assert tokenizer.whole(text) == expected
    assert our_tokens(tokenizer, [f"a clean text {text}", text])[1] == expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "well",
                "HBO",
                "Film",
                "km",
                "5",
                "mbar",
                "zq",
                "tHere",
                "of",
                "Of",
                "OF",
                "US",
                "A",
                "b",
                "it",
                "www",
                "éa",
                *"-./:,'$<@",
            ]
        )
    )
)
def test_words_that_stand_for_others_change_nothing(parts: list[str]) -> None:
    chunk = "".join(parts)
    assert OURS.whole(chunk) == spacy_tokens(chunk)


def test_limits_of_expressions_are_met_by_the_words_themselves() -> None:
    label = "-".join(["abcd"] * 12)  # just short enough for an address; with longer words it were none
    for chunk in (f"{label}.com", "www.film.cOmm", "go.tHere", "10mbar", f"{'a' * 70}.com,", "aBzq-zq"):
        assert OURS.whole(chunk) == spacy_tokens(chunk)


def test_only_the_stretch_around_a_find_is_taken_apart_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(["word"] * 1000 + ["film:)", ")", "(then)"] + ["word"] * 1000)
    assert our_tokens(OURS, [text]) == [spacy_tokens(text)]
    seen: list[str] = []
    split = Affixes.split
    monkeypatch.setattr(Affixes, "split", lambda self, chunk: [seen.append(chunk), *split(self, chunk)][1:])
    pieces = text.split(" ")
    # ":))" across the blank keeps ":)" from being joined
    assert dict(OURS.settle(pieces, [1000])) == {1000: ["film", ":", ")"]}
    assert seen == ["word", "film:)", ")", "(then)"]


ROWS = {
    "marks": lambda n: "wow" + "!" * n,
    "signs": lambda n: "=" * n,
    "snowmen": lambda n: "http://example.com/a" + "\u2603" * n,
    "letters": lambda n: "a" * n,
    "dots": lambda n: "a" + "." * n + "b" + "." * n + "!",
    "brackets": lambda n: "(" * n + "a" + ")" * n,
    "quotes": lambda n: "'" * n,
    "smiles": lambda n: ":)" * n,
    "smiles inside": lambda n: "film:)" * n,
    "kept off": lambda n: ": ) x:) " * n,
    "colons before an address": lambda n: "a" + ":" * n + "b@x.org",
    "addresses": lambda n: "a@" * n,
    "labels": lambda n: "a." * n,
    "links": lambda n: "a://" * n,
    "sums": lambda n: "1+" * n,
    "blanks": lambda n: "a" + " " * n + "b" + " \n" * n,
}


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_spacys(row: str) -> None:
    for n in (1, 2, 6, 7, 8, 50, 300):
        for text in (ROWS[row](n), f"({ROWS[row](n)})", f"see :) {ROWS[row](n)}'s, x:) then"):
            assert OURS.whole(text) == spacy_tokens(text)


@pytest.mark.parametrize("row", ROWS)
def test_time_is_linear_in_the_length_of_rows(row: str) -> None:
    """Ten times as many marks look at about ten times as many characters."""

    def seconds(n: int) -> float:
        started = time.process_time()
        OURS.whole(ROWS[row](n))
        return time.process_time() - started

    small = min(seconds(1_000) for _ in range(3))
    large = min(seconds(10_000) for _ in range(2))  # a collection of garbage may fall into one
    assert large < 30 * small + 0.5  # quadratic: 100 times, and spaCy takes minutes


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="!?.'\":;)(<>=-_*$+…’a1Z \u2603", max_size=80))
def test_mixtures_of_marks_are_spacys(text: str) -> None:
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
