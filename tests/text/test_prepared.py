"""Token ids on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.core.test_prepared import assert_same_batches
from zoo import load_data
from zoo_text import Field, LanguageModelData, TextData

TEXTS = ["a good film", "a bad film indeed", "good good", "bad", "so bad a film", "a good one"] * 3
LABELS = ["pos", "neg", "pos", "neg", "neg", "pos"] * 3


def corpus(path):
    field = Field(tokenize="whitespace")
    return LanguageModelData.from_texts(field, TEXTS, TEXTS[:5], bs=3, bptt=5, min_freq=1, seed=4, path=path)


def reviews(path):
    field = Field(tokenize="whitespace")
    return TextData.from_texts(
        field,
        (TEXTS, LABELS),
        (TEXTS[:4], LABELS[:4]),
        TEXTS[:3],
        bs=4,
        min_freq=1,
        max_tokens=3,
        seed=4,
        path=path,
    )


@pytest.mark.parametrize("make", [corpus, reviews])
def test_batches_and_what_was_learned_come_back(tmp_path, make):
    data = make(tmp_path)
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert type(loaded) is type(data)
    assert_same_batches(data, loaded)
    assert loaded.export_state() == data.export_state()
    resized = [one.train_dl.with_bs(2) for one in (data, loaded)]
    for left, right in zip(*resized, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_loaded_corpus_trains_with_sampled_words(tmp_path):
    data = corpus(tmp_path)
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert (loaded.bs, loaded.bptt, loaded.nt) == (data.bs, data.bptt, data.nt)
    np.testing.assert_array_equal(loaded.counts, data.counts)
    found = []
    for one in (data, loaded):
        learn = one.get_model(emb_sz=4, n_hid=4, n_layers=1, sampled=4, seed=0, device="cpu", progress=False)
        learn.fit(0.01, 1)
        found.append(learn.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_loaded_reviews_train_and_answer_raw_texts(tmp_path):
    data = reviews(tmp_path)
    loaded = load_data(data.save(tmp_path / "prepared"))
    answers = []
    for one in (data, loaded):
        learn = one.get_model(emb_sz=4, n_hid=4, n_layers=1, seed=0, device="cpu", progress=False)
        learn.fit(0.01, 1)
        answers.append(learn.predict_one("a good film").probabilities)
    assert answers[0] == answers[1]


def test_a_tokenizer_of_ones_own_is_refused(tmp_path):
    data = TextData.from_texts(Field(tokenize=lambda text: text.split()), (TEXTS, LABELS), bs=4, min_freq=1)
    with pytest.raises(ValueError, match="a tokenize function of your own"):
        data.save(tmp_path / "prepared")
    assert list(tmp_path.iterdir()) == []
