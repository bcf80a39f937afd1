"""What predictions mean where they are measured: what their values are, where the classes stand, and which
targets count. No torch here.

Inside a fit, an evaluation and `learn.score` it is known, and stands here while metrics run. Called by hand a
metric looks at what it is given.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

IGNORED = -100  # torch's mark of targets that do not count

Form = Literal["output", "classes", "labels"]


@dataclass(frozen=True)
class Meaning:
    """What predictions are.

    Args:
        kind: raw scores, or probabilities.
        axis: the dimension of the classes.
        ignored: class number of targets that do not count.
    """

    kind: Literal["scores", "probabilities"]
    axis: int = -1
    ignored: int = IGNORED


_meaning: ContextVar[Meaning | None] = ContextVar("zoo_meaning_of_predictions", default=None)


def meaning() -> Meaning | None:
    """What the predictions are that metrics get here; `None` where nobody has said so."""
    return _meaning.get()


@contextlib.contextmanager
def predictions_are(what: Meaning) -> Iterator[None]:
    """Metrics inside take their predictions for what is said of them.

    Example:
        >>> with predictions_are(Meaning("probabilities")):
        ...     meaning()
        Meaning(kind='probabilities', axis=-1, ignored=-100)
    """
    before = _meaning.set(what)
    try:
        yield
    finally:
        _meaning.reset(before)


def ignored_target() -> int:
    """The class number of targets that do not count."""
    known = meaning()
    return IGNORED if known is None else known.ignored


def form_of(preds: Sequence[int], targets: Sequence[int]) -> Form:
    """What predictions of a shape answer: one yes or no a row, one class a row, or several labels a row.

    Args:
        preds: the shape of the predictions.
        targets: that of the targets.

    Example:
        >>> form_of((8, 1), (8,)), form_of((8, 3), (8,)), form_of((8, 3), (8, 3))
        ('output', 'classes', 'labels')
    """
    width = preds[-1] if len(preds) > 1 else 1
    if width > 1 and tuple(preds) == tuple(targets):
        return "labels"
    rows = math.prod(targets)
    return "output" if math.prod(preds) == rows and (rows or width == 1) else "classes"


def class_axis(preds: Sequence[int], targets: Sequence[int]) -> int | None:
    """The dimension of the classes: the one that is known, else the last one, else torch's second one, the
    first of these without which the predictions have the shape of the targets.

    Dimensions of one value do not matter, and one of both may be flattened.

    Returns:
        `None` if no such dimension leaves a score for each target.

    Example:
        >>> class_axis((8, 5, 3), (8, 5)), class_axis((8, 3, 4, 5), (8, 4, 5)), class_axis((8, 3), (7,))
        (-1, 1, None)
    """
    known, wanted = meaning(), _without_ones(targets)
    for axis in dict.fromkeys(([known.axis] if known is not None else []) + [-1, 1]):
        place = axis % len(preds) if -len(preds) <= axis < len(preds) else None
        if place is None:
            continue
        rest = _without_ones([*preds[:place], *preds[place + 1 :]])
        flat = min(len(rest), len(wanted)) <= 1 and math.prod(rest) == math.prod(wanted)
        if rest == wanted or flat:
            return axis
    return None


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]
