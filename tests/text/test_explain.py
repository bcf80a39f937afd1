"""Why a text classifier answers as it does: scores of words, and the page that shows them."""

from __future__ import annotations

import copy
import random
import re
import warnings
from html import unescape

import numpy as np
import pytest
import torch
from torch import nn

from zoo import load_learner
from zoo.losses import Activation
from zoo_text import Field, TextClassifierLearner, TextData
from zoo_text.model.classifier import TextClassifier
from zoo_text.seeing.attribution import WordAttribution
from zoo_text.seeing.integrated import integrated_gradients
from zoo_text.seeing.output import Output

GOOD, BAD = ["wonderful", "great", "moving"], ["awful", "dull", "stupid"]
REST = ["the", "a", "film", "plot", "actor", ",", "and", "it", "was", "in", "of", "this", "scene", "very"]


def made_up(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of common words with one or two that decide."""
    rng = random.Random(seed)
    texts, labels = [], []
    for number in range(n):
        words = rng.choices(REST, k=rng.randint(6, 14))
        for word in rng.sample(BAD if number % 2 else GOOD, rng.randint(1, 2)):
            words.insert(rng.randrange(len(words)), word)
        texts.append(" ".join(words))
        labels.append("neg" if number % 2 else "pos")
    return texts, labels


SOFTMAX = Activation("softmax")
SIZES = {"emb_sz": 12, "n_hid": 14, "n_layers": 2, "device": "cpu", "progress": False, "seed": 0}


@pytest.fixture(scope="module")
def learn(tmp_path_factory) -> TextClassifierLearner:
    torch.manual_seed(0)
    data = TextData.from_texts(
        Field(rules=("caps", "start")), made_up(256), made_up(32, 1), bs=32, seed=0,
        path=tmp_path_factory.mktemp("explain"),
    )  # fmt: skip
    learn = data.get_model(n_grams=False, **SIZES)  # what the network itself says
    learn.fit_one_cycle(6, 2e-2)
    assert learn.evaluate()["accuracy"] > 0.9
    return learn


TEXT = "It was Wonderful, and the plot\n\n  was AWFUL in this scene; the actor was great!"
METHODS = ["integrated", "occlusion"]


@pytest.mark.parametrize("method", METHODS)
def test_words_that_decide_have_the_scores(learn, method: str) -> None:
    found = learn.explain(TEXT, "pos", method)
    scores = dict(zip(found.words, found.scores, strict=True))
    assert scores["Wonderful"] > 0.5
    assert scores["great"] > 0.5
    assert scores["AWFUL"] < -0.5
    assert {"Wonderful", "AWFUL"} <= set(found.top(3)["word"])
    against = learn.explain(TEXT, "neg", method)
    np.testing.assert_allclose(against.scores, -found.scores, atol=1e-4)  # two classes


@pytest.mark.parametrize("method", METHODS)
def test_words_and_places_are_those_of_the_text_as_written(learn, method: str) -> None:
    found = learn.explain(TEXT, method=method)
    assert [TEXT[start:end] for start, end in found.spans] == found.words
    assert "".join(found.words).split() == "".join(TEXT.split(" ")).split()
    answer = learn.predict_one(TEXT)
    assert (found.label, found.predicted) == (answer.label, answer.label)
    assert found.probability == answer.probability
    np.testing.assert_allclose(1 / (1 + np.exp(-found.output)), found.probability, atol=1e-5)
    np.testing.assert_array_equal(found.frame()["score"], found.scores)


@pytest.mark.parametrize("target", ["pos", "neg", None])
def test_scores_add_up_from_the_blank_text(learn, target: str | None) -> None:
    found = learn.explain(TEXT, target, steps=128)
    np.testing.assert_allclose(found.scores.sum(), found.output - found.baseline, rtol=5e-3, atol=5e-3)
    # the blank text is what padding is to the network: zeros in the place of words
    ids, lengths = next(iter(learn.data.batches_from_raw([TEXT])))
    blank = torch.ones_like(ids)
    blank[0, 0] = ids[0, 0]  # the mark of the start stays
    with torch.no_grad():
        outputs = learn.model.eval()(blank, lengths)[0]
    number = learn.data.classes.index(found.label)
    np.testing.assert_allclose(found.baseline, float(outputs[number] - outputs[1 - number]), atol=1e-4)


def test_the_gradient_is_that_of_the_embedded_words(learn) -> None:
    ids, lengths = next(iter(learn.data.batches_from_raw([TEXT])))
    model, output = learn.model.eval(), Output(1, "pos", learn.activation)
    found = integrated_gradients(model, ids[0], output, steps=4)
    points, weights = np.polynomial.legendre.leggauss(4)
    expected = torch.zeros(ids.shape[1])
    vectors = model.encoder.embedding(ids).detach()
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        on_the_way = (float(point) * vectors).requires_grad_()
        handle = model.encoder.embedding.register_forward_hook(lambda *_, x=on_the_way: x)
        (slope,) = torch.autograd.grad(output(model(ids, lengths)).sum(), on_the_way)
        handle.remove()
        expected += float(weight) * (slope * vectors).sum(-1)[0]
    torch.testing.assert_close(torch.from_numpy(found.scores).float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rnn", ["lstm", "gru", "rnn"])
def test_stretches_give_what_the_whole_text_gives(rnn: str) -> None:
    model = TextClassifier(50, 3, 8, 12, 2, rnn=rnn, max_len=7, dropout=0.5, dropouti=0.3, wdrop=0.2)
    ids = torch.randint(2, 50, (520,))
    output = Output(2, "c", SOFTMAX)
    whole = integrated_gradients(model, ids, output, steps=2, tokens_at_once=10_000)
    parts = integrated_gradients(model, ids, output, steps=2, tokens_at_once=256)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(parts.text, whole.text)
    assert np.abs(whole.scores[:100]).min() > 0  # whatever max_len


def kept_for_gradients(n: int, tokens_at_once: int) -> int:
    """How many numbers wait for the gradients to come back."""
    model, sizes = TextClassifier(50, 2, 8, 12, 1), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        integrated_gradients(
            model, torch.randint(2, 50, (n,)), Output(1, "b", SOFTMAX), steps=2, tokens_at_once=tokens_at_once
        )
    return sum(sizes)


def test_memory_is_bounded_whatever_the_length() -> None:
    assert kept_for_gradients(4_000, tokens_at_once=100_000) > 400_000
    assert kept_for_gradients(4_000, tokens_at_once=512) < 40_000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_learner_changes(learn, method: str, training: bool) -> None:
    learn.model.train(training)
    learn.model.head.eval()
    for parameter in learn.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    learn.model.encoder.embedding.weight.requires_grad_(False)
    weights = {name: value.clone() for name, value in learn.model.state_dict().items()}
    modes = [module.training for module in learn.model.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    try:
        found = learn.explain(TEXT, method=method)
        assert modes == [module.training for module in learn.model.modules()]
        for name, value in learn.model.state_dict().items():
            torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
        for parameter in learn.model.parameters():
            assert bool((parameter.grad == 1).all())
        assert torch.equal(states[0], torch.get_rng_state())
        assert states[1] == random.getstate()
        assert states[2] == np.random.get_state()[1].tolist()
        assert not learn.model.encoder.embedding.weight.requires_grad
        again = learn.explain(TEXT, method=method)
        np.testing.assert_array_equal(found.scores, again.scores)  # dropout is off
        with torch.inference_mode():
            np.testing.assert_array_equal(found.scores, learn.explain(TEXT, method=method).scores)
    finally:
        learn.model.encoder.embedding.weight.requires_grad_(True)
        for parameter in learn.model.parameters():
            parameter.grad = None


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_learner_explains_the_same(learn, tmp_path, method: str) -> None:
    loaded = load_learner(learn.export(tmp_path / "model.zip"), "cpu")
    np.testing.assert_allclose(
        loaded.explain(TEXT, method=method).scores, learn.explain(TEXT, method=method).scores
    )


def test_several_labels(tmp_path) -> None:
    texts, labels = made_up(64)
    marks = [
        [label, "long"] if len(text.split()) > 10 else [label]
        for text, label in zip(texts, labels, strict=True)
    ]
    data = TextData.from_texts(Field(), (texts, marks), bs=16, seed=0, path=tmp_path)
    learn = data.get_model(**SIZES)
    learn.fit(1e-2, 2)
    for method in METHODS:
        found = learn.explain(texts[0], "long", method)
        answer = learn.predict_one(texts[0])
        assert (found.label, found.predicted) == ("long", answer.label)
        np.testing.assert_allclose(found.probability, answer.probabilities["long"])
        np.testing.assert_allclose(1 / (1 + np.exp(-found.output)), found.probability, atol=1e-5)
    most = max(answer.probabilities, key=answer.probabilities.get)
    assert learn.explain(texts[0]).label == most


def test_log_odds_of_many_classes_follow_the_probability() -> None:
    outputs = torch.randn(5, 4)
    found = Output(2, "c", SOFTMAX)(outputs).sigmoid()
    torch.testing.assert_close(found, outputs.softmax(1)[:, 2])


def valued(n: int, tmp_path) -> TextClassifierLearner:
    """Learns how long texts are, or that and more."""
    texts, _ = made_up(16)
    values = np.array(
        [[100.0 * len(text), len(text.split()), 3.0 + number][:n] for number, text in enumerate(texts)]
    )
    data = TextData.from_texts(
        Field(), (texts, values[:, 0] if n == 1 else values), bs=8, seed=0, task="regression", path=tmp_path
    )
    return data.get_model(**SIZES)


@pytest.mark.parametrize("method", METHODS)
def test_values_are_explained_in_the_users_unit(tmp_path, method: str) -> None:
    learn = valued(1, tmp_path)
    found = learn.explain(TEXT, method=method)
    assert (found.probability, found.predicted, found.label) == (None, None, "value")
    np.testing.assert_allclose(found.output, np.ravel(learn.predict_one(TEXT))[0], rtol=1e-5)
    if method == "integrated":
        np.testing.assert_allclose(found.scores.sum(), found.output - found.baseline, rtol=0.05)
    assert "value" in found.html()
    learn = valued(3, tmp_path)
    with pytest.raises(ValueError, match="3 values: say which, 'value 0', 'value 1'"):
        learn.explain(TEXT)
    assert learn.explain(TEXT, "value 1", method).label == "value 1"
    np.testing.assert_allclose(
        learn.explain(TEXT, 1, method).output, np.ravel(learn.predict_one(TEXT))[1], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "poss"}, ValueError, r"no class 'poss' \(did you mean 'pos'\?\): .* 'neg', 'pos'"),
        ({"target": 2}, ValueError, "no class 2: target is one of 'neg', 'pos'"),
        ({"target": ["pos"]}, ValueError, r"no class \['pos'\]"),
        ({"method": "integratd"}, ValueError, r"got 'integratd' \(did you mean 'integrated'\?\)"),
        ({"text": ""}, ValueError, "the text is empty"),
        ({"text": " \n"}, ValueError, "the text is empty"),
        ({"text": ["a film"]}, TypeError, "one text, a string, got a list"),
        ({"text": None}, TypeError, "one text, a string, got a NoneType"),
        ({"steps": 0}, ValueError, "steps must be a whole number from 1 on, got 0"),
        ({"steps": True}, ValueError, "got True"),
        ({"steps": 8, "method": "occlusion"}, ValueError, "occlusion has none"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_told(learn, arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        learn.explain(**{"text": TEXT, **arguments})


class Counting(nn.Module):
    """A network of another kind: it counts words."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(200, 2))

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.weight[ids].sum(1)


def test_other_networks_are_explained_by_occlusion(learn) -> None:
    own = TextClassifierLearner(learn.data, Counting(), device="cpu", progress=False)
    with pytest.raises(TypeError, match="this network is a Counting: use method='occlusion'"):
        own.explain(TEXT)
    found = own.explain("a great film", "pos", "occlusion")
    vocab, weight = learn.data.field.vocab, own.model.weight.detach()
    slope = weight[:, 1] - weight[:, 0]
    expected = [float(slope[vocab[word]] - slope[0]) for word in found.words]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)


