"""Exports of text classifiers: without what only training needs, and of a given size."""

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import load_learner
from zoo_text import Field, TextData
from zoo_text.model.linear import FOLDS
from zoo_text.smaller import with_fewer_words

SIZES = {"emb_sz": 32, "n_hid": 32, "n_layers": 1, "device": "cpu", "progress": False, "seed": 0}


def size(folder) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


@pytest.fixture(scope="module")
def learn(reviews: pd.DataFrame):
    data = TextData.from_df(".", Field(), reviews, val_idxs=range(300, 400), bs=16, seed=0, min_freq=1)
    learn = data.get_model(**SIZES)
    learn.fit_one_cycle(2, 1e-2)
    return learn


def answers(learn, texts) -> np.ndarray:
    return np.array([list(answer.probabilities.values()) for answer in learn.predict_batch(texts)])


def test_an_export_holds_the_mean_of_the_linear_models_only(learn, reviews, tmp_path) -> None:
    loaded = load_learner(learn.export(tmp_path / "whole"), "cpu")
    assert loaded.model.linear.weight.shape[0] == 1
    assert learn.model.linear.weight.shape[0] == 1 + FOLDS
    texts = reviews.text[:20]
    np.testing.assert_allclose(answers(loaded, texts), answers(learn, texts), atol=1e-6)
    loaded.model.train()
    assert torch.isfinite(loaded.model(torch.tensor([[5, 6, 7], [6, 7, 8]]), torch.tensor([3, 3]))).all()


def test_smaller_exports_leave_out_the_rarest_words(learn, reviews, tmp_path) -> None:
    whole = size(learn.export(tmp_path / "whole"))
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    eight = load_learner(learn.export(tmp_path / "eight", max_mb=whole / 2), "cpu")
    assert eight.data.field.vocab.itos == learn.data.field.vocab.itos
    few = load_learner(learn.export(tmp_path / "few", max_mb=whole / 8), "cpu")
    assert size(tmp_path / "few") <= whole / 8
    words = few.data.field.vocab.itos
    assert words == learn.data.field.vocab.itos[: len(words)]
    assert len(words) < len(learn.data.field.vocab)
    valid = reviews.text[300:]
    expected = answers(learn, valid)
    assert np.abs(answers(eight, valid) - expected).max() < 0.05
    assert (answers(few, valid).argmax(1) == expected.argmax(1)).mean() > 0.85
    with pytest.raises(ValueError, match="more than max_mb"):
        learn.export(tmp_path / "none", max_mb=0.001)
    for name, value in learn.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_pairs_keep_their_weights_under_new_numbers(learn) -> None:
    words = 500
    small = with_fewer_words(learn.model, words)
    linear, whole = small.linear, learn.model.linear
    assert linear is not None
    assert bool((linear.keys[1:] > linear.keys[:-1]).all())
    ids = torch.randint(2, words, (30, 60))
    ids[0, :4] = torch.tensor([0, 1, 2, 1])
    ids = torch.where(ids == 1, 2, ids)
    learn.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(linear(ids), whole(ids))
        lengths = torch.full((30,), 60)
        torch.testing.assert_close(small(ids, lengths), learn.model(ids, lengths), atol=1e-5, rtol=1e-4)
