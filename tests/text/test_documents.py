"""Vectors of whole texts: how they are learned, how they travel, where a classifier begins with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

from zoo import load_data, load_learner
from zoo.storage.archive import load_metadata, load_state, save_state
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.data.documents import FEWEST_TEXTS, document_vectors
from zoo_text.model.document import DocumentVectors

SIZES = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "device": "cpu", "progress": False, "seed": 0}
SUBJECTS = {
    "sea": "wave salt boat sail fish",
    "wood": "tree leaf moss bark fern",
    "sky": "star moon sun cloud",
}


def texts_of(subjects: dict[str, str], n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of a few words of one subject each, among words of all."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(list(subjects), n).tolist()
    filler = [f"w{number}" for number in range(60)]
    words = [[*rng.choice(subjects[label].split(), 3), *rng.choice(filler, 8)] for label in labels]
    return [" ".join(rng.permutation(row)) for row in words], labels


@pytest.fixture(scope="module")
def field() -> Field:
    field = Field(tokenize="whitespace")
    field.build_vocab(texts_of(SUBJECTS, 2_000)[0], min_freq=1)
    return field


@pytest.fixture(scope="module")
def encoder(field: Field, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a language model that has not been trained, on 2,000 texts without labels."""
    folder = tmp_path_factory.mktemp("encoder")
    data = LanguageModelData.from_texts(field, texts_of(SUBJECTS, 2_000)[0], bs=8, path=folder)
    return data.get_model(**SIZES).save_encoder("subjects")


def labelled(field: Field, n: int = 12, seed: int = 1, **options) -> TextData:
    return TextData.from_texts(field, texts_of(SUBJECTS, n, seed), texts_of(SUBJECTS, 200, 9), **options)


def test_they_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(2, 80), rng.integers(3, 30)) for _ in range(FEWEST_TEXTS)]
    ids, offsets = np.concatenate(rows), np.cumsum([0, *map(len, rows)])
    found = document_vectors(ids, 80, offsets, 10)
    held = np.zeros((len(rows), 80))
    for number, row in enumerate(rows):
        held[number, row] = 1
    weights = TfidfTransformer().fit(held)
    peer = TruncatedSVD(10, n_iter=4, random_state=0).fit(weights.transform(held))
    expected = peer.transform(weights.transform(held))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    module = DocumentVectors(80, 10)
    module.weight.copy_(found)
    vectors = torch.cat([module(torch.from_numpy(row)[None]) for row in rows]).numpy()
    cosines = np.abs(vectors @ vectors.T - expected @ expected.T)
    assert cosines.max() < 1e-3


def test_padding_repetition_and_order_change_nothing() -> None:
    module = DocumentVectors(20, 4)
    torch.nn.init.normal_(module.weight)
    module.weight[:2] = 0  # unknown, padding
    ids = torch.tensor([[5, 6, 7, 7, 1, 1], [7, 6, 5, 5, 6, 0]])
    one, other = module(ids)
    torch.testing.assert_close(one, other)
    assert one.norm().item() == pytest.approx(1)
    assert not module(torch.zeros(1, 3, dtype=torch.long)).any()


def test_few_texts_have_none(field: Field) -> None:
    few = LanguageModelData.from_texts(field, texts_of(SUBJECTS, 600)[0], bs=8)
    assert few.document_vectors() is None
    ids = np.arange(2, 50).repeat(20_000)
    assert document_vectors(ids, 50, None, 60) is None  # more features than words
    assert document_vectors(np.tile(np.arange(2, 50), 12_000), 50, None, 5).shape == (
        50,
        5,
    )  # stretches of 500


def test_a_classifier_begins_with_them(field: Field, encoder: Path) -> None:
    data = labelled(field, 30)
    learn = data.get_model(pretrained=encoder, device="cpu", progress=False, seed=0)
    assert learn.evaluate()["accuracy"] > 0.9
    plain = data.get_model(pretrained=encoder, documents=False, device="cpu", progress=False, seed=0)
    assert plain.model.document is None
    assert plain.evaluate()["accuracy"] < 0.6


@pytest.fixture
def other_encoder(field: Field, tmp_path: Path) -> Path:
    """Of the same words in texts on other subjects: as many features, which mean something else."""
    words = " ".join(SUBJECTS.values()).split()
    mixed = {str(number): " ".join(words[number::3]) for number in range(3)}
    data = LanguageModelData.from_texts(field, texts_of(mixed, 2_000, 7)[0], bs=8, path=tmp_path)
    return data.get_model(**SIZES).save_encoder("others")


def test_vectors_of_another_encoder_are_begun_with_anew(
    field: Field, encoder: Path, other_encoder: Path
) -> None:
    data, options = labelled(field, 60), {"device": "cpu", "progress": False, "seed": 0}
    learn = data.get_model(pretrained=encoder, **options)
    learn.fit(1e-2, 1)
    start = {name: value.clone() for name, value in learn.model.state_dict().items()}
    learn.load_encoder(encoder)  # the same vectors: what the layer on them learned stays
    for name, value in learn.model.state_dict().items():
        torch.testing.assert_close(value, start[name])
    learn.load_encoder(other_encoder)
    expected = data.get_model(pretrained=other_encoder, **options).predict()
    np.testing.assert_allclose(learn.predict(), expected, atol=1e-5)
    # without training texts nothing can be learned of them: they say nothing
    loaded = load_learner(learn.export(other_encoder.with_name("texts.zip")))
    loaded.load_encoder(encoder)
    linear = loaded.model.linear
    assert not linear.weight[:, linear.n_grams :].any()
    assert linear.weight.any()


