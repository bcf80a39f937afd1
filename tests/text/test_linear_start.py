"""A classifier begins as a linear model on words, pairs and vectors; the network learns what that misses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import load_learner
from zoo_text import Field, TextData
from zoo_text.data.baseline import NaiveBayesWeighted
from zoo_text.data.ngrams import NGrams, counted_ngrams
from zoo_text.linear_start import _fitted, _Part, start_linear
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.linear import FOLDS, LinearScores

SIZES = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "device": "cpu", "progress": False, "seed": 0}
GOOD, BAD, PLAIN = "fine great lovely", "poor awful dull", "film plot scene actor word line story end"


def reviews(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """ "not" before a word turns what it says."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        good, turned = rng.random() < 0.5, rng.random() < 0.3
        word = rng.choice((BAD if good == turned else GOOD).split())
        words = [
            *rng.choice(PLAIN.split(), 5),
            f"not {word}" if turned else word,
            *rng.choice(PLAIN.split(), 3),
        ]
        texts.append(" ".join(words))
        labels.append("pos" if good else "neg")
    return texts, labels


def made(n: int = 300, **options) -> TextData:
    field = Field(tokenize="whitespace")
    return TextData.from_texts(field, reviews(n), reviews(200, 1), bs=16, seed=0, min_freq=1, **options)


def test_it_answers_as_its_linear_models_do() -> None:
    data = made()
    learn = data.get_model(**SIZES)
    linear, grams = learn.model.linear, NGrams(data.nt)
    held = grams.fit_transform(data.train_dl.texts())
    held.data[:] = 1
    assert linear.keys.tolist() == grams.keys.tolist()
    other = grams.transform(data.valid_dl.texts())
    other.data[:] = 1
    scale = 1 / np.sqrt(np.maximum(other.sum(1), 1))
    expected = np.asarray(scale) * (other @ linear.weight[0].numpy()) + linear.bias[0].numpy()
    found = torch.as_tensor(learn.predict()).softmax(1)
    np.testing.assert_allclose(found.numpy(), torch.tensor(expected).softmax(1).numpy(), atol=1e-4)
    assert learn.evaluate()["accuracy"] > 0.95
    assert data.get_model(n_grams=False, **SIZES).evaluate()["accuracy"] < 0.7


def test_padding_unknown_words_and_order_of_the_batch_change_nothing() -> None:
    linear = LinearScores(10, 3, 0, 2).eval()
    linear.keys.copy_(torch.tensor([3, 4, 10 * (1 + 3) + 4]))
    torch.nn.init.normal_(linear.weight)
    alone = linear(torch.tensor([[3, 4]]))
    torch.testing.assert_close(linear(torch.tensor([[3, 4, 1, 1], [9, 9, 9, 9]]))[:1], alone)
    torch.testing.assert_close(linear(torch.tensor([[3, 0, 4]]))[0], linear.weight[0, :2].sum(0) / 2**0.5)
    assert not linear(torch.tensor([[0, 0]])).any()
    assert not linear(torch.tensor([[1, 1]])).any()


def test_in_training_a_text_is_judged_by_a_model_that_has_not_seen_it() -> None:
    """Labels drawn at random can only be known by heart."""
    texts, _ = reviews(400)
    texts = [f"{text} own{number} rare{number % 200}" for number, text in enumerate(texts)]
    labels = np.random.default_rng(5).choice(["a", "b"], 400).tolist()
    data = TextData.from_texts(
        Field(tokenize="whitespace"), (texts, labels), (texts, labels), min_freq=1, seed=0
    )
    model = data.get_model(**SIZES).model
    right = {}
    for mode in (True, False):
        model.linear.train(mode)
        found = [(model.linear(ids).argmax(1) == target).float() for ids, _, target in data.valid_dl]
        right[mode] = torch.cat(found).mean().item()
    assert right[False] > 0.8
    assert right[True] < 0.6
    ids = data.one_batch(False, "cpu")[0]
    assert LinearScores.fold(ids).unique().tolist() == list(range(FOLDS))


def test_backward_data_begin_at_the_same_place() -> None:
    forward, backward = (made(backward=way).get_model(**SIZES) for way in (False, True))
    np.testing.assert_allclose(
        torch.as_tensor(forward.predict()).numpy(), torch.as_tensor(backward.predict()).numpy(), atol=1e-3
    )


def test_several_labels_values_and_class_weights() -> None:
    texts, labels = reviews(300)
    values = [float(label == "pos") for label in labels]
    tags = [["good", "all"] if label == "pos" else ["all"] for label in labels]
    numbers = TextData.from_texts(
        Field(tokenize="whitespace"), (texts, values), (texts, values), task="regression", min_freq=1
    )
    assert numbers.get_model(**SIZES).evaluate()["valid_loss"] < 0.4  # in units of the variance
    several = TextData.from_texts(
        Field(tokenize="whitespace"), (texts, tags), (texts, tags), task="multilabel", min_freq=1
    )
    told = [set(answer.label) for answer in several.get_model(**SIZES).predict_batch(texts)]
    assert all("all" in labels for labels in told)
    assert (
        np.mean([("good" in labels) == (value == 1) for labels, value in zip(told, values, strict=True)])
        > 0.95
    )
    data = made(60)
    shares = []
    for weights in (None, [1.0, 20.0]):
        loss = torch.nn.CrossEntropyLoss(None if weights is None else torch.tensor(weights))
        learn = data.get_model(loss_fn=loss, **SIZES)
        shares.append((torch.as_tensor(learn.predict()).argmax(1) == 1).float().mean().item())
    assert shares[1] > shares[0]


