"""The search for the largest batch size on texts."""

import numpy as np
import pytest
import torch

from tests.core.helpers import same, weights
from zoo import Callback
from zoo_text.data.labelled_data import TextData
from zoo_text.data.language_data import LanguageModelData
from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.running_text import LanguageModelLoader
from zoo_text.tokens.vocab import Field

TEXTS = [f"the film number {n} was {'good' if n % 2 else 'bad'} and {'long ' * (n % 7)}" for n in range(60)]


class Full(Callback):
    """Not enough memory for batches of more words than `limit`."""

    in_finder = True
    most = 0  # of the class: what the search writes to an object is put back

    def __init__(self, limit: int) -> None:
        self.limit, Full.most = limit, 0

    def after_predict(self, state):
        words = state.inputs[0].numel()
        if words > self.limit:
            raise torch.OutOfMemoryError("full")
        Full.most = max(Full.most, words)


def test_a_language_model_is_measured_at_its_longest_stretch():
    data = LanguageModelData.from_texts(Field(), TEXTS * 4, TEXTS[:9], bs=4, bptt=10, min_freq=1, seed=1)
    full = Full(35 * 20)
    torch.manual_seed(0)
    learn = data.get_model(emb_sz=4, n_hid=6, callbacks=[full], device="cpu", progress=False)
    before, ids = weights(learn.model), [batch[0].clone() for batch in data.train_dl]
    found = learn.find_batch_size()
    assert (found.bs, found.limit) == (16, "memory")
    assert Full.most == 35 * 16
    assert same(before, weights(learn.model))
    assert all(torch.equal(one, batch[0]) for one, batch in zip(ids, data.train_dl, strict=True))
    learn.find_batch_size(apply=True)
    assert (data.train_dl.bs, data.bs) == (16, 16)
    assert len(learn.fit(0.01, 1)) == 1


def test_a_text_gives_at_most_half_as_many_columns_as_words():
    loader = LanguageModelLoader(np.arange(41), 4, 5, random_length=True, seed=1)
    assert loader.max_bs == 20
    assert loader.with_bs(20).columns.shape == (20, 2)
    with pytest.raises(ValueError, match="too short for 21 columns"):
        loader.with_bs(21)
    assert (
        loader.with_bs(2).lengths
        == LanguageModelLoader(np.arange(41), 2, 5, random_length=True, seed=1).lengths
    )


def test_a_classifier_is_measured_on_its_longest_texts():
    labels = ["yes" if n % 2 else "no" for n in range(60)]
    data = TextData.from_texts(Field(), (TEXTS, labels), (TEXTS, labels), bs=4, min_freq=1, seed=1)
    longest = int(data.train_dl.lengths.max())
    full = Full(longest * 25)
    learn = data.get_model(emb_sz=4, n_hid=6, callbacks=[full], device="cpu", progress=False)
    assert learn.find_batch_size().bs == 24
    assert Full.most == longest * 24
    assert isinstance(data.train_dl, TextLoader)
    assert data.train_dl.bs == 4
    with pytest.raises(ValueError, match="bs must be at least 2"):
        data.train_dl.with_bs(1)


def test_no_state_of_a_failed_fit_lives_on():
    data = LanguageModelData.from_texts(Field(), TEXTS * 4, TEXTS[:9], bs=4, bptt=10, min_freq=1, seed=1)
    learn = data.get_model(emb_sz=4, n_hid=6, callbacks=[Full(0)], device="cpu", progress=False)
    with pytest.raises(torch.OutOfMemoryError):
        learn.fit(0.01, 1)
    assert learn.model.carried is None
