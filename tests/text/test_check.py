"""`data.check()` of texts: copies, contradictions, unknown words, html, lengths, classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo_text import Field, TextData
from zoo_text.data.text_ids import TextIds, text_hashes


def frame(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([f"w{i}" for i in range(50)], rng.integers(12, 30))) for _ in range(n)]
    return pd.DataFrame({"text": texts, "label": list("aaaabbbb") * (n // 8)})


def found(df: pd.DataFrame, test: pd.DataFrame | None = None, **options) -> dict[str, object]:
    options = {"val_idxs": range(0, len(df), 4), "min_freq": 1, "seed": 0, **options}
    data = TextData.from_df(None, Field(tokenize="whitespace"), df, None, test, **options)
    report = data.check()
    assert len({one.what + one.where for one in report.findings}) == len(report.findings)
    return {f"{one.what}, {one.where}": one for one in report.findings} | {"report": report}


def test_good_data_raise_nothing() -> None:
    report = found(frame())["report"]
    assert report.ok
    assert report.findings == ()
    assert report.rows == {"train": 90, "valid": 30}
    assert report.classes == {"a": {"train": 45, "valid": 15}, "b": {"train": 45, "valid": 15}}
    assert "0.0% of them are unknown" in report.remarks[0]


def test_copies_and_contradictions_are_named_by_the_rows_of_the_user() -> None:
    df = frame().set_axis(range(1000, 1120))
    df.loc[1002, "text"] = df.loc[1001, "text"].upper()  # as the model reads them, they are equal
    df.loc[1002, "label"] = "b"
    df.loc[1004] = df.loc[1005]
    df.loc[1006] = df.loc[1003]
    df.loc[1008, ["text", "label"]] = [df.loc[1009, "text"], "b"]
    told = found(df, test=df.iloc[[1, 7]][["text"]])
    crossing = told["training rows in validation, inputs and target are equal"]
    assert (crossing.severity, crossing.count) == ("error", 1)
    assert crossing.examples == ("valid row 1004 (position 4) = train row 1005 (position 5)",)
    twisted = told["equal inputs, other label, train"]
    assert twisted.examples == ("train row 1002 (position 2) and train row 1001 (position 1)",)
    assert told["inputs of training rows in validation, the target is another"].count == 1
    twice = told["training rows that occur twice, inputs and target are equal"]
    assert twice.examples == ("train row 1006 (position 6) = train row 1003 (position 3)",)
    assert told["training rows among those to predict, inputs are equal"].count == 2


def test_unknown_words_by_part_and_by_text() -> None:
    df = frame()
    df.loc[8, "text"] = "voici un film que je trouve bien trop long pour moi"
    told = found(df)
    assert told["texts of mostly unknown words, valid"].examples == (
        "valid row 8 ('<unk> <unk> <unk> <unk> <unk> <unk> <unk ...')",
    )
    assert "unknown words, valid" not in told
    df.loc[np.arange(0, 120, 4), "text"] += " tout est autre ici " * 2
    told = found(df)
    assert told["unknown words, valid"].share > 0.2
    assert "unknown words, train" not in told
    assert not told["report"].ok


@pytest.mark.parametrize("tokenize", ["whitespace", "spacy"])
def test_html_is_found_whatever_the_tokens(tokenize: str) -> None:
    df = frame()
    for row, end in ((1, "<br /><br />so"), (2, "<p>so</p>"), (3, "so &nbsp; so"), (4, "<i>it</i>")):
        df.loc[row, "text"] += f" {end}"
    for row in (5, 6, 7):
        df.loc[row, "text"] += [" i <3 it", " a < b", " this & that"][row - 5]
    data = TextData.from_df(None, Field(tokenize=tokenize), df, min_freq=1)
    told = {one.what: one for one in data.check().findings}
    assert told["html in texts"].count == 4


def test_the_marks_of_the_vocabulary_are_no_html() -> None:
    df = frame()
    df.loc[1, "text"] = df.loc[1, "text"].replace(" ", " Rare")
    field = Field(rules=("caps", "start"))
    data = TextData.from_df(None, field, df, min_freq=2)
    assert (data.train_dl.ids == 0).any()
    assert [one.what for one in data.check().findings if "html" in one.what] == []


def test_short_and_cut_texts() -> None:
    df = frame()
    df.loc[[1, 2, 3], "text"] = ["w1", "w2 w3", "w4"]
    told = found(df, max_tokens=20)
    assert told["texts of at most 2 words, train"].count == 3
    cut = told["texts that are cut, train"]
    lengths = df["text"].str.split().str.len().drop(range(0, 120, 4))
    assert cut.count == (lengths > 20).sum()


def test_rare_classes_and_those_of_validation_only() -> None:
    df = frame()
    df.loc[[1, 2], "label"] = "c"
    told = found(df)
    assert told["rare classes, train"].examples == ("'c' (2)",)
    several = df.assign(label=[["a", "b"], ["a"]] * 60)
    report = found(several)["report"]
    assert report.classes["b"] == {"train": 30, "valid": 30}
    assert report.classes["a"] == {"train": 90, "valid": 30}
    assert found(df.assign(label=np.arange(120.0)), task="regression")["report"].ok


def test_data_that_were_kept_are_checked_by_position(tmp_path: Path) -> None:
    df = frame()
    df.loc[8] = df.loc[9]
    data = TextData.from_df(None, Field(tokenize="whitespace"), df, val_idxs=[8], min_freq=1)
    data.save(tmp_path / "kept")
    again = zoo.load_data(tmp_path / "kept").check()
    assert again.findings[0].examples == ("valid row 0 = train row 8",)
    assert zoo.check_data(data).findings[0].examples == ("valid row 8 = train row 9",)


def test_hashes_tell_texts_apart() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 3, rng.integers(1, 12)) for _ in range(3000)]
    hashes = text_hashes(TextIds.of(texts))
    assert len(set(hashes.tolist())) == len({tuple(text.tolist()) for text in texts})
