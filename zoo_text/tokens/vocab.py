"""Vocabularies and the `Field`: how one text column becomes numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.utf8 import writable
from zoo.errors import did_you_mean
from zoo_text.tokens.clean import Cleaner, CleaningRule
from zoo_text.tokens.listed import check_listed, check_vocab_size
from zoo_text.tokens.packaged import field_state
from zoo_text.tokens.readable import Writer
from zoo_text.tokens.spans import Span, token_spans
from zoo_text.tokens.tokenize import (
    CAPITAL,
    LINE_END,
    PADDING,
    REPEATED,
    RULES,
    START,
    UNKNOWN,
    UPPER,
    PieceCache,
    Tokenizer,
    make_tokenizer,
)

UNKNOWN_ID, PADDING_ID = 0, 1


class Vocab:
    """The words a model knows: 0 is the unknown word, 1 is padding, then by frequency (ties alphabetically).

    Args:
        itos: Words by id; the first two must be `<unk>` and `<pad>`.

    Example:
        >>> vocab = Vocab.from_counts({"film": 3, "good": 3, "the": 9, "rare": 1}, min_freq=2)
        >>> vocab.itos
        ['<unk>', '<pad>', 'the', 'film', 'good']
        >>> vocab["good"], vocab["rare"]
        (4, 0)
    """

    def __init__(self, itos: Iterable[str]) -> None:
        self.itos = list(itos)
        if self.itos[:2] != [UNKNOWN, PADDING]:
            raise ValueError(f"a vocabulary starts with {UNKNOWN!r} and {PADDING!r}, not {self.itos[:2]}")
        self.stoi = {word: number for number, word in enumerate(self.itos)}
        if len(self.stoi) != len(self.itos):
            raise ValueError("a vocabulary holds each word once")

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        min_freq: int = 1,
        max_size: int | None = None,
        marks: Iterable[str] = (),
    ) -> Vocab:
        """Builds a vocabulary from word counts.

        Args:
            counts: How often each word occurs.
            min_freq: Rarer words become unknown.
            max_size: Most words kept, beside the unknown word, padding and `marks`.
            marks: Words that always belong (rule tokens), placed after padding.
        """
        check_vocab_size(min_freq, max_size)
        first = [UNKNOWN, PADDING, *marks]
        skip = set(first)
        words = [(-count, word) for word, count in counts.items() if count >= min_freq and word not in skip]
        words.sort()
        return cls(first + [word for _, word in words[:max_size]])

    def __len__(self) -> int:
        return len(self.itos)

    def __contains__(self, word: object) -> bool:
        return word in self.stoi

    def __getitem__(self, word: str) -> int:
        return self.stoi.get(word, UNKNOWN_ID)

    def __repr__(self) -> str:
        return f"Vocab({len(self):,} words: {', '.join(map(repr, self.itos[:8]))}, ...)"


class _Counter(dict):
    """Gives each new token the next number."""

    def __missing__(self, token: str) -> int:
        number = self[token] = len(self)
        return number


class Field:
    """How text becomes numbers: a tokeniser and, once built, a vocabulary that several data sets share.

    Args:
        lower: Lower-case the tokens.
        tokenize: "spacy" (English), "chars", "whitespace", or any function from a text to its tokens. `list`
            and `str.split` mean "chars" and "whitespace". A function of your own works everywhere except in
            `export`.
        rules: Marks to add (needs "spacy" for the first two): "caps", "repetition", "start" (`<bos>` opens
            each text), "eos" (`<eos>` stands for each line end, as published perplexities count them).
        clean: Rules that clean a text first, see `Cleaner`: "html", "entities", "spaces", "line_ends", or
            pairs (regular expression, replacement). They are part of exports, encoders and token files.

    Attributes:
        vocab: The vocabulary, None until data (or `build_vocab`) makes one.

    Example:
        >>> field = Field(tokenize="whitespace")
        >>> _ = field.build_vocab(["A good film", "a film"])
        >>> field.vocab.itos
        ['<unk>', '<pad>', 'a', 'film', 'good']
        >>> field.numericalize("a bad film")
        [2, 0, 3]
    """

    def __init__(
        self,
        lower: bool = True,
        tokenize: str | Callable[[str], Iterable[str]] = "spacy",
        *,
        rules: Iterable[str] = (),
        clean: Iterable[CleaningRule] = ("line_ends",),
    ) -> None:
        self.lower = lower
        self.clean = Cleaner(clean)
        self.rules = (rules,) if isinstance(rules, str) else tuple(rules)
        for rule in self.rules:
            if rule not in RULES:
                raise ValueError(
                    f"no rule {rule!r}{did_you_mean(rule, RULES)}: the rules are {', '.join(RULES)}"
                )
        self.tokenizer: Tokenizer = make_tokenizer(tokenize, lower, self.rules)
        self._vocab: Vocab | None = None
        self._cache: PieceCache | None = None

    @property
    def vocab(self) -> Vocab | None:
        return self._vocab

    @vocab.setter
    def vocab(self, vocab: Vocab | None) -> None:
        self._vocab = vocab
        self._cache = None

    @property
    def marks(self) -> list[str]:
        """The rule tokens in use."""
        marks = [START] if "start" in self.rules else []
        marks += [LINE_END] if "eos" in self.rules else []
        marks += [UPPER, CAPITAL] if "caps" in self.rules else []
        return marks + ([REPEATED] if "repetition" in self.rules else [])

    def tokenising(self) -> dict[str, Any]:
        """What has to agree for words to mean the same; functions of one's own cannot be told apart."""
        name = self.tokenizer.name or "a function"
        told: dict[str, Any] = {"tokenize": name, "lower": self.lower, "rules": sorted(self.rules)}
        # how lines end on the system that wrote a file does not change what words mean
        clean = [rule for rule in self.clean.state() if rule != "line_ends"]
        return {**told, "clean": clean} if clean else told

    def mapping_values(self, backward: bool = False) -> dict[str, list[str]]:
        """What the numbers of texts stand for, by name, see `ModelData.mapping_values`; with a word for texts
        that are read from their end."""
        words = {} if self.vocab is None else {"words": self.vocab.itos}
        tokenizer = [f"{name} {value}" for name, value in self.tokenising().items()]
        return {**words, "tokenizer": tokenizer + ["reading backward"] * backward}

    def tokens(self, text: str) -> list[str]:
        """The tokens of one text."""
        tokens = [START] if "start" in self.rules else []
        first, *others = self._lines(self.clean(text))
        tokens += self.tokenizer.whole(first)
        for line in others:
            tokens += [LINE_END, *self.tokenizer.whole(line)]
        return tokens

    def _lines(self, text: str) -> list[str]:
        """A cleaned text, cut where `<eos>` stands."""
        return text.split("\n") if "eos" in self.rules else [text]

    def without_vocab(self) -> Field:
        """A field that reads texts as this one does, and has no vocabulary."""
        other = copy.copy(self)
        other.vocab = None
        return other

    def with_vocab(self, vocab: Vocab) -> Field:
        """A field that reads texts as this one does, with a vocabulary of its own."""
        other = copy.copy(self)
        other.vocab = vocab
        return other

    def with_words_of(self, texts: Iterable[str], min_freq: int = 2, max_size: int | None = None) -> Field:
        """A field that knows the words of some texts, too: of an encoder's field those of your own training
        texts, which the encoder does not know.

        Args:
            texts: Read as this field reads texts.
            min_freq: Rarer words stay unknown.
            max_size: Most new words.

        Example:
            >>> field = Field(tokenize="whitespace")
            >>> _ = field.build_vocab(["a film"])
            >>> field.with_words_of(["a tensor", "the tensor"]).vocab.itos
            ['<unk>', '<pad>', 'tensor', 'a', 'film']
        """
        check_vocab_size(min_freq, max_size)
        known = self._known()
        ids, totals = self._counted(texts)
        occurs = {word: int(count) for word, count in zip(ids.words(), totals, strict=True)}
        found = Vocab.from_counts(
            {word: count for word, count in occurs.items() if word not in known},
            min_freq, max_size, (mark for mark in self.marks if mark in known),
        )  # fmt: skip
        return self.with_vocab(Vocab([*found.itos, *(word for word in known.itos if word not in found)]))

    def number(self, token: str) -> int:
        """The id of a token."""
        return self._known()[token]

    def spans(self, text: str) -> list[Span]:
        """The tokens of one text with their places in it, as it is written.

        What lies between two spans is whitespace, or whatever the tokeniser leaves out.

        Example:
            >>> [span.token for span in Field(rules="caps").spans("so GOOD!")]
            ['so', '<up>', 'good', '!']
        """
        return token_spans(writable(text), self.tokens(text), self.marks)

    def _known(self) -> Vocab:
        if self._vocab is None:
            raise ValueError(
                "the field has no vocabulary yet: build data with it, or call field.build_vocab(texts)"
            )
        return self._vocab

    def numericalize(self, text: str) -> list[int]:
        """The ids of one text; unknown words are 0."""
        return self.encode([text])[0].tolist()

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """The ids of several texts, int32."""
        vocab = self._known()
        if self._cache is None:
            self._cache = PieceCache(self.tokenizer, vocab.__getitem__)
        return self._encode(texts, self._cache)

    def _encode(self, texts: list[str], cache: PieceCache) -> list[np.ndarray]:
        """Ids by any numbers of tokens."""
        texts = [self.clean(text) for text in texts]
        if "eos" in self.rules:
            eos = np.array([cache.lookup(LINE_END)], np.int32)
            encoded = []
            for text in texts:
                first, *others = cache.encode(self._lines(text))
                encoded.append(np.concatenate([first, *(part for ids in others for part in (eos, ids))]))
        else:
            encoded = cache.encode(texts)
        if "start" in self.rules:
            start = np.array([cache.lookup(START)], np.int32)
            encoded = [np.concatenate([start, ids]) for ids in encoded]
        return encoded

    def counter(self, known: Iterable[str] = ()) -> ProvisionalIds:
        """Numbers tokens while the vocabulary is not known yet, so that a corpus is read only once.

        Args:
            known: Tokens that have the first numbers, as an earlier counter gave them.
        """
        return ProvisionalIds(self, known)

    def build_vocab(self, texts: Iterable[str], min_freq: int = 1, max_size: int | None = None) -> Vocab:
        """Counts the tokens of texts and makes the vocabulary of them."""
        check_vocab_size(min_freq, max_size)
        ids, totals = self._counted(texts)
        self.vocab, _ = ids.finish(totals, min_freq, max_size)
        return self._known()

    def _counted(self, texts: Iterable[str]) -> tuple[ProvisionalIds, np.ndarray]:
        """The tokens of texts, and how often each occurs."""
        check_listed(texts, "texts")
        ids = self.counter()
        totals = np.zeros(0, dtype=np.int64)
        block: list[str] = []
        for text in texts:
            block.append(text)
            if len(block) == 256:
                totals = _add(totals, ids.encode(block))
                block = []
        return ids, _add(totals, ids.encode(block))

    def detokenize(self, tokens: Iterable[str]) -> str:
        """Tokens as text, near enough to read; the marks of rules are undone.

        Example:
            >>> Field(rules=["caps"]).detokenize(["<cap>", "virtuous", "men", ",", "<up>", "he", "said"])
            'Virtuous men, HE said'
        """
        return "".join(map(self.writer().add, tokens))

    def writer(self, before: str = "") -> Writer:
        """What makes text of tokens one by one; `before` is the text that they follow."""
        return Writer(self.rules, apart=self.tokenizer.name != "chars", before=before)

    def text_of(self, ids: Iterable[int]) -> str:
        """Token ids as text, near enough to read."""
        if self.vocab is None:
            raise ValueError("the field has no vocabulary: build it with field.build_vocab(texts) first")
        return self.detokenize(self.vocab.itos[int(number)] for number in ids)

    def state(self) -> dict[str, Any]:
        """Options and vocabulary as JSON-able values."""
        if self.tokenizer.name is None:
            raise ValueError(
                "a tokenize function of your own cannot be written to a file: "
                "use tokenize='spacy', 'chars' or 'whitespace'"
            )
        return {
            "lower": self.lower,
            "tokenize": self.tokenizer.name,
            "rules": list(self.rules),
            "clean": self.clean.state(),
            "vocab": None if self._vocab is None else self._vocab.itos,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Field:
        """The field whose `state()` this is."""
        # fields of earlier versions cleaned nothing
        field = cls(state["lower"], state["tokenize"], rules=state["rules"], clean=state.get("clean", ()))
        if state["vocab"] is not None:
            field.vocab = Vocab(state["vocab"])
        return field

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Field:
        """The field of a pretrained encoder: its tokeniser and its vocabulary.

        Data made with it know the encoder's words and no others. Words of your own texts come with
        `with_words_of`, or with a `Field()` of the same options whose vocabulary the data build: the encoder
        fits any (words that it does not know begin with the mean vector).

        Args:
            name: Of an encoder that comes with the package, or the path of a file that `learn.save_encoder`
                wrote.

        Raises:
            ValueError: If the name is not known, or the file holds no encoder.
            FileNotFoundError: If there is no such file.
        """
        return cls.from_state(field_state(name))

    def __repr__(self) -> str:
        name = self.tokenizer.name or "a function"
        return f"Field(tokenize={name}, lower={self.lower}, vocab={self._vocab})"


def _add(totals: np.ndarray, encoded: list[np.ndarray]) -> np.ndarray:
    ids = np.concatenate(
        [np.asarray(part, dtype=np.int64) for part in encoded] or [np.zeros(0, dtype=np.int64)]
    )
    counts = np.bincount(ids, minlength=len(totals))
    counts[: len(totals)] += totals
    return counts


class ProvisionalIds:
    """Numbers tokens in the order they appear, then sorts them into a vocabulary.

    Args:
        field: Whose tokeniser and rules to use.
        known: Tokens that have the first numbers.
    """

    def __init__(self, field: Field, known: Iterable[str] = ()) -> None:
        self.field = field.without_vocab()
        self._numbers = _Counter()
        for token in known:
            self.number(token)
        self._cache = PieceCache(field.tokenizer, self._numbers.__getitem__)

    def words(self, start: int = 0) -> list[str]:
        """The tokens met so far, by number, from that of number `start` on."""
        return list(islice(self._numbers, start, None))

    def number(self, token: str) -> int:
        """The number of a token, the next one for a new token."""
        return self._numbers[token]

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """Provisional ids of several texts, int32."""
        return self.field._encode(texts, self._cache)

    def finish(self, counts: np.ndarray, min_freq: int, max_size: int | None) -> tuple[Vocab, np.ndarray]:
        """The vocabulary and the array that takes a provisional id to the final one (int32)."""
        tokens = list(self._numbers)
        occurs = {token: int(count) for token, count in zip(tokens, counts, strict=False)}
        vocab = Vocab.from_counts(occurs, min_freq, max_size, self.field.marks)
        if tokens and len(vocab) <= 2 + len(self.field.marks):
            raise ValueError(
                f"no word is left for the vocabulary with min_freq={min_freq} and max_size={max_size}: "
                f"the most frequent one occurs {max(occurs.values())} times"
            )
        return vocab, np.array([vocab[token] for token in tokens], dtype=np.int32)
