"""Which columns of a table are categories, numbers, dates, or of no use: guessed, and told. No torch here."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.kinds import holds_dates, holds_numbers, is_flag, is_text
from zoo.errors import did_you_mean
from zoo_tabular.frames.date_columns import date_column
from zoo_tabular.frames.dates import as_datetimes
from zoo_tabular.frames.frame_checks import check_columns, check_frame, name_list

_SAMPLE = 200_000  # rows that are looked at
_CODES = 100_000  # levels that whole numbers may have as categories
_CLASSES = 10  # different whole numbers of a target that are taken for classes
_WORDS = 4  # from so many words on the values of a column are texts
_BY_LEVELS = "levels tell"
_YEARLY = ("Month", "Week", "Dayofyear", "Is_quarter_end", "Is_quarter_start", "Is_year_end", "Is_year_start")
_AS_CATEGORIES = ("Month", "Week", "Day", "Dayofweek", "Hour")
_ALL_PARTS = (
    "Dayofweek", "Dayofyear", "Year", "Month", "Week", "Day", "Is_month_end", "Is_month_start",
    "Is_quarter_end", "Is_quarter_start", "Is_year_end", "Is_year_start",
    "Hour", "Minute", "Second", "Elapsed",
)  # fmt: skip


@dataclass(frozen=True)
class ColumnGuess:
    """What a column was taken for.

    Attributes:
        name: of the column.
        kind: "category", "number", "date" or "left out".
        why: in words.
    """

    name: str
    kind: str
    why: str


@dataclass(frozen=True)
class TableGuess:
    """What the columns of a table were taken for; print it.

    Attributes:
        columns: each column but the target, in order.
        target: name of the target.
        task: "regression" or "classification".
        target_transform: scale on which numbers are learned: "log", "log1p" or "standardize".
        target_why: why task and scale are so.
        date_parts: parts of dates that are categories, and those that are numbers.
    """

    columns: tuple[ColumnGuess, ...]
    target: str
    task: str
    target_transform: str | None
    target_why: str
    date_parts: tuple[tuple[str, ...], tuple[str, ...]]

    def of(self, kind: str) -> list[str]:
        """Names of the columns of a kind."""
        return [column.name for column in self.columns if column.kind == kind]

    @property
    def cat_flds(self) -> list[str]:
        """Category columns, parts of dates among them."""
        return [*self.of("category"), *self.date_parts[0]]

    @property
    def cont_flds(self) -> list[str]:
        """Number columns, likewise."""
        return [*self.of("number"), *self.date_parts[1]]

    @property
    def date_flds(self) -> list[str]:
        """Date columns."""
        return self.of("date")

    def __repr__(self) -> str:
        told = "" if self.target_transform is None else f", learned on the scale {self.target_transform!r}"
        rows = [(self.target, "target", f"{self.task}{told}: {self.target_why}")]
        rows += [(column.name, column.kind, column.why) for column in self.columns]
        width = max(len(name) for name, _, _ in rows)
        return "\n".join(f"{name:<{width}}  {kind:<8}  {why}" for name, kind, why in rows)


def guess_table(
    df: Any,
    target: str,
    *,
    cat_flds: Sequence[str] = (),
    cont_flds: Sequence[str] = (),
    date_flds: Sequence[str] = (),
    drop: Sequence[str] = (),
    task: str | None = None,
    target_transform: str | None = "auto",
) -> TableGuess:
    """Guesses what the columns of a table are.

    - Dates are columns of dates, and text that reads as such; their parts become features, those of the year
      only where two years or more were seen.
    - Text and true/false are categories. Whole numbers are categories where their levels tell more of the
      target than their order does, judged on rows that were left out; all other numbers are numbers.
    - Left out are columns with a single value, names of rows (a value of its own in every row), and free
      text.

    Args:
        df: the training rows, with the target.
        target: name of the column to predict.
        cat_flds, cont_flds, date_flds, drop: columns whose kind is known; nothing is guessed of these.
        task: "regression" or "classification"; guessed by default.
        target_transform: "auto" guesses; else as of `ColumnarModelData.from_data_frame`.

    Raises:
        ValueError: for absent columns, for a column of two kinds, and where no feature is left.

    Example:
        >>> days = [f"2024-01-{day}" for day in range(10, 30)] * 2
        >>> df = pd.DataFrame({"date": days, "kind": ["a", "b"] * 20})
        >>> print(guess_table(df.assign(size=np.linspace(0, 9, 40), sold=[5.5, 9.0] * 20), "sold"))
        sold  target    regression, learned on the scale 'standardize': 2 different numbers, not all whole
        date  date      text that reads as dates: Day, Dayofweek
        kind  category  text, 2 levels
        size  number    float64, 40 different
    """
    df = check_frame(df, "guess_table", empty_ok=False)
    check_columns(df, [target], "target")
    given = {"category": cat_flds, "number": cont_flds, "date": date_flds, "left out": drop}
    known: dict[str, str] = {}
    for kind, names in given.items():
        for name in name_list(names, f"columns ({kind})"):
            check_columns(df, [name], f"columns ({kind})")
            if known.setdefault(name, kind) != kind:
                raise ValueError(f"column {name!r} is named as {known[name]} and as {kind}: name it once")
    if target in known:
        raise ValueError(f"column {target!r} is the target and cannot be a {known[target]} too")
    rows = df if len(df) <= _SAMPLE else df.sample(_SAMPLE, random_state=0)
    task, scale, why = guess_target(rows[target], task, target_transform)
    truth = _truth(rows[target], task)
    found: list[ColumnGuess] = []
    parts: tuple[list[str], list[str]] = ([], [])
    for name in df.columns:
        if name == target:
            continue
        kind, reason = (known[name], "named") if name in known else _guess(rows[name], truth)
        if kind == "date":
            reason = _guess_parts(rows, name, reason, parts)
        found.append(ColumnGuess(name, kind, reason))
    found = [column if column.name in known else _followed(column, found, rows) for column in found]
    made = TableGuess(tuple(found), target, task, scale, why, (tuple(parts[0]), tuple(parts[1])))
    if not made.cat_flds and not made.cont_flds:
        raise ValueError(f"no column tells anything of {target!r}:\n{made}")
    return made


def date_names(df: pd.DataFrame, kinds: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Columns of dates, by their type or by a look at their texts.

    Args:
        df: a frame.
        kinds: columns whose kind is known, as `cat_flds`, `cont_flds`, `date_flds` and `drop`.
    """
    known = {name: kind for kind, names in (kinds or {}).items() for name in names or ()}
    found = []
    for name in df.columns:
        if name in known:
            if known[name] == "date_flds":
                found.append(name)
            continue
        values = df[name]
        if holds_dates(values):
            plain = not pd.api.types.is_timedelta64_dtype(values.dtype)
        else:
            plain = is_text(values) and _reads_as_dates(values.dropna())
        if plain:
            found.append(name)
    return found


