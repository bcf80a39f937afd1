"""The window through which gradients flow: laid at the end of each text, whatever else is in its batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo_text.model.classifier import TextClassifier


def made(max_len: int, rnn: str = "lstm") -> TextClassifier:
    torch.manual_seed(0)
    return TextClassifier(200, 2, 8, 12, 2, max_len=max_len, rnn=rnn).eval()


def padded(texts: list[Tensor], extra: int = 0) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(text) for text in texts])
    ids = torch.ones(len(texts), int(lengths.max()) + extra, dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    return ids, lengths


def gradient(model: TextClassifier, texts: list[Tensor], row: int, extra: int = 0) -> dict[str, Tensor]:
    """Of every parameter, for the first class of one text of a batch."""
    model.zero_grad()
    model(*padded(texts, extra))[row, 0].backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("rnn", ["lstm", "gru"])
@pytest.mark.parametrize("max_len", [1, 7, 40])
def test_a_text_has_the_same_gradient_in_whatever_batch(max_len: int, rnn: str) -> None:
    model = made(max_len, rnn)
    own = torch.randint(2, 100, (13,))
    expected = gradient(model, [own], 0)
    assert expected["encoder.embedding.weight"][own[-1]].abs().sum() > 0
    for others in ([13], [60, 3], [1, 40]):
        texts = [torch.randint(100, 200, (length,)) for length in others]
        for row in range(len(texts) + 1):
            found = gradient(model, [*texts[:row], own, *texts[row:]], row, extra=row)
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4, msg=f"{name}, {others}")


@pytest.mark.parametrize(("max_len", "length"), [(4, 12), (7, 30), (16, 100), (40, 57), (16, 16), (16, 9)])
def test_the_window_holds_the_last_words(max_len: int, length: int) -> None:
    """At most `max_len` words, and at least seven eighths as many."""
    model = made(max_len)
    text = torch.arange(2, 2 + length)
    found = gradient(model, [text, torch.randint(150, 200, (130,))], 0)
    touched = found["encoder.embedding.weight"][text].abs().sum(1) > 0
    n = int(touched.sum())
    assert touched[length - n :].all()
    assert min(length, max_len - max(1, max_len // 8) + 1) <= n <= max_len


def test_words_before_the_window_are_read_into_state_and_pool() -> None:
    """Outputs are those of one pass over the whole text."""
    texts = [torch.randint(2, 200, (length,)) for length in (64, 17, 16, 3, 40)]
    expected = made(1000)(*padded(texts))
    for max_len in (1, 3, 16, 41):
        torch.testing.assert_close(made(max_len)(*padded(texts, 2)), expected)


def test_a_long_document_is_read_in_bounded_memory() -> None:
    """What is kept for the gradient does not grow with the text, but for its ids."""
    model = made(64)

    def kept(n: int) -> int:
        sizes = []

        def pack(value: Tensor) -> Tensor:
            sizes.append(value.numel())
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            model(torch.randint(2, 200, (2, n)), torch.tensor([n, 30]))
        return sum(sizes)

    assert kept(2_000) <= kept(500) + 2 * 1_500


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_learn_through_the_window_in_short_formats_too(dtype: torch.dtype) -> None:
    """Weights that a first pass without gradients has cast must not be taken for the second one."""
    model = made(8).train()
    ids, lengths = padded([torch.randint(2, 200, (60,)), torch.randint(2, 200, (5,))])
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        model(ids, lengths).square().sum().backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name
