"""The quick models of texts: words and pairs of words, on the rows and by the measures of the learner."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer

from zoo.losses import CrossEntropyFlat
from zoo_text import Field, TextData
from zoo_text.data import baseline as quick
from zoo_text.data.ngrams import NGrams
from zoo_text.data.text_ids import TextIds

SIZES = {"emb_sz": 4, "n_hid": 4, "n_layers": 1, "hidden": 4, "device": "cpu", "progress": False, "seed": 0}


def made(texts: list[str], labels, **options) -> TextData:
    frame = pd.DataFrame({"text": texts, "label": labels})
    options = {"min_freq": 1, "seed": 0, "val_idxs": range(0, len(texts), 3), **options}
    return TextData.from_df(None, Field(tokenize="whitespace"), frame, **options)


def sayings(n: int = 300) -> tuple[list[str], list[str]]:
    """What is said is told by pairs of words alone, in texts of different lengths."""
    rng = np.random.default_rng(0)
    labels = rng.choice(["no", "yes", "yes"], n)
    heart = {"yes": ["not bad", "was good"], "no": ["not good", "was bad"]}
    texts = [
        " ".join([*rng.choice(list("abcdefgh"), rng.integers(1, 9)), rng.choice(heart[label]), "x"])
        for label in labels
    ]
    return texts, list(labels)


def test_ngrams_are_those_of_scikit_learn() -> None:
    texts = ["the film was good", "the film the film", "was was good", "one"]
    data = made(texts, list("abab"), val_idxs=[3])
    expected = CountVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"\S+")
    counts = expected.fit_transform(texts[:3]).toarray()
    grams = NGrams(data.nt)
    found = grams.fit_transform(data.train_dl.texts()).toarray()
    itos = data.field.vocab.itos
    names = [
        itos[key] if key < data.nt else f"{itos[key // data.nt - 1]} {itos[key % data.nt]}"
        for key in grams.keys.tolist()
    ]
    assert sorted(names) == expected.get_feature_names_out().tolist()
    assert found[:, np.argsort(names)].tolist() == counts.tolist()


def test_pairs_do_not_reach_across_texts_or_unknown_words() -> None:
    grams = NGrams(10, least=1)
    grams.fit_transform(TextIds.of([np.array([2, 3]), np.array([4, 0, 5])]))
    assert grams.keys.tolist() == [2, 3, 4, 5, 3 * 10 + 3]


def test_pairs_of_words_beat_the_shares_by_the_metrics_of_the_learner() -> None:
    data = made(*sayings())
    learn = data.get_model(**SIZES)
    state = torch.get_rng_state()
    found = learn.baseline()
    assert found.name == "naive Bayes n-grams + logistic regression"
    assert [one.name for one in found.others] == ["TF-IDF + logistic regression"]
    assert found.metrics["accuracy"] == 1.0
    assert found.others[0].metrics["accuracy"] == 1.0
    assert found.reference.metrics["accuracy"] < 0.8
    assert found.learner.metrics == learn.evaluate()
    targets = learn.predict_with_targs()[1]
    assert (found.predictions.argmax(1) == targets).all()  # in the order of the rows, not of the batches
    picked = found.predictions[range(len(targets)), targets]
    assert found.metrics["valid_loss"] == pytest.approx(-picked.mean(), rel=1e-5)
    assert torch.equal(state, torch.get_rng_state())
    assert "TF-IDF" in repr(found)


def test_more_classes_weights_and_labels() -> None:
    rng = np.random.default_rng(1)
    words = np.array(["red", "green", "blue"])
    marks = rng.random((300, 3)) < 0.4
    texts = [" ".join(["so", *words[row], "it", "is"]) for row in marks]
    several = made(texts, [list(words[row]) for row in marks]).get_model(**SIZES).baseline()
    assert several.metrics["accuracy_thresh"] == 1.0
    assert several.predictions.shape == (100, 3)
    single = rng.integers(3, size=300)
    data = made([f"so {words[one]} it is" for one in single], words[single])
    weighted = CrossEntropyFlat(weight=torch.tensor([1.0, 2.0, 4.0]))
    found = data.get_model(**SIZES, loss_fn=weighted).baseline()
    assert found.metrics["accuracy"] == 1.0
    assert np.exp(found.predictions).sum(1) == pytest.approx(np.ones(100), abs=1e-5)
    shares = np.bincount(data.train_dl.targets.numpy()) * [1.0, 2.0, 4.0]
    logs = np.log(shares / shares.sum())[data.valid_dl.targets.numpy()]
    counted = np.array([1.0, 2.0, 4.0])[data.valid_dl.targets.numpy()]
    expected = -(logs * counted).sum() / counted.sum()
    assert found.reference.metrics["valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_only_the_tokens_that_the_network_reads_count() -> None:
    texts, labels = sayings()
    data = made([f"{text} p q r" for text in texts], labels, max_tokens=3)
    assert data.train_dl.texts().lengths.tolist() == [3] * 200
    found = data.get_model(**SIZES).baseline()
    assert found.metrics["accuracy"] == found.reference.metrics["accuracy"]


def test_large_sets_are_fitted_to_some_of_their_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "TOKENS", 500)
    monkeypatch.setattr("zoo_text.data.ngrams._LEAST_ROWS", 10)
    found = made(*sayings()).get_model(**SIZES).baseline()
    assert "of 200 training rows" in found.note
    assert found.metrics["accuracy"] > found.reference.metrics["accuracy"]


def test_texts_that_share_no_words() -> None:
    texts = [f"w{i} v{i}" for i in range(30)]
    found = made(texts, ["a", "b", "a"] * 10).get_model(**SIZES).baseline()
    assert np.isfinite(found.metrics["valid_loss"])


def test_without_validation_texts() -> None:
    learn = made(*sayings(), val_idxs=None).get_model(**SIZES)
    with pytest.raises(ValueError, match="needs validation rows"):
        learn.baseline()
