"""Looks at the columns of a table before training; see `ColumnarModelData.check`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.check.check_data import (
    EXAMPLES,
    Split,
    bad_values,
    class_counts,
    class_findings,
    constant_target,
    equal_rows,
)
from zoo.data.check.report import DataReport, Finding
from zoo.data.loaders.batches import n_rows
from zoo.data.quick_models import TASKS, rows_of
from zoo_tabular.data.row_weights import split_weights
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.splits import named_as_time

if TYPE_CHECKING:
    from zoo_tabular.data.columnar import ColumnarModelData

STREAMED_ROWS = 1_000_000  # rows of files that are looked at
SAMPLE = 50_000  # rows by which columns are compared with the target and with validation
DRIFT = 0.25  # distance of two distributions, 0 to 1, from which on it is told
LEAK = 0.99  # share of the target that one column tells
MANY_GAPS = 0.5
UNKNOWN = 0.05  # share of validation rows with unknown values that is no matter of chance
NEARLY_ALL = 0.999


@dataclass(frozen=True)
class Column:
    """One column of features, coded, in training and validation.

    Attributes:
        name: as the user has it.
        train, valid: codes of categories, or scaled numbers with NaN for gaps.
        levels: of a category column, whose codes are 0 for missing and follow from 1; `None` for numbers.
        unknown: the code of unknown levels.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    levels: list[Any] | None = None
    unknown: int = -1

    @property
    def where(self) -> str:
        return f"column {self.name!r}"

    def gaps(self, rows: np.ndarray) -> np.ndarray:
        return np.isnan(rows) if self.levels is None else rows == 0


def check_table(data: ColumnarModelData) -> DataReport:
    """What there is to say of a table; nothing is changed."""
    loaders = {name: getattr(data, f"{name}_dl") for name in ("train", "valid", "test")}
    counts = {
        name: rows
        for name, loader in loaders.items()
        if loader is not None and (rows := n_rows(loader)) is not None  # a stream tells none
    }
    if data.train_dl is None:
        return DataReport([], counts, remarks=["there are no training rows to look at"])
    train, valid, test = (_arrays(data, loaders[name]) for name in ("train", "valid", "test"))
    remarks = []
    if len(train[0]) > SAMPLE:
        remarks.append(f"training, validation and target are compared by at most {SAMPLE:,} rows each")
    if len(train[0]) < counts["train"]:
        remarks.append(f"{len(train[0]):,} of {counts['train']:,} training rows were looked at")
    labelled = data.task in ("classification", "multilabel")
    split = Split(train, valid, data.classes, labelled, data.row_name, test[:2])
    targets = Split(train[-1:], valid[-1:], None, False, data.row_name)
    findings = [*bad_values(targets), *constant_target(targets), *equal_rows(split)]
    if data.time_leak is not None:
        findings.append(
            Finding(
                "warning", "leak of time", "split", counts.get("valid", 0), None, (), f"{data.time_leak}."
            )
        )
    drawn = _sample(len(train[0]))
    target = train[-1][drawn].reshape(len(drawn), -1)
    if data.task == "regression":  # also by ranks: of sales or prices the largest few decide the variance
        target = np.hstack([target, *(_ranks(values)[:, None] for values in target.T)])
    for column in _columns(data.processor, train, valid):
        findings += [
            one for one in (*_of_column(column), _leak(column, drawn, target, data.task)) if one is not None
        ]
    classes: dict[str, dict[str, int]] = {}
    if labelled:
        classes = class_counts(split)
        findings += class_findings(classes, bool(valid))
    return DataReport(findings, counts, classes, remarks)


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value among the distinct ones."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype("float64")


def _arrays(data: ColumnarModelData, loader: Any) -> tuple[np.ndarray, ...]:
    """The rows of a loader, without weights; empty without one, the first million where they are streamed."""
    if loader is None:
        return ()
    most = None if hasattr(loader, "tensors") else STREAMED_ROWS
    *inputs, targets = (part.numpy() for part in rows_of(loader, most))
    if loader is data.test_dl and len(inputs) < 2:  # rows to predict have no target
        return *inputs, targets
    return *inputs, split_weights(targets, data.task, data.n_out)[0]


@functools.lru_cache(maxsize=2)
def _sample(n: int) -> np.ndarray:
    """The same rows for every column."""
    if n <= SAMPLE:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))


def _columns(
    processor: TableProcessor, train: tuple[np.ndarray, ...], valid: tuple[np.ndarray, ...]
) -> Iterator[Column]:
    """The columns as the user has them: with their gaps."""
    none = np.empty(0, dtype="int64")
    for i, known in enumerate(processor.categories_):
        levels = [*known.levels, "(rare)"]
        codes = (train[0][:, i], valid[0][:, i] if valid else none)
        yield Column(known.name, *codes, levels, known.unknown_code)
    names = processor.number_names_
    for i, known in enumerate(processor.numbers_):
        flag = f"{known.name}_na"
        parts = []
        for split in (train, valid):
            values = split[1][:, i].astype("float64") if split else np.empty(0)
            if split and flag in names[len(processor.numbers_) :]:
                values[split[1][:, names.index(flag, len(processor.numbers_))] > 0.5] = np.nan
            parts.append(values)
        yield Column(known.name, *parts)


