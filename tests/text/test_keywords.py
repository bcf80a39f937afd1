"""Constructors and `get_model` name every keyword, and refuse those that do not exist."""

from __future__ import annotations

import inspect

import pandas as pd
import pytest

from zoo_text import Field, LanguageModelData, TextData, WordEmbedding, seq2seq_reg
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.language_model import LanguageModel

FRAME = pd.DataFrame({"text": ["a b", "c d"] * 3, "label": ["x", "y"] * 3})


def words() -> Field:
    return Field(tokenize="whitespace")


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (TextData.from_texts, "bs min_freq max_size max_tokens classes seed text path"),
        (TextData.from_folder, "bs min_freq max_size max_tokens classes seed text"),
        (TextData.from_df, "bs min_freq max_size max_tokens classes seed text label val_idxs label_delim"),
        (TextData.from_csv, "bs min_freq max_size max_tokens classes seed text label val_idxs label_delim"),
        (TextData.get_model, "max_len hidden drop_mult rnn loss_fn metrics wd clip device seed progress"),
        (LanguageModelData.from_texts, "bs bptt min_freq max_size seed path"),
        (LanguageModelData.from_folder, "bs bptt min_freq max_size seed"),
        (LanguageModelData.from_df, "bs bptt min_freq max_size seed"),
        (LanguageModelData.get_model, "tie_weights sampled identity_init wd clip device seed layer_groups"),
        (TextClassifier.__init__, "dropout dropouti dropoute dropouth wdrop drop_mult rnn max_len hidden"),
        (LanguageModel.__init__, "dropout dropouti dropoute dropouth wdrop drop_mult rnn identity_init"),
    ],
)
def test_every_keyword_stands_in_the_signature_and_most_in_the_help(function, names) -> None:
    found = inspect.signature(function).parameters
    assert set(names.split()) <= set(found)
    assert not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found.values())
    if not function.__name__.startswith("__"):
        assert all(f"{name}: " in function.__doc__ for name in names.split())


def test_sizes_and_dropouts_of_models_go_by_position() -> None:
    wanted = ["opt_fn", "emb_sz", "n_hid", "n_layers", "dropouti", "dropout", "wdrop", "dropoute", "dropouth"]
    for data in (TextData, LanguageModelData):
        found = list(inspect.signature(data.get_model).parameters.values())[1:10]
        assert [one.name for one in found] == wanted
        assert all(one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for one in found)


def test_misspelt_keywords_are_refused_with_the_near_miss(tmp_path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    data = TextData.from_df(None, words(), FRAME, bs=2, min_freq=1)
    corpus = LanguageModelData.from_df(None, words(), "text", FRAME, bs=2, min_freq=1)
    for name, call in (
        ("from_df", lambda **options: TextData.from_df(None, words(), FRAME, **options)),
        ("from_csv", lambda **options: TextData.from_csv(tmp_path, words(), "a.csv", **options)),
        ("from_texts", lambda **options: TextData.from_texts(words(), (["a"], ["b"]), **options)),
        ("from_folder", lambda **options: LanguageModelData.from_folder(tmp_path, words(), **options)),
    ):
        with pytest.raises(TypeError, match=rf"{name}\(\) got .* 'min_frequ' \(did you mean 'min_freq'\?\)"):
            call(min_frequ=1)
    for one in (data, corpus):
        with pytest.raises(TypeError, match=r"get_model\(\) got .* 'metric' \(did you mean 'metrics'\?\)"):
            one.get_model(metric=[])


def test_an_own_loss_wins_over_sampled_words_and_says_so(caplog) -> None:
    corpus = LanguageModelData.from_df(None, words(), "text", FRAME, bs=2, min_freq=1)
    options = {"emb_sz": 4, "n_hid": 4, "n_layers": 1, "device": "cpu", "sampled": 2}
    assert corpus.get_model(**options).loss_fn.sampled == 2
    assert "sampled" not in caplog.text
    own = corpus.default_loss()
    assert corpus.get_model(**options, loss_fn=own).loss_fn is own
    assert "sampled=2 is for the loss by default" in caplog.text


def test_parts_of_the_models_are_public() -> None:
    assert WordEmbedding(5, 3).weight.shape == (5, 3)
    assert callable(seq2seq_reg)
