"""Cleaning that travels with the field."""

from __future__ import annotations

import pickle
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.tokens.clean import Cleaner, _shown
from zoo_text.tokens.corpus import read_files

HIDING = ["<!--", "<script>", "<style a>", "<SCRIPT x", "-->", "</script>", "</Script >", "</style>"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Good.<br /><br />The <i>end</i>", "Good.\n\nThe end"),
        ("<p class='a b'>One</p><P>two</P>", "One\ntwo\n"),
        ("a<br>b<BR/>c<hr>d", "a\nb\nc\nd"),
        ("<3 and 1 < 2 > 0, <space> if a <b and c", "<3 and 1 < 2 > 0, <space> if a <b and c"),
        ("Tom &amp; Jerry &#39;s &#x1F600; &nbsp;", "Tom & Jerry 's \U0001f600 \xa0"),
        ("AT&T ?a=1&copy=2 &nosuch; &amp;lt;", "AT&T ?a=1&copy=2 &nosuch; &lt;"),
        ("&#xD83D; &#0; &lt;b&gt;", "\ufffd \ufffd <b>"),
        ("x<!-- no\n<b> -->y<script>if (a < b)</script>z<style media='a'>b {}</style>", "xyz"),
        ("<a\nhref='x>y'>link</a>", "y'>link"),
        ("<book> <breath> <i-x>", "<book> <breath> <i-x>"),
    ],
)
def test_html_becomes_text(text: str, cleaned: str) -> None:
    assert Cleaner(["html"])(text) == cleaned


@given(st.lists(st.sampled_from([*HIDING, "x", " ", "\n", "<b>", "-", ">", "<"]), max_size=30).map("".join))
@settings(max_examples=300, deadline=None)
def test_what_is_hidden_is_what_one_expression_finds(text: str) -> None:
    hidden = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
    assert _shown(text) == hidden.sub("", text)


@pytest.mark.parametrize("opening", HIDING[:3])
def test_time_is_linear_where_nothing_ends(opening: str) -> None:
    text = opening * 300_000  # by that expression more than half an hour
    started = time.process_time()
    assert _shown(text) == text
    assert time.process_time() - started < 10


def test_the_other_rules() -> None:
    assert Cleaner("line_ends")("a\r\nb\rc\n\r\n") == "a\nb\nc\n\n"
    assert Cleaner(["spaces"])(" a \t\xa0 b  \n  c ") == " a b\nc "
    assert Cleaner(["entities"])("<b>&lt;</b>") == "<b><</b>"
    assert Cleaner()("a\r\n&amp;<b>\ud83d") == "a\r\n&amp;<b>\ufffd"
    in_order = [(r"(\d)\d*", r"\1"), ("1", "one")]
    assert Cleaner(in_order)("12 31") == "one 3"
    assert pickle.loads(pickle.dumps(Cleaner(in_order)))("12 31") == "one 3"


def test_wrong_rules_are_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'html'"):
        Field(clean=["htlm"])
    with pytest.raises(ValueError, match=r"\('\(', ''\) cannot be used"):
        Field(clean=[("(", "")])
    with pytest.raises(ValueError, match="invalid group reference"):
        Field(clean=[("a", r"\1")])
    for wrong in (3, ("a",), ("a", len), None):
        with pytest.raises(TypeError, match="or a pair of strings"):
            Field(clean=[wrong])  # type: ignore[list-item]


def test_cleaning_reaches_every_way_from_text_to_ids() -> None:
    field = Field(clean=["html", ("(?i)movie", "film")])
    field.build_vocab(["A movie.<br />Good"])
    assert field.vocab is not None
    assert sorted(field.vocab.itos[2:]) == ["\n", ".", "a", "film", "good"]
    assert field.tokens("MOVIE<br>") == ["film", "\n"]
    assert field.numericalize("a <i>movie</i>") == [field.vocab["a"], field.vocab["film"]]