def guess_target(values: pd.Series, task: str | None, scale: str | None) -> tuple[str, str | None, str]:
    """Task, scale and why: what the values of a target ask for, where it is not said."""
    tasks = ("regression", "classification")
    if task not in (None, *tasks):
        raise ValueError(f"task is one of {tasks}, not {task!r}{did_you_mean(str(task), tasks)}")
    present = values.dropna()
    if not len(present):
        raise ValueError(f"the target {values.name!r} has no values")
    if holds_dates(present):
        raise ValueError(f"the target {values.name!r} holds dates: make numbers of it, such as days")
    plain = holds_numbers(present) and not is_flag(present)
    distinct = present.nunique()
    numbers = present.to_numpy(dtype="float64") if plain else np.zeros(0)
    whole = plain and bool(np.all(numbers == np.round(numbers)))
    if not plain:
        guessed, why = "classification", f"{_name_of(present)} of {distinct:,} levels"
    elif whole and distinct <= _CLASSES:
        guessed, why = "classification", f"{distinct} different whole numbers"
    else:
        guessed = "regression"
        why = f"{distinct:,} different numbers" + ("" if whole else ", not all whole")
    if task == "regression" and not plain:
        raise ValueError(f"the target {values.name!r} holds {_name_of(present)}: no numbers to predict")
    task = guessed if task is None else task
    if task == "classification":
        if scale not in ("auto", None):
            raise ValueError(f"target_transform={scale!r} is for numbers, and {values.name!r} holds classes")
        return task, None, why
    if scale != "auto":
        return task, scale, why
    if numbers.min() >= 0 and numbers.max() > 0:
        skew = _skew(numbers)
        if skew > 1 and abs(_skew(np.log1p(numbers))) < 0.7 * skew:
            return task, "log" if numbers.min() > 0 else "log1p", f"{why}, with a long tail"
    return task, "standardize", why


def _skew(values: np.ndarray) -> float:
    spread = values.std()
    return float(((values - values.mean()) ** 3).mean() / spread**3) if spread else 0.0


def _truth(values: pd.Series, task: str) -> np.ndarray:
    """The target as a column of numbers, a column a class for up to ten classes; NaN where it is missing."""
    if task == "regression":
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
        low, high = np.nanquantile(numbers, [0.01, 0.99])
        return np.clip(numbers, low, high)[:, None]
    codes, levels = pd.factorize(values)
    top = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(levels)))[:_CLASSES]
    return (codes[:, None] == top).astype("float64")


def _guess(values: pd.Series, truth: np.ndarray) -> tuple[str, str]:
    """Kind of a column, and why."""
    present = values.dropna()
    if not len(present):
        return "left out", "no values"
    if holds_dates(values):
        if pd.api.types.is_timedelta64_dtype(values.dtype):
            return "left out", "durations: make numbers of them, such as hours"
        return "date", str(values.dtype)
    try:
        distinct = present.nunique()
    except TypeError:
        return "left out", f"{type(present.iloc[0]).__name__} in cells"
    if distinct == 1 and len(present) == len(values):
        return "left out", f"a single value, {str(present.iloc[0])!r}"
    if is_flag(values):
        return "category", "true/false"
    if holds_numbers(values):
        return _guess_numbers(values, present, distinct, truth)
    if is_text(values) and _reads_as_dates(present):
        return "date", "text that reads as dates"
    words = present.astype(str).str.count(r"\s+") + 1
    if words.mean() >= _WORDS and distinct > max(50, 0.2 * len(present)):
        return "left out", f"free text, {words.mean():.0f} words on the average"
    if distinct > 0.9 * len(present) and len(present) > 20:
        return "left out", f"a value of its own in nearly every row ({distinct:,} of {len(present):,})"
    return "category", f"{_name_of(values)}, {distinct:,} levels"


