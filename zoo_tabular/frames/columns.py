"""What a `TableProcessor` knows about a column: how values become codes and numbers. No torch here."""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import some
from zoo_tabular.frames.checks import is_flag, is_text

MISSING = (
    0  # the code of a missing category; levels follow from 1, then one code for rare, one for unknown levels
)

FLAGS = {"true": 1, "false": 0}  # as text spells them, in small letters
NUMBERS = (numbers.Real, np.bool_, Decimal)
DATES = (datetime.date, np.datetime64)

FLOAT32_LIMIT = (2 - 2**-24) * 2.0**127  # from here on a number becomes infinite as float32


def is_missing(value: Any) -> bool:
    """Whether a single value counts as missing: None, NaN, NaT or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and value != value) or (
        value is pd.NaT
        or (isinstance(value, Decimal) and value.is_nan())
        or (isinstance(value, np.datetime64) and bool(np.isnat(value)))
    )  # fmt: skip


def object_kind(values: pd.Series) -> str:
    """What an object column holds, gaps aside: only "dates" (or durations), only "numbers" (also true/false,
    Decimals and numpy's), numbers of which some are "complex", or else "text", as for other columns."""
    if not pd.api.types.is_object_dtype(values.dtype):
        return "text"
    if pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
        return "text"
    kinds = {type(value) for value in values[values.notna().to_numpy()]}
    dates = (*DATES, datetime.timedelta, np.timedelta64)
    for kind, types in (("dates", dates), ("numbers", NUMBERS), ("complex", (*NUMBERS, numbers.Complex))):
        if kinds and all(issubclass(one, types) for one in kinds):
            return kind
    return "text"


def canonical(value: Any, kind: str) -> Any:
    """A category's value as it is stored, so that 1, 1.0, True and "1" meet where they mean the same.

    Args:
        value: any value that is not missing.
        kind: "number" for columns whose levels are all numbers, "date" if all are dates, else "text".
            Numbers of float32 are the shortest that float32 rounds to them.

    Returns:
        An int or float (for numbers; None if the value is no number), or a string (for dates in ISO form,
        in UTC where they have a time zone, None if the value is no date; and for text).
    """
    if kind == "date":
        return _iso(value)
    if type(value) is np.float32 and not float(value).is_integer():
        value = float(str(value))  # 0.1, not 0.10000000149011612
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    if kind == "number" and isinstance(value, str):
        value = _spelt(value)
    if isinstance(value, numbers.Integral):  # equal values must agree: True == 1 == 1.0
        return int(value) if kind == "number" else str(int(value))
    if isinstance(value, numbers.Real | Decimal):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf if value > 0 else -math.inf  # type: ignore[operator]
        plain = int(found) if abs(found) < 2**53 and found.is_integer() else found
        return plain if kind == "number" else str(plain)
    if kind == "number":
        return None
    return _iso(value) if isinstance(value, DATES) else str(value)


def _spelt(text: str) -> int | float | None:
    """The number that a text spells, with all digits of whole ones; None if it spells none."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _iso(value: Any) -> str | None:
    """A date, also one given as text, in ISO form, in UTC if it has a time zone; None for anything else."""
    if not isinstance(value, datetime.date | np.datetime64 | str):
        return None
    try:
        moment = pd.Timestamp(value)
        return (moment if moment.tzinfo is None else moment.tz_convert("UTC")).isoformat()
    except (ValueError, OverflowError):
        return None


def _as_float32(value: Any) -> np.float32 | None:
    """A fraction that float32 holds exactly, as float32, whose shortest form may be another number."""
    exact = float(value) if isinstance(value, float | np.floating) else 0.0
    if exact.is_integer() or not -FLOAT32_LIMIT < exact < FLOAT32_LIMIT:
        return None
    narrow = np.float32(exact)
    return narrow if float(narrow) == exact else None


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
            codes |= {_iso(level): code for level, code in codes.items() if level and len(level) > 19}
        elif self.kind == "number":  # 0.10000000149011612 was 0.1 as float32
            narrow = [(_as_float32(level), code) for level, code in codes.items()]
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
            meant = _iso(level) if meant is None else meant
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
        narrow = _as_float32(value)
        found = self._find(value if narrow is None else float(value))
        if found is None and narrow is not None:  # equal values must agree: the exact one comes first
            found = self._find(narrow)
        return self.unknown_code if found is None else found

    def _find(self, value: Any) -> int | None:
        found = self.table.get(canonical(value, self.kind))
        if found is None and self.kind == "text" and not isinstance(value, str):  # 1.0 meets a level "1.0"
            meant = canonical(value, "number")
            if meant is None and isinstance(value, DATES):
                meant = _iso(value)
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
        codes, distinct = factorize(without_unused(values))
        known = [self.code(value) for value in distinct]
        lookup = np.array([*known, MISSING], dtype="int64")  # code -1, missing, reads the last entry
        if self.unknown_code not in known:
            return lookup[codes], {}
        counts = np.bincount(codes + 1, minlength=len(distinct) + 1)[1:].tolist()
        unknown = {
            value: count
            for value, code, count in zip(distinct, known, counts, strict=True)
            if code == self.unknown_code and count
        }
        return lookup[codes], unknown

    def encode_one(self, value: Any) -> int:
        """Code of a single value; the same as `encode` gives."""
        try:
            code = self.table.get(value)
        except TypeError:  # unhashable
            raise TypeError(_no_category(self.name, type(value).__name__)) from None
        if code is not None:
            return code
        if is_missing(value):
            return MISSING
        return self.code(value)


@dataclass
class NumberColumn:
    """Median, mean and standard deviation of one numeric column, without its gaps.

    Attributes:
        scale: whether values are brought to mean 0 and deviation 1; a column that was constant in training
            then becomes 0 throughout, since nothing can have been learned from it.
    """

    name: str
    median: float
    mean: float
    std: float
    missing_seen: bool = False
    scale: bool = False

    @classmethod
    def learn(cls, values: pd.Series, scale: bool) -> NumberColumn:
        """Collect the statistics of a column; gaps count with the median that will fill them."""
        found = to_floats(values)
        gaps = np.isnan(found)
        present = found[~gaps]
        check_fits(present, present, str(values.name))
        median = float(np.median(present)) if len(present) else 0.0
        found = np.where(gaps, median, found)
        mean, std = float(found.mean()), deviation(found)
        return cls(str(values.name), median, mean, std, bool(gaps.any()), scale)

    def encode(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Float64 values without gaps, and where the gaps were."""
        found = to_floats(values)
        gaps = np.isnan(found)
        raw = found = np.where(gaps, self.median, found)
        if self.scale:
            with np.errstate(over="ignore"):
                found = (found - self.mean) / self.std if self.std else np.zeros_like(found)
        check_fits(found, raw, self.name)
        return found, gaps

    def encode_one(self, value: Any) -> tuple[float, bool]:
        """A single value; the same as `encode` gives."""
        gap = is_missing(value)
        if gap:
            found = self.median
        else:
            if isinstance(value, datetime.date | datetime.timedelta | np.datetime64 | np.timedelta64):
                raise TypeError(_not_numbers(self.name, type(value).__name__))
            try:
                found = float(value)
            except (TypeError, ValueError):
                raise ValueError(f"column {self.name!r} holds numbers, got {value!r}") from None
            except OverflowError:
                raise ValueError(_too_large(self.name, "a whole number")) from None
            gap = found != found
            if found in (float("inf"), float("-inf")):
                raise ValueError(f"column {self.name!r} holds an infinite value")
            found = self.median if gap else found
        if self.scale:
            found = (found - self.mean) / self.std if self.std else 0.0
        if not -FLOAT32_LIMIT < found < FLOAT32_LIMIT:
            raise ValueError(_too_large(self.name, f"{float(value):g}"))
        return found, gap


def to_floats(values: pd.Series) -> np.ndarray:
    """A column as float64 with NaN for gaps.

    Raises:
        TypeError: for dates, durations and complex numbers.
        ValueError: for text that is no number, for infinite values and whole numbers beyond float64.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.cat.remove_unused_categories()
        levels = to_floats(pd.Series(values.cat.categories, name=values.name))
        return np.append(levels, np.nan)[values.cat.codes]  # code -1, missing, reads the last entry
    if pd.api.types.is_complex_dtype(values.dtype) or object_kind(values) == "complex":
        raise TypeError(f"column {values.name!r} holds complex numbers: make two columns of them")
    if is_flag(values):
        values = values.astype("boolean")
    elif is_text(values):
        try:
            parsed = pd.to_numeric(values, errors="coerce")
        except OverflowError:
            raise ValueError(_too_large(str(values.name), "a whole number")) from None
        bad = values[(parsed.isna() & values.notna()).to_numpy()]
        bad = [
            value for value in bad.unique() if not (isinstance(value, str) and value.strip().lower() == "nan")
        ]
        if bad:
            raise ValueError(
                f"column {values.name!r} is used as numbers but holds {some(map(repr, bad), 3)}: "
                "list it among the categories or clean it"
            )
        values = parsed
    if not (pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)):
        raise TypeError(_not_numbers(str(values.name), str(values.dtype)))
    found = values.to_numpy(dtype="float64", na_value=np.nan)
    if np.isinf(found).any():
        raise ValueError(
            f"column {values.name!r} holds {int(np.isinf(found).sum())} infinite values: clean them first"
        )
    return found


def deviation(values: np.ndarray) -> float:
    """Standard deviation of a population: 0 where all values are the same, which rounding may hide."""
    return float(values.std()) if len(values) and values.min() < values.max() else 0.0


def check_fits(found: np.ndarray, raw: np.ndarray, name: str) -> None:
    """Raise when a number would become infinite as float32, naming it as it was before scaling."""
    fits = np.abs(found) < FLOAT32_LIMIT
    if not fits.all():
        raise ValueError(_too_large(name, f"{raw[~fits][0]:g}"))


def _too_large(name: str, value: str) -> str:
    return (
        f"column {name!r} holds {value}, which is too large for float32 "
        "(scaled by the training rows, where asked for): clean it first"
    )


def _not_numbers(name: str, kind: str) -> str:
    return (
        f"column {name!r} is {kind}, not numbers: use add_datepart for dates, or list it among the categories"
    )


def without_unused(values: pd.Series) -> pd.Series:
    """The column itself, or if it has more categories than rows, without those that no row has."""
    if isinstance(values.dtype, pd.CategoricalDtype) and len(values) < len(values.dtype.categories):
        return values.cat.remove_unused_categories()
    return values


def factorize(values: pd.Series) -> tuple[np.ndarray, list]:
    """Position of each row's value among the distinct values (-1 where missing), and these values."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy().astype("int64"), _plain(values.cat.categories)
    try:
        objects = pd.api.types.is_object_dtype(values.dtype)  # as they are: an index would convert them
        codes, distinct = pd.factorize(values.to_numpy() if objects else values)
    except TypeError as error:  # unhashable
        kinds = sorted({type(value).__name__ for value in values if not isinstance(value, Hashable)})
        if not kinds:
            raise
        raise TypeError(_no_category(str(values.name), some(kinds))) from error
    return codes, _plain(distinct)


def _no_category(name: str, kinds: str) -> str:
    return f"column {name!r} holds {kinds} values, which cannot be categories: make text of them"


def _plain(distinct: Iterable) -> list:
    """Values as Python has them, but for float32, which knows how few digits it has."""
    if str(getattr(distinct, "dtype", "")) in ("float32", "Float32", "float[pyarrow]"):
        return list(np.asarray(distinct, dtype="float32"))
    return (
        distinct.tolist()
        if isinstance(distinct, np.ndarray) and distinct.dtype.kind in "biufO"
        else list(distinct)
    )
