"""A fitted description of a table, which turns frames into codes and numbers. No torch here."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.category_column import CategoryColumn
from zoo.data.columns.codes import smallest_int, told_counts
from zoo.data.columns.kinds import holds_dates, holds_numbers, is_text
from zoo.data.columns.number_column import NumberColumn
from zoo.errors import did_you_mean, some
from zoo.sealed import Sealed
from zoo_tabular.frames.date_columns import DateColumn, date_column, with_parts
from zoo_tabular.frames.frame_checks import check_columns, check_frame, name_list
from zoo_tabular.frames.frame_transformer import FrameTransformer
from zoo_tabular.frames.table_statistics import TableStatistics

log = logging.getLogger("zoo_tabular")


class TableProcessor(Sealed, FrameTransformer):
    """Turns raw frames into category codes and float32 numbers, the same way every time.

    Each category column gets the codes: missing 0, its levels 1..n, rare n + 1, unknown n + 2. "Rare" are
    levels that training rows showed too seldom to learn from, "unknown" are values that they never showed.
    Numbers have their gaps filled with the training median, with a 0/1 column `<name>_na` that tells where.
    The order of the columns is fixed when fitted, other columns of a frame (such as the target) are never
    looked at, and nothing that is passed in is changed. Frames are those of pandas, those of polars, or Arrow
    tables; what comes back is of pandas. Pipelines, searches and column transformers of scikit-learn take it
    as a transformer.

    Args:
        cat_names: category columns; None takes every text and category column.
        cont_names: number columns; None takes every other column that holds numbers, Decimals or true/false.
        min_count: levels with fewer training rows are rare.
        max_levels: keep at most this many levels a column, the most frequent; the others are rare.
        na_columns: "all" makes an `_na` column for every number column, so gaps first seen later change no
            shape; "seen" only for those that had gaps in training.
        scale: bring numbers to mean 0 and standard deviation 1 (constant columns to 0).
        unknown: "code" gives unknown values their code and logs how many there were; "error" raises, naming
            them.
        extra: "ignore" leaves columns that were not fitted alone; "error" refuses frames that have any.
        date_names: date columns: their parts, as `add_datepart` names them, may be among the columns, and
            are made of the date in every frame that has it and lacks them.

    Attributes:
        categories_: a `CategoryColumn` for each category column, in order.
        numbers_: a `NumberColumn` for each number column, in order.
        dates_: a `DateColumn` for each date column of which parts are read.
        feature_names_in_, feature_names_out_: names of the columns read (parts of dates, not dates) and made.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"StoreType": ["a", "b", None], "Distance": [10.0, None, 30.0]})
        >>> processor = TableProcessor().fit(df)
        >>> processor.transform(pd.DataFrame({"Distance": [None], "StoreType": ["zz"]})).to_dict("records")
        [{'StoreType': 4, 'Distance': 20.0, 'Distance_na': 1.0}]
    """

    categories_: list[CategoryColumn]
    numbers_: list[NumberColumn]
    dates_: list[DateColumn]

    def __init__(
        self,
        cat_names: Sequence[str] | None = None,
        cont_names: Sequence[str] | None = None,
        *,
        min_count: int = 1,
        max_levels: int | None = None,
        na_columns: str = "all",
        scale: bool = False,
        unknown: str = "code",
        extra: str = "ignore",
        date_names: Sequence[str] = (),
    ) -> None:
        self.cat_names, self.cont_names = cat_names, cont_names
        self.date_names = date_names
        self.min_count, self.max_levels = min_count, max_levels
        self.na_columns, self.scale = na_columns, scale
        self.unknown, self.extra = unknown, extra

    def fit(self, df: pd.DataFrame, y: Any = None) -> TableProcessor:
        """Learn levels, medians, means and deviations. `y` is accepted for scikit-learn and not looked at.

        Raises:
            ValueError: for absent or repeated columns, an empty frame, or columns that are neither.
        """
        where = "TableProcessor.fit"
        self._check_options()
        df = check_frame(df, where, empty_ok=False)
        named = name_list(self.date_names, f"{where}: date_names")
        check_columns(df, named, f"{where}: date_names")
        dates = [date_column(df, name, where) for name in named]
        df = with_parts(df, dates)
        cats, conts = self._names(df, where)
        self.categories_ = [CategoryColumn.learn(df[name], self.min_count, self.max_levels) for name in cats]
        self.numbers_ = [NumberColumn.learn(df[name], self.scale) for name in conts]
        read = set(self.feature_names_in_)
        parts = [(one, tuple(part for part in one.parts if part in read)) for one in dates]
        self.dates_ = [DateColumn(one.name, used, one.time) for one, used in parts if used]
        self._check_made(where)
        return self

    def fit_stream(self, frames: Iterable[Any]) -> TableProcessor:
        """The same from the pieces of a table that need not fit into memory, in one pass.

        What is learned is that of `fit` on the whole table, but for the rounding of sums, and but for medians
        of columns with more than 65,536 distinct values: their rank is off by less than 0.02 % of the rows.

        Args:
            frames: data frames, or Arrow tables or record batches, such as `stream_table` gives. The first
                tells which columns are categories and which are numbers, where these are not named.

        Raises:
            ValueError: as `fit`, and for pieces whose ordered categories contradict each other.

        Example:
            >>> import pandas as pd
            >>> pieces = [pd.DataFrame({"Distance": [1.0, 2.0]}), pd.DataFrame({"Distance": [3.0, None]})]
            >>> TableProcessor().fit_stream(pieces).numbers_[0].median
            2.0
        """
        where = f"{type(self).__name__}.fit_stream"
        self._check_options()
        if name_list(self.date_names, f"{where}: date_names"):
            raise ValueError(f"{where}: date_names is for frames in memory; make parts with add_datepart")
        statistics = TableStatistics(lambda head: self._names(head, where), where)
        for frame in frames:
            statistics.add(frame)
        found = statistics.columns(self.min_count, self.max_levels, self.scale)
        self.categories_, self.numbers_ = found
        self.dates_ = []
        self._check_made(where)
        return self

    def _names(self, df: pd.DataFrame, where: str) -> tuple[list[str], list[str]]:
        """Names of the category and the number columns, checked."""
        if self.cat_names is None:
            taken = set(self.cont_names or ())
            cats = [str(name) for name in df.columns if name not in taken and _is_category(df[name])]
        else:
            cats = name_list(self.cat_names, where)
        if self.cont_names is None:
            conts = [name for name in df.columns if name not in cats and _is_number(df[name])]
        else:
            conts = name_list(self.cont_names, where)
        both = [name for name in cats if name in conts]
        if both:
            raise ValueError(
                f"{where}: {some(map(repr, both))} cannot be both a category and a number column"
            )
        if not cats and not conts:
            raise ValueError(f"{where}: no category and no number column was named or found")
        check_columns(df, [*cats, *conts], where)
        return cats, conts

    def transform(self, df: pd.DataFrame) -> pd.DataFrame:
        """Codes (compact integers) and numbers (float32) as a new frame with the index of `df`.

        Raises:
            ValueError: for absent columns (or others, with `extra="error"`), unknown values with
                `unknown="error"`.
        """
        df = check_frame(df, "TableProcessor.transform")
        codes, numbers = self.transform_arrays(df)
        columns: dict[str, np.ndarray] = {
            column.name: codes[:, i].astype(smallest_int(column.n_codes))
            for i, column in enumerate(self.categories_)
        }
        columns |= {name: numbers[:, i] for i, name in enumerate(self.number_names_)}
        return pd.DataFrame(columns, index=df.index)

    def fit_transform(self, df: pd.DataFrame, y: Any = None) -> pd.DataFrame:
        """`fit`, then `transform` of the same frame."""
        df = check_frame(df, "TableProcessor.fit_transform", empty_ok=False)
        return self.fit(df).transform(df)

    def transform_arrays(self, df: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """The same as two arrays for a model.

        Returns:
            Codes of shape (rows, category columns) in the smallest integer type that holds them all, and
            float32 numbers of shape (rows, number columns and their `_na` columns).
        """
        self._check_fitted()
        where = "TableProcessor.transform"
        df = self.with_dates(check_frame(df, where))
        check_columns(df, self.feature_names_in_, where)
        self._check_extra(df.columns)
        kind = smallest_int(max((column.n_codes for column in self.categories_), default=0))
        codes = np.empty((len(df), len(self.categories_)), dtype=kind)
        unknown: dict[str, dict[Any, int]] = {}
        for i, column in enumerate(self.categories_):
            codes[:, i], strange = column.encode(df[column.name])
            if strange:
                unknown[column.name] = strange
        numbers = np.empty((len(df), len(self.number_names_)), dtype="float32")
        indicator = len(self.numbers_)
        for i, column in enumerate(self.numbers_):
            numbers[:, i], gaps = column.encode(df[column.name])
            if self._has_indicator(column):
                numbers[:, indicator] = gaps
                indicator += 1
        self.report(unknown)
        return codes, numbers

    def transform_row(self, row: Mapping[str, Any]) -> tuple[list[int], list[float]]:
        """One row given as a dict, without building a frame; the same values as `transform_arrays`."""
        self._check_fitted()
        for column in self.dates_:
            row = column.expanded_row(row)
        try:
            codes = [column.encode_one(row[column.name]) for column in self.categories_]
            found = [column.encode_one(row[column.name]) for column in self.numbers_]
        except KeyError as error:
            name = error.args[0]
            raise ValueError(
                f"the row has no value for {name!r}{did_you_mean(name, row)}; it has {some(row)}"
            ) from None
        self._check_extra(row)
        if any(code == column.unknown_code for code, column in zip(codes, self.categories_, strict=True)):
            self.report(
                {
                    column.name: {row[column.name]: 1}
                    for code, column in zip(codes, self.categories_, strict=True)
                    if code == column.unknown_code
                }
            )
        numbers = [value for value, _ in found]
        for column, (_, gap) in zip(self.numbers_, found, strict=True):
            if self._has_indicator(column):
                numbers.append(float(gap))
        return codes, numbers

    def with_dates(self, df: pd.DataFrame) -> pd.DataFrame:
        """The frame with those parts of its dates that are read."""
        return with_parts(df, self.dates_)

    @property
    def feature_names_in_(self) -> list[str]:
        """Columns that a frame must have."""
        return [column.name for column in [*self.categories_, *self.numbers_]]

    @property
    def number_names_(self) -> list[str]:
        """Number columns that come out, `_na` columns last."""
        gaps = [f"{column.name}_na" for column in self.numbers_ if self._has_indicator(column)]
        return [column.name for column in self.numbers_] + gaps

    @property
    def feature_names_out_(self) -> list[str]:
        """Columns that `transform` makes."""
        return [column.name for column in self.categories_] + self.number_names_

    def to_dict(self) -> dict[str, Any]:
        """Options and learned state as plain values that JSON can hold."""
        self._check_fitted()
        options = ("min_count", "max_levels", "na_columns", "scale", "unknown", "extra")
        return {
            "version": 1,
            "options": {name: getattr(self, name) for name in options},
            "categories": [asdict(column) for column in self.categories_],
            "numbers": [asdict(column) for column in self.numbers_],
            **({"dates": [asdict(column) for column in self.dates_]} if self.dates_ else {}),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TableProcessor:
        """The processor that `to_dict` described.

        Raises:
            ValueError: for a state of another version.
        """
        if state.get("version") != 1:
            raise ValueError(
                f"TableProcessor: cannot read a state of version {state.get('version')!r}, only 1"
            )
        made = cls(**state["options"])
        made.categories_ = [CategoryColumn(**column) for column in state["categories"]]
        made.numbers_ = [NumberColumn(**column) for column in state["numbers"]]
        dates = state.get("dates", ())
        made.dates_ = [DateColumn(one["name"], tuple(one["parts"]), one["time"]) for one in dates]
        made.date_names = [column.name for column in made.dates_]
        made.cat_names = [column.name for column in made.categories_]
        made.cont_names = [column.name for column in made.numbers_]
        return made

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> TableProcessor:
        """The processor that `to_json` described."""
        return cls.from_dict(json.loads(text))

    def __repr__(self) -> str:
        if not hasattr(self, "categories_"):
            return "TableProcessor(not fitted)"
        return f"TableProcessor({len(self.categories_)} categories, {len(self.numbers_)} numbers)"

    def _has_indicator(self, column: NumberColumn) -> bool:
        return self.na_columns == "all" or column.missing_seen

    def report(self, unknown: Mapping[str, Mapping[Any, int]]) -> None:
        """Log unknown values with their counts, by column, or raise: what the option `unknown` says."""
        if not unknown:
            return
        told = told_counts(unknown)
        if self.unknown == "error":
            raise ValueError(f"values that were not seen in training, by column: {told}")
        log.warning("values that were not seen in training are treated as unknown, by column: %s", told)

    def _check_options(self) -> None:
        for name in _CHOICES:
            _chosen(name, getattr(self, name))
        if self.min_count < 1:
            raise ValueError(f"TableProcessor: min_count must be at least 1, got {self.min_count}")
        if self.max_levels is not None and self.max_levels < 1:
            raise ValueError(f"TableProcessor: max_levels must be at least 1, got {self.max_levels}")

    def _checked_unknown(self, value: Any) -> Any:
        return _chosen("unknown", value) if self._made else value

    def _checked_extra(self, value: Any) -> Any:
        return _chosen("extra", value) if self._made else value

    def _checked_na_columns(self, value: Any) -> Any:
        return _chosen("na_columns", value) if self._made else value

    @property
    def _made(self) -> bool:
        """Whether `__init__` is over, which takes everything, as scikit-learn asks; `fit` looks at it."""
        return self.__dict__.get("_sealed", False)

    def _check_fitted(self) -> None:
        if not hasattr(self, "categories_"):
            raise ValueError("TableProcessor: call fit first")

    def _check_made(self, where: str) -> None:
        """Raise a ValueError if an `_na` column would have the name of another column."""
        read = set(self.feature_names_in_)
        for column in self.numbers_:
            if self._has_indicator(column) and f"{column.name}_na" in read:
                raise ValueError(
                    f"{where}: column {column.name!r} would make a second column '{column.name}_na': rename "
                    'one of the two, or fill the gaps first and use na_columns="seen"'
                )

    def _check_extra(self, names: Any) -> None:
        if self.extra == "error":
            known = {*self.feature_names_in_, *(column.name for column in self.dates_)}
            others = [name for name in names if name not in known]
            if others:
                raise ValueError(f"columns that were not there when fitted: {some(map(repr, others))}")


_CHOICES = {"na_columns": ("all", "seen"), "unknown": ("code", "error"), "extra": ("ignore", "error")}


def _chosen(name: str, value: Any) -> Any:
    """The value of an option, checked."""
    if value not in _CHOICES[name]:
        raise ValueError(f"TableProcessor: {name} must be one of {_CHOICES[name]}, got {value!r}")
    return value


def _is_category(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return True
    return is_text(values) and not holds_numbers(values) and not holds_dates(values)


def _is_number(values: pd.Series) -> bool:
    return not _is_category(values) and holds_numbers(values)
