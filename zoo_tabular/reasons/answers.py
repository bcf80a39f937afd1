"""The answers of a network as one number a row, and how they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.classes import class_place, is_number
from zoo.data.columns.kinds import is_missing
from zoo.ensemble import Ensemble
from zoo.errors import did_you_mean, some
from zoo.predictor import Predictor

BATCH = 4096

Coded = Iterable[tuple[np.ndarray, np.ndarray]]  # batches of codes and numbers


def raw_outputs(learn: Predictor | Ensemble, batches: Callable[[Any], Coded]) -> Tensor:
    """Model outputs of batches of (codes, numbers), in order, on the CPU; the learner is left as it was.

    Args:
        learn: a learner of a table, or an ensemble of such.
        batches: gives the batches as the processor of the data that it is called with codes them.
    """
    return learn.outputs_of(lambda data: _tensors(batches(data)))


def _tensors(batches: Coded) -> Iterator[tuple[Tensor, Tensor]]:
    for codes, numbers in batches:
        for start in range(0, len(codes), BATCH):
            part = slice(start, start + BATCH)
            yield torch.from_numpy(codes[part]), torch.from_numpy(numbers[part])


def check_output(learn: Any, output: Any, where: str) -> int:
    """The place of one output of the model.

    Args:
        learn: what the user gave.
        output: a target by its name or place; a class or label by its value, as in the target, by its name,
            or, where none of the classes is a number, by its place. None is right where there is only one
            choice: one target; of two classes the second.
        where: for error messages.

    Raises:
        ValueError: for an output that is not there, or none where there are several.
    """
    data = learn.data
    named = data.target.names if data.task == "regression" else data.classes
    names = named or [str(place) for place in range(data.n_out)]
    places_count = data.task == "regression" or not named or not any(map(is_number, names))
    if data.task == "regression":
        if output is None and data.n_out > 1:
            which = some(map(repr, named or range(data.n_out)), 12)
            raise ValueError(
                f"{where}: the model predicts {data.n_out} targets: say which with output={which}"
            )
        place: Any = 0 if output is None else output
        found = names.index(output) if isinstance(output, str) and named and output in names else place
    else:
        if output is None and (data.task == "multilabel" or data.n_out != 2):
            raise ValueError(f"{where}: say which class with output=, one of {some(map(repr, names), 12)}")
        place = 1 if output is None else class_place(output, names)
        found = place if place is not None else output if places_count else None
    if isinstance(found, bool) or not isinstance(found, int | np.integer) or not 0 <= found < data.n_out:
        raise ValueError(
            f"{where}: there is no output {output!r}{did_you_mean(output, named or [])}; "
            f"there are {some(map(repr, named or range(data.n_out)), 12)}"
        )
    return int(found)


def answers(learn: Predictor | Ensemble, batches: Callable[[Any], Coded], output: int) -> np.ndarray:
    """One number a row: a target in the user's unit, or the probability of a class; float64."""
    values = learn.answers_of(lambda data: _tensors(batches(data)))
    return np.asarray(values, dtype="float64").reshape(len(values), -1)[:, output]


def answer_name(learn: Any, output: int, unit: str | None) -> str:
    """What `answers` gives, in words."""
    data = learn.data
    if data.task == "regression":
        unnamed = "prediction" if data.n_out == 1 else f"prediction {output}"
        return unit or (data.target.names[output] if data.target.names else unnamed)
    name = data.classes[output] if data.classes else str(output)
    return f"probability of {name}"


def counted(n: int) -> str:
    """How many rows, in words.

    Example:
        >>> counted(1), counted(2000)
        ('1 row', '2,000 rows')
    """
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


def told(value: Any) -> str:
    """A value as people write it: thousand separators, no needless digits.

    Example:
        >>> told(12345.6), told(0.123456), told(None), told("a"), told(0.0)
        ('12,346', '0.1235', 'missing', 'a', '0')
    """
    if is_missing(value):
        return "missing"
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        number = float(value)
        return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    return str(value)
