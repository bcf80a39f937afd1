"""Who, what and how much or how often, when: the columns of a table of pairs, checked."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import pandas as pd

from zoo.data.csv_file import check_columns, read_csv
from zoo.keywords import completed, takes
from zoo_collab.pairs.checks import (
    check_limits,
    checked_ids,
    checked_ratings,
    checked_relevant,
    checked_weights,
    split_rows,
)
from zoo_collab.pairs.features import checked_features
from zoo_collab.pairs.ids import IdMap, ids_of_text
from zoo_collab.pairs.options import TABLE_DEFAULTS, TableOptions
from zoo_collab.pairs.parquet_files import Files
from zoo_collab.pairs.repeats import settled
from zoo_collab.pairs.stream import StoredPairs
from zoo_collab.pairs.times import are_dates, checked_times, time_meant
from zoo_collab.pairs.titles import title_series

log = logging.getLogger("zoo.collab")


class PairTable:
    """The columns of a table of pairs: ratings, or with `rating_col=None` what was bought, heard, clicked.

    Args:
        path: folder of the project; learners save under `path/models`.
        df: the table; it is not changed.
        user_col, item_col: its columns of ids.
        rating_col: its column of ratings; None where each row only says that a user took an item.
        where: names the table in errors.
        options: `item_titles`, `title_col`, `rating_range`, `time_col`, `weight_col`, `duplicates`,
            `user_features` and `item_features`, see `TableOptions`.

    Attributes:
        given: number in the table given of each row that is kept, ascending.
        ratings: of the rows, float32; without ratings their weights.

    Raises:
        ValueError: for a missing column, a missing id, a rating that is not a finite number or lies outside
            the range, a weight that is not above 0.
    """

    @takes(TableOptions, TABLE_DEFAULTS)
    def __init__(
        self,
        path: str | os.PathLike,
        df: pd.DataFrame,
        user_col: str,
        item_col: str,
        rating_col: str | None = None,
        *,
        where: str = "the ratings",
        **options: Unpack[TableOptions],
    ):
        chosen = completed(TableOptions, TABLE_DEFAULTS, options, type(self).__name__)
        self.path, self.where = Path(path), where
        self._set_columns(user_col, item_col, rating_col, chosen)
        user_col, item_col, rating_col = self.columns
        check_columns(df, [name for name in self.columns if name is not None], where)
        if not len(df):
            raise ValueError(f"{where}: no rows")
        self.rows, self._n_given = df.index, len(df)
        self.users, self.items = checked_ids(df, user_col, where), checked_ids(df, item_col, where)
        self.ratings = self._values(df, chosen["weight_col"])
        self.times, self.dated = None, False
        if self.time_col is not None:
            self.times = checked_times(df, self.time_col, where)
            self.dated = are_dates(df[self.time_col])
        self._finish(chosen, None)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_data_frame(
        cls,
        path: str | os.PathLike,
        df: pd.DataFrame,
        user_col: str,
        item_col: str,
        rating_col: str | None = None,
        **options: Unpack[TableOptions],
    ) -> Self:
        """From a frame, which is not changed.

        Args:
            path: folder of the project; learners save under `path/models`.
            df: the table.
            user_col, item_col: its columns of ids.
            rating_col: its column of ratings; None where each row only says that a user took an item.

        Raises:
            ValueError: for what the class refuses.
        """
        completed(TableOptions, TABLE_DEFAULTS, options, "from_data_frame")
        return cls(path, df, user_col, item_col, rating_col, **options)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_csv(
        cls,
        path: str | os.PathLike,
        csv: str | os.PathLike,
        user_col: str,
        item_col: str,
        rating_col: str | None = None,
        *,
        dtype: Mapping[str, Any] | None = None,
        sep: str = ",",
        **options: Unpack[TableOptions],
    ) -> Self:
        """From a CSV file.

        Args:
            path: folder of the project; learners save under `path/models`.
            csv: name of the file, relative to `path`.
            user_col, item_col: its columns of ids.
            rating_col: its column of ratings; None where each row only says that a user took an item.
            dtype: types of columns. Ids that are all whole numbers are read as numbers, so the id 001 becomes
                1, and so does 1.0; all others stay as they are written. `dtype={"user": str}` keeps those as
                well, the id NA among them (elsewhere NA, NULL, nan and the like are missing values).
            sep: what separates the fields.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for an empty, damaged or ragged file, and for what the class refuses.
        """
        completed(TableOptions, TABLE_DEFAULTS, options, "from_csv")
        file = Path(path) / csv
        also = (rating_col, options.get("time_col"), options.get("weight_col"))
        wanted = [user_col, item_col, *(name for name in also if name is not None)]
        hint = ": csv is taken relative to path"
        df = read_csv(file, columns=wanted, sep=sep, dtype=dtype, what="ratings file", hint=hint)
        for column in (name for name in (user_col, item_col) if name not in (dtype or {})):
            if df[column].dtype.kind in "fb":  # guessed: different ids may have become one
                text = read_csv(file, sep=sep, dtype={column: str})[column]
                df[column] = ids_of_text(text.where(df[column].notna()))
            checked_ids(
                df, column, str(file),
                f". NA, NULL, nan and the like are read as missing: dtype={{{column!r}: str}} keeps them",
            )  # fmt: skip
        return cls(path, df, user_col, item_col, rating_col, where=str(file), **options)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_parquet(
        cls,
        path: str | os.PathLike,
        files: Files,
        user_col: str,
        item_col: str,
        rating_col: str | None = None,
        **options: Unpack[TableOptions],
    ) -> Self:
        """From Parquet files of any number of rows: they are made into memory maps below `path/ratings` once,
        and read from there as they are needed. Such a table splits, trains and answers as any other.

        Args:
            path: folder of the project; learners save under `path/models`.
            files: a Parquet file, a folder of them or a list of files, relative to `path`. Of a folder names
                that begin with "." or "_" are left out.
            user_col, item_col: their columns of ids.
            rating_col: their column of ratings; None where each row only says that a user took an item
                (`weight_col` of the options: how often).

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for files that cannot be read or do not go together, and for what the class refuses.

        Example:
            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> df = pd.DataFrame({"who": ["ann", "ann", "bob"], "film": [7, 9, 9], "stars": [4.0, 2.5, 5.0]})
            >>> df.to_parquet(folder / "ratings.parquet")
            >>> PairTable.from_parquet(folder, "ratings.parquet", "who", "film", "stars")
            PairTable: 3 ratings by 2 users (who) of 2 items (film), stars from 2.5 to 5
            >>> PairTable.from_parquet(folder, "ratings.parquet", "who", "film")
            PairTable: 3 pairs by 2 users (who) of 2 items (film), without ratings
        """
        chosen = completed(TableOptions, TABLE_DEFAULTS, options, "from_parquet")
        table = cls.__new__(cls)
        single = isinstance(files, str | os.PathLike)
        table.path, table.where = Path(path), str(Path(path) / files) if single else "the Parquet files"
        table._set_columns(user_col, item_col, rating_col, chosen)
        weight_col = chosen["weight_col"]
        stored = StoredPairs.build(table.path, files, table.columns, table.time_col, weight_col)
        table.rows, table._n_given = pd.RangeIndex(len(stored)), len(stored)
        table.users, table.items, table.ratings = stored.users, stored.items, stored.ratings
        table.times, table.dated = stored.times, stored.dated
        if rating_col is not None:
            check_limits(stored.ratings, table.rows, rating_col, table.where, table.rating_range)
        table._finish(chosen, stored)
        return table

    def _finish(self, chosen: Mapping[str, Any], stored: StoredPairs | None) -> None:
        self._stored = stored
        self.given = np.arange(len(self.rows), dtype=np.int64 if stored is None else np.int32)
        self._settle(chosen["duplicates"])
        names = {"user_features": self.columns[0], "item_features": self.columns[1]}
        self.features = {side: checked_features(chosen[side], name, side) for side, name in names.items()}
        titles = chosen["item_titles"]
        self.titles = None if titles is None else title_series(titles, self.columns[1], chosen["title_col"])

    def taken(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows of an array, on disk if the table lies there."""
        return values[rows] if self._stored is None else self._stored.taken(values, rows)

    def encoded(self, ids: IdMap, column: pd.Series) -> np.ndarray:
        """Indexes of all rows, likewise."""
        if self._stored is None:
            return ids.encode(column, warn=False)
        return self._stored.encoded(ids, column)

    @property
    def is_implicit(self) -> bool:
        """Whether rows only say that a user took an item."""
        return self.columns[2] is None

    def implicit(self, relevant: float | None = None) -> Self:
        """The same pairs without their ratings: for lists, what was rated at all tells more than how.

        Args:
            relevant: the lowest rating of a pair that is kept; None keeps all.

        Returns:
            A table of its own; row numbers to hold out stay those of this one.

        Raises:
            ValueError: if no rating is as high, or the table has none.
        """
        if self.is_implicit:
            raise ValueError(f"{self.where}: these pairs have no ratings, they are implicit already")
        relevant = checked_relevant(relevant)
        kept = np.arange(len(self)) if relevant is None else np.flatnonzero(self.ratings >= relevant)
        if not len(kept):
            raise ValueError(
                f"{self.where}: no rating is {relevant:g} or more; the highest is {self.ratings.max():g}"
            )
        other = copy.copy(self)
        other.columns, other.rating_range = (*self.columns[:2], None), None
        other.ratings = np.ones(len(self), dtype=np.float32)
        other._keep(kept)
        return other

    @property
    def has_features(self) -> bool:
        """Whether something is known of users or items beside their ratings."""
        return any(frame is not None for frame in self.features.values())

    def without_features(self) -> Self:
        """The same table without `user_features` and `item_features`."""
        other = copy.copy(self)
        other.features = dict.fromkeys(self.features)
        return other

    def _set_columns(
        self, user_col: str, item_col: str, rating_col: str | None, chosen: Mapping[str, Any]
    ) -> None:
        """What is which column; options that do not go with it are refused."""
        names: list[Any] = [
            name.item() if isinstance(name, np.generic) else name for name in (user_col, item_col, rating_col)
        ]  # as JSON can keep them
        given = [name for name in names if name is not None]
        if len(set(given)) < len(given):
            raise ValueError(
                f"{self.where}: user, item and rating need three columns, got "
                f"{user_col, item_col, rating_col}"
            )
        self.columns: tuple[str, str, str | None] = (names[0], names[1], names[2])
        self.rating_range: tuple[float, float] | None = chosen["rating_range"]
        self.time_col: str | None = chosen["time_col"]
        if rating_col is not None and chosen["weight_col"] is not None:
            raise ValueError(
                f"{self.where}: weight_col={chosen['weight_col']!r} says how much a pair without a rating "
                "counts, and there are ratings; leave one of them out"
            )
        if rating_col is None and self.rating_range is not None:
            raise ValueError(f"{self.where}: rating_range= belongs to ratings, and rating_col is None")

    def _values(self, df: pd.DataFrame, weight_col: str | None) -> np.ndarray:
        if self.columns[2] is not None:
            return checked_ratings(df, self.columns[2], self.where, self.rating_range)
        if weight_col is None:
            return np.ones(len(df), dtype=np.float32)
        return checked_weights(df, weight_col, self.where)

    def _settle(self, rule: str) -> None:
        """Does with repeated pairs what was said."""
        kept, self.ratings = settled(
            self.users, self.items, self.ratings, self.times, rule, self.where, self.columns
        )
        self._keep(kept, but_ratings=True)

    def _keep(self, kept: np.ndarray, *, but_ratings: bool = False) -> None:
        """Leaves these rows, ascending."""
        if not but_ratings:
            self.ratings = self.ratings[kept]
        if len(kept) < len(self.rows):
            self.given, self.rows = self.given[kept], self.rows[kept]
            self.users, self.items = (x.iloc[kept].reset_index(drop=True) for x in (self.users, self.items))
            self.times = None if self.times is None else self.times[kept]

    def as_time(self, value: Any, what: str) -> Any:
        """A time as `times` holds them; `what` says in errors where it was given."""
        if self.times is None:
            raise ValueError(f"{self.where}: there is no time column")
        return time_meant(value, self.times, self.dated, what, self.time_col)

    def split(self, val_idxs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the rows to train on and to hold out, of those that are kept; arguments as of
        `get_data`.
        """
        if callable(val_idxs):
            val_idxs = val_idxs(self)
        _, held_out = split_rows(val_idxs, self._n_given)
        if len(self) < self._n_given:
            place = np.full(self._n_given, -1)
            place[self.given] = np.arange(len(self))
            held_out = place[held_out]
            if gone := int((held_out < 0).sum()):
                log.warning(
                    "%s: %d of the rows to hold out are gone (repeated pairs that were settled, or ratings "
                    "that were too low): they hold nothing out",
                    self.where, gone,
                )  # fmt: skip
            held_out = held_out[held_out >= 0]
        return split_rows(held_out, len(self))

    def __len__(self) -> int:
        return len(self.ratings)

    def __repr__(self) -> str:
        user_col, item_col, rating_col = self.columns
        pairs = f"by {self.users.nunique()} users ({user_col}) of {self.items.nunique()} items ({item_col})"
        if rating_col is None:
            return f"{type(self).__name__}: {len(self)} pairs {pairs}, without ratings"
        span = f"{rating_col} from {self.ratings.min():g} to {self.ratings.max():g}"
        return f"{type(self).__name__}: {len(self)} ratings {pairs}, {span}"
