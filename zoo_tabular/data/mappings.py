"""What the numbers of a table stand for, by name, for the files of its learners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.target.transforms import TargetTransform

STATISTICS = "statistics of number columns"
TARGET_SCALE = "mean and deviation of the target"


def table_mappings(processor: TableProcessor) -> dict[str, Sequence[Any]]:
    """Columns, levels, and how numbers are filled and scaled."""
    numbers = processor.numbers_
    found: dict[str, Sequence[Any]] = {"columns": processor.feature_names_out_}
    found |= {f"levels of {column.name!r}": column.levels for column in processor.categories_}
    if numbers:
        found["scaled columns"] = [column.name for column in numbers if column.scale]
        found[STATISTICS] = [
            f"{column.name}: {column.median:.8g}, {column.mean:.8g}, {column.std:.8g}"
            if column.scale
            else f"{column.name}: {column.median:.8g}"
            for column in numbers
        ]
    return found


def target_mappings(target: TargetTransform) -> dict[str, Sequence[Any]]:
    """The target columns where they have names, and the scale on which they are learned."""
    found: dict[str, Sequence[Any]] = {} if target.names is None else {"target": target.names}
    found["transform of the target"] = [target.name] if isinstance(target.name, str) else target.name
    if target.mean is not None and target.std is not None:
        pairs = zip(target.mean, target.std, strict=True)
        found[TARGET_SCALE] = [f"{mean:.8g}, {std:.8g}" for mean, std in pairs]
    return found