def _guess_numbers(
    values: pd.Series, present: pd.Series, distinct: int, truth: np.ndarray
) -> tuple[str, str]:
    numbers = present.to_numpy(dtype="float64")
    told = f"{values.dtype}, {distinct:,} different"
    if not np.isfinite(numbers).all() or np.any(numbers != np.round(numbers)):
        return "number", told
    if distinct == len(present) and len(present) > 20 and numbers.max() - numbers.min() < 1.5 * len(numbers):
        return "left out", "counts the rows"
    if distinct <= 2 or distinct > min(_CODES, len(present) / 4):
        return "number", told
    by_level, by_order = _explained(values, truth, distinct)
    if by_level > by_order + 0.005 and by_level > 1.05 * by_order:
        return "category", f"{told}; {_BY_LEVELS} {by_level:.1%} of the target, their order {by_order:.1%}"
    return "number", told


def _followed(column: ColumnGuess, columns: Sequence[ColumnGuess], rows: pd.DataFrame) -> ColumnGuess:
    """A category of numbers that is known from another category, such as the distance of a shop, stays a
    number: its levels would only tell the other's again."""
    if column.kind != "category" or _BY_LEVELS not in column.why:
        return column
    values = rows[column.name]
    for other in columns:
        if other.kind == "category" and other.name != column.name:
            codes = pd.factorize(rows[other.name])[0]
            if codes.max() + 1 > values.nunique() and values.groupby(codes).nunique().max() <= 1:
                return ColumnGuess(column.name, "number", f"{values.dtype}, known from {other.name!r}")
    return column


def _explained(values: pd.Series, truth: np.ndarray, distinct: int) -> tuple[float, float]:
    """Shares of the target's variance that means of levels explain on rows that were left out, and means of
    as few neighbouring ranges as a network finds at once."""
    numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    kept = np.isfinite(numbers) & np.isfinite(truth).all(1)
    numbers, truth = numbers[kept], truth[kept]
    levels, codes = np.unique(numbers, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(codes))
    train, held = order[len(order) // 3 :], order[: len(order) // 3]
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, min(8, max(2, distinct // 2)) + 1)[1:-1]))
    return (
        _share(codes, truth, train, held, len(levels)),
        _share(np.searchsorted(edges, numbers), truth, train, held, len(edges) + 1),
    )


def _share(codes: np.ndarray, truth: np.ndarray, train: np.ndarray, held: np.ndarray, n: int) -> float:
    mean = truth[train].mean(0)
    counts = np.bincount(codes[train], minlength=n)
    left = total = 0.0
    for column in range(truth.shape[1]):
        sums = np.bincount(codes[train], truth[train, column] - mean[column], minlength=n)
        answers = mean[column] + (sums / (counts + 5))[codes[held]]  # levels with few rows stay near the mean
        left += ((truth[held, column] - answers) ** 2).sum()
        total += ((truth[held, column] - mean[column]) ** 2).sum()
    return max(0.0, 1 - left / total) if total else 0.0


def _reads_as_dates(present: pd.Series) -> bool:
    """Whether text reads as dates: it has the marks of dates, and all of a sample can be parsed."""
    sample = present.iloc[:: max(1, len(present) // 2000)].astype(str).drop_duplicates()
    if not len(sample):
        return False
    marks = sample.str.match(r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?\s*$")
    if not bool(marks.all()):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas tells where it has to guess the form
        try:
            as_datetimes(pd.DataFrame({"date": sample}), "date", "guess_table")
        except ValueError:
            return False
    return True


def _guess_parts(df: pd.DataFrame, name: str, reason: str, parts: tuple[list[str], list[str]]) -> str:
    """Adds the parts of a date column that tell something; returns what is told of them."""
    dates = as_datetimes(df, name, "guess_table").dropna()
    column = date_column(dates.to_frame(name), name, "guess_table")
    made = column.expanded(dates.drop_duplicates().to_frame(name))
    days = (dates.max() - dates.min()).days if len(dates) else 0
    used = []
    for part in column.parts:
        plain = next(one for one in _ALL_PARTS if part.endswith(one))
        yearly = plain in _YEARLY and days < 2 * 365 - 31
        if plain == "Elapsed" or yearly or part in df.columns or made[part].nunique() < 2:
            continue
        parts[0 if plain in _AS_CATEGORIES else 1].append(part)
        used.append(part)
    return f"{reason}: {', '.join(used)}" if used else f"{reason}, of which no part is of use"


def _name_of(values: pd.Series) -> str:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "categories"
    return "true/false" if is_flag(values) else "text"