def test_vectors_that_tell_nothing_are_left_out(field: Field, encoder: Path, tmp_path: Path) -> None:
    tensors = load_state(encoder)
    torch.manual_seed(0)
    tensors["document.weight"] = torch.randn_like(tensors["document.weight"])
    noise = tmp_path / "noise.safetensors"
    save_state(noise, tensors, load_metadata(encoder))
    data = labelled(field, 120)
    for file, told in ((encoder, True), (noise, False)):
        learn = data.get_model(pretrained=file, device="cpu", progress=False, seed=0)
        linear = learn.model.linear
        assert bool(linear.weight[:, linear.n_grams :].any()) is told
        assert learn.evaluate()["accuracy"] > 0.8


def test_vectors_that_do_not_fit_change_nothing(field: Field, encoder: Path, tmp_path: Path) -> None:
    learn = labelled(field).get_model(pretrained=encoder, device="cpu", progress=False, seed=0)
    tensors, described = load_state(encoder), load_metadata(encoder)
    tensors = {name: value + 1 for name, value in tensors.items()}
    tensors["document.weight"] = tensors["document.weight"][:, :20].contiguous()
    narrow = tmp_path / "narrow.safetensors"
    save_state(narrow, tensors, described)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    with pytest.raises(ValueError, match="have 20 features, those of this model 50"):
        learn.load_encoder(narrow)
    for name, value in learn.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_class_weights_count_and_other_losses_start_plainly(field: Field, encoder: Path) -> None:
    data = labelled(field, 60)
    options = {"pretrained": encoder, "device": "cpu", "progress": False, "seed": 0}
    plain = data.get_model(**options)
    heavy = data.get_model(**options, loss_fn=torch.nn.CrossEntropyLoss(torch.tensor([50.0, 1.0, 1.0])))
    share = [(torch.as_tensor(learn.predict()).argmax(1) == 0).float().mean() for learn in (plain, heavy)]
    assert share[1] > share[0]
    other = data.get_model(**options, loss_fn=torch.nn.MultiMarginLoss())
    assert not other.model.linear.weight.any()


def test_several_labels_and_values(field: Field, encoder: Path) -> None:
    options = {"pretrained": encoder, "device": "cpu", "progress": False, "seed": 0}
    texts, subjects = texts_of(SUBJECTS, 80, 1)
    other, known = texts_of(SUBJECTS, 200, 2)
    values = [[float(len(subject)) for subject in part] for part in (subjects, known)]
    data = TextData.from_texts(field, (texts, values[0]), (other, values[1]), task="regression")
    errors = data.get_model(**options).evaluate()
    assert errors["valid_loss"] < 0.5  # in units of the variance
    tags = [[[subject] for subject in part] for part in (subjects, known)]
    data = TextData.from_texts(field, (texts, tags[0]), (other, tags[1]), task="multilabel")
    assert data.get_model(**options).model.linear.weight.any()


def test_they_travel_with_encoders_archives_and_prepared_data(
    field: Field, encoder: Path, tmp_path: Path
) -> None:
    data = labelled(field, path=tmp_path)
    learn = data.get_model(pretrained=encoder, device="cpu", progress=False, seed=0)
    again = load_learner(learn.export(tmp_path / "subjects"))
    text = texts_of(SUBJECTS, 1, 5)[0]
    assert again.predict_batch(text)[0].probabilities == pytest.approx(
        learn.predict_batch(text)[0].probabilities, abs=1e-6
    )
    # a language model of few texts keeps what came with its encoder; words that are new count nothing
    few = LanguageModelData.from_texts(
        Field(tokenize="whitespace"), [f"novelty {line}" for line in texts_of(SUBJECTS, 300)[0]], bs=8,
        min_freq=1, path=tmp_path,
    )  # fmt: skip
    tuned = few.get_model(pretrained=encoder, device="cpu", progress=False).save_encoder("few")
    model = labelled(few.field).get_model(pretrained=tuned, device="cpu", progress=False).model
    vocab = few.field.vocab
    assert not model.document.weight[vocab.stoi["novelty"]].any()
    same = learn.model.document.weight[field.vocab.stoi["wave"]]
    torch.testing.assert_close(model.document.weight[vocab.stoi["wave"]], same)
    # and prepared data find the same texts
    whole = LanguageModelData.from_texts(field, texts_of(SUBJECTS, 1_500)[0], bs=8, seed=0)
    whole.save(tmp_path / "prepared")
    kept = load_data(tmp_path / "prepared").document_vectors()
    torch.testing.assert_close(kept, whole.document_vectors())


def test_reasons_add_up_with_them(field: Field, encoder: Path) -> None:
    learn = labelled(field, 60).get_model(pretrained=encoder, device="cpu", progress=False, seed=0)
    learn.unfreeze()
    learn.fit(3e-3, 2)
    found = learn.explain("w1 w2 star moon w1 star", "sky")
    assert found.scores.sum() == pytest.approx(found.output - found.baseline, abs=0.02)
    assert set(found.top(2)["word"]) == {"star", "moon"}


def test_the_shipped_model_has_them() -> None:
    field = Field.from_pretrained("english-small")
    data = TextData.from_texts(field, (["a good film", "a bad film"] * 4, ["pos", "neg"] * 4))
    model = data.get_model(pretrained="english-small", device="cpu", progress=False).model
    assert model.document.weight.shape == (len(field.vocab), 50)
    assert model.document.weight.any()


def test_a_loaded_language_model_tells_that_it_has_none(
    field: Field, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = LanguageModelData.from_texts(field, texts_of(SUBJECTS, 1_100)[0], bs=8, path=tmp_path)
    learn = load_learner(data.get_model(**SIZES).export(tmp_path / "model"), "cpu")
    learn.save_encoder(tmp_path / "again.safetensors")
    assert "no vectors of whole texts" in caplog.text
