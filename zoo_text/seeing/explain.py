"""Why a text classifier answers as it does: what each word of a text adds to the answer."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
import torch

from zoo.data.answers.prediction import Prediction
from zoo.data.utf8 import writable
from zoo.errors import did_you_mean
from zoo_text.model.classifier import TextClassifier
from zoo_text.seeing.attribution import WordAttribution
from zoo_text.seeing.integrated import Integrated, integrated_gradients
from zoo_text.seeing.occlusion import hidden_outputs
from zoo_text.seeing.output import Output, answered, chosen_output
from zoo_text.seeing.words import Words, read_words, sentence_words

Method = Literal["integrated", "occlusion"]
STEPS = 32
WORDS_ALONE = 400  # texts of more words are hidden sentence by sentence
# passes over a text, and tokens of all of them; of more sentences neighbours are hidden together
_FEWEST_PARTS, _MOST_PARTS, _MOST_TOKENS = 32, 512, 4_000_000
_UNACCOUNTED = 0.05


def explain(
    learn: Any, text: str, target: Any = None, method: Method = "integrated", steps: int | None = None
) -> WordAttribution:
    """What each word of a text adds to an answer; see `TextClassifierLearner.explain` for the arguments."""
    if not isinstance(text, str):
        raise TypeError(f"explain() takes one text, a string, got a {type(text).__name__}")
    if not text or text.isspace():
        raise ValueError("explain(): the text is empty")
    if method not in get_args(Method):
        raise ValueError(
            f"explain(): method must be 'integrated' or 'occlusion', got {method!r}"
            f"{did_you_mean(method, get_args(Method))}"
        )
    if method == "occlusion" and steps is not None:
        raise ValueError("explain(): steps are those of method='integrated'; occlusion has none")
    steps = STEPS if steps is None else steps
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"explain(): steps must be a whole number from 1 on, got {steps!r}")
    text, model = writable(text), learn.model  # as fields read it, and frames and files hold it
    if method == "integrated" and not isinstance(model, TextClassifier):
        raise TypeError(
            f"explain(): integrated gradients need a TextClassifier, this network is a "
            f"{type(model).__name__}: use method='occlusion'"
        )
    batch, _ = next(iter(learn.data.batches_from_raw([text])))
    ids = batch[0]
    words = read_words(learn.data.field, text, ids.tolist())
    outputs = learn.outputs_of(lambda _: [(ids[None], torch.tensor([len(ids)]))])
    output = chosen_output(learn, outputs, target)
    places, unit = words.places, "word"
    if method == "integrated":
        kept = torch.from_numpy(words.kept).to(learn.device)
        found = integrated_gradients(model, ids.to(learn.device), output, steps=int(steps), kept=kept)
        by_token, last, first = _in_units(learn, output, found)
        _check_sum(by_token, last - first, steps)
        scores = np.bincount(words.of_token, by_token, minlength=len(places))
    else:
        places, numbers, unit = _parts(text, words)
        answers = answered(learn, output, hidden_outputs(learn, ids, numbers))
        last, first, scores = answers[0], answers[-1], answers[0] - answers[1:-1]
    predicted = learn._decode(outputs)[0]
    known = isinstance(predicted, Prediction)
    return WordAttribution(
        text=text,
        words=[text[start:end] for start, end in places],
        spans=places,
        scores=scores,
        label=output.name,
        probability=predicted.probabilities[output.name] if known else None,
        predicted=predicted.label if known else None,
        output=float(last),
        baseline=float(first),
        method=method,
        unit=unit,
    )


def _in_units(learn: Any, output: Output, found: Integrated) -> tuple[np.ndarray, float, float]:
    """Scores of tokens and the numbers at both ends: log-odds, or values in the user's units.

    Where these are no straight line of the model's (logarithms), every score takes its share.
    """
    ends = torch.cat([found.text, found.blank])
    last, first = answered(learn, output, ends)
    if not output.is_value:
        return found.scores, last, first
    way = float(output(found.text.double()) - output(found.blank.double()))
    if abs(way) < 1e-6:
        ends[1, output.place] = ends[0, output.place] + (1e-3 if way >= 0 else -1e-3)
        way = float(ends[0, output.place] - ends[1, output.place])
        return found.scores * (last - answered(learn, output, ends)[1]) / way, last, first
    return found.scores * (last - first) / way, last, first


def _check_sum(scores: np.ndarray, difference: float, steps: int) -> None:
    left, size = abs(float(scores.sum()) - difference), float(np.abs(scores).sum())
    if left > _UNACCOUNTED * size:
        warnings.warn(
            f"explain(): with steps={steps} the scores of the words miss the difference that they explain, "
            f"{difference:+.3g}, by {left:.2g}: give steps={4 * steps}",
            stacklevel=4,
        )


def _parts(text: str, words: Words) -> tuple[list[tuple[int, int]], np.ndarray, str]:
    """What is hidden at once: places, the number of each token (-1 for what never is), and what it is."""
    n = len(words.places)
    firsts, unit = np.arange(n), "word"
    if n > WORDS_ALONE:
        firsts, unit = np.array(sentence_words(text, words.places)), "sentence"
        together = -(-len(firsts) // max(_FEWEST_PARTS, min(_MOST_PARTS, _MOST_TOKENS // n)))
        if together > 1:
            firsts, unit = firsts[::together], "part"
    numbers = np.searchsorted(firsts, np.arange(n), side="right") - 1
    lasts = [*(firsts[1:] - 1), n - 1]
    places = [(words.places[a][0], words.places[b][1]) for a, b in zip(firsts, lasts, strict=True)]
    return places, np.where(words.kept, -1, numbers[words.of_token]), unit
