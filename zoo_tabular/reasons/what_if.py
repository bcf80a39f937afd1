"""One row, other values: what the answer would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from zoo.data.classes import class_names
from zoo.data.columns.kinds import is_missing
from zoo.ensemble import Ensemble
from zoo.inspect.plots import figure
from zoo.predictor import Predictor
from zoo_tabular.frames.frame_checks import name_list
from zoo_tabular.reasons.answers import answer_name, answers, check_output, told
from zoo_tabular.reasons.encoded_rows import (
    EncodedRows,
    check_learner,
    check_values,
    encoded_rows,
    places,
    put_value,
    raw_numbers,
)

MOST_COMBINATIONS = 100_000


@dataclass(frozen=True)
class Alternatives:
    """What `alternatives` found about one row.

    Attributes:
        frame: one row a column of the table, the one that can move the answer farthest first: `value` that
            the row has; `lowest`, `lowest_at` and `highest`, `highest_at`: the extreme answers and the values
            that give them; `swing`, their distance.
        answer: what the numbers are.
        prediction: the answer for the row as it is.
        categories: which of the columns are categories; their values are written as they are.
    """

    frame: pd.DataFrame
    answer: str
    prediction: float
    categories: frozenset[str] = frozenset()

    def plot(self, ax: Axes | None = None, *, top: int = 12) -> Axes:
        """Bars from the lowest to the highest answer of every column, around the answer for the row.

        Args:
            ax: where to draw.
            top: draw so many columns.

        Returns:
            The axes.
        """
        shown = self.frame.head(top)[::-1]
        ax = figure(8.5, 1.4 + 0.36 * len(shown)).add_subplot() if ax is None else ax
        middle, y = self.prediction, np.arange(len(shown))
        lowest, highest = shown["lowest"].to_numpy(), shown["highest"].to_numpy()
        ax.barh(y, np.minimum(lowest - middle, 0), left=middle, color="C1", height=0.6)
        ax.barh(y, np.maximum(highest - middle, 0), left=middle, color="C0", height=0.6)
        span = float(np.ptp([*lowest, *highest, middle])) or max(1.0, 0.1 * abs(middle))
        names = {field: self._told(shown[field]) for field in ("value", "lowest_at", "highest_at")}
        for i, (low, high) in enumerate(zip(lowest, highest, strict=True)):
            ends = ((low, -1, "right", "lowest_at"), (high, 1, "left", "highest_at"))
            for end, side, align, field in ends:
                if side * (end - middle) > 0:
                    ax.annotate(
                        names[field][i], (end, i), (4 * side, 0), textcoords="offset points",
                        ha=align, va="center", fontsize="small",
                    )  # fmt: skip
        ax.axvline(middle, color="0.2", lw=1)
        ax.set_yticks(
            y, [f"{name} = {value}" for name, value in zip(shown.index, names["value"], strict=True)]
        )
        ax.margins(y=0.01)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))
        ax.set_xlabel(f"{self.answer}; beside the bars: the value that would give it")
        title = f"{self.answer} of one row: {told(middle)} as it is; one column changed at a time"
        ax.set_title(title[0].upper() + title[1:], fontsize="medium")
        _make_room(ax, lowest.min(), highest.max(), span)
        return ax

    def _told(self, values: pd.Series) -> list[str]:
        """Values of columns in words: amounts with separators, levels such as years as they are."""
        return [
            class_names([value])[0] if name in self.categories and not is_missing(value) else told(value)
            for name, value in values.items()
        ]

    def __repr__(self) -> str:
        table = self.frame.to_string(float_format=told)
        return f"{self.answer}: {told(self.prediction)} as it is; with one column changed:\n{table}"


def what_if(
    learn: Predictor | Ensemble,
    row: Mapping[str, Any] | pd.Series,
    column: str | Mapping[str, Sequence[Any]],
    values: Sequence[Any] | None = None,
    *,
    output: Any = None,
) -> pd.DataFrame:
    """Answers for one row with other values.

    Args:
        learn: a learner of a table, also a loaded one, or an `Ensemble` of such.
        row: a dict or series with all columns of the model; more are fine.
        column: the column to change, or several with their values: all combinations are answered.
        values: of the one column.
        output: where there are several, the class by its value or name, or the target by its name; or the
            place of either, from 0, but of no class where classes are numbers.

    Returns:
        One row a combination: the values, `prediction` in the user's unit (the probability of the class for
        classifiers), and `change` from the answer for the row as it is.

    Raises:
        ValueError: for unknown columns, missing values of the row, no values, or too many combinations.

    Example: `what_if(learn, row, "Promo", [0, 1])`,
        `what_if(learn, row, {"Promo": [0, 1], "DayOfWeek": range(1, 8)})`
    """
    where = "what_if"
    if isinstance(column, str):
        if values is None:
            raise ValueError(f"{where}: give the values to try for {column!r}")
        settings = {column: values}
    elif values is None:
        settings = dict(column)
    else:
        raise ValueError(f"{where}: values go with one column; for several give a dict of columns to values")
    processor = check_learner(learn, where)
    lists: dict[str, list[Any]] = {}
    for name, given in settings.items():
        places(processor, name, where)
        if isinstance(given, str) or not hasattr(given, "__iter__"):
            raise ValueError(f"{where}: the values of {name!r} must be a list, got {given!r}")
        lists[name] = list(given)
        if not lists[name]:
            raise ValueError(f"{where}: there are no values to try for {name!r}")
        check_values(learn, name, lists[name])
    n = int(np.prod([len(one) for one in lists.values()]))
    if not lists or n > MOST_COMBINATIONS:
        raise ValueError(
            f"{where}: {n:,} combinations; at least one column and at most {MOST_COMBINATIONS:,}"
        )
    place = check_output(learn, output, where)
    combinations = list(product(*lists.values()))

    def changed(data: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        codes, numbers = _copies(data, row, n + 1)
        for i, name in enumerate(lists):
            for value in lists[name]:
                rows = 1 + np.flatnonzero([one[i] is value for one in combinations])
                part = codes[rows], numbers[rows]
                put_value(data.processor, name, value, *part)
                codes[rows], numbers[rows] = part
        return [(codes, numbers)]

    found = answers(learn, changed, place)
    tried = {name: _column([one[i] for one in combinations]) for i, name in enumerate(lists)}
    table = pd.DataFrame(tried)
    return table.assign(prediction=found[1:], change=found[1:] - found[0])


def alternatives(
    learn: Predictor | Ensemble,
    row: Mapping[str, Any] | pd.Series,
    df: pd.DataFrame | None = None,
    *,
    columns: str | Sequence[str] | None = None,
    n_values: int = 20,
    output: Any = None,
    unit: str | None = None,
) -> Alternatives:
    """For every column of one row: the values that would make the answer lowest and highest.

    One column is changed at a time. Categories try the levels that the rows show (the most common, if there
    are more than `n_values`), numbers the values at even shares of their distribution between the 5th and
    the 95th percentile.

    Args:
        learn: a learner of a table, also a loaded one, or an `Ensemble` of such.
        row: a dict or series with all columns of the model; more are fine.
        df: raw rows that show what values occur; the learner's validation rows by default.
        columns: those to change, such as what one has in hand: promotions, prices; all by default.
        n_values: values to try for a column.
        output: where there are several, the class by its value or name, or the target by its name; or the
            place of either, from 0, but of no class where classes are numbers.
        unit: what a predicted number is called, such as "sales".
    """
    where = "alternatives"
    processor = check_learner(learn, where)
    place = check_output(learn, output, where)
    rows = encoded_rows(learn, df, None, where).first
    names = processor.feature_names_in_ if columns is None else name_list(columns, f"{where}: columns")
    tried = {name: _values(processor, rows, name, n_values, where) for name in names}
    settings = [(name, value) for name, values in tried.items() for value in values]

    def changed(data: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        codes, numbers = _copies(data, row, 1 + len(settings))
        for i, (name, value) in enumerate(settings, 1):
            put_value(data.processor, name, value, codes[i : i + 1], numbers[i : i + 1])
        return [(codes, numbers)]

    found = answers(learn, changed, place)
    table, rest = {}, found[1:]
    for name, values in tried.items():
        all_values, all_found = [row[name], *values], np.append(found[0], rest[: len(values)])
        rest = rest[len(values) :]
        low, high = int(all_found.argmin()), int(all_found.argmax())
        table[name] = {
            "value": row[name],
            "lowest": all_found[low], "lowest_at": all_values[low],
            "highest": all_found[high], "highest_at": all_values[high],
            "swing": all_found[high] - all_found[low],
        }  # fmt: skip
    frame = pd.DataFrame(list(table.values()), index=pd.Index(list(table), name="column"))
    for name in ("value", "lowest_at", "highest_at"):
        frame[name] = pd.Series([one[name] for one in table.values()], index=frame.index, dtype=object)
    frame = frame.sort_values("swing", ascending=False, kind="stable")
    categories = frozenset(one.name for one in processor.categories_)
    return Alternatives(frame, answer_name(learn, place, unit), float(found[0]), categories)


def _make_room(ax: Axes, lowest: float, highest: float, span: float) -> None:
    """Limits within which all texts beside the bars lie."""
    ax.set_xlim(lowest - 0.03 * span, highest + 0.03 * span)
    ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    width = ax.get_window_extent().width
    shares = [min(0.4, (text.get_window_extent().width + 12) / width) for text in ax.texts]
    for _ in range(20):  # the wider the limits, the wider a text in their units
        left, right = ax.get_xlim()
        wide = right - left
        ends = [
            text.xy[0] + (share if text.get_ha() == "left" else -share) * wide  # type: ignore[attr-defined]
            for text, share in zip(ax.texts, shares, strict=True)
        ]
        ax.set_xlim(min([lowest - 0.03 * wide, *ends]), max([highest + 0.03 * wide, *ends]))


def _column(values: list[Any]) -> pd.Series:
    """Values as a column of a table, where whole numbers stay whole beside missing ones."""
    whole = any(isinstance(value, int | np.integer) for value in values)
    return pd.Series(values, dtype=object if whole and any(map(is_missing, values)) else None)


def _copies(data: Any, row: Mapping[str, Any] | pd.Series, n: int) -> tuple[np.ndarray, np.ndarray]:
    """One raw row, encoded, n times."""
    raw = row.to_dict() if isinstance(row, pd.Series) else row
    if not isinstance(raw, Mapping):
        raise TypeError(f"expected one row as a dict or series, got {type(row).__name__}")
    codes, numbers = data.row_inputs(raw)
    return codes.repeat(n, 1).numpy(), numbers.repeat(n, 1).to(torch.float32).numpy()


def _values(processor: Any, rows: EncodedRows, column: str, n_values: int, where: str) -> list[Any]:
    """Values of a column that occur."""
    in_codes, _ = places(processor, column, where)
    if in_codes:
        known = processor.categories_[in_codes[0]]
        counts = np.bincount(rows.codes[:, in_codes[0]], minlength=known.n_codes)
        common = np.argsort(-counts, kind="stable")[:n_values]
        return [known.levels[code - 1] for code in common if counts[code] and 1 <= code <= len(known.levels)]
    seen = raw_numbers(processor, column, rows.numbers)
    if not len(seen):
        return []
    distinct = np.unique(seen)
    if len(distinct) > n_values:
        distinct = np.unique(np.percentile(seen, np.linspace(5, 95, n_values)))
    return distinct.tolist()
