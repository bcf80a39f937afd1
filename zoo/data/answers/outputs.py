"""What predictions mean where they are measured: raw scores, or probabilities. No torch here.

Inside a fit, an evaluation and `learn.score` it is known, and stands here while metrics run. Called by hand a
metric looks at what it is given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

Meaning = Literal["scores", "probabilities"]

_meaning: ContextVar[Meaning | None] = ContextVar("zoo_meaning_of_predictions", default=None)


def meaning() -> Meaning | None:
    """What the predictions are that metrics get here; `None` where nobody has said so."""
    return _meaning.get()


@contextlib.contextmanager
def predictions_are(what: Meaning) -> Iterator[None]:
    """Metrics inside take their predictions for raw scores, or for probabilities.

    Example:
        >>> with predictions_are("probabilities"):
        ...     meaning()
        'probabilities'
    """
    before = _meaning.set(what)
    try:
        yield
    finally:
        _meaning.reset(before)
