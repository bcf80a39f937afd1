"""How the answer moves with one column: partial dependence, row by row and on average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from zoo.data.columns.category_column import CategoryColumn
from zoo.data.columns.kinds import is_missing
from zoo.ensemble import Ensemble
from zoo.errors import some
from zoo.inspect.plots import figure
from zoo.predictor import Predictor
from zoo_tabular.reasons.answers import answer_name, answers, check_output, counted, told
from zoo_tabular.reasons.embeddings import RESERVED
from zoo_tabular.reasons.encoded_rows import (
    TableRows,
    check_learner,
    check_values,
    encoded_rows,
    places,
    put_value,
    raw_numbers,
    sampled,
)


@dataclass(frozen=True)
class Dependence:
    """What `partial_dependence` found.

    Attributes:
        column: whose values were set.
        answer: what the numbers are.
        frame: one row a value: `mean` of the answers, `low` and `high` within which the middle 80% of the
            rows lie, and `share`, how much of the rows has (or is nearest to) this value.
        curves: the answer of every sampled row (rows) to every value (columns): individual conditional
            expectation (Goldstein et al. 2015).
        is_category: whether the column is one of categories.
        seen: the values of a number column in the rows it was measured on.
    """

    column: str
    answer: str
    frame: pd.DataFrame
    curves: pd.DataFrame
    is_category: bool
    seen: np.ndarray

    def plot(
        self,
        ax: Axes | None = None,
        *,
        rows: int = 30,
        names: dict[Any, str] | None = None,
        connect: bool = False,
    ) -> Axes:
        """The mean, single rows behind it, and how common the values are, below.

        Args:
            ax: where to draw.
            rows: draw so many single rows (ICE); 0 draws none.
            names: what to write for the values of a category column.
            connect: join the values of a category column by lines, where they have an order, such as months.

        Returns:
            The axes.
        """
        ax = figure(7.5, 4.2).add_subplot() if ax is None else ax
        frame, curves = self.frame, self.curves.iloc[:: max(1, len(self.curves) // max(rows, 1))][:rows]
        x = np.arange(len(frame)) if self.is_category else frame.index.to_numpy(dtype="float64")
        mean, low, high = (frame[name].to_numpy() for name in ("mean", "low", "high"))
        single: dict[str, Any] = {"color": "0.8", "lw": 0.7, "zorder": 1}
        if self.is_category and not connect:
            single |= {"ls": "", "marker": "_", "ms": 9, "mew": 0.7}
            ax.vlines(x, low, high, color="C0", lw=6, alpha=0.3, label="80% of the rows")
            ax.plot(x, mean, "o", color="C0", ms=5, zorder=3, label="mean of all rows")
        else:
            ax.fill_between(x, low, high, color="C0", alpha=0.15, lw=0, zorder=2, label="80% of the rows")
            ax.plot(x, mean, "o-", color="C0", ms=4, zorder=3, label="mean of all rows")
        for line in curves.to_numpy():
            ax.plot(x, line, **single)
        if len(curves):
            ax.plot([], [], **single, label="single rows")
        low, high = ax.get_ylim()
        ax.set_ylim(low - 0.18 * (high - low), high + 0.08 * (high - low))  # room for bars and legend
        ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
        below = ax.inset_axes((0, 0, 1, 0.13), sharex=ax)
        if self.is_category:
            below.bar(x, frame["share"], color="0.75", width=0.7)
            labels = [(names or {}).get(value, value) for value in frame.index]
            long = len(labels) > 8 or sum(len(str(label)) for label in labels) > 60
            ax.set_xticks(
                x,
                [str(label) for label in labels],
                rotation=45 if long else 0,
                ha="right" if long else "center",
            )
        else:
            inside = self.seen[(self.seen >= x.min()) & (self.seen <= x.max())]
            below.hist(inside, bins=min(50, max(5, len(np.unique(inside)))), color="0.75")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))
        below.axis("off")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))
        ax.set(xlabel=f"{self.column} (grey bars: how common)", ylabel=self.answer)
        title = f"{self.answer}, when {self.column} alone is changed ({counted(len(self.curves))})"
        ax.set_title(title[0].upper() + title[1:], fontsize="medium")
        ax.legend(fontsize="small", frameon=False, loc="upper center", ncols=3)
        return ax

    def __repr__(self) -> str:
        head = f"{self.answer} by {self.column}, over {counted(len(self.curves))}"
        return f"{head}\n{self.frame.to_string(float_format=told)}"


def partial_dependence(
    learn: Predictor | Ensemble,
    column: str,
    df: pd.DataFrame | None = None,
    *,
    values: Iterable[Any] | None = None,
    n_values: int = 20,
    n_rows: int | None = 1000,
    output: Any = None,
    unit: str | None = None,
    seed: int = 0,
) -> Dependence:
    """The mean answer when a column is set to each of its values, all else as it is (Friedman 2001).

    Answers are in the user's unit. Where columns go together (months and weeks, a promotion and the days
    until it), rows come out that never happen; what the model says about those is not to be trusted.

    Args:
        learn: a learner of a table, also a loaded one, or an `Ensemble` of such.
        column: a category or number column.
        df: raw rows; the learner's validation rows by default.
        values: what to set; by default the levels of a category that these rows show (the `n_values` most
            common if there are more), or values of a number spread evenly over its distribution, between the
            1st and the 99th percentile.
        n_values: how many values at most.
        n_rows: so many rows drawn at random; all for None.
        output: where there are several, the class by its value or name, or the target by its name; or the
            place of either, from 0, but of no class where classes are numbers.
        unit: what a predicted number is called, such as "sales".
        seed: of the draw.

    Raises:
        ValueError: for an unknown column or output, or without rows.

    Example:
        >>> from zoo_tabular import ColumnarModelData
        >>> df = pd.DataFrame({"Kind": list("ab") * 20, "Sales": [1.0, 9.0] * 20})
        >>> md = ColumnarModelData.from_data_frame(".", range(20, 40), df, "Sales", ["Kind"], bs=10)
        >>> partial_dependence(md.get_learner(szs=[4], device="cpu"), "Kind").frame.index.tolist()
        ['a', 'b']
    """
    where = "partial_dependence"
    processor = check_learner(learn, where)
    in_codes, _ = places(processor, column, where)
    chosen_output = check_output(learn, output, where)
    if not isinstance(n_values, int | np.integer) or n_values < 1:
        raise ValueError(f"{where}: n_values must be at least 1, got {n_values!r}")
    values = None if values is None else list(values)
    everything = encoded_rows(learn, df, None, where)
    rows = everything.take(sampled(len(everything), n_rows, seed))
    if in_codes:
        known = processor.categories_[in_codes[0]]
        check_values(learn, column, values or [])
        setting, share = _category_values(known, everything.first.codes[:, in_codes[0]], values, n_values)
        seen, labels = np.empty(0), [_label(value) for value in setting]
    else:
        seen = raw_numbers(processor, column, everything.first.numbers)
        setting = _number_values(seen, values, n_values, column, where)
        share = _nearest_shares(seen, setting)
        labels = setting
    if not len(setting):
        raise ValueError(f"{where}: there is no value to set {column!r} to: give some as values=")
    found = answers(learn, lambda data: with_values(data, rows, column, setting), chosen_output)
    curves = found.reshape(len(setting), len(rows))
    index = pd.Index(labels, name=column, dtype=object if in_codes else "float64")
    low, high = np.percentile(curves, [10, 90], axis=1)
    frame = pd.DataFrame({"mean": curves.mean(axis=1), "low": low, "high": high, "share": share}, index=index)
    name = answer_name(learn, chosen_output, unit)
    return Dependence(column, name, frame, pd.DataFrame(curves.T, columns=index), bool(in_codes), seen)


def with_values(
    data: Any, rows: TableRows, column: str, values: Sequence[Any]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows once for every value, with that raw value in all of a column; the given ones stay as they are.

    Args:
        data: whose codes are made.
    """
    own = rows.of(data)
    for value in values:
        codes, numbers = own.codes.copy(), own.numbers.copy()
        put_value(data.processor, column, value, codes, numbers)
        yield codes, numbers


