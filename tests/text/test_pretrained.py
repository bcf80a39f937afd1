"""Models that start from an encoder: sizes, freezing, words, the file that comes with the package."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from zoo_text import Field, LanguageModelData, TextData

SMALL = {"emb_sz": 8, "n_hid": 6, "n_layers": 1, "device": "cpu", "progress": False, "seed": 1}
TEXTS = ["a bad film really bad", "a good film really good", "bad film", "good film"] * 3
HOW = {"device": "cpu", "progress": False, "seed": 1}


@pytest.fixture
def language(tmp_path):
    data = LanguageModelData.from_texts(
        Field(tokenize="whitespace"), TEXTS * 5, bs=2, min_freq=1, path=tmp_path
    )
    learn = data.get_model(**SMALL)
    with torch.no_grad():
        learn.model.decoder.bias.copy_(torch.arange(len(learn.model.decoder.bias)).float())
    learn.save_encoder("plain", notice="Texts by nobody.")
    return learn


def classifier_data(tmp_path, texts=TEXTS):
    pair = (texts, ["n", "p"] * (len(texts) // 2))
    return TextData.from_texts(Field(tokenize="whitespace"), pair, bs=2, min_freq=1, path=tmp_path)


def test_a_classifier_takes_sizes_and_weights_and_starts_frozen(language, tmp_path) -> None:
    learn = classifier_data(tmp_path).get_model(pretrained="plain", **HOW)
    encoder = learn.model.encoder
    assert (encoder.emb_sz, encoder.n_hid, encoder.n_layers) == (8, 6, 1)
    own, theirs = learn.data.field.vocab, language.data.field.vocab
    for word in ("film", "good"):
        assert torch.equal(
            encoder.embedding.weight[own[word]], language.model.encoder.embedding.weight[theirs[word]]
        )
    assert not any(param.requires_grad for param in encoder.parameters())
    assert all(param.requires_grad for param in learn.model.head.parameters())


def test_a_language_model_takes_the_bias_of_words_it_knows(language, tmp_path) -> None:
    texts = ["a good strange film"] * 9
    data = LanguageModelData.from_texts(Field(tokenize="whitespace"), texts, bs=2, min_freq=1, path=tmp_path)
    learn = data.get_model(pretrained="plain", **HOW)
    own, theirs = data.field.vocab, language.data.field.vocab
    bias, old = learn.model.decoder.bias, language.model.decoder.bias
    assert bias[own["film"]] == old[theirs["film"]]
    known = [number for number in range(len(theirs)) if number != 1]
    assert bias[own["strange"]].item() == pytest.approx(old[known].mean().item())
    assert learn.model.decoder.weight is learn.model.encoder.embedding.weight


def test_what_contradicts_the_file_is_refused(language, tmp_path) -> None:
    data = classifier_data(tmp_path)
    with pytest.raises(ValueError, match="n_hid 7, not 6: leave it out"):
        data.get_model(pretrained="plain", n_hid=7, **HOW)
    with pytest.raises(FileNotFoundError, match=r"did you mean 'plain'.*with the package comes"):
        data.get_model(pretrained="plian", **HOW)
    with pytest.raises(FileNotFoundError, match=r"comes: english-small \(did you mean 'english-small'\?\)"):
        data.get_model(pretrained="english_small", **HOW)
    with pytest.raises(TypeError, match="name or the path of a file, not as a LanguageLearner"):
        data.get_model(pretrained=language, **HOW)
    assert data.get_model(pretrained="plain", n_hid=6, **HOW).model.encoder.n_hid == 6


def test_half_precision_is_half_the_size_and_close(language, tmp_path) -> None:
    whole, half = (
        language.save_encoder(tmp_path / "w.safetensors"),
        language.save_encoder(tmp_path / "h.safetensors", half=True),
    )
    assert half.stat().st_size < whole.stat().st_size
    data = classifier_data(tmp_path)
    one, other = (data.get_model(pretrained=file, **HOW).model.encoder.state_dict() for file in (whole, half))
    assert all(value.dtype == torch.float32 for value in other.values())
    assert all(torch.allclose(one[name], other[name], atol=1e-3) for name in one)


def test_the_field_of_a_file_and_its_notice(language, tmp_path) -> None:
    file = tmp_path / "models" / "plain.encoder.safetensors"
    field = Field.from_pretrained(file)
    assert field.vocab.itos == language.data.field.vocab.itos
    assert field.tokenizer.name == "whitespace"
    with safe_open(file, framework="numpy") as opened:
        assert opened.metadata()["zoo.notice"] == "Texts by nobody."
    with pytest.raises(ValueError, match=r"no pretrained encoder 'english-smal'.*with the package comes"):
        Field.from_pretrained("english-smal")
    with pytest.raises(FileNotFoundError, match="no encoder"):
        Field.from_pretrained(tmp_path / "none.safetensors")
    language.save("weights")
    with pytest.raises(ValueError, match="holds no encoder"):
        Field.from_pretrained(next((tmp_path / "models").glob("weights*")))