def test_cleaning_is_part_of_what_is_kept(tmp_path: Path) -> None:
    clean = ["line_ends", "html", (r"\d+", "0")]
    field = Field(clean=clean)  # type: ignore[arg-type]
    texts = ["a <b>good</b> film 12", "a bad film 7"] * 4
    data = TextData.from_texts(
        field, (texts, ["p", "n"] * 4), (texts, ["p", "n"] * 4), path=tmp_path, bs=2, min_freq=1
    )
    learn = data.get_model(emb_sz=4, n_hid=4, seed=0)
    learn.export(tmp_path / "model")
    again = zoo.load_learner(tmp_path / "model")
    assert again.data.field.clean.rules == ("line_ends", "html", (r"\d+", "0"))
    assert again.data.field.tokens("<i>1</i>") == ["0"]
    assert again.predict_one("a <b>good</b> film 99").label == learn.predict_one("a good film 0").label
    learn.save_encoder("enc")
    plain = TextData.from_texts(Field(), (texts, ["p", "n"] * 4), path=tmp_path, bs=2, min_freq=1)
    other = plain.get_model(emb_sz=4, n_hid=4)
    other.load_encoder("enc")  # cleaning changes texts, not what words mean
    learn.save("weights")
    with pytest.raises(ValueError, match="tokenizer"):
        other.load("weights")


def test_fields_of_earlier_versions_clean_nothing() -> None:
    state = Field(tokenize="whitespace").state()
    del state["clean"]
    old = Field.from_state(state)
    assert old.clean.rules == ()
    assert old.tokenising() == Field(tokenize="whitespace").tokenising()
    assert old.mapping_values() == Field(tokenize="whitespace").mapping_values()


def test_line_ends_do_not_change_what_is_read(tmp_path: Path) -> None:
    for folder, end in (("unix", "\n"), ("windows", "\r\n"), ("mac", "\r")):
        (tmp_path / folder / "train" / "pos").mkdir(parents=True)
        text = f"good film{end}{end}very good"
        (tmp_path / folder / "train" / "pos" / "1.txt").write_bytes(text.encode())
        (tmp_path / folder / "train" / "neg").mkdir()
        (tmp_path / folder / "train" / "neg" / "1.txt").write_bytes(b"bad")
        field = Field()
        assert list(read_files(tmp_path / folder / "train" / "pos", field)) == ["good film\n\nvery good"]
        TextData.from_folder(tmp_path / folder, field, validation=None, min_freq=1)
        words = Field()
        LanguageModelData.from_folder(tmp_path / folder, words, validation=None, min_freq=1, bs=1)
        assert field.vocab is not None
        assert words.vocab is not None
        assert sorted(field.vocab.itos) == sorted(words.vocab.itos)
        assert "\n\n" in words.vocab.itos
        assert field.numericalize(text) == field.numericalize("good film\n\nvery good")


def test_line_ends_become_a_word_of_published_perplexities(tmp_path: Path) -> None:
    field = Field(tokenize="whitespace", lower=False, rules=["start", "eos"])
    text = " = Title = \n \n The film <unk> \n"
    field.build_vocab([text])
    assert field.vocab is not None
    assert field.vocab.itos[:4] == ["<unk>", "<pad>", "<bos>", "<eos>"]
    expected = ["<bos>", "=", "Title", "=", "<eos>", "<eos>", "The", "film", "<unk>", "<eos>"]
    assert field.tokens(text) == expected
    assert [field.vocab.itos[one] for one in field.numericalize(text)] == expected
    assert field.detokenize(["Title", "<eos>", "The"]) == "Title\nThe"
    english = Field(rules=["eos", "caps"])
    assert english.tokens("The end\n\nx") == ["<cap>", "the", "end", "<eos>", "<eos>", "x"]
    (tmp_path / "train.txt").write_text(text * 3)
    data = LanguageModelData.from_text_files(
        tmp_path, Field(tokenize="whitespace", rules="eos"), "train.txt", min_freq=1, bs=1
    )
    assert data.counts is not None
    assert data.field.vocab is not None
    assert data.counts[data.field.vocab["<eos>"]] == 9


def test_a_file_is_cut_neither_in_a_tag_nor_where_a_pattern_may_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo_text.tokens.corpus.BLOCK_CHARACTERS", 500)
    text = "".join(f"simple wording <img alt='another picture' src='{number}'/> " for number in range(100))
    (tmp_path / "a.txt").write_text(text)
    field = Field(clean=["html"])
    blocks = list(read_files(tmp_path / "a.txt", field))
    assert len(blocks) > 5
    assert [token for block in blocks for token in field.tokens(block)] == field.tokens(text)
    assert "picture" not in field.tokens(text)
    assert len(list(read_files(tmp_path / "a.txt", Field(clean=[("a.*z", "")])))) == 1