def _of_column(column: Column) -> Iterator[Finding | None]:
    """What one column tells by itself, and by training beside validation."""
    yield _constant(column)
    yield _ids(column)
    yield _gaps(column)
    if column.levels is not None:
        yield _unknown(column)
        yield _numbers_as_text(column)
        yield _rare(column)
    yield _drift(column)


def _constant(column: Column) -> Finding | None:
    drawn = column.train[_sample(len(column.train))]
    known = drawn[~column.gaps(drawn)]
    if not len(known) or len(drawn) < 20:
        return None
    share = float(np.unique(known, return_counts=True)[1].max() / len(known))
    if share < NEARLY_ALL or (
        len(known) < len(drawn) and column.levels is None
    ):  # the gaps may tell something
        return None
    return Finding(
        "note",
        "hardly any other value",
        column.where,
        len(known),
        share,
        (),
        "It tells next to nothing: leave it out.",
    )


def _ids(column: Column) -> Finding | None:
    """Levels, or evenly spaced numbers, that occur once each; the time of the rows may do so."""
    n = len(column.train)
    if n < 50:
        return None
    if column.levels is not None:
        if len(column.levels) - 1 < 0.95 * n:
            return None
        shown = tuple(map(str, column.levels[:EXAMPLES]))
    else:
        if named_as_time(column.name):
            return None
        # what rules out a sample rules out all, and few columns have to be sorted as a whole
        if not all(_evenly_spaced(values, n) for values in (column.train[_sample(n)], column.train)):
            return None
        shown = ()
    return Finding(
        "warning",
        "every row has a value of its own",
        column.where,
        n,
        None,
        shown,
        "It looks like an id, of which nothing is learned for other rows: leave it out.",
    )


def _evenly_spaced(values: np.ndarray, n: int) -> bool:
    """Whether numbers could be distinct ones of a row of `n` or somewhat more whole numbers."""
    ranked = np.sort(values[~np.isnan(values)])
    steps = np.diff(ranked)
    if len(ranked) < 0.95 * len(values) or not len(steps) or steps.min() <= 0:
        return False
    return (ranked[-1] - ranked[0]) / steps.min() <= 3 * n


def _gaps(column: Column) -> Finding | None:
    shares = [float(column.gaps(rows).mean()) if len(rows) else None for rows in (column.train, column.valid)]
    train, valid = shares
    if train is not None and valid is not None and abs(train - valid) > DRIFT:
        return Finding(
            "warning",
            "missing otherwise in validation",
            column.where,
            int(column.gaps(column.valid).sum()),
            valid,
            (f"train {train:.1%}", f"valid {valid:.1%}"),
            "Find out why: gaps mean something else there.",
        )
    if train is not None and train >= MANY_GAPS:
        count = int(column.gaps(column.train).sum())
        return Finding(
            "note", "mostly missing", column.where, count, train, (), "See whether it is worth having."
        )
    return None


def _unknown(column: Column) -> Finding | None:
    unknown = column.valid == column.unknown
    if not unknown.any():
        return None
    share = float(unknown.mean())
    return Finding(
        "warning" if share > UNKNOWN else "note",
        "values that training never shows",
        column.where,
        int(unknown.sum()),
        share,
        (),
        "Validate on values that training knows, unless coming rows are as new.",
    )


def _numbers_as_text(column: Column) -> Finding | None:
    levels = [level for level in (column.levels or ())[:-1] if level is not None]
    if len(levels) <= 20 or not all(isinstance(level, str) for level in levels):
        return None
    try:
        numbers = np.array(levels[:1000], dtype="float64")
    except ValueError:
        return None
    return Finding(
        "warning" if (numbers % 1 != 0).any() else "note",  # whole ones may well be names, such as of shops
        "numbers stored as text",
        column.where,
        len(levels),
        None,
        tuple(levels[:EXAMPLES]),
        "Categories have no order: make numbers of them with pandas.to_numeric, unless they are names.",
    )


def _rare(column: Column) -> Finding | None:
    counts = np.bincount(column.train, minlength=column.unknown + 1)[1 : column.unknown - 1]
    rare = np.flatnonzero((counts > 0) & (counts < 3))
    share = float(counts[rare].sum() / max(1, counts.sum()))
    if share < 0.02 or len(rare) >= 0.95 * len(column.train):  # ids are told as such
        return None
    shown = tuple(str((column.levels or [])[i]) for i in rare[:EXAMPLES])
    return Finding(
        "note",
        "levels of one or two rows",
        column.where,
        len(rare),
        share,
        shown,
        "Put them together with min_count=3: nothing is learned of each.",
    )


