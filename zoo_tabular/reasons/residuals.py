"""Forecasts beside what came: over time, by group, and the rows that were worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from zoo.ensemble import Ensemble
from zoo.errors import did_you_mean
from zoo.inspect.plots import figure
from zoo.predictor import Predictor
from zoo_tabular.frames.frame_checks import check_columns, check_frame, name_list
from zoo_tabular.reasons.answers import answer_name, answers, check_output, counted, told
from zoo_tabular.reasons.encoded_rows import check_learner
from zoo_tabular.reasons.true_targets import true_values

PERIODS = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}


@dataclass(frozen=True)
class Residuals:
    """What `residuals` found.

    Attributes:
        frame: one row a row of the table, in its order and with its index: `date`, `actual`, `forecast`,
            `error` (forecast minus actual) and `percent` of the actual (NaN where that is 0).
        answer: what the numbers are.
        raw: the rows themselves.
        of_classes: whether they are probabilities beside 0 and 1.
    """

    frame: pd.DataFrame
    answer: str
    raw: pd.DataFrame
    of_classes: bool = False

    def by_time(self, per: str = "day", *, where: Any = None) -> pd.DataFrame:
        """Sums of each period, in the order of time.

        Args:
            per: "day", "week" (beginning on Monday), "month", "quarter" or "year".
            where: only some rows: `{column: value}`, such as `{"Store": 1}` or `{"Store": [1, 2]}`, or a
                true/false mask.

        Returns:
            By the first day of the period: `rows`, `days` (with rows), `partial` (the rows begin
            or end within the period, so that its sums are small), `actual`, `forecast`, `error` and `percent`
            (of the sums). Probabilities are averaged and not summed, with the error in percentage points.
        """
        if per not in PERIODS:
            raise ValueError(
                f"by_time: per must be one of {', '.join(PERIODS)}, got {per!r}{did_you_mean(per, PERIODS)}"
            )
        chosen = self.frame[self._mask(where)]
        period = chosen["date"].dt.to_period(PERIODS[per])
        table = self._sums(chosen, period.dt.start_time.rename(per))
        days = chosen["date"].dt.normalize()
        table.insert(1, "days", days.groupby(period.dt.start_time.rename(per)).nunique())
        table.insert(2, "partial", _partial(days, period, table["days"].to_numpy()))
        return table

    def by_group(self, column: str | Sequence[str]) -> pd.DataFrame:
        """Sums of each group, the one with the largest mean absolute error in percent first.

        Args:
            column: of the raw rows; one or several.

        Returns:
            As `by_time`, with `mean_percent`, the mean absolute error in percent of single rows.
        """
        names = name_list(column, "by_group")
        if not names:
            raise ValueError("by_group: name at least one column")
        check_columns(self.raw, names, "by_group")
        keys = [self.raw[name].reset_index(drop=True) for name in names]
        rows = self.frame.reset_index(drop=True)
        table = self._sums(rows, keys)
        single = rows["percent"] if not self.of_classes else 100 * rows["error"]
        table["mean_percent"] = single.abs().groupby(keys, dropna=False, observed=True).mean()
        return table.sort_values("mean_percent", ascending=False, kind="stable")

    def worst(self, n: int = 10, *, by: str = "percent") -> pd.DataFrame:
        """The rows with the largest errors, with what they were.

        Args:
            n: how many.
            by: "percent" or "error".

        Returns:
            `actual`, `forecast`, `error`, `percent`, then all raw columns.
        """
        if by not in ("percent", "error"):
            raise ValueError(f"worst: by must be 'percent' or 'error', got {by!r}")
        size = self.frame[by].abs().to_numpy()
        order = np.argsort(-np.where(np.isnan(size), -1.0, size), kind="stable")[: max(0, n)]
        found = self.frame.iloc[order][["actual", "forecast", "error", "percent"]]
        rest = self.raw.iloc[order]
        return pd.concat([found, rest.drop(columns=[name for name in found if name in rest])], axis=1)

    def plot(
        self,
        per: str = "day",
        *,
        where: Any = None,
        title: str | None = None,
        ax: Sequence[Axes] | None = None,
    ) -> np.ndarray:
        """Actual and forecast over time; below, by how much the forecast was too high or too low.

        Args:
            per, where: as in `by_time`.
            title: of the figure; says what is shown by default.
            ax: two axes to draw into.

        Returns:
            An array of both axes. Periods in part are hollow.
        """
        table = self.by_time(per, where=where)
        if not len(table):
            raise ValueError("plot: no row is left to draw")
        if ax is None:
            drawn = figure(9.0, 5.2)
            upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
        else:
            upper, lower = ax
        days = table.index.to_numpy()
        marker = "o" if len(table) <= 40 else None
        partial = table["partial"].to_numpy()
        for name, color in (("actual", "0.25"), ("forecast", "C1")):
            line, whole = table[name].to_numpy(), np.where(partial, np.nan, table[name])
            upper.plot(days, whole, color=color, marker=marker, ms=3.5, label=name)
            if partial.any():
                upper.plot(days, line, color=color, ls=":", lw=1, zorder=1)
                upper.plot(days[partial], line[partial], "o", color=color, mfc="white", ms=5)
        if partial.any():
            upper.plot([], [], "o", color="0.5", mfc="none", ms=5, label=f"hollow: part of a {per}")
        upper.set_ylabel(f"{self.answer}\n{'mean' if self.of_classes else 'sum'} per {per}")
        upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))
        upper.legend(frameon=False, fontsize="small", ncols=3)
        off = (100 * table["error"] if self.of_classes else table["percent"]).to_numpy()
        step = np.median(np.diff(days)) if len(days) > 1 else np.timedelta64(1, "D")
        colors = np.where(off > 0, "C1", "C0")
        faces = np.where(partial, "none", colors)
        lower.bar(days, off, width=0.8 * step, color=faces, edgecolor=colors, lw=np.where(partial, 1.0, 0.0))
        lower.axhline(0, color="0.3", lw=0.8)
        unit = "points" if self.of_classes else "%"
        lower.set_ylabel(f"too high (+),\ntoo low (-), {unit}")
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+,.4g}" if value else "0"))
        places = mdates.AutoDateLocator(minticks=3, maxticks=10)
        lower.xaxis.set_major_locator(places)
        lower.xaxis.set_major_formatter(mdates.ConciseDateFormatter(places))
        head = title or self._title(table, where)
        upper.set_title(head[0].upper() + head[1:], fontsize="medium")
        return np.array([upper, lower])

    def _title(self, table: pd.DataFrame, where: Any) -> str:
        named = where if isinstance(where, dict) else {}
        which = "".join(f", {name} {', '.join(map(str, _listed(value)))}" for name, value in named.items())
        actual = table["actual"].sum()
        off = (
            "" if self.of_classes or not actual else f", forecast {table['error'].sum() / actual:+.1%} in all"
        )
        rows = counted(int(table["rows"].sum()))
        return f"{self.answer}{which}: what came and what was forecast ({rows}{off})"

    def _mask(self, where: Any) -> np.ndarray:
        if where is None:
            return np.ones(len(self.frame), dtype=bool)
        if isinstance(where, dict):
            check_columns(self.raw, where, "where")
            found = np.ones(len(self.frame), dtype=bool)
            for name, value in where.items():
                found &= self.raw[name].isin(_listed(value)).to_numpy(dtype=bool)
            if not found.any():
                raise ValueError(f"where: no row has {where}")
            return found
        found = np.asarray(where)
        if found.dtype != bool or found.shape != (len(self.frame),):
            raise ValueError(
                f"where: expected a dict of columns to values, or a mask of {len(self.frame)} true/false"
            )
        return found

    def _sums(self, rows: pd.DataFrame, keys: Any) -> pd.DataFrame:
        grouped = rows.groupby(keys, dropna=False, observed=True)
        both = grouped[["actual", "forecast"]]
        table = both.mean() if self.of_classes else both.sum()
        table.insert(0, "rows", grouped.size())
        table["error"] = table["forecast"] - table["actual"]
        table["percent"] = _percent(table["error"], table["actual"])
        return table

    def __repr__(self) -> str:
        off = (100 * self.frame["error"] if self.of_classes else self.frame["percent"]).abs()
        unit = "percentage points" if self.of_classes else "percent"
        first, last = self.frame["date"].min(), self.frame["date"].max()
        return (
            f"Residuals({self.answer}, {counted(len(self.frame))}, {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
            f"mean absolute error {off.mean():.1f} {unit})"
        )


def residuals(
    learn: Predictor | Ensemble,
    df: pd.DataFrame,
    target: Any,
    date: str,
    *,
    output: Any = None,
    unit: str | None = None,
) -> Residuals:
    """Forecasts of a model beside what came, for rows with a date, such as the validation frame.

    For classifiers: the probability of a class beside how often it came.

    Args:
        learn: a learner of a table, also a loaded one, or an `Ensemble` of such.
        df: raw rows; they are not changed.
        target: the column that holds the target, or its values.
        date: the column of dates; text is read as dates.
        output: where there are several, the class by its value or name, or the target by its name; or the
            place of either, from 0, but of no class where classes are numbers.
        unit: what is forecast, such as "sales"; the name of the target by default.

    Returns:
        Tables over time, by group, of the worst rows; `.plot()` draws them over time.

    Raises:
        ValueError: for absent columns, rows without a date, a target that does not fit the model.
    """
    where = "residuals"
    check_learner(learn, where, same_columns=False)
    df = check_frame(df, where, empty_ok=False)
    check_columns(df, [date], where)
    place = check_output(learn, output, where)
    dates = _dates(df[date], where)
    if dates.isna().any():
        raise ValueError(f"{where}: {int(dates.isna().sum())} of {len(df)} rows have no {date!r}")
    if dates.dt.tz is not None:
        dates = dates.dt.tz_localize(None)  # the day there
    wanted = true_values(learn, df, target)
    if learn.data.task == "classification":
        actual = (wanted == place).astype("float64")
    else:
        actual = wanted[:, place].astype("float64")
    forecast = answers(learn, lambda data: [data.processor.transform_arrays(df)], place)
    error = forecast - actual
    frame = pd.DataFrame(
        {"date": dates.to_numpy(), "actual": actual, "forecast": forecast, "error": error}, index=df.index
    ).assign(percent=_percent(error, actual))
    name = target if isinstance(target, str) else getattr(target, "name", None)
    said = unit or (str(name) if name is not None and learn.data.n_out == 1 else None)
    return Residuals(frame, answer_name(learn, place, said), df, learn.data.task != "regression")


def _partial(days: pd.Series, period: pd.Series, counts: np.ndarray) -> np.ndarray:
    """Whether the rows begin or end within a period: only the first and the last one can be so.

    Days without rows are no lack where they are usual, such as weekends: a period counts as whole when the
    usual step from day to day leads out of it, or when it has as many days as some period in between.

    Args:
        days: the day of every row.
        period: the period of every row.
        counts: days with rows of each period, in the order of time.
    """
    found = np.zeros(len(counts), dtype=bool)
    if not len(counts):
        return found
    step = days.drop_duplicates().sort_values().diff().median()
    step = pd.Timedelta(days=1) if pd.isna(step) else step
    begins = days.min() - step >= period.min().start_time
    ends = days.max() + step <= period.max().end_time
    least = counts[1:-1].min() if len(counts) > 2 else np.inf
    found[0] = begins and counts[0] < least
    found[-1] |= ends and counts[-1] < least
    return found


def _dates(values: pd.Series, where: str) -> pd.Series:
    """A column as dates; text is read, numbers are none."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        raise ValueError(f"{where}: column {values.name!r} holds {values.dtype}, no dates")
    try:
        return pd.to_datetime(values).reset_index(drop=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: column {values.name!r} holds no dates: {error}") from None


def _listed(value: Any) -> list[Any]:
    """One value or several as a list."""
    return list(value) if isinstance(value, list | tuple | set | range | np.ndarray | pd.Series) else [value]


def _percent(error: Any, actual: Any) -> Any:
    """Errors in percent of what came; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * error / np.where(np.asarray(actual) == 0, np.nan, np.abs(actual))
