"""Texts that a language model continues: choices, marks, ends, streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_text import Field, LanguageModelData
from zoo_text.generate import _until
from zoo_text.tokens.readable import Writer

CYCLE = "a b c d e f g h"


@pytest.fixture(scope="module")
def learn() -> Any:
    """Knows that the letters follow one another."""
    data = LanguageModelData.from_texts(
        Field(tokenize="whitespace"), [CYCLE] * 20, bs=2, bptt=4, min_freq=1, seed=0
    )
    learn = data.get_model(None, 16, 16, 1, device="cpu", progress=False, seed=0)
    learn.reg_fn = None
    learn.fit(2e-2, 12)
    return learn


@pytest.fixture(scope="module")
def drawing() -> Any:
    """An untrained model of text with all marks: it draws whatever may be drawn."""
    field = Field(rules=["caps", "repetition", "start"])
    data = LanguageModelData.from_texts(
        field, ["Virtuous men, HE said, are rare!!!!! What?"] * 9, bs=2, bptt=4, min_freq=1, seed=0
    )
    return data.get_model(None, 8, 8, 1, device="cpu", progress=False, seed=0)


def test_marks_of_rules_are_undone() -> None:
    field = Field(rules=["caps", "repetition", "start"])
    text = "Virtuous men, HE said, aren't rare!!!!! What?"
    assert field.detokenize(field.tokens(text)) == text
    assert field.detokenize(["<cap>"]) == ""
    assert field.detokenize(["<rep>", "<up>", "no", "<rep>", "many"]) == "NO many"
    assert field.detokenize(["<rep>", "100000000", "a"]) == "a" * 1000
    plain = Field()  # without rules they are words like others
    assert plain.detokenize(["<cap>", "virtuous", "<bos>"]) == "<cap> virtuous <bos>"
    half = Field(rules=["caps"])
    assert half.detokenize(["<rep>", "5", "<cap>", "men"]) == "<rep> 5 Men"


def test_a_text_keeps_the_end_of_its_prompt(learn: Any) -> None:
    assert learn.generate("a b", 2, temperature=0) == "a b c d"
    assert learn.generate("a b ", 2, temperature=0) == "a b c d"
    assert learn.generate("a b\n", 2, temperature=0) == "a b\nc d"
    assert learn.generate("a b\n\n", 0) == "a b\n\n"
    assert "".join(map(Writer(before="He said").add, [",", "and", "("])) == ", and ("
    assert Writer(before="(").add("he") == "he"


def test_no_mark_of_a_beginning_is_drawn(drawing: Any) -> None:
    text = drawing.generate("Men", 400, seed=0)
    assert "<" not in text
    assert "Virtuous" in text
    assert "HE" in text


def test_a_stream_is_the_same_text_in_pieces(drawing: Any) -> None:
    whole = drawing.generate("Men ", 40, seed=0)
    stream = drawing.generate("Men ", 40, seed=0, stream=True)
    assert isinstance(stream, Iterator)
    pieces = list(stream)
    assert "".join(pieces) == whole
    assert pieces[0] == "Men "
    assert len(pieces) > 20


def test_other_uses_between_two_pieces_change_neither(drawing: Any) -> None:
    whole = drawing.generate("Men", 30, temperature=0.5, seed=0)
    carried = [(torch.ones(1, 1, 8), torch.ones(1, 1, 8))]
    drawing.model.carried = carried
    drawing.model.train()
    stream = drawing.generate("Men", 30, temperature=0.5, seed=0, stream=True)
    pieces = [next(stream) for _ in range(6)]
    assert drawing.model.carried is carried
    assert drawing.model.training
    assert drawing.generate("he said", 5, seed=3)
    assert "".join([*pieces, *stream]) == whole
    assert drawing.model.carried is carried
    assert isinstance(drawing.model(torch.ones(1, 2, dtype=torch.long))[0], torch.Tensor)
    drawing.model.reset()


def test_a_text_ends_before_a_stop(learn: Any) -> None:
    options = {"temperature": 0}
    assert learn.generate("a b", 20, stop="e", **options) == "a b c d "
    assert learn.generate("a b", 20, stop=["g", "d e"], **options) == "a b c "
    assert "".join(learn.generate("a b", 20, stop=("d e",), stream=True, **options)) == "a b c "
    assert learn.generate("a b", 3, stop="h", **options) == "a b c d e"
    assert learn.generate("a b", 3, stop="b", **options) == "a b c d e"  # that of the prompt is no end
    for wrong in ("", ["a", ""], [3]):
        with pytest.raises(ValueError, match="stop must be strings"):
            learn.generate("a", 3, stop=wrong)


@given(st.lists(st.text("ab", max_size=3)), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_stop_is_found_wherever_pieces_are_cut(pieces: list[str], ends: list[str]) -> None:
    text = "".join(pieces)
    places = [(text.find(end) + len(end), text.find(end)) for end in ends if end in text]
    assert "".join(_until(pieces, ends)) == text[: min(places, default=(0, len(text)))[1]]


def test_no_sequence_comes_twice(learn: Any) -> None:
    words = learn.generate("a b", 50, temperature=0, no_repeat=3).split()
    threes = list(zip(words, words[1:], words[2:], strict=False))
    assert len(set(threes)) == len(threes)
    assert len(words) > 12
    once = learn.generate("a b", 50, temperature=0, no_repeat=1).split()
    assert sorted(once) == CYCLE.split()  # it ends when no word is left
    assert learn.generate("a b", 9, temperature=0, no_repeat=0) == "a b c d e f g h a b c"


def test_repetition_makes_words_that_were_there_less_likely(learn: Any) -> None:
    plain = learn.generate("a b c", 60, seed=0, temperature=2.0).split()
    damped = learn.generate("a b c", 60, seed=0, temperature=2.0, repetition=1.0).split()
    assert plain == damped
    first = [learn.generate("a b c d e f g", 1, temperature=0, repetition=one)[-1] for one in (1.0, 50.0)]
    assert first == ["h", "h"]  # the only word that was not there
    again = learn.generate(CYCLE, 1, temperature=0)
    assert again.endswith("a")
    scores = learn.model.decoder.bias.new_zeros(len(learn.data.field.vocab))
    scores[2], scores[3], scores[4] = 2.0, 1.5, -1.0
    from zoo_text.generate import GENERATE_DEFAULTS, Sampling, _Draws

    options = {name: value for name, value in GENERATE_DEFAULTS.items() if name != "stop"}
    how = Sampling(**{**options, "temperature": 0, "repetition": 2.0})
    draws = _Draws(how, [0, 1], [2])
    assert [draws.next(scores.clone()) for _ in range(2)] == [3, 2]  # 2 / 2 < 1.5, then 1.5 / 2 < 2 / 2


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"repetition": 0.5}, "repetition"),
        ({"repetition": float("nan")}, "repetition"),
        ({"no_repeat": -1}, "no_repeat"),
        ({"no_repeat": 2.5}, "no_repeat"),
        ({"seed": "0"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"stop": 3}, "stop"),
        ({"stop": None}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
    ],
)
def test_options_out_of_range_are_named_at_once(learn: Any, options: dict, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        learn.generate("a", 3, stream=True, **options)  # not with the first piece


def test_options_that_do_not_exist_are_refused(learn: Any) -> None:
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        learn.generate("a", 3, temprature=2)


def test_every_word_costs_one_step_whatever_was_written(learn: Any) -> None:
    read: list[int] = []
    handle = learn.model.encoder.register_forward_hook(lambda _, inputs, out: read.append(inputs[0].numel()))
    try:
        learn.generate("a b c", 30, seed=0, repetition=1.1, no_repeat=4)
    finally:
        handle.remove()
    assert read == [3] + [1] * 29


def test_a_seed_has_64_bits(learn: Any) -> None:
    for seed in (1 << 64, -(1 << 63) - 1):
        with pytest.raises(ValueError, match="seed must be a number of 64 bits"):
            learn.generate("a", 2, seed=seed)
    assert learn.generate("a", 2, seed=(1 << 64) - 1) == learn.generate("a", 2, seed=(1 << 64) - 1)


def test_a_prompt_of_unknown_words_is_told(learn: Any, caplog: pytest.LogCaptureFixture) -> None:
    known = learn.data.field.vocab.itos[-1]
    learn.generate(f"qqq {known}", 2, seed=0)
    assert not caplog.text
    learn.generate("qqq", 2, seed=0)
    assert "the vocabulary knows no word of the prompt" in caplog.text
