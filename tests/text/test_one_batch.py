"""Batches of texts as models see them, and as text."""

import torch

from zoo_text import Field, LanguageModelData, TextData

TEXTS = ["good film", "bad film at all", "good good", "bad"]


def test_texts_of_a_batch_are_shown_with_their_labels():
    labels = ["pos", "neg", "pos", "neg"]
    data = TextData.from_texts(
        Field(tokenize=str.split), (TEXTS, labels), (TEXTS, labels), min_freq=1, bs=4, seed=0
    )
    shown = data.show_batch(train=False)
    assert dict(zip(shown.text, shown.target, strict=True)) == dict(zip(TEXTS, labels, strict=True))
    learn = data.get_model(emb_sz=4, n_hid=6, n_layers=1, device="cpu")
    *inputs, target = data.one_batch(device="cpu")
    assert [part.dtype for part in inputs] == [torch.int64, torch.int64]
    learn.model.eval()
    assert learn.model(*inputs).shape == (len(target), 2)
    assert learn.model(*data.one_item("a good film", device="cpu")).shape == (1, 2)


def test_a_stretch_of_a_running_text_is_shown_with_what_comes_next():
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    data = LanguageModelData.from_texts(
        Field(tokenize=str.split), [" ".join(words)], [" ".join(words)], bs=1, bptt=4, min_freq=1
    )
    shown = data.show_batch(train=False)
    assert shown.text[0].split()[1:] == shown.target[0].split()[:-1]
    assert shown.text[0].split() == words[:4]
