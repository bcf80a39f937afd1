"""The checks that any data in memory can be put to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.check.equal_rows import EqualRows, contradictions, row_hashes
from zoo.data.check.report import DataReport, Finding
from zoo.data.loaders.batches import n_rows
from zoo.data.quick_models import as_array

FEW = 10  # rows of a class from which hardly anything is learned
EXAMPLES = 3
REPEATING = 0.3  # share of repeated training rows above which the columns cannot tell rows apart

NameRow = Callable[[str, int], str]


def check_data(data: Any) -> DataReport:
    """Look at data before training; nothing is changed.

    Of data in memory (`TensorLoader`): values that are not finite, inputs and targets that never change, rows
    that occur twice, on both sides of the split or among those to predict, equal inputs with different
    labels, classes that are rare or occur in validation only. Tables besides: see
    `zoo_tabular.ColumnarModelData.check`. Of other loaders rows are only counted, which the report says;
    its `ok` is then false.

    Args:
        data: a `ModelData`, or anything with `train_dl` and `valid_dl`.

    Returns:
        The findings, the worst first: `.table`, `.ok`, `.html(path)`; print it.

    Example:
        >>> import torch
        >>> from zoo import ModelData, TensorLoader
        >>> x, y = torch.arange(40.0)[:, None], torch.arange(40) % 2
        >>> check_data(ModelData(TensorLoader(x, y), TensorLoader(x[:4], y[:4]))).findings[0].what
        'training rows in validation'
    """
    if hasattr(data, "check"):
        return data.check()
    if not hasattr(data, "train_dl"):
        raise TypeError(
            f"check_data looks at a ModelData (or what has train_dl and valid_dl), got {type(data).__name__}"
        )
    return check_loaders(data)


@dataclass(frozen=True)
class Split:
    """Training and validation rows in memory.

    Attributes:
        train, valid: inputs and, last, the target; empty where there are no such rows.
        classes: names of classes or labels.
        labelled: the targets are classes or labels, not numbers.
        name: how a row is called: of the split and its number.
        test: inputs of rows to predict.
    """

    train: tuple[np.ndarray, ...]
    valid: tuple[np.ndarray, ...]
    classes: list[str] | None
    labelled: bool
    name: NameRow
    test: tuple[np.ndarray, ...] = ()

    def names(self, split: str, rows: np.ndarray) -> tuple[str, ...]:
        """The first few of some rows."""
        return tuple(self.name(split, int(row)) for row in rows[:EXAMPLES])


def plain_name(split: str, row: int) -> str:
    return f"{split} row {row}"


def check_loaders(data: Any) -> DataReport:
    """What can be told of any loaders."""
    loaders = {name: getattr(data, f"{name}_dl", None) for name in ("train", "valid", "test")}
    counts = {
        name: rows
        for name, loader in loaders.items()
        if loader is not None and (rows := n_rows(loader)) is not None  # a stream tells none
    }
    tensors = [getattr(loaders[name], "tensors", None) for name in ("train", "valid", "test")]
    if tensors[0] is None:
        kind = type(loaders["train"]).__name__ if loaders["train"] is not None else "nothing"
        unseen = Finding(
            "note", "rows that were not looked at", f"train, in a {kind}", counts.get("train", 0), None, (),
            "They were only counted: whether they repeat, or are labelled rightly, is not known.",
        )  # fmt: skip
        return DataReport([unseen], counts, looked_at=False)
    train, valid, test = (tuple(map(as_array, part or ())) for part in tensors)
    task = getattr(data, "task", None)
    labelled = task in ("classification", "multilabel") or (task is None and _are_classes(train[-1]))
    test = test[: len(train) - 1]  # some hold a target, too
    split = Split(train, valid, getattr(data, "classes", None), labelled, plain_name, test)
    findings = [*bad_values(split), *constant_target(split), *equal_rows(split)]
    classes: dict[str, dict[str, int]] = {}
    if labelled:
        classes = class_counts(split)
        findings += class_findings(classes, bool(valid))
    return DataReport(findings, counts, classes)


def _are_classes(target: np.ndarray) -> bool:
    """Whether targets of an unknown task are classes or labels: whole numbers, not too many for the rows."""
    if target.dtype.kind not in "iub" or not len(target):
        return False
    if target.ndim > 1 and target.shape[1] > 1:
        return bool(((target == 0) | (target == 1)).all())
    values = np.unique(target)
    return int(values[-1]) < max(2, len(target)) and len(values) <= max(20, len(target) // 2)


def bad_values(split: Split) -> list[Finding]:
    """Values that are not finite, and inputs that never change."""
    found = []
    for name in ("train", "valid"):
        for number, array in enumerate(getattr(split, name)):
            if array.dtype.kind != "f":
                continue
            bad = ~np.isfinite(array.reshape(len(array), -1)).all(1)
            if bad.any():
                last = number == len(getattr(split, name)) - 1
                found.append(
                    Finding(
                        "error",
                        "values that are not finite",
                        f"{'target' if last else f'input {number}'}, {name}",
                        int(bad.sum()),
                        float(bad.mean()),
                        split.names(name, np.flatnonzero(bad)),
                        "Leave these rows out, or fill the gaps.",
                    )
                )
    for number, array in enumerate(split.train[:-1]):
        if array.ndim == 2 and len(array) > 1:
            constant = np.flatnonzero((array == array[:1]).all(0))
            if len(constant):
                found.append(
                    Finding(
                        "note",
                        "inputs that never change",
                        f"input {number}, train",
                        len(constant),
                        len(constant) / array.shape[1],
                        tuple(f"column {i}" for i in constant[:EXAMPLES]),
                        "They tell nothing: leave them out.",
                    )
                )
    return found


def constant_target(split: Split) -> list[Finding]:
    """A target that is the same in all training rows."""
    target = split.train[-1] if split.train else np.empty(0)
    if len(target) < 2 or target.size == 0 or not (target == target[:1]).all():
        return []
    return [
        Finding(
            "error", "the target never changes", "train", len(target), 1.0, (str(target.flat[0]),),
            "There is nothing to learn: see where it comes from.",
        )
    ]  # fmt: skip


def equal_rows(split: Split) -> list[Finding]:
    """Rows that occur twice, or on both sides of the split, and equal inputs with different labels."""
    if not split.train or len(split.train) < 2:
        return []
    inputs = [
        row_hashes(*part[:-1]) if part else np.empty(0, "uint64") for part in (split.train, split.valid)
    ]
    both = [
        row_hashes(hashes, part[-1]) if part else hashes
        for hashes, part in zip(inputs, (split.train, split.valid), strict=True)
    ]
    copies, alike = EqualRows.of(both[0], both[1]), EqualRows.of(inputs[0], inputs[1])
    natural = len(alike.repeated) / len(inputs[0]) > REPEATING and not _rich(split.train[:-1])
    severity = "note" if natural else "warning"
    found: list[Finding | None] = []
    others = np.isin(alike.crossing, copies.crossing, invert=True)
    found += [
        _same_rows(
            split,
            ("note" if natural else "error", "training rows in validation", "inputs and target are equal"),
            ("valid", copies.crossing, "train", copies.twin),
            "Drop them before the split, or keep them on one side: the score looks better than it is.",
        ),
        _same_rows(
            split,
            (severity, "inputs of training rows in validation", "the target is another"),
            ("valid", alike.crossing[others], "train", alike.twin[others]),
            "Keep rows of one origin on one side of the split, and look at these targets.",
            "and",
        ),
        _known_test_rows(split, inputs[0], natural),
        _same_rows(
            split,
            (
                severity if len(copies.repeated) > 0.01 * len(inputs[0]) else "note",
                "training rows that occur twice",
                "inputs and target are equal",
            ),
            ("train", copies.repeated, "train", copies.first),
            "Drop the duplicates, unless they are cases of their own.",
        ),
    ]
    if split.labelled:
        rows, earlier = contradictions(inputs[0], both[0])
        found.append(
            _same_rows(
                split,
                (severity, "equal inputs, other label", "train"),
                ("train", rows, "train", earlier),
                "Look at these labels: no model can be right on both.",
                "and",
            )
        )
    return [one for one in found if one is not None]


def _same_rows(
    split: Split,
    told: tuple[str, str, str],
    rows: tuple[str, np.ndarray, str, np.ndarray],
    cure: str,
    sign: str = "=",
) -> Finding | None:
    """Rows that equal others, if there are some.

    Args:
        split: what they are of.
        told: severity, what, and where.
        rows: split and numbers of these rows, and of the rows that they equal.
        cure: what to do.
        sign: between the names of two such rows.
    """
    part, these, of, those = rows
    if not len(these):
        return None
    names = zip(split.names(part, these), split.names(of, those), strict=True)
    total = len((split.test if part == "test" else getattr(split, part))[0])
    examples = tuple(f"{one} {sign} {other}" for one, other in names)
    return Finding(*told, len(these), len(these) / total, examples, cure)


def _known_test_rows(split: Split, train: np.ndarray, natural: bool) -> Finding | None:
    """Rows to predict whose inputs training has already."""
    if len(split.test) != len(split.train) - 1:
        return None
    known = EqualRows.of(train, row_hashes(*split.test))
    return _same_rows(
        split,
        ("note" if natural else "warning", "training rows among those to predict", "inputs are equal"),
        ("test", known.crossing, "train", known.twin),
        "Their answers are known: see whether they should be predicted.",
    )


def _rich(inputs: tuple[np.ndarray, ...]) -> bool:
    """Whether some number has so many values that equal rows are copies, not cases that happen to agree."""
    for array in inputs:
        if array.dtype.kind == "f":
            flat = array.reshape(len(array), -1)[:100_000]
            wide = max((len(np.unique(column)) for column in flat.T[:200]), default=0)
            if wide >= max(20, 0.2 * len(flat)):
                return True
    return False


def class_counts(split: Split) -> dict[str, dict[str, int]]:
    """Rows of each class or label by split."""
    parts = {name: getattr(split, name)[-1] for name in ("train", "valid") if getattr(split, name)}
    if any(target.ndim > 1 and target.shape[1] > 1 for target in parts.values()):
        width = next(iter(parts.values())).shape[1]
        counts = {name: (target > 0.5).sum(0) for name, target in parts.items()}
    else:
        return _counts_of_numbers(parts, split.classes or [])
    names = split.classes if split.classes and len(split.classes) == width else list(map(str, range(width)))
    return {str(one): {s: int(counts[s][i]) for s in counts} for i, one in enumerate(names)}


def _counts_of_numbers(parts: dict[str, np.ndarray], classes: list[str]) -> dict[str, dict[str, int]]:
    """Rows of each class by split: of those with a name, and of others that occur and are not negative."""
    counts = {}
    for name, target in parts.items():
        values, rows = np.unique(target.reshape(-1).astype("int64"), return_counts=True)
        counts[name] = dict(zip(values.tolist(), rows.tolist(), strict=True))
    numbers = {number for by in counts.values() for number in by if number >= 0} | set(range(len(classes)))
    named = max(numbers, default=-1) < len(classes)
    return {
        str(classes[number] if named else number): {s: counts[s].get(number, 0) for s in counts}
        for number in sorted(numbers)
    }


def class_findings(classes: dict[str, dict[str, int]], validated: bool) -> list[Finding]:
    """Classes that only validation has, that have few rows, or that validation lacks."""

    def finding(severity: str, what: str, where: str, names: list[str], cure: str) -> list[Finding]:
        shown = tuple(f"{name!r} ({classes[name].get(where, 0)})" for name in names[:EXAMPLES])
        return (
            [Finding(severity, what, where, len(names), len(names) / len(classes), shown, cure)]
            if names
            else []
        )

    unlearned = [name for name, by in classes.items() if not by["train"] and by.get("valid", 0)]
    few = [name for name, by in classes.items() if 0 < by["train"] < FEW]
    unseen = [name for name, by in classes.items() if validated and by["train"] and not by["valid"]]
    return [
        *finding(
            "error", "classes only in validation", "valid", unlearned, "Split so that training has them too."
        ),
        *finding(
            "warning",
            "rare classes",
            "train",
            few,
            f"Fewer than {FEW} rows: gather more, or put them together.",
        ),
        *finding(
            "note", "classes without validation rows", "train", unseen, "Their errors are not measured."
        ),
    ]
