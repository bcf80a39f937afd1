"""Encoders between models: what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from zoo.storage.archive import ArchiveError
from zoo_text import Field, LanguageModelData, TextData

SIZES = {"emb_sz": 8, "n_hid": 6, "n_layers": 2, "device": "cpu", "progress": False, "seed": 1}
TEXTS = ["a bad film really bad", "a good film really good", "bad film", "good film"]


def classifier(texts=TEXTS, **field):
    pair = (texts, ["n", "p"] * (len(texts) // 2))
    return TextData.from_texts(
        Field(**{"tokenize": "whitespace", **field}), pair, bs=2, min_freq=1
    ).get_model(**SIZES)


def language(texts=TEXTS, **field):
    data = LanguageModelData.from_texts(
        Field(**{"tokenize": "whitespace", **field}), texts * 5, bs=2, min_freq=1
    )
    return data.get_model(**SIZES)


def snapshot(learn):
    return {name: value.clone() for name, value in learn.model.state_dict().items()}


def unchanged(learn, before) -> bool:
    return all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())


def words_of(learn) -> list[str]:
    return learn.data.field.vocab.itos


TROUBLES = {
    "missing tensor": (lambda t, m: t.pop("layers.1.bias_hh"), "lacks layers.1.bias_hh"),
    "strange tensor": (lambda t, m: t.update(extra=torch.zeros(1)), "holds extra"),
    "wrong shape": (lambda t, m: t.update({"layers.1.bias_hh": torch.zeros(3)}), "shape"),
    "no embedding": (lambda t, m: t.pop("embedding.weight"), "lacks embedding.weight"),
    "not finite": (lambda t, m: t["layers.1.bias_hh"].fill_(float("nan")), "finite"),
    "integers": (lambda t, m: t.update({"layers.1.bias_hh": torch.zeros(32, dtype=torch.long)}), "finite"),
    "no sizes": (lambda t, m: m.pop("zoo.sizes"), "no zoo.sizes"),
    "bad JSON": (lambda t, m: m.update({"zoo.sizes": "["}), "not valid JSON"),
    "list of sizes": (lambda t, m: m.update({"zoo.sizes": "[]"}), "no dict"),
    "no field": (lambda t, m: m.pop("zoo.field"), "no zoo.field"),
    "no vocabulary": (lambda t, m: m.pop("zoo.vocab"), "no zoo.vocab"),
    "nested vocabulary": (lambda t, m: m.update({"zoo.vocab": '["<unk>", "<pad>", ["a"]]'}), "vocabulary"),
    "short vocabulary": (lambda t, m: m.update({"zoo.vocab": '["<unk>", "<pad>", "film"]'}), "shape"),
    "long vocabulary": (
        lambda t, m: m.update({"zoo.vocab": json.dumps([*json.loads(m["zoo.vocab"]), "one", "two"])}),
        "shape",
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_damaged_encoder_is_refused_whole(name: str, tmp_path) -> None:
    spoil, message = TROUBLES[name]
    learn = classifier()
    tensors = {key: value.clone() + 5 for key, value in learn.model.encoder.state_dict().items()}
    described = {
        "zoo.kind": "text.encoder",
        "zoo.sizes": json.dumps({"emb_sz": 8, "n_hid": 6, "n_layers": 2, "rnn": "lstm"}),
        "zoo.field": json.dumps({"tokenize": "whitespace", "lower": True, "rules": []}),
        "zoo.vocab": json.dumps(words_of(learn)),
    }
    file = tmp_path / "spoilt.safetensors"
    save_file(tensors, file, described)
    learn.load_encoder(file)
    assert torch.equal(learn.model.encoder.state_dict()["embedding.weight"], tensors["embedding.weight"])
    learn = classifier()
    before = snapshot(learn)
    spoil(tensors, described)
    save_file(tensors, file, described)
    with pytest.raises(ArchiveError, match=message) as caught:
        learn.load_encoder(file)
    assert str(file) in str(caught.value)
    assert unchanged(learn, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenize": "chars"}, "tokenize chars instead of whitespace"),
        ({"tokenize": lambda text: text.split()}, "tokenize a function instead of whitespace"),
        ({"lower": False}, "lower False instead of True"),
        ({"rules": "start"}, r"rules \['start'\] instead of \[\]"),
    ],
)
def test_an_encoder_of_another_tokeniser_is_refused(options, message: str, tmp_path) -> None:
    file = language(**options).save_encoder(tmp_path / "other.safetensors")
    learn = classifier()
    before = snapshot(learn)
    with pytest.raises(ValueError, match=message):
        learn.load_encoder(file)
    assert unchanged(learn, before)
    assert classifier(**options).load_encoder(file)


def test_many_new_words_are_worth_a_warning_and_only_new_ones_an_error(tmp_path, caplog) -> None:
    file = language().save_encoder(tmp_path / "films.safetensors")
    with caplog.at_level(logging.WARNING, logger="zoo"):
        classifier(["good soup", "bad soup"]).load_encoder(file)
        assert not caplog.records
        classifier(["good fish soup today", "fish for you"]).load_encoder(file)
    assert "knows only 1 of 6 words" in caplog.text
    learn = classifier(["fish soup", "more soup"])
    before = snapshot(learn)
    with pytest.raises(ValueError, match="knows none of the 3 words"):
        learn.load_encoder(file)
    assert unchanged(learn, before)
