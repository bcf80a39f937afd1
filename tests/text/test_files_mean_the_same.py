"""Weights of another vocabulary or of other classes are refused by name; encoders go on being re-mapped."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_text import Field, LanguageModelData, TextData


def classifier(path: Path, texts: list[str], labels: tuple[str, str] = ("neg", "pos")):
    field = Field(tokenize="whitespace")
    marks = [labels[number % 2] for number in range(len(texts))]
    data = TextData.from_texts(field, (texts, marks), (texts, marks), bs=4, min_freq=1, path=path)
    return data.get_model(emb_sz=4, n_hid=6, n_layers=1, device="cpu", progress=False, seed=0)


LAST_WEEK = ["film film film good", "film bad bad bad"] * 4
THIS_WEEK = ["film film film bad", "film good good good"] * 4


def test_words_in_another_order_are_refused(tmp_path: Path) -> None:
    saved = classifier(tmp_path, LAST_WEEK)
    saved.save("m")
    classifier(tmp_path, LAST_WEEK).load("m")
    with pytest.raises(ValueError, match=r"words \(number \d+ is '\w+' there, '\w+' here\)"):
        classifier(tmp_path, THIS_WEEK).load("m")
    with pytest.raises(ValueError, match=r"classes \(number 0 is 'neg' there, 'a' here\)"):
        classifier(tmp_path, LAST_WEEK, ("a", "b")).load("m")
    saved.save_encoder("e")
    classifier(tmp_path, THIS_WEEK).load_encoder("e")


def test_language_models_too(tmp_path: Path) -> None:
    def learner(texts: list[str]):
        data = LanguageModelData.from_texts(
            Field(tokenize="whitespace"), texts * 4, texts, bs=2, bptt=4, min_freq=1, path=tmp_path
        )
        return data.get_model(emb_sz=4, n_hid=6, n_layers=1, device="cpu", progress=False, seed=0)

    learner(LAST_WEEK).save("m")
    with pytest.raises(ValueError, match="words"):
        learner(THIS_WEEK).load("m")


def test_another_way_of_making_words_is_refused(tmp_path: Path) -> None:
    saved = classifier(tmp_path, LAST_WEEK)
    saved.save("m")
    field = Field(tokenize="whitespace", lower=False)
    field.vocab = saved.data.field.vocab
    data = TextData.from_texts(field, (LAST_WEEK, ["neg", "pos"] * 4), bs=4, path=tmp_path)
    learn = data.get_model(emb_sz=4, n_hid=6, n_layers=1, device="cpu", progress=False)
    with pytest.raises(ValueError, match=r"tokenizer \(number 1 is 'lower True' there, 'lower False' here\)"):
        learn.load("m")


def test_one_label_a_text_and_several_are_two_tasks(tmp_path: Path) -> None:
    saved = classifier(tmp_path, LAST_WEEK)
    saved.save("m")
    labels = [["neg"], ["pos"]] * 4
    data = TextData.from_texts(saved.data.field, (LAST_WEEK, labels), bs=4, path=tmp_path)
    learn = data.get_model(emb_sz=4, n_hid=6, n_layers=1, device="cpu", progress=False)
    with pytest.raises(ValueError, match=r"task \(number 0 is 'classification' there, 'multilabel' here\)"):
        learn.load("m")