def test_a_class_without_examples_in_a_fold_is_improbable() -> None:
    part = _Part(None, np.eye(4))
    weight, bias = _fitted(part, np.array([0, 0, 2, 2]), np.ones(4), 3, "classification")
    assert not weight[:, 1].any()
    assert bias[1] == pytest.approx(-np.log(5))


def test_few_texts_and_other_losses_begin_plainly() -> None:
    assert made(40).get_model(**SIZES).model.linear is None
    assert counted_ngrams(None, 5, 2) is None
    learn = made(60).get_model(loss_fn=torch.nn.MultiMarginLoss(), **SIZES)
    assert not learn.model.linear.weight.any()
    assert not start_linear(torch.nn.Linear(2, 2), learn.data.train_dl, None, "classification")


def test_very_many_words_are_cut_to_the_commonest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_text.data.ngrams._MOST_WEIGHTS", 20)
    data = made()
    linear = data.get_model(**SIZES).model.linear
    assert linear.n_grams == 10
    counts = np.bincount(np.concatenate([np.unique(data.train_dl.texts()[row]) for row in range(300)]))
    assert int(counts.argmax()) in linear.keys.tolist()


def test_the_network_learns_what_is_left_and_the_linear_model_stays(tmp_path) -> None:
    data = made(path=tmp_path)
    learn = data.get_model(**SIZES)
    before = {name: value.clone() for name, value in learn.model.linear.state_dict().items()}
    assert not any(True for _ in learn.model.linear.parameters())
    assert learn.model.linear.trust.item() == pytest.approx((300 / 5300) ** 2)
    start = learn.evaluate()["valid_loss"]
    learn.fit_one_cycle(5, 1e-2)
    assert learn.evaluate()["valid_loss"] < start
    for name, value in learn.model.linear.state_dict().items():
        torch.testing.assert_close(value, before[name])
    again = load_learner(learn.export(tmp_path / "reviews"))
    assert again.predict_one("a not awful film").probabilities == pytest.approx(
        learn.predict_one("a not awful film").probabilities, abs=1e-6
    )


def test_reasons_add_up_and_hold_pairs() -> None:
    learn = made().get_model(**SIZES)
    found = learn.explain("film plot not dull end", "pos")
    assert found.scores.sum() == pytest.approx(found.output - found.baseline, abs=1e-3)
    assert dict(zip(found.words, found.scores, strict=True))["not"] > 0


def test_it_is_no_worse_than_naive_bayes_on_reviews(data_dir) -> None:
    table = pd.read_parquet(data_dir("imdb.parquet"))
    train, valid = (table[table.split == part].sample(1500, random_state=0) for part in ("train", "test"))
    data = TextData.from_df(
        ".", Field(clean=["html"]), pd.concat([train, valid]), val_idxs=range(1500, 3000), seed=0
    )
    learn = data.get_model(**SIZES)
    grams = NGrams(data.nt)
    counts = grams.fit_transform(data.train_dl.texts())
    peer = NaiveBayesWeighted().fit(counts, data.train_dl.targets.numpy())
    truth = data.valid_dl.targets.numpy()
    expected = (peer.predict_proba(grams.transform(data.valid_dl.texts())).argmax(1) == truth).mean()
    assert learn.evaluate()["accuracy"] > expected - 0.01


def test_a_model_without_a_linear_part_has_none() -> None:
    assert TextClassifier(20, 2, 4, 4, 1).linear is None


def test_two_classes_take_one_model_and_so_all_texts_that_one_may_take(monkeypatch) -> None:
    texts = [f"good film {i % 7} and more" if i % 2 else f"bad film {i % 7} and less" for i in range(120)]
    labels = ["good" if i % 2 else "bad" for i in range(120)]
    data = TextData.from_texts(Field(), (texts, labels), (texts[:2], labels[:2]), min_freq=1)
    total = int(data.train_dl.texts().lengths.sum())
    monkeypatch.setattr("zoo_text.data.ngrams.TOKENS", total)
    monkeypatch.setattr("zoo_text.data.ngrams._LEAST_ROWS", 1)
    assert len(data.counted_ngrams().rows) == 120
    assert 55 <= len(counted_ngrams(data.train_dl, data.nt, 2).rows) <= 65  # a model for each of two labels
    monkeypatch.setattr("zoo_text.data.ngrams.TOKENS", total // 2)
    assert 55 <= len(data.counted_ngrams().rows) <= 65
