"""Rows as a network takes them: codes, numbers, targets; and what one raw value is among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.loaders.batches import split_batch
from zoo.ensemble import Ensemble
from zoo.errors import did_you_mean, some
from zoo.predictor import Predictor
from zoo_tabular.frames.frame_checks import check_frame
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.reasons.true_targets import model_targets


@dataclass(frozen=True)
class EncodedRows:
    """Rows of a table as codes and numbers, with their targets where these are known.

    Attributes:
        codes: shape (rows, category columns).
        numbers: float32, shape (rows, number columns and their `_na` columns).
        targets: on the model's scale, as a loader gives them; or None.
    """

    codes: np.ndarray
    numbers: np.ndarray
    targets: Tensor | None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> EncodedRows:
        """Some of the rows, by their numbers."""
        targets = None if self.targets is None else self.targets[torch.from_numpy(rows)]
        return EncodedRows(self.codes[rows], self.numbers[rows], targets)


@dataclass(frozen=True)
class TableRows:
    """The same rows as every member of an ensemble codes them; a single learner is its only member.

    Attributes:
        parts: the data of each member, beside the rows as its processor codes them.
    """

    parts: list[tuple[Any, EncodedRows]]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def first(self) -> EncodedRows:
        """As the first member codes them; the targets are on its scale."""
        return self.parts[0][1]

    def of(self, data: Any) -> EncodedRows:
        """As one member codes them."""
        return next(rows for one, rows in self.parts if one is data)

    def take(self, rows: np.ndarray) -> TableRows:
        """Some of the rows, by their numbers."""
        return TableRows([(data, part.take(rows)) for data, part in self.parts])


def sampled(n: int, n_rows: int | None, seed: int) -> np.ndarray:
    """Numbers of at most `n_rows` of `n` rows drawn at random, in their order; of all for None."""
    if n_rows is not None and (not isinstance(n_rows, int | np.integer) or n_rows < 1):
        raise ValueError(f"n_rows is a number of rows of at least 1, or None for all, got {n_rows!r}")
    if n_rows is None or n_rows >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, int(n_rows), replace=False))


def encoded_rows(learn: Predictor | Ensemble, df: pd.DataFrame | None, target: Any, where: str) -> TableRows:
    """The rows of a frame, or the validation rows of the learner when there is none.

    Args:
        learn: a learner of a table, also a loaded one, or an ensemble of such.
        df: raw rows.
        target: the name of the target among the columns of `df`, or its values; None leaves it out.
        where: for error messages.

    Raises:
        ValueError: when there are no rows at all, the target does not fit, or the members of an ensemble have
            different validation rows.
    """
    check_learner(learn, where)
    if df is not None:
        df = check_frame(df, where, empty_ok=False)
        targets = None if target is None else model_targets(learn, df, target)
        arrays = [(data, *data.processor.transform_arrays(df)) for data in datas(learn)]
        return TableRows([(data, EncodedRows(codes, numbers, targets)) for data, codes, numbers in arrays])
    if target is not None:
        raise ValueError(f"{where}: a target was given without the frame it belongs to: give df as well")
    found = TableRows([(data, _valid_rows(data, where)) for data in datas(learn)])
    first, *others = [_known_targets(data, rows) for data, rows in found.parts]
    for other in others:
        if first.shape != other.shape or not np.allclose(first, other, rtol=1e-4, atol=1e-6):
            raise ValueError(
                f"{where}: the members of the ensemble have other validation rows, or in another order: give "
                "a frame of raw rows as df"
            )
    return found


def _known_targets(data: Any, rows: EncodedRows) -> np.ndarray:
    """Targets in the user's unit, in which those of several members can be compared."""
    return np.asarray(data.invert_target(np.asarray(rows.targets)))


def _valid_rows(data: Any, where: str) -> EncodedRows:
    loader = data.valid_dl
    if loader is None:
        raise ValueError(f"{where}: this learner has no validation rows: give a frame of raw rows as df")
    tensors = getattr(loader, "tensors", None)
    if tensors is None:
        batches = [split_batch(batch) for batch in loader]
        parts = [torch.cat([inputs[i] for inputs, _ in batches]) for i in (0, 1)]
        tensors = (*parts, torch.cat([wanted for _, wanted in batches]))
    codes, numbers, targets = (part.cpu() for part in tensors)
    return EncodedRows(codes.numpy(), numbers.numpy(), targets)


