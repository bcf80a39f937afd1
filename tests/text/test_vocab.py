"""Vocabularies, fields and the reading of corpora."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zoo_text import Field, Vocab
from zoo_text.tokens.corpus import IdStore, encode_texts, read_blocks


def test_golden_vocabulary() -> None:
    field = Field()
    field.build_vocab(["The film is good, the cast isn't.", "A good film"], min_freq=1)
    assert field.vocab.itos == [
        "<unk>", "<pad>", "film", "good", "is", "the", ",", ".", "a", "cast", "n't",
    ]  # fmt: skip
    assert field.numericalize("The plot is good") == [5, 0, 4, 3]


def test_min_freq_and_max_size() -> None:
    counts = {"b": 3, "a": 3, "c": 2, "d": 1}
    assert Vocab.from_counts(counts, min_freq=2).itos[2:] == ["a", "b", "c"]
    assert Vocab.from_counts(counts, max_size=2).itos[2:] == ["a", "b"]
    assert Vocab.from_counts(counts, max_size=1, marks=["<bos>"]).itos == ["<unk>", "<pad>", "<bos>", "a"]


def test_unknown_and_padding_words_in_the_text_are_those() -> None:
    field = Field(tokenize="whitespace")
    field.build_vocab(["a <unk> b <unk>"])
    assert field.numericalize("<unk> a <pad>") == [0, 2, 1]


def test_state_is_json_and_comes_back() -> None:
    field = Field(rules=["caps", "start"])
    field.build_vocab(["Good films are GOOD", "é — 中"])
    again = Field.from_state(json.loads(json.dumps(field.state())))
    assert again.vocab.itos == field.vocab.itos
    text = "Some GOOD films"
    assert again.numericalize(text) == field.numericalize(text)
    assert again.numericalize(text)[0] == field.vocab.stoi["<bos>"]


def test_a_function_cannot_be_written() -> None:
    field = Field(tokenize=lambda text: text.split("-"))
    field.build_vocab(["a-b"])
    assert field.numericalize("b-a-c") == [3, 2, 0]
    with pytest.raises(ValueError, match="function of your own"):
        field.state()
    assert Field(tokenize=list).state()["tokenize"] == "chars"


def test_no_vocabulary_yet() -> None:
    with pytest.raises(ValueError, match="no vocabulary yet"):
        Field().numericalize("a")
    with pytest.raises(ValueError, match="did you mean 'caps'"):
        Field(rules=["cap"])


def test_long_corpora_go_to_a_file(tmp_path) -> None:
    store = IdStore(in_memory=100)
    for start in range(0, 1000, 30):
        store.extend(np.arange(start, start + 30, dtype=np.int32))
    ids = store.finish()
    assert isinstance(ids, np.memmap)
    assert ids.tolist() == list(range(len(store)))


def test_reading_a_file_in_blocks_gives_the_tokens_of_the_whole(tmp_path, monkeypatch, reviews) -> None:
    text = "\n\n".join(reviews.text[:60]) + "  \n end \n"
    path = tmp_path / "all.txt"
    path.write_text(text, encoding="utf-8", newline="")
    monkeypatch.setattr("zoo_text.tokens.corpus.BLOCK_CHARACTERS", 3000)
    blocks = list(read_blocks(path))
    assert len(blocks) > 10
    assert "".join(blocks) == text
    field = Field()
    field.build_vocab([text])
    assert encode_texts(blocks, field)[0].tolist() == field.numericalize(text)


def test_file_of_another_encoding_is_named(tmp_path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("naïve".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.txt is not UTF-8"):
        list(read_blocks(path))


def test_words_of_more_texts_come_first_and_change_nothing_of_the_field() -> None:
    field = Field(tokenize="whitespace", lower=True)
    field.build_vocab(["a film a film", "good"])
    before = list(field.vocab.itos)
    more = field.with_words_of(iter(["New tensor tensor", "new a once"]))
    assert more.vocab.itos == ["<unk>", "<pad>", "new", "tensor", "a", "film", "good"]
    assert field.vocab.itos == before
    assert field.with_words_of(["nothing twice"]).vocab.itos == before
    assert field.with_words_of(["x x x y y z z"], max_size=1).vocab.itos[2] == "x"
    assert len(field.with_words_of(["x x x y y"], max_size=1).vocab) == len(before) + 1
    marked = Field(rules=["caps"])
    marked.build_vocab(["Good film"])
    assert marked.with_words_of(["Bad BAD bad"]).vocab.itos[:5] == ["<unk>", "<pad>", "<up>", "<cap>", "bad"]
    with pytest.raises(ValueError, match="no vocabulary"):
        Field().with_words_of(["a"])