def _label(value: Any) -> Any:
    return RESERVED[0] if is_missing(value) else value


def _category_values(
    known: CategoryColumn, codes: np.ndarray, values: Sequence[Any] | None, n_values: int
) -> tuple[list[Any], np.ndarray]:
    """The values to set, in the order of the levels, and the share of the rows that have each."""
    counts = np.bincount(codes, minlength=known.n_codes)
    if values is None:
        shown = [code for code in range(1, len(known.levels) + 1) if counts[code]]
        if len(shown) > n_values:
            shown = sorted(sorted(shown, key=lambda code: -counts[code])[:n_values])
        setting: list[Any] = [known.levels[code - 1] for code in shown]
        if counts[0] and len(setting) < n_values:
            setting.append(None)
    else:
        setting = list(values)
    held = np.array([counts[known.encode_one(value)] for value in setting], dtype="float64")
    return setting, held / max(1, len(codes))


def _number_values(
    seen: np.ndarray, values: Sequence[Any] | None, n_values: int, column: str, where: str
) -> list[float]:
    if values is not None:
        try:
            setting = np.asarray(list(values), dtype="float64")
        except (TypeError, ValueError):
            raise ValueError(
                f"{where}: column {column!r} holds numbers, got {some(map(repr, values))}"
            ) from None
        if not np.isfinite(setting).all():
            raise ValueError(
                f"{where}: values of the number column {column!r} must be finite, got {some(values)}"
            )
        return np.unique(setting).tolist()
    distinct = np.unique(seen)
    if len(distinct) <= n_values:
        return distinct.tolist()
    inner = np.percentile(seen, np.linspace(1, 99, n_values))
    even = np.linspace(inner[0], inner[-1], n_values)  # quantiles where rows are, even steps across gaps
    return np.unique(np.concatenate([inner[::2], even[1::2]])).tolist()


def _nearest_shares(seen: np.ndarray, setting: list[float]) -> np.ndarray:
    edges = (np.array(setting[1:]) + np.array(setting[:-1])) / 2
    return np.bincount(np.searchsorted(edges, seen), minlength=len(setting)) / max(1, len(seen))
