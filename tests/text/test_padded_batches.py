"""Padded batches of texts of similar length: what they hold, and their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo import Ensemble
from zoo_text import Field, TextData
from zoo_text.data.padded_batches import TextLoader


def make_loader(rows: int = 103, **options) -> TextLoader:
    lengths = np.random.default_rng(0).integers(1, 40, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.repeat(np.arange(2, rows + 2), lengths).astype(
        np.int32
    )  # every word of a text is its number + 2
    return TextLoader(ids, offsets, np.arange(rows), 10, **options)


def test_batches_hold_each_text_once_padded_at_its_end() -> None:
    for loader in (make_loader(), make_loader(shuffle=True, seed=1)):
        seen = []
        for ids, lengths, targets in loader:
            assert ids.shape == (len(targets), int(lengths.max()))
            for row, length, target in zip(ids, lengths, targets, strict=True):
                assert (row[:length] == target + 2).all()
                assert (row[length:] == 1).all()
            seen += targets.tolist()
        assert sorted(seen) == list(range(103))
        assert seen == loader.order.tolist()
        assert len(list(loader)) == len(loader) == 11


def test_training_order_is_a_function_of_seed_and_epoch_and_starts_anywhere() -> None:
    loader = make_loader(shuffle=True, seed=1)
    first = loader.order
    assert len(next(iter(loader))[0][0]) == int(loader.lengths.max())
    loader.set_epoch(1)
    assert not torch.equal(loader.order, first)
    loader.set_epoch(0)
    assert torch.equal(loader.order, first)
    whole = [targets for *_, targets in loader]
    loader.set_epoch(0, 4)
    rest = [targets for *_, targets in loader]
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_texts_of_similar_length_share_a_batch() -> None:
    for options in ({}, {"shuffle": True, "seed": 0}):
        wasted = sum(int((ids == 1).sum()) for ids, *_ in make_loader(2000, **options))
        assert wasted < 0.08 * int(make_loader(2000).lengths.sum())


def test_only_the_last_tokens_are_kept() -> None:
    loader = TextLoader(np.arange(2, 12), np.array([0, 7, 10]), np.zeros(2), max_tokens=4)
    ids, lengths, _ = next(iter(loader))
    assert ids.tolist() == [[5, 6, 7, 8], [9, 10, 11, 1]]
    assert lengths.tolist() == [4, 3]


def test_raw_texts_share_batches_by_length_and_are_answered_in_their_own_order() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), n)) for n in rng.integers(1, 200, 150)]
    field = Field(tokenize="whitespace")
    data = TextData.from_texts(field, (texts, ["x", "y", "z"] * 50), min_freq=1)
    learn = data.get_model(emb_sz=4, n_hid=4, n_layers=1, hidden=4, max_len=50, device="cpu", progress=False)
    batches = list(data.batches_from_raw(texts))
    steps = sum(ids.numel() for ids, _ in batches)
    assert steps < 1.5 * sum(int(lengths.sum()) for _, lengths in batches)
    assert all(bool((ids[:, -1] != 1).any()) for ids, _ in batches)
    together = [one.probabilities for one in learn.predict_batch(texts)]
    for text, found in zip(texts, together, strict=True):
        assert list(learn.predict_one(text).probabilities.values()) == pytest.approx(
            list(found.values()), abs=2e-6
        )
    outputs = learn.outputs_of(lambda own: own.batches_from_raw(texts[::-1]))
    whole = learn.outputs_of(lambda own: own.batches_from_raw(texts))
    torch.testing.assert_close(outputs, whole.flip(0))
    members = Ensemble([learn]).predict_batch(texts)
    assert [one.label for one in members] == [one.label for one in learn.predict_batch(texts)]
