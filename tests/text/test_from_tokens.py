"""Data from tokens on disk, and tokens that are made once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo_text import Field, LanguageModelData, TextData, TokenFile
from zoo_text.tokens.tokenize import WhitespaceTokenizer

TEXTS = ["a good film", "a bad film", "good good", "bad"] * 5
LABELS = ["pos", "neg"] * 10


def words(**options: Any) -> Field:
    return Field(tokenize="whitespace", **options)


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that became tokens."""
    seen: list[str] = []
    own = WhitespaceTokenizer.split
    monkeypatch.setattr(WhitespaceTokenizer, "split", lambda self, text: seen.append(text) or own(self, text))
    return seen


def batches(loader: Any) -> list[list[Any]]:
    return [[part.tolist() for part in batch] for batch in loader]


def test_a_classifier_makes_tokens_of_each_text_once(split: list[str]) -> None:
    field = words()
    data = TextData.from_texts(field, (TEXTS, LABELS), (TEXTS[:4], LABELS[:4]), bs=4, min_freq=1, seed=0)
    assert split == [*TEXTS, *TEXTS[:4]]
    again = TextData.from_texts(field, (TEXTS, LABELS), (TEXTS[:4], LABELS[:4]), bs=4, seed=0)
    assert batches(data.train_dl) == batches(again.train_dl)
    other = words()
    assert other.build_vocab(TEXTS).itos == data.field.vocab.itos  # type: ignore[union-attr]


def test_a_field_gets_no_vocabulary_from_texts_that_are_refused() -> None:
    for make in (
        lambda field: TextData.from_texts(field, (TEXTS, LABELS), (["a", " "], LABELS[:2])),
        lambda field: LanguageModelData.from_texts(field, TEXTS, ["a", None], min_freq=1),  # type: ignore[list-item]
    ):
        field = words()
        with pytest.raises((ValueError, TypeError)):
            make(field)
        assert field.vocab is None


def test_a_corpus_on_disk_gives_the_batches_of_one_in_memory(tmp_path: Path) -> None:
    field = words()
    tokens = TokenFile.build(TEXTS, field, tmp_path / "train", min_freq=2)
    valid = TokenFile.build(TEXTS[:3], field, tmp_path / "valid")
    data = LanguageModelData.from_tokens(tokens, tmp_path / "valid", bs=3, bptt=4, seed=0, path=tmp_path)
    memory = LanguageModelData.from_texts(words(), TEXTS, TEXTS[:3], bs=3, bptt=4, seed=0, min_freq=2)
    assert data.field.state() == memory.field.state()
    assert data.counts is not None and memory.counts is not None  # noqa: PT018
    assert data.counts.tolist() == memory.counts.tolist()
    assert data.train_dl.columns.dtype == torch.uint16
    for name in ("train_dl", "valid_dl"):
        assert batches(getattr(data, name)) == batches(getattr(memory, name))
    learn = data.get_model(emb_sz=4, n_hid=4, n_layers=1, seed=0)
    learn.fit(1e-3, 1)
    other = memory.get_model(emb_sz=4, n_hid=4, n_layers=1, seed=0)
    other.fit(1e-3, 1)
    assert learn.evaluate() == other.evaluate()
    assert valid.ids.dtype == np.uint16
    kept = zoo.load_data(data.save(tmp_path / "kept"))
    assert batches(kept.train_dl) == batches(data.train_dl)
    assert data.train_dl.with_bs(2).max_bs == data.train_dl.max_bs


def test_labelled_tokens_on_disk_give_the_batches_of_texts(tmp_path: Path) -> None:
    field = words()
    train = TokenFile.build(TEXTS, field, tmp_path / "train")
    TokenFile.build(TEXTS[:4], field, tmp_path / "valid")
    options: dict[str, Any] = {"bs": 4, "seed": 0, "path": tmp_path}
    data = TextData.from_tokens(
        (train, LABELS), (tmp_path / "valid", LABELS[:4]), str(tmp_path / "valid"), **options
    )
    memory = TextData.from_texts(
        words(), (TEXTS, LABELS), (TEXTS[:4], LABELS[:4]), TEXTS[:4], min_freq=1, **options
    )
    for name in ("train_dl", "valid_dl", "test_dl"):
        assert batches(getattr(data, name)) == batches(getattr(memory, name))
    learn = data.get_model(emb_sz=4, n_hid=4, n_layers=1, seed=0)
    learn.fit(1e-3, 1)
    assert len(learn.predict_batch(["a good film"])) == 1
    marks: Any = np.eye(2, dtype=int)[[0, 1] * 10]
    assert TextData.from_tokens((train, marks), classes=["x", "y"], bs=4).task == "multilabel"
    for values in (np.arange(40.0).reshape(20, 2), np.arange(20.0), torch.arange(20) / 2):
        told: dict[str, Any] = {"task": "regression", "seed": 0}
        read = TextData.from_tokens((train, values), **told)  # type: ignore[arg-type]
        same = TextData.from_texts(words(), (TEXTS, values), min_freq=1, **told)  # type: ignore[arg-type]
        assert batches(read.train_dl) == batches(same.train_dl)


