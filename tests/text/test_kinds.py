"""Kinds of input that users of other libraries reported: labels, rows, tokenisers, large vocabularies."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import load_learner
from zoo_text import Field, LanguageModelData, TextData, TokenFile
from zoo_text.model.softmax import Deferred
from zoo_text.tokens import corpus

HALF = chr(0xD83D)  # the first half of a surrogate pair


def words() -> Field:
    return Field(tokenize="whitespace")


def texts(n: int) -> list[str]:
    return [f"film number {i} was {'good' if i % 2 else 'bad'}" for i in range(n)]


@pytest.mark.parametrize(
    "kind", [list, np.array, torch.tensor, pd.Series, lambda values: list(map(str, values))]
)
def test_labels_that_are_numbers_keep_the_order_of_numbers(kind: object) -> None:
    labels = [i % 11 for i in range(44)]
    data = TextData.from_texts(words(), (texts(44), kind(labels)))
    assert data.classes == [str(i) for i in range(11)]
    assert data.train_dl.targets.tolist() == labels


def test_a_matrix_of_marks_is_one_of_classes() -> None:
    marks = np.eye(3, dtype=int)[[i % 3 for i in range(12)]]
    data = TextData.from_texts(words(), (texts(12), marks))
    assert (data.task, data.classes) == ("multilabel", ["0", "1", "2"])
    assert data.train_dl.targets.tolist() == marks.tolist()


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, ""])
def test_a_missing_label_is_named_by_the_index(missing: object) -> None:
    frame = pd.DataFrame({"text": texts(8), "label": ["a", "b"] * 4}, index=list("stuvwxyz"))
    frame["label"] = frame["label"].astype("string") if missing is pd.NA else frame["label"].astype(object)
    frame.loc["x", "label"] = missing
    with pytest.raises(ValueError, match=r"train_df: .*row 'x' \(position 5\), is missing"):
        TextData.from_df(None, words(), frame, val_idxs=[0, 1])


@pytest.mark.parametrize(
    ("text", "message"), [(" ", "empty text in"), (None, "is not a text"), ("!!!", "finds nothing in")]
)
def test_rows_are_named_as_the_user_knows_them_after_a_split(text: object, message: str) -> None:
    import re

    field = Field(tokenize=re.compile("[a-z]+").findall)
    frame = pd.DataFrame({"text": texts(12), "label": ["a", "b"] * 6})
    frame.loc[7, "text"] = text
    with pytest.raises(ValueError, match=message) as caught:
        TextData.from_df(None, field, frame, val_idxs=[0, 1, 2])
    assert "row 7" in str(caught.value)
    shifted = frame.set_axis(range(100, 112))
    with pytest.raises(ValueError, match=r"row 107 \(position 7\)"):
        TextData.from_df(None, field, shifted, val_idxs=[0, 1, 2])
    with pytest.raises((TypeError, ValueError), match=r"row 107 \(position 7\)"):
        TextData.from_texts(field, (shifted["text"], list(shifted["label"])))
    frame = frame.assign(text=texts(12), label=["a", "b"] * 5 + ["c", "b"])
    with pytest.raises(ValueError, match="row 10: class 'c'"):
        TextData.from_df(None, field, frame, val_idxs=[1, 10])


def test_codes_in_csv_files_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n5,01\n4,02\n5,01\n")
    data = TextData.from_csv(tmp_path, words(), "a.csv")
    assert data.classes == ["01", "02"]
    (tmp_path / "b.csv").write_text("text,label\ngood film,a;b\nso so,\nbad,a\n")
    several = TextData.from_csv(tmp_path, words(), "b.csv", label_delim=";")
    assert several.train_dl.targets.tolist() == [[1, 1], [0, 0], [1, 0]]
    (tmp_path / "c.csv").write_bytes("text,label\ncaf\xe9,a\nbar,b\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"c\.csv.*UTF-8"):
        TextData.from_csv(tmp_path, words(), "a.csv", "c.csv")


def test_text_files_are_found_whatever_the_case_of_their_ending(tmp_path: Path) -> None:
    for name in ("train/a/1.txt", "train/a/2.TXT", "train/b/3.Txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("good film")
    assert TextData.from_folder(tmp_path, words(), validation=None).train_dl.n_rows == 3


@pytest.mark.parametrize("tokenize", ["spacy", "whitespace"])
def test_halves_of_surrogate_pairs_are_read_predicted_and_kept(tokenize: str, tmp_path: Path) -> None:
    field = Field(tokenize=tokenize)
    data = TextData.from_texts(field, ([f"good {HALF} film", "bad film"] * 4, [f"yes{HALF}", "no"] * 4))
    assert data.classes == ["no", "yes\ufffd"]
    learn = data.get_model(emb_sz=4, n_hid=4, n_layers=1, hidden=4, progress=False)
    answer = learn.predict_one(f"good {HALF}")
    learn.export(tmp_path / "a.zip")
    again = load_learner(tmp_path / "a.zip", device="cpu").predict_one("good \ufffd")
    assert again.label == answer.label
    lm = LanguageModelData.from_texts(field, [f"good {HALF} film bad film"] * 8, bs=2)
    model = lm.get_model(emb_sz=4, n_hid=4, n_layers=1, progress=False)
    assert model.generate(f"good {HALF}", 2, seed=0)


def test_a_tokeniser_that_gives_no_strings_is_named() -> None:
    import spacy

    with pytest.raises(TypeError, match="tokenize must give strings, got Token"):
        Field(tokenize=spacy.blank("en")).build_vocab(texts(2))


@pytest.mark.parametrize("asked", [3, None, {"text": ["good film"]}, b"good film"])
def test_what_holds_no_texts_is_refused_at_prediction(asked: Any) -> None:
    """A dict of columns was read as its keys."""
    data = TextData.from_texts(words(), (["good film", "bad film"] * 4, ["pos", "neg"] * 4))
    learn = data.get_model(emb_sz=4, n_hid=4, n_layers=1, device="cpu", progress=False)
    for answer in (learn.predict_batch, lambda pool: learn.suggest(pool, 1)):
        with pytest.raises(TypeError, match=f"with the column 'text', not as a {type(asked).__name__}"):
            answer(asked)


@pytest.mark.parametrize(
    ("field", "told"), [("spacy", "not 'spacy'"), (None, "not None"), (Field, "not the class itself")]
)
def test_what_is_no_field_is_named(field: Any, told: str, tmp_path: Path) -> None:
    texts, labels = ["good film", "bad film"] * 4, ["pos", "neg"] * 4
    tokens = TokenFile.build(texts, Field(tokenize="whitespace"), tmp_path / "tokens")
    for make in (
        lambda: TextData.from_texts(field, (texts, labels)),
        lambda: TextData.from_df(None, field, pd.DataFrame({"text": texts, "label": labels})),
        lambda: LanguageModelData.from_texts(field, texts, bs=2, min_freq=1),
        *([lambda: LanguageModelData.from_tokens(tokens, field=field, bs=2)] if field is not None else []),
    ):
        with pytest.raises(TypeError, match=f"field must be a Field.*{told}"):
            make()


def test_a_text_without_tokens_is_refused_at_prediction() -> None:
    import re

    field = Field(tokenize=re.compile("[a-z]+").findall)
    learn = TextData.from_texts(field, (texts(8), ["a", "b"] * 4)).get_model(
        emb_sz=4, n_hid=4, n_layers=1, hidden=4, progress=False
    )
    with pytest.raises(ValueError, match="finds nothing in row 1: '10/10 !!!'"):
        learn.predict_batch(["good film", "10/10 !!!"])
    with pytest.raises(ValueError, match=r"row 8 \(position 1\)"):
        learn.predict_batch(pd.Series(["good film", "10/10"], index=[4, 8]))


@pytest.fixture(scope="module")
def corpus_data() -> LanguageModelData:
    lines = texts(200)
    return LanguageModelData.from_texts(words(), lines, lines[:60], bs=4, bptt=20, min_freq=1)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 5.0}, "top_k"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 2}, "top_p"),
        ({"n": 5.0}, "n must"),
    ],
)
def test_options_out_of_range_are_named(corpus_data: LanguageModelData, options: dict, name: str) -> None:
    learn = corpus_data.get_model(emb_sz=4, n_hid=4, n_layers=1, progress=False)
    with pytest.raises(ValueError, match=name):
        learn.generate("film", **{"n": 3, **options})
    with pytest.raises(TypeError, match="one text"):
        learn.generate(["film"], 3)
    assert learn.generate("film number", 3, temperature=1e-40) == learn.generate(
        "film number", 3, temperature=0
    )


def test_a_long_prompt_is_read_in_pieces_of_which_the_last_word_is_scored(
    corpus_data: LanguageModelData, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = corpus_data.get_model(emb_sz=4, n_hid=4, n_layers=1, progress=False, seed=0)
    prompt = " ".join(texts(30))
    whole = learn.generate(prompt, 5, seed=1)
    read: list[int] = []
    scored: list[int] = []
    monkeypatch.setattr("zoo_text.generate.PROMPT_STEPS", 16)
    learn.model.encoder.register_forward_hook(lambda module, inputs, output: read.append(inputs[0].numel()))
    scores = Deferred.scores
    monkeypatch.setattr(Deferred, "scores", lambda self: scored.append(len(self.hidden)) or scores(self))
    assert learn.generate(prompt, 5, seed=1) == whole
    assert max(read) == 16
    assert sum(read) == len(prompt.split()) + 4
    assert scored == [1] * 5


def test_an_evaluation_reads_no_more_words_at_a_time_than_training() -> None:
    field, ids = words(), np.full(200_000, 3, dtype=np.int32)
    field.build_vocab(texts(8), min_freq=1)
    for bs, bptt in ((4, 20), (1, 5), (64, 70)):
        valid = LanguageModelData(field, ids, ids, bs=bs, bptt=bptt).valid_dl
        assert next(iter(valid))[0].numel() <= max(bs * bptt, 64)


def test_ids_are_counted_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(0).integers(0, 50, 1_000)
    monkeypatch.setattr(corpus, "COUNTED_AT_ONCE", 64)
    assert corpus.count_ids(ids, 60).tolist() == np.bincount(ids, minlength=60).tolist()
    assert corpus.count_ids(ids[:0]).tolist() == []


def test_making_a_corpus_counts_its_words_without_a_wide_copy() -> None:
    """K10: `np.bincount` of all ids at once makes 8 bytes a token, of ids that take 4."""
    n = 6_000_000
    field = words()
    field.build_vocab(texts(8), min_freq=1)
    ids = np.full(n, 3, dtype=np.int32)
    tracemalloc.start()
    try:
        data = LanguageModelData(field, ids, bs=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 7 * n
    assert data.counts.tolist() == [0, 0, 0, n] + [0] * (len(field.vocab) - 4)


def test_commas_that_are_not_quoted_lose_no_word(tmp_path: Path) -> None:
    """T12c: pandas takes the first field of each row for an index."""
    (tmp_path / "a.csv").write_text("text,label\ngood, film,p\nbad, film,n\n")
    with pytest.raises(ValueError, match=r"a\.csv: cannot be read .* line 2, saw 3"):
        TextData.from_csv(tmp_path, words(), "a.csv")


def test_a_regularisation_set_on_a_classifier_is_refused() -> None:
    """F7: only language models have one."""
    learn = TextData.from_texts(words(), (texts(8), ["a", "b"] * 4)).get_model(
        emb_sz=4, n_hid=4, n_layers=1, hidden=4, progress=False
    )
    with pytest.raises(AttributeError, match="only learners of language models have one"):
        learn.reg_fn = None


@pytest.mark.parametrize("lower", [True, False])
def test_tokens_that_are_no_strings_are_named_whatever_the_case(lower: bool) -> None:
    import spacy

    field = Field(tokenize=spacy.blank("en"), lower=lower)
    for use in (
        lambda: field.build_vocab(texts(2)),
        lambda: TextData.from_texts(field, (texts(8), ["a", "b"] * 4)),
    ):
        with pytest.raises(TypeError, match="tokenize must give strings, got Token"):
            use()
    assert field.vocab is None