def test_too_few_steps_are_told(learn) -> None:
    own = TextClassifierLearner(learn.data, copy.deepcopy(learn.model), device="cpu", progress=False)
    with torch.no_grad():  # far out of the range in which it is nearly linear
        own.model.encoder.embedding.weight.mul_(30)
    with pytest.warns(UserWarning, match="with steps=1 the scores of the words miss .* give steps=4"):
        own.explain(TEXT, steps=1)


def test_what_the_model_does_not_read_has_no_score(learn, tmp_path) -> None:
    data = TextData(learn.data.field, learn.data.classes, max_tokens=4, path=tmp_path)
    own = TextClassifierLearner(data, learn.model, device="cpu", progress=False)
    found = own.explain(TEXT)
    assert found.words == ["actor", "was", "great", "!"]
    assert 'class="row unread"' in found.html()


def test_a_model_that_reads_backward_has_the_same_words(learn) -> None:
    data = TextData(learn.data.field, learn.data.classes, backward=True)
    own = TextClassifierLearner(data, learn.model, device="cpu", progress=False)
    for method in METHODS:
        found = own.explain(TEXT, "pos", method)
        assert found.words == learn.explain(TEXT).words
        assert found.top(1)["word"].item() in {"great", "AWFUL", "Wonderful"}


