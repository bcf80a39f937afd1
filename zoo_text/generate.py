"""Continuing a text with a language model."""

from __future__ import annotations

import contextlib
import logging
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor

from zoo.engine.modes import preserve_modes
from zoo_text.model.language_model import LanguageModel
from zoo_text.model.softmax import Deferred
from zoo_text.tokens.tokenize import START
from zoo_text.tokens.vocab import PADDING_ID, UNKNOWN_ID, Field

log = logging.getLogger("zoo")

PROMPT_STEPS = 256  # of a prompt read at a time


class GenerateOptions(TypedDict, total=False):
    """How a text goes on.

    Args:
        temperature: Below 1 keeps to likely words; 0 always takes the likeliest.
        top_k: Choose among this many likeliest words.
        top_p: Choose among the likeliest words that make up this share of probability.
        repetition: Makes words that are there already less likely: their scores are divided by it where they
            are positive, multiplied where not (Keskar et al. 2019); 1.2 is usual, 1 changes nothing.
        no_repeat: No sequence of this many words comes twice; 0 allows it.
        stop: One or several strings: the text ends before whichever comes first.
        seed: Makes the answer repeatable; drawn from torch's global generator if None.
    """

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition: float
    no_repeat: int
    stop: str | Sequence[str]
    seed: int | None


GENERATE_DEFAULTS: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": None,
    "top_p": None,
    "repetition": 1.0,
    "no_repeat": 0,
    "stop": (),
    "seed": None,
}


@dataclass(frozen=True)
class Sampling:
    """How the next word is chosen among all; see `GenerateOptions`.

    Raises:
        ValueError: For an option out of range, by name.
    """

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition: float
    no_repeat: int
    seed: int | None

    def __post_init__(self) -> None:
        if self.top_k is not None:
            check_whole("top_k", self.top_k, 1)
        check_whole("no_repeat", self.no_repeat, 0)
        if not _is_number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be a number of at least 0, got {self.temperature!r}")
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p!r}")
        if self.seed is not None and not isinstance(self.seed, numbers.Integral):
            raise ValueError(f"seed must be a whole number or None, got {self.seed!r}")
        if self.seed is not None and not -(1 << 63) <= self.seed < 1 << 64:
            raise ValueError(f"seed must be a number of 64 bits, got {self.seed!r}")
        if not _is_number(self.repetition) or not 1 <= self.repetition < math.inf:
            raise ValueError(
                f"repetition must be a number of at least 1, which changes nothing, got {self.repetition!r}"
            )


class _Draws:
    """Draws word after word; what was written is kept so that a word costs the same wherever it stands."""

    def __init__(self, how: Sampling, never: Sequence[int], written: Sequence[int]) -> None:
        self.how, self.never = how, list(never)
        self.generator = None if how.seed is None else torch.Generator().manual_seed(int(how.seed))
        self.seen: Tensor | None = None  # by word, whether it is there
        self.followers: dict[tuple[int, ...], list[int]] = {}  # of the beginnings of what may not come twice
        self.tail: tuple[int, ...] = ()
        self.written = list(dict.fromkeys(written)) if how.repetition != 1 else []
        if how.no_repeat:
            for word in written:
                self._follow(word)

    def next(self, scores: Tensor) -> int | None:
        """A word, by the scores of all; None if none is left."""
        how = self.how
        if how.repetition != 1:
            if self.seen is None:
                self.seen = torch.zeros(len(scores), dtype=torch.bool)
            self.seen[self.written] = True
            damped = torch.where(scores > 0, scores / how.repetition, scores * how.repetition)
            scores = torch.where(self.seen, damped, scores)
        scores[self.never] = -torch.inf
        if how.no_repeat:
            scores[self.followers.get(self.tail, [])] = -torch.inf
            if not (scores > -torch.inf).any():
                return None
        word = _draw(scores, how.temperature, how.top_k, how.top_p, self.generator)
        self.written = [word]
        if how.no_repeat:
            self._follow(word)
        return word

    def _follow(self, word: int) -> None:
        length = self.how.no_repeat - 1
        if len(self.tail) == length:
            self.followers.setdefault(self.tail, []).append(word)
        self.tail = (*self.tail, word)[-length:] if length else ()


@torch.no_grad()
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


