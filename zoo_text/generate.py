"""Continuing a text with a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo_text.tokens.vocab import PADDING_ID, UNKNOWN_ID


@torch.no_grad()
def generate_ids(
    model: Any,
    prompt: Sequence[int],
    n: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    device: torch.device | str = "cpu",
) -> list[int]:
    """Draws the next `n` ids. The model's state is carried, so that each new word costs one step.

    Args:
        model: A language model.
        prompt: Ids it starts from, at least one.
        n: Ids to draw.
        temperature: 0 always takes the likeliest word.
        top_k: Choose among this many likeliest words.
        top_p: Choose among the likeliest words that make up this share of probability.
        seed: Of the draws; from torch's global generator if None.
        device: Where the model lies.

    Raises:
        ValueError: If an option is out of range.
    """
    if temperature < 0 or n < 0:
        raise ValueError(f"temperature and n must not be negative, got {temperature} and {n}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    model.reset()
    try:
        given = torch.tensor([list(prompt)], device=device)
        drawn: list[int] = []
        for _ in range(n):
            scores = model(given)[0][-1].float().cpu()
            scores[[UNKNOWN_ID, PADDING_ID]] = -torch.inf
            drawn.append(_draw(scores, temperature, top_k, top_p, generator))
            given = torch.tensor([[drawn[-1]]], device=device)
    finally:
        model.reset()
        model.train(was_training)
    return drawn


def _draw(
    scores: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> int:
    if temperature == 0:
        return int(scores.argmax())
    probs, words = (scores / temperature).softmax(0).sort(descending=True)
    if top_k is not None:
        probs[top_k:] = 0
    if top_p is not None:
        probs[probs.cumsum(0) - probs >= top_p] = 0
    return int(words[torch.multinomial(probs, 1, generator=generator)])