def test_characters_are_joined_to_words(tmp_path) -> None:
    data = TextData.from_texts(Field(tokenize=list), made_up(8), bs=4, seed=0, path=tmp_path)
    found = data.get_model(**SIZES).explain("a great\nfilm")
    assert found.words == ["a", " ", "great", "\n", "film"]


LONG = ["The film was great.", "It was dull <b>& awful</b>!", 'The plot moves "on".']


@pytest.fixture(scope="module")
def long_text() -> str:
    rng = random.Random(0)
    return "\n\n".join(" ".join(rng.choices(LONG, k=40)) for _ in range(4))


def test_long_texts_are_hidden_by_sentences(learn, long_text: str) -> None:
    found = learn.explain(long_text, "pos", "occlusion")
    assert found.unit == "sentence"
    assert len(found.words) == 160
    assert {" ".join(word.split()) for word in found.words} == set(LONG)
    assert "160 sentences" in repr(found)


def test_texts_without_full_stops_have_parts(learn) -> None:
    found = learn.explain("the film was great and " * 200, "pos", "occlusion")
    assert (found.unit, len(found.words)) == ("sentence", 12)
    assert {len(word.split()) for word in found.words} == {83, 84}
    assert len(found.paragraphs()) > 5


def test_passes_over_very_long_texts_are_bounded(learn, monkeypatch) -> None:
    monkeypatch.setattr("zoo_text.seeing.explain._MOST_TOKENS", 40_000)
    text = " ".join(f"It was {word}." for word in ["great", "dull", "moving"] * 120)
    found = learn.explain(text, "pos", "occlusion")
    assert found.unit == "part"
    assert 14 <= len(found.words) <= 32
    assert " ".join(found.words) == text