class _Reader:
    """Reads words with a model and keeps its state apart: between two words the model may train or read
    something else."""

    def __init__(self, model: Any, device: torch.device | str) -> None:
        self.model, self.device = model, device
        self.state: Any = None

    @torch.no_grad()
    def read(self, words: Sequence[int]) -> Tensor:
        """The scores of what may follow, (words,), float32, on the CPU."""
        ids = torch.tensor([list(words)], device=self.device)
        with preserve_modes(self.model), self._own_state():
            self.model.eval()
            for piece in ids.split(PROMPT_STEPS, dim=1):
                last = self.model(piece)[0][-1:]
            return (last.scores() if isinstance(last, Deferred) else last)[0].float().cpu()

    @contextlib.contextmanager
    def _own_state(self) -> Iterator[None]:
        model = self.model
        others = getattr(model, "carried", None)
        model.reset()
        if self.state is not None:
            model.carried = self.state
        if isinstance(model, LanguageModel):
            model.defer_output = True  # only the last word of a prompt needs scores
        try:
            yield
            self.state = model.carried
        finally:
            if isinstance(model, LanguageModel):
                model.defer_output = False
            model.reset()
            if others is not None:
                model.carried = others


def drawn_ids(
    model: Any,
    prompt: Sequence[int],
    n: int,
    how: Sampling,
    *,
    never: Sequence[int] = (UNKNOWN_ID, PADDING_ID),
    device: torch.device | str = "cpu",
) -> Iterator[int]:
    """The next ids, one after the other. The state is carried, so that each costs one step of the model.

    Args:
        model: A language model: `forward(ids)`, `reset()` and the attribute `carried`.
        prompt: Ids it starts from, at least one.
        n: Most ids to draw.
        how: The choice among words.
        never: Ids that are not drawn.
        device: Where the model lies.
    """
    reader, draws = _Reader(model, device), _Draws(how, never, prompt)
    given: Sequence[int] = prompt
    for _ in range(n):
        word = draws.next(reader.read(given))
        if word is None:
            return
        yield word
        given = [word]


def continuation(
    field: Field,
    model: Any,
    prompt: str,
    n: int,
    how: Sampling,
    *,
    stop: str | Iterable[str] = (),
    device: torch.device | str = "cpu",
) -> Iterator[str]:
    """Pieces of the text that follows a prompt, as they are drawn.

    Args:
        field: Tokeniser and vocabulary of the model.
        model: A language model.
        prompt: How the text begins.
        n: Most words (tokens) to add.
        how: The choice among words.
        stop: One or several strings: the text ends before whichever comes first.
        device: Where the model lies.

    Raises:
        TypeError: If the prompt is no string; at once, not with the first piece.
        ValueError: If it holds no word, or an option is out of range; likewise.
    """
    if not isinstance(prompt, str):
        raise TypeError(f"generate() continues one text, got a {type(prompt).__name__}")
    check_whole("n", n, 0)
    ends = [stop] if isinstance(stop, str) or not isinstance(stop, Iterable) else list(stop)
    if not all(isinstance(end, str) and end for end in ends):
        raise ValueError(f"stop must be strings that are not empty, got {stop!r}")
    if field.vocab is None or not (words := field.numericalize(prompt)):
        raise ValueError("generate() needs a prompt of at least one word")
    unread = {UNKNOWN_ID, PADDING_ID, *(field.number(mark) for mark in field.marks)}
    if UNKNOWN_ID in words and unread.issuperset(words):
        log.warning("the vocabulary knows no word of the prompt, so what follows does not go on with it")
    itos, writer = field.vocab.itos, field.writer(prompt)
    never = [UNKNOWN_ID, PADDING_ID, *([field.vocab[START]] if "start" in field.rules else [])]
    ids = drawn_ids(model, words, n, how, never=never, device=device)
    return _until((writer.add(itos[number]) for number in ids), ends)


def _until(pieces: Iterable[str], ends: Sequence[str]) -> Iterator[str]:
    """Pieces of text up to that of some strings which is complete first; what may begin one waits."""
    longest = max(map(len, ends), default=1)
    waiting = ""
    for piece in pieces:
        waiting += piece
        found = [(place + len(end), place) for end in ends if (place := waiting.find(end)) >= 0]
        if found:
            waiting = waiting[: min(found)[1]]
            break
        sure = len(waiting) - longest + 1
        if sure > 0:
            yield waiting[:sure]
            waiting = waiting[sure:]
    if waiting:
        yield waiting


def check_whole(name: str, value: Any, least: int) -> None:
    """That an option is a whole number.

    Raises:
        ValueError: If it is not, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