def check_learner(learn: Any, where: str, *, same_columns: bool = True) -> TableProcessor:
    """The processor of a learner, or of the first member of an ensemble.

    Args:
        learn: what the user gave.
        where: for error messages.
        same_columns: refuse ensembles whose members read different columns.

    Raises:
        TypeError: for anything else.
    """
    known = datas(learn) if isinstance(learn, Predictor | Ensemble) else []
    processors = [getattr(data, "processor", None) for data in known]
    if not known or not all(isinstance(one, TableProcessor) for one in processors):
        kind = type(learn).__name__
        raise TypeError(f"{where}: expected a learner of a table or an ensemble of such, got {kind}")
    if any(data.task == "autoencoder" for data in known):
        raise TypeError(f"{where}: an autoencoder has no answers to explain: errors(df) tells odd rows")
    first, *others = (set(one.feature_names_in_) for one in processors)  # type: ignore[union-attr]
    for number, columns in enumerate(others, 1):
        if same_columns and columns != first:
            raise ValueError(
                f"{where}: learner {number} has other columns than learner 0: "
                f"{some(map(repr, sorted(columns ^ first)))}"
            )
    return processors[0]  # type: ignore[return-value]


def datas(learn: Predictor | Ensemble) -> list[Any]:
    """The data of a learner, or of the members of an ensemble, each once."""
    every = learn.learners if isinstance(learn, Ensemble) else [learn]
    return list({id(one.data): one.data for one in every}.values())


def places(processor: TableProcessor, column: str, where: str) -> tuple[list[int], list[int]]:
    """The columns among the codes and among the numbers that one raw column becomes."""
    names = [one.name for one in processor.categories_]
    if column in names:
        return [names.index(column)], []
    numbers = processor.number_names_
    raw = [one.name for one in processor.numbers_]
    if column not in raw:
        options = processor.feature_names_in_
        raise ValueError(
            f"{where}: the model has no column {column!r}{did_you_mean(column, options)}; "
            f"its columns: {some(options, 12)}"
        )
    found = [raw.index(column)]
    indicator = f"{column}_na"
    if indicator in numbers[len(raw) :]:
        found.append(numbers.index(indicator, len(raw)))
    return [], found


def put_value(
    processor: TableProcessor, column: str, value: Any, codes: np.ndarray, numbers: np.ndarray
) -> None:
    """Write one raw value of a column into all rows of arrays that `transform_arrays` made."""
    in_codes, in_numbers = places(processor, column, "value")
    if in_codes:
        codes[:, in_codes[0]] = processor.categories_[in_codes[0]].encode_one(value)
        return
    found, gap = processor.numbers_[in_numbers[0]].encode_one(value)
    numbers[:, in_numbers[0]] = found
    if len(in_numbers) > 1:
        numbers[:, in_numbers[1]] = float(gap)


def check_values(learn: Predictor | Ensemble, column: str, values: Iterable[Any]) -> None:
    """Tell of values of a category that training never showed, or raise, as for rows that hold them."""
    for processor in (data.processor for data in datas(learn)):
        known = next((one for one in processor.categories_ if one.name == column), None)
        if known is not None:
            strange = [value for value in values if known.encode_one(value) == known.unknown_code]
            if strange:
                processor.report({column: dict.fromkeys(strange, 1)})


def raw_numbers(processor: TableProcessor, column: str, numbers: np.ndarray) -> np.ndarray:
    """A number column in the user's unit, without the gaps; float64."""
    _, where = places(processor, column, "number")
    known = processor.numbers_[where[0]]
    values = numbers[:, where[0]].astype("float64")
    if len(where) > 1:
        values = values[numbers[:, where[1]] == 0]
    if known.scale and not known.std:
        return np.full_like(values, known.mean)
    if known.scale:
        precise = known.std * np.maximum(np.abs(values), 1.0) * 1e-6
        values = values * known.std + known.mean
    else:
        precise = np.maximum(np.abs(values), 1e-30) * 1e-7
    digits = -np.ceil(np.log10(precise))  # what is finer comes of float32
    power = 10.0 ** np.abs(digits)
    rounded = np.where(digits < 0, np.round(values / power) * power, np.round(values * power) / power)
    return rounded + 0.0  # no -0