def test_tokens_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    field = words()
    train = TokenFile.build(TEXTS, field, tmp_path / "train")
    other = TokenFile.build(["x y z"], words(), tmp_path / "other")
    cleaned = TokenFile.build(TEXTS, words(clean=["html"]), tmp_path / "cleaned")
    for make, message in (
        (lambda: LanguageModelData.from_tokens(train, other), "validation tokens have another vocabulary"),
        (
            lambda: LanguageModelData.from_tokens(train, None, cleaned),
            "test tokens were made with other options",
        ),
        (
            lambda: LanguageModelData.from_tokens(train, field=words(lower=False)),
            "another lower than the field",
        ),
        (lambda: LanguageModelData.from_tokens(other, field=field), "another vocabulary than the field"),
        (lambda: TextData.from_tokens((train, LABELS[:3])), "20 texts but 3 labels"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match=r"train must be a pair: \(tokens, labels\)"):
        TextData.from_tokens(train)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="training must be a TokenFile or its folder, not list"):
        LanguageModelData.from_tokens(TEXTS)  # type: ignore[arg-type]
    empty = TokenFile.build(["a", "..."], Field(tokenize=_letters), tmp_path / "empty")
    with pytest.raises(ValueError, match="the tokeniser finds nothing in row 1"):
        TextData.from_tokens((empty, ["x", "y"]), field=Field(tokenize=_letters))


def _letters(text: str) -> list[str]:
    return [letter for letter in text if letter.isalpha()]


def test_tokens_of_another_spacy_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = TokenFile.build(["a good film"] * 9, Field(), tmp_path / "t")
    with caplog.at_level(logging.WARNING, "zoo"):
        LanguageModelData.from_tokens(tokens, bs=2)
        assert not caplog.records
        tokens.meta["spacy"] = "3.0.0"
        LanguageModelData.from_tokens(tokens, bs=2)
    assert "holds tokens of spaCy 3.0.0" in caplog.text


def test_cached_tokens_are_found_by_the_next_run(tmp_path: Path, split: list[str]) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.txt").write_text("a good film\n" * 9)
    (tmp_path / "valid.txt").write_text("a bad film\n" * 3)

    def make(field: Field, **options: Any) -> LanguageModelData:
        return LanguageModelData.from_text_files(
            tmp_path, field, "train", "valid.txt", bs=2, bptt=3, min_freq=1, seed=0, **options
        )

    plain = make(words())
    first = make(words(), cache=True, workers=2)
    split.clear()
    second = make(words(), cache=True)
    assert not split
    assert isinstance(second.train_dl._ids, np.memmap)
    assert first.field.state() == second.field.state() == plain.field.state()
    for name in ("train_dl", "valid_dl"):
        assert batches(getattr(second, name)) == batches(getattr(plain, name))
    assert len(list((tmp_path / "tokens").iterdir())) == 2
    (tmp_path / "valid.txt").write_text("a good film\n" * 3)
    make(words(), cache=True)
    assert split == ["a good film\n" * 3]


def test_cached_tokens_of_classifiers(tmp_path: Path, split: list[str]) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    made = []
    for _ in range(2):
        data = TextData.from_df(
            tmp_path, words(), frame, val_idxs=[0, 1], bs=4, seed=0, min_freq=1, cache=True
        )
        made.append(batches(data.train_dl))
    assert len(split) == len(TEXTS)
    assert made[0] == made[1]
    plain = TextData.from_df(tmp_path, words(), frame, val_idxs=[0, 1], bs=4, seed=0, min_freq=1, workers=2)
    assert batches(plain.train_dl) == made[0]


def test_what_cannot_be_cached_is_told(tmp_path: Path) -> None:
    for field, texts, path, message in (
        (words(), TEXTS, None, "give path="),
        (Field(tokenize=_letters), TEXTS, tmp_path, "needs a tokeniser by name"),
        (words(), iter(TEXTS), tmp_path, "give a list of them"),
    ):
        with pytest.raises(ValueError, match=message):
            LanguageModelData.from_texts(field, texts, path=path, cache=True, min_freq=1)
