"""Models that read from the end, and their mean with forward ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo import Ensemble, load_data, load_learner
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.running_text import LanguageModelLoader

SIZES = {"emb_sz": 8, "n_hid": 6, "n_layers": 2, "device": "cpu", "progress": False, "seed": 1}
TEXTS = ["a bad film really bad", "a good film really good", "bad film", "good film"] * 3


def labelled(backward: bool, field: Field | None = None) -> TextData:
    pair = (TEXTS, ["n", "p"] * (len(TEXTS) // 2))
    field = field or Field(tokenize="whitespace")
    return TextData.from_texts(field, pair, pair, bs=2, min_freq=1, seed=3, backward=backward)


def corpus(backward: bool, **options) -> LanguageModelData:
    return LanguageModelData.from_texts(
        Field(tokenize="whitespace"), TEXTS * 5, TEXTS, bs=2, bptt=5, min_freq=1, seed=3, backward=backward,
        **options,
    )  # fmt: skip


def test_columns_are_read_from_their_ends() -> None:
    loader = LanguageModelLoader(np.arange(10), bs=2, bptt=2, backward=True)
    found = [(x.tolist(), y.tolist()) for x, y in loader]
    assert found == [
        ([[4, 3], [9, 8]], [3, 2, 8, 7]),
        ([[2, 1], [7, 6]], [1, 0, 6, 5]),
    ]
    assert [len(x) for x, _ in loader.with_bs(5)] == [5]
    assert next(iter(loader.with_bs(5)))[0][0].tolist() == [1]
    assert next(iter(loader.longest()))[0][0].tolist() == [4, 3]


def test_every_word_backward_follows_the_word_behind_it() -> None:
    forward, backward = corpus(False).train_dl, corpus(True).train_dl
    pairs = []
    for loader in (forward, backward):
        own = set()
        for x, y in loader:
            own |= set(zip(x.reshape(-1).tolist(), y.tolist(), strict=True))
        pairs.append(own)
    assert {(b, a) for a, b in pairs[0]} == pairs[1]
    assert pairs[0] != pairs[1]


def test_validation_reads_every_word_once_from_the_end() -> None:
    forward, backward = (corpus(one).valid_dl for one in (False, True))
    pairs = [
        sorted(pair for x, y in loader for pair in zip(x.reshape(-1).tolist(), y.tolist(), strict=True))
        for loader in (forward, backward)
    ]
    assert sorted((b, a) for a, b in pairs[0]) == pairs[1]
    assert pairs[0] != pairs[1]
    assert len(pairs[1]) == len(forward._ids) - 1


def test_texts_are_read_from_their_ends_and_stay_padded_behind() -> None:
    ids, offsets = np.array([2, 3, 4, 5, 6], np.int32), np.array([0, 3, 5])
    loader = TextLoader(ids, offsets, np.array([0, 1]), backward=True)
    texts, lengths, _ = next(iter(loader))
    assert texts.tolist() == [[4, 3, 2], [6, 5, 1]]
    assert lengths.tolist() == [3, 2]
    short = TextLoader(ids, offsets, np.array([0, 1]), backward=True, max_tokens=2)
    assert next(iter(short))[0].tolist() == [[4, 3], [6, 5]]  # the last ones are kept


def test_raw_texts_are_read_as_those_of_the_loader() -> None:
    data = labelled(True)
    ids, lengths = next(iter(data.batches_from_raw(TEXTS[:2])))
    words = data.field.vocab.itos
    assert [words[number] for number in ids[0][: lengths[0]]] == TEXTS[0].split()[::-1]


def test_the_direction_stays_with_files(tmp_path) -> None:
    data = labelled(True)
    assert load_data(data.save(tmp_path / "data")).backward
    learn = data.get_model(**SIZES)
    loaded = load_learner(learn.export(tmp_path / "model"), device="cpu")
    assert loaded.data.backward
    mine, theirs = (one.predict_one(TEXTS[0]).probabilities["n"] for one in (learn, loaded))
    assert mine == pytest.approx(theirs)


def test_encoders_and_weights_of_the_other_direction_are_refused(tmp_path) -> None:
    forward, backward = corpus(False), corpus(True)
    learn = forward.get_model(path=tmp_path, **SIZES)
    learn.save_encoder("there")
    learn.save("weights")
    other = backward.get_model(path=tmp_path, **SIZES)
    with pytest.raises(ValueError, match=r"reads texts forward, these data backward.*backward=False"):
        other.load_encoder("there")
    with pytest.raises(ValueError, match="tokenizer"):
        other.load("weights")


def test_a_pair_answers_with_the_mean_of_probabilities() -> None:
    learners = [labelled(backward).get_model(**SIZES) for backward in (False, True)]
    both = Ensemble(learners).predict_proba()
    mean = sum(torch.from_numpy(np.asarray(learn.predict_proba())) for learn in learners) / 2
    assert torch.allclose(torch.from_numpy(np.asarray(both)), mean, atol=1e-6)


def test_a_model_that_reads_backward_does_not_pretend_to_continue_texts() -> None:
    learn = corpus(True).get_model(**SIZES)
    with pytest.raises(ValueError, match="reads texts from their end"):
        learn.generate("a good", 3)
