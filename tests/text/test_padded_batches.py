"""Padded batches of texts of similar length: what they hold, and their order."""

from __future__ import annotations

import numpy as np
import torch

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