def _drift(column: Column) -> Finding | None:
    """The distance between training and validation: 0 for equal distributions, 1 without overlap.

    Of numbers the Kolmogorov-Smirnov statistic, of categories the total variation; gaps and unknown values
    are told by themselves. What chance alone makes of so few rows is left out.
    """
    parts = [rows[_sample(len(rows))] for rows in (column.train, column.valid)]
    parts = [part[~column.gaps(part)] for part in parts]
    if column.levels is not None:
        parts = [part[part != column.unknown] for part in parts]
    sizes = [len(part) for part in parts]
    if min(sizes) < 50:
        return None
    if column.levels is None:
        grid = np.sort(np.concatenate(parts))
        below = [np.searchsorted(np.sort(part), grid, side="right") / len(part) for part in parts]
        distance, chance = float(np.abs(below[0] - below[1]).max()), 2 * sum(1 / n for n in sizes) ** 0.5
    else:
        shares = [np.bincount(part, minlength=column.unknown) / len(part) for part in parts]
        distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
        pooled = sum(shares) / 2
        chance = 1.5 * float(np.sqrt(pooled).sum()) * (sum(1 / n for n in sizes) / 6.28) ** 0.5
    if distance < DRIFT + chance:
        return None
    return Finding(
        "note",
        "another distribution in validation",
        column.where,
        sizes[1],
        distance,
        (),
        "Fine if coming rows differ as well (such as later dates); else split at random.",
    )


def _leak(column: Column, drawn: np.ndarray, target: np.ndarray, task: str | None) -> Finding | None:
    """Whether one column tells the target nearly perfectly: half of the rows show what each value means.

    Args:
        target: of the drawn rows, one column each (of a regression also ranks).
    """
    if len(drawn) < 50 or task not in TASKS:
        return None
    values = column.train[drawn]
    if column.levels is None:
        known = np.unique(values[~np.isnan(values)])
        places = np.where(np.isnan(values), 0, np.searchsorted(known, values) + 1)
    else:
        known, places = None, values.astype("int64")
    half = np.random.default_rng(0).random(len(drawn)) < 0.5
    told = _told_value if task == "regression" else _told_class
    share = max(told(places, known, label, half) for label in target.T)
    if share < LEAK:
        return None
    return Finding(
        "warning",
        "leak of the target",
        column.where,
        len(drawn),
        share,
        (),
        "By itself it tells the target: is it known when predictions are made?",
    )


def _told_value(places: np.ndarray, known: np.ndarray | None, target: np.ndarray, half: np.ndarray) -> float:
    """The share of the variance of one half that the mean at each value in the other half explains.

    Args:
        places: of each row's value among the values; 0 for gaps.
        known: the values in their order, from place 1 on, between which is interpolated; `None` for levels.
        target: of each row.
        half: which rows show what values mean.
    """
    size, middle = int(places.max()) + 1, float(target[half].mean())
    rows = np.bincount(places[half], minlength=size)
    means = np.bincount(places[half], weights=target[half], minlength=size) / np.maximum(rows, 1)
    means[rows == 0] = middle
    if known is not None and (seen := np.flatnonzero(rows[1:])).size:
        means[1:] = np.interp(known[: size - 1], known[seen], means[1:][seen])
    wanted = target[~half]
    spread = float(((wanted - middle) ** 2).mean())
    return 1 - float(((wanted - means[places[~half]]) ** 2).mean()) / spread if spread > 0 else 0.0


def _told_class(places: np.ndarray, known: np.ndarray | None, target: np.ndarray, half: np.ndarray) -> float:
    """The share of the errors of always naming the usual class that the class at each value spares.

    Values that the one half lacks take the class of the nearest; arguments as of `_told_value`.
    """
    labels = target.astype("int64")
    size, n = int(places.max()) + 1, int(labels.max()) + 1
    if n < 2 or size * n > 20_000_000:
        return 0.0
    table = np.bincount(places[half] * n + labels[half], minlength=size * n).reshape(size, n)
    usual = int(np.bincount(labels[half], minlength=n).argmax())
    guess = np.where(table.any(1), table.argmax(1), usual)
    if known is not None and (seen := np.flatnonzero(table[1:].any(1))).size:
        middles = (known[seen][1:] + known[seen][:-1]) / 2
        guess[1:] = guess[1:][seen[np.searchsorted(middles, known[: size - 1])]]
    wanted = labels[~half]
    plain = float((wanted == usual).mean())
    return (float((wanted == guess[places[~half]]).mean()) - plain) / (1 - plain) if plain < 1 else 0.0
