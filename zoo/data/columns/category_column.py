"""The levels of a category column, and their codes. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.canonical import canonical, exact_float32, iso_date
from zoo.data.columns.codes import code_values, factorize, no_category, without_unused
from zoo.data.columns.kinds import (
    DATES,
    NUMBERS,
    is_missing,
)

MISSING = (
    0  # the code of a missing category; levels follow from 1, then one code for rare, one for unknown levels
)

FLAGS = {"true": 1, "false": 0}  # as text spells them, in small letters


@dataclass
class CategoryColumn:
    """Levels of one category column.

    Attributes:
        name: the column.
        kind: "number", "date" or "text", see `canonical`.
        levels: known levels; level i has code i + 1.
        rare: levels that were seen too seldom to have a code of their own.
        missing_seen: whether training rows had missing values here.
    """

    name: str
    kind: str
    levels: list
    rare: list = field(default_factory=list)
    missing_seen: bool = False

    @property
    def rare_code(self) -> int:
        return len(self.levels) + 1

    @property
    def unknown_code(self) -> int:
        return len(self.levels) + 2

    @property
    def n_codes(self) -> int:
        """How many codes there are: missing, the levels, rare, unknown."""
        return len(self.levels) + 3

    @cached_property
    def table(self) -> dict:
        """Code of every level that was seen in training."""
        codes = {level: code for code, level in enumerate(self.levels, 1)} | dict.fromkeys(
            self.rare, self.rare_code
        )
        if self.kind == "date":  # a saved state may have levels of other time zones than UTC
            codes |= {iso_date(level): code for level, code in codes.items() if level and len(level) > 19}
        elif self.kind == "number":  # 0.10000000149011612 was 0.1 as float32
            narrow = [(exact_float32(level), code) for level, code in codes.items()]
            shorter = {canonical(level, "number"): code for level, code in narrow if level is not None}
            codes = shorter | codes
        return codes

    @cached_property
    def _alike(self) -> dict:
        """Codes of text levels by the number, date, or else true/false that they spell; those that two levels
        share are out."""
        spelt: dict[Any, set[int]] = {}
        flags: dict[Any, set[int]] = {}
        for level, code in self.table.items():
            meant = canonical(level, "number")
            meant = iso_date(level) if meant is None else meant
            if meant is not None:
                spelt.setdefault(meant, set()).add(code)
            elif level.lower() in FLAGS:
                flags.setdefault(FLAGS[level.lower()], set()).add(code)
        return {meant: codes.pop() for meant, codes in (flags | spelt).items() if len(codes) == 1}

    @cached_property
    def _is_flag(self) -> bool:
        """Whether the levels are those of a true/false column."""
        return self.kind == "number" and self.table.keys() <= {0, 1}

    def code(self, value: Any) -> int:
        """Code of a value that is not missing."""
        narrow = exact_float32(value)
        found = self._find(value if narrow is None else float(value))
        if found is None and narrow is not None:  # equal values must agree: the exact one comes first
            found = self._find(narrow)
        return self.unknown_code if found is None else found

    def _find(self, value: Any) -> int | None:
        found = self.table.get(canonical(value, self.kind))
        if found is None and self.kind == "text" and not isinstance(value, str):  # 1.0 meets a level "1.0"
            meant = canonical(value, "number")
            if meant is None and isinstance(value, DATES):
                meant = iso_date(value)
            found = None if meant is None else self._alike.get(meant)
        if found is None and isinstance(value, str) and self._is_flag:
            found = self.table.get(FLAGS.get(value.lower()))
        return found

    @classmethod
    def learn(cls, values: pd.Series, min_count: int, max_levels: int | None) -> CategoryColumn:
        """Collect the levels of a column; see `TableProcessor` for the options."""
        codes, distinct = factorize(values)
        counts = np.bincount(codes + 1, minlength=len(distinct) + 1).tolist()
        ranks = isinstance(values.dtype, pd.CategoricalDtype) and bool(values.dtype.ordered)
        return cls.of_counts(str(values.name), distinct, counts[1:], counts[0], ranks, min_count, max_levels)

    @classmethod
    def of_counts(
        cls,
        name: str,
        distinct: Sequence[Any],
        counts: Sequence[int],
        missing: int,
        ranks: bool,
        min_count: int,
        max_levels: int | None,
    ) -> CategoryColumn:
        """The same from the distinct values of a column and how many rows have each.

        Args:
            name: the column.
            distinct: its values, without missing ones.
            counts: rows of each.
            missing: rows without a value.
            ranks: the values come in an order of their own, which the levels keep.
            min_count, max_levels: see `TableProcessor`.
        """
        number = all(isinstance(value, NUMBERS) for value in distinct)
        dates = all(isinstance(value, DATES) for value in distinct)
        kind = "number" if number else "date" if dates else "text"
        seen: dict[Any, int] = {}
        for value, count in zip(distinct, counts, strict=True):
            if count:
                level = canonical(value, kind)
                seen[level] = seen.get(level, 0) + count
        levels = list(seen) if ranks else sorted(seen)
        kept = {level for level in levels if seen[level] >= min_count}
        if max_levels is not None and len(kept) > max_levels:
            place = {level: number for number, level in enumerate(levels)}
            kept = set(sorted(kept, key=lambda level: (-seen[level], place[level]))[:max_levels])
        return cls(
            name,
            kind,
            [level for level in levels if level in kept],
            [level for level in levels if level not in kept],
            missing > 0,
        )

    def encode(self, values: pd.Series) -> tuple[np.ndarray, dict[Any, int]]:
        """Codes of a whole column, and the unknown values in it with their counts."""
        return code_values(
            without_unused(values), lambda distinct: map(self.code, distinct), MISSING, self.unknown_code
        )

    def encode_one(self, value: Any) -> int:
        """Code of a single value; the same as `encode` gives."""
        try:
            code = self.table.get(value)
        except TypeError:  # unhashable
            raise TypeError(no_category(self.name, type(value).__name__)) from None
        if code is not None:
            return code
        if is_missing(value):
            return MISSING
        return self.code(value)