def test_paragraphs_sum_their_words(learn, long_text: str) -> None:
    for method in METHODS:
        found = learn.explain(long_text, "pos", method)
        table = found.paragraphs()
        assert "".join(table["text"]) == long_text
        np.testing.assert_allclose(table["score"].sum(), found.scores.sum())
        assert table["words"].sum() == len(found.words)
        assert all(text.startswith(("The", "It")) for text in table["text"])
    assert table["text"].str.split().str.len().max() < 220


def plain(page: str) -> str:
    """The text of the rows of a page."""
    rows = re.findall(r"<p>(.*?)</p>", page[page.index('class="text"') :], re.DOTALL)
    return "\n\n".join(unescape(re.sub(r"<[^>]*>", "", row)) for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_the_page_holds_the_text_as_written(learn, long_text: str, tmp_path, method: str) -> None:
    found = learn.explain(long_text, "pos", method)
    page = found.html(tmp_path / "why.html")
    assert (tmp_path / "why.html").read_text(encoding="utf8") == page
    assert "".join(plain(page).split()) == "".join(long_text.split())
    assert "<b>& awful" not in page  # escaped
    assert page.count("<svg") == 1  # the strip of long texts
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    short = learn.explain("<i>great</i> & <script>film", "pos", method)
    assert "<script>" not in short.html() + short._repr_html_()
    assert "<svg" not in short.html()
    assert f"{short.probability:.1%}" in short._repr_html_()


def test_colours_follow_the_scores() -> None:
    found = WordAttribution("a b c", ["a", "b", "c"], [(0, 1), (2, 3), (4, 5)], np.array([2.0, -1.0, 0.01]),
                            "x", 0.75, "y", 1.1, 0.09, "integrated")  # fmt: skip
    page = found.html()
    assert '<span class="up" style="--a:0.85" title="+2.00">a</span>' in page
    assert '<span class="down" style="--a:0.42" title="-1.00">b</span> c' in page
    assert "the model says y" in page
    assert found.top(1).to_dict("records") == [{"word": "a", "start": 0, "end": 1, "score": 2.0}]
    with pytest.raises(ValueError, match="n must be a whole number from 1 on, got 0"):
        found.top(0)


def test_texts_that_no_file_can_hold_are_written(learn, tmp_path) -> None:
    found = learn.explain("great " + chr(0xD83D) + " film", "pos")
    found.html(tmp_path / "why.html")
    assert "great" in (tmp_path / "why.html").read_text(encoding="utf8")


def test_plots_draw_words_with_signs_of_mathematics(learn) -> None:
    found = learn.explain("great $5 and $6 film\n\n it was", "pos")
    ax = found.plot(top=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "great"
    assert len(ax.patches) == 9
