"""Continuing a text with a language model."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo_text.model.language_model import LanguageModel
from zoo_text.model.softmax import Deferred
from zoo_text.tokens.vocab import PADDING_ID, UNKNOWN_ID

PROMPT_STEPS = 256  # of a prompt read at a time


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
    _check_whole("n", n, 0)
    if top_k is not None:
        _check_whole("top_k", top_k, 1)
    if not _is_number(temperature) or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a number of at least 0, got {temperature!r}")
    if top_p is not None and not (_is_number(top_p) and 0 < top_p <= 1):
        raise ValueError(f"top_p must be in (0, 1], got {top_p!r}")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    model.reset()
    if isinstance(model, LanguageModel):
        model.defer_output = True  # only the last word of a prompt needs scores
    try:
        given = torch.tensor([list(prompt)], device=device)
        drawn: list[int] = []
        for _ in range(n):
            for piece in given.split(PROMPT_STEPS, dim=1):  # the state is carried from one to the next
                last = model(piece)[0][-1:]
            scores = (last.scores() if isinstance(last, Deferred) else last)[0].float().cpu()
            scores[[UNKNOWN_ID, PADDING_ID]] = -torch.inf
            drawn.append(_draw(scores, temperature, top_k, top_p, generator))
            given = torch.tensor([[drawn[-1]]], device=device)
    finally:
        if isinstance(model, LanguageModel):
            model.defer_output = False
        model.reset()
        model.train(was_training)
    return drawn


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _draw(
    scores: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> int:
    if temperature == 0:
        return int(scores.argmax())
    # the largest is 0 first, so that no temperature makes infinities of it
    probs, words = ((scores.double() - scores.max()) / temperature).softmax(0).sort(descending=True)
    if top_k is not None:
        probs[top_k:] = 0
    if top_p is not None:
        probs[probs.cumsum(0) - probs >= top_p] = 0
    return int(words[torch.multinomial(probs, 1, generator=generator)])
