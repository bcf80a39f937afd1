"""Ratings tables: raw ids and ratings in, a learner out."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch
from torch import nn

from zoo.data.csv_file import check_columns, read_csv
from zoo.data.loaders.seeding import seeded
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.engine.layer_groups import GroupSpec
from zoo.engine.row_adamw import RowAdamW
from zoo.engine.sparse import sparse_tables
from zoo.keywords import completed, takes
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_collab.compare import Comparison, compare
from zoo_collab.data.collab_data import CollabData
from zoo_collab.learner import CollabLearner
from zoo_collab.lists.evaluate import DEFAULT
from zoo_collab.model.choice import by_rows, make_model
from zoo_collab.pairs.checks import (
    as_times,
    check_limits,
    checked_ids,
    checked_ratings,
    checked_times,
    split_rows,
)
from zoo_collab.pairs.ids import IdMap, ids_of_text, log
from zoo_collab.pairs.options import TABLE_DEFAULTS, TableOptions
from zoo_collab.pairs.repeats import settled
from zoo_collab.pairs.seen import SeenPairs, counts_of
from zoo_collab.pairs.splits import tell_leaks
from zoo_collab.pairs.stream import Files, StoredPairs
from zoo_collab.pairs.titles import title_series, titles_of

_WIDER = 0.1  # share of the ratings' span by which predictions may pass either end


class CollabFilterDataset:
    """A table of ratings: who, what, how much. Any two columns of ids and one measure will do.

    Args:
        path: folder of the project; learners save under `path/models`.
        df: the table; it is not changed.
        user_col, item_col, rating_col: its columns.
        where: names the table in errors.
        options: `item_titles`, `title_col`, `rating_range`, `time_col` and `duplicates`, see `TableOptions`.

    Attributes:
        given: number in the table given of each row that is kept, ascending.

    Raises:
        ValueError: for a missing column, a missing id, a rating that is not a finite number or lies outside
            the range.

    Example:
        >>> df = pd.DataFrame({"who": ["ann", "ann", "bob"], "film": [7, 9, 9], "stars": [4.0, 2.5, 5.0]})
        >>> CollabFilterDataset(".", df, "who", "film", "stars")
        CollabFilterDataset: 3 ratings by 2 users (who) of 2 items (film), stars from 2.5 to 5
    """

    @takes(TableOptions, TABLE_DEFAULTS)
    def __init__(
        self,
        path: str | os.PathLike,
        df: pd.DataFrame,
        user_col: str,
        item_col: str,
        rating_col: str,
        *,
        where: str = "the ratings",
        **options: Unpack[TableOptions],
    ):
        chosen = completed(TableOptions, TABLE_DEFAULTS, options, "CollabFilterDataset")
        names = [
            name.item() if isinstance(name, np.generic) else name for name in (user_col, item_col, rating_col)
        ]
        user_col, item_col, rating_col = names  # as JSON can keep them
        check_columns(df, names, where)
        if len({user_col, item_col, rating_col}) < 3:
            raise ValueError(
                f"{where}: user, item and rating need three columns, got {user_col, item_col, rating_col}"
            )
        if not len(df):
            raise ValueError(f"{where}: no rows")
        self.path, self.where, self.rows, self._n_given = Path(path), where, df.index, len(df)
        self.columns = (user_col, item_col, rating_col)
        self.users, self.items = checked_ids(df, user_col, where), checked_ids(df, item_col, where)
        self.ratings = checked_ratings(df, rating_col, where, chosen["rating_range"])
        self.rating_range: tuple[float, float] | None = chosen["rating_range"]
        self.time_col: str | None = chosen["time_col"]
        self.times = None if self.time_col is None else checked_times(df, self.time_col, where)
        self._finish(chosen, None)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_data_frame(
        cls,
        path: str | os.PathLike,
        df: pd.DataFrame,
        user_col: str,
        item_col: str,
        rating_col: str,
        **options: Unpack[TableOptions],
    ) -> CollabFilterDataset:
        """From a frame, which is not changed.

        Args:
            path: folder of the project; learners save under `path/models`.
            df: the table.
            user_col, item_col, rating_col: its columns.

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
        rating_col: str,
        *,
        dtype: Mapping[str, Any] | None = None,
        sep: str = ",",
        **options: Unpack[TableOptions],
    ) -> CollabFilterDataset:
        """From a CSV file.

        Args:
            path: folder of the project; learners save under `path/models`.
            csv: name of the file, relative to `path`.
            user_col, item_col, rating_col: its columns.
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
        columns = (user_col, item_col, rating_col)
        time_col = options.get("time_col")
        wanted = columns if time_col is None else (*columns, time_col)
        hint = ": csv is taken relative to path"
        df = read_csv(file, columns=wanted, sep=sep, dtype=dtype, what="ratings file", hint=hint)
        for column in (name for name in columns[:2] if name not in (dtype or {})):
            if df[column].dtype.kind in "fb":  # guessed: different ids may have become one
                text = read_csv(file, sep=sep, dtype={column: str})[column]
                df[column] = ids_of_text(text.where(df[column].notna()))
            checked_ids(
                df, column, str(file),
                f". NA, NULL, nan and the like are read as missing: dtype={{{column!r}: str}} keeps them",
            )  # fmt: skip
        return cls(path, df, *columns, where=str(file), **options)

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_parquet(
        cls,
        path: str | os.PathLike,
        files: Files,
        user_col: str,
        item_col: str,
        rating_col: str,
        **options: Unpack[TableOptions],
    ) -> CollabFilterDataset:
        """From Parquet files of any number of rows: they are made into memory maps below `path/ratings` once,
        and read from there as they are needed. Such a table splits, trains and answers as any other.

        Args:
            path: folder of the project; learners save under `path/models`.
            files: a Parquet file, a folder of them or a list of files, relative to `path`.
            user_col, item_col, rating_col: their columns.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for files that cannot be read or do not go together, and for what the class refuses.

        Example:
            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> df = pd.DataFrame({"who": ["ann", "ann", "bob"], "film": [7, 9, 9], "stars": [4.0, 2.5, 5.0]})
            >>> df.to_parquet(folder / "ratings.parquet")
            >>> CollabFilterDataset.from_parquet(folder, "ratings.parquet", "who", "film", "stars")
            CollabFilterDataset: 3 ratings by 2 users (who) of 2 items (film), stars from 2.5 to 5
        """
        chosen = completed(TableOptions, TABLE_DEFAULTS, options, "from_parquet")
        columns = (user_col, item_col, rating_col)
        if len(set(columns)) < 3:
            raise ValueError(f"from_parquet: user, item and rating need three columns, got {columns}")
        stored = StoredPairs.build(Path(path), files, columns, chosen["time_col"])
        table = cls.__new__(cls)
        table.path, table.columns, table._n_given = Path(path), columns, len(stored)
        single = isinstance(files, str | os.PathLike)
        table.where = str(Path(path) / files) if single else "the Parquet files"
        table.rows = pd.RangeIndex(len(stored))
        table.users, table.items, table.ratings = stored.users, stored.items, stored.ratings
        table.time_col, table.times = chosen["time_col"], stored.times
        table.rating_range = chosen["rating_range"]
        check_limits(stored.ratings, table.rows, rating_col, table.where, table.rating_range)
        table._finish(chosen, stored)
        return table

    def _finish(self, chosen: Mapping[str, Any], stored: StoredPairs | None) -> None:
        self._stored = stored
        self.given = np.arange(len(self.rows), dtype=np.int64 if stored is None else np.int32)
        self._settle(chosen["duplicates"])
        titles = chosen["item_titles"]
        self.titles = None if titles is None else title_series(titles, self.columns[1], chosen["title_col"])

    def _settle(self, rule: str) -> None:
        """Does with repeated pairs what was said."""
        kept, ratings = settled(
            self.users, self.items, self.ratings, self.times, rule, self.where, self.columns
        )
        self.ratings = ratings
        if len(kept) < len(self.rows):
            self.given, self.rows = kept, self.rows[kept]
            self.users, self.items = (x.iloc[kept].reset_index(drop=True) for x in (self.users, self.items))
            self.times = None if self.times is None else self.times[kept]

    def as_time(self, value: Any) -> Any:
        """A time as `times` holds them."""
        return as_times(pd.Series([value]), repr(value))[0]

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
                    "%s: %d of the rows to hold out are repeated pairs that have been settled: they hold "
                    "nothing out",
                    self.where, gone,
                )  # fmt: skip
            held_out = held_out[held_out >= 0]
        return split_rows(held_out, len(self))

    def __len__(self) -> int:
        return len(self.ratings)

    def __repr__(self) -> str:
        user_col, item_col, rating_col = self.columns
        return (
            f"CollabFilterDataset: {len(self)} ratings by {self.users.nunique()} users ({user_col}) of"
            f" {self.items.nunique()} items ({item_col}), {rating_col} from {self.ratings.min():g} to"
            f" {self.ratings.max():g}"
        )

    def get_data(
        self,
        val_idxs: Any = None,
        bs: int = 64,
        *,
        test_df: pd.DataFrame | None = None,
        y_range: tuple[float, float] | None = None,
        seed: int | None = None,
    ) -> CollabData:
        """Loaders over training, validation and test rows.

        The ids are numbered from the training rows alone: a user or item that appears only among the
        validation rows is as unknown as it will be in use, and is measured as such.

        Args:
            val_idxs: row numbers (see `zoo.get_cv_idxs`), or a true/false mask, to hold out; predictions of
                them come in this order. Or a split: `by_time(0.2)`, `by_user_time()`, `leave_one_out()`,
                `by_user(0.1)`. None trains on everything.
            bs: rows a batch.
            test_df: further pairs to predict, with the user and item columns; ratings are optional.
            y_range: (lowest, highest) output of the model; None takes the range of ratings (`rating_range`,
                else that of the training ratings) and a tenth of its span more at either end, for a sigmoid
                reaches its ends only at infinity. Answers are clipped to the range of ratings.
            seed: of the order of the training rows.
        """
        train, held_out = self.split(val_idxs)
        user_col, item_col, rating_col = self.columns
        users, items = IdMap.fit(self.users[train], user_col), IdMap.fit(self.items[train], item_col)
        if y_range is not None:
            check_limits(self.ratings, self.rows, rating_col, self.where, y_range)
        ratings = self._taken(self.ratings, train)
        low, high = self.rating_range or (float(ratings.min()), float(ratings.max()))
        if y_range is None:
            if not low < high:
                raise ValueError(
                    f"{self.where}: every training rating is {low:g}; give y_range to train all the same"
                )
            y_range = (low - _WIDER * (high - low), high + _WIDER * (high - low))
        user_index, item_index = self._encoded(users, self.users), self._encoded(items, self.items)
        tell_leaks(self.where, user_index, item_index, self.times, train, held_out)

        training = (self._taken(user_index, train), self._taken(item_index, train), ratings)
        held = [self._taken(values, held_out) for values in (user_index, item_index, self.ratings)]

        def loader(arrays: Sequence[np.ndarray], shuffle: bool) -> TensorLoader:
            return TensorLoader(*arrays, bs=bs if shuffle else max(bs, 8192), shuffle=shuffle, seed=seed)

        return CollabData(
            loader(training, True),
            loader(held, False) if len(held_out) else None,
            None if test_df is None else self._test_loader(test_df, users, items, max(bs, 8192)),
            self.path,
            users=users,
            items=items,
            titles=titles_of(items, self.titles),
            y_range=y_range,
            rating_range=(low, high) if low < high else y_range,
            mean=float(ratings.mean()),
            seen=SeenPairs.from_pairs(training[0], training[1], len(users)),
            seen_valid=SeenPairs.from_pairs(held[0], held[1], len(users)),
            item_counts=torch.from_numpy(counts_of(training[1], len(items))),
            columns=self.columns,
        )

    def _taken(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows of an array, on disk if the table lies there."""
        return values[rows] if self._stored is None else self._stored.taken(values, rows)

    def _encoded(self, ids: IdMap, column: pd.Series) -> np.ndarray:
        """Indexes of all rows, likewise."""
        if self._stored is None:
            return ids.encode(column, warn=False)
        return self._stored.encoded(ids, column)

    def compare(
        self,
        val_idxs: Any = None,
        *,
        k: int | Sequence[int] = (10, 20, 100),
        metrics: Sequence[str] = DEFAULT,
        models: Sequence[str] | None = None,
        relevant: float | None = None,
        users: int | None = None,
        seed: int = 0,
    ) -> Comparison:
        """Which kind of model makes the best lists: each is fitted to the same rows, ranks all items that a
        user has not seen in training, and is judged by what the held-out rows say.

        Args:
            val_idxs: rows to hold out, as of `get_data`; by default a fifth of each user's ratings, the
                latest, or without a time column a fifth of the rows drawn at random.
            k: how many places of a list count.
            metrics: names, as of `CollabLearner.evaluate_ranking`.
            models: names, of "popularity", "item neighbours", "EASE", "implicit ALS" and "dot product on
                ratings"; all by default.
            relevant: the lowest rating with which a held-out pair counts as liked; None counts every pair.
            users: judge so many users, drawn at random; all by default.
            seed: of what is drawn.

        Returns:
            `.table`, a row a model, the best first, and `.plot()`.

        Raises:
            ValueError: for models and metrics that are not known.
        """
        found = {"k": k, "metrics": metrics, "models": models, "relevant": relevant, "users": users}
        return compare(self, val_idxs, **found, seed=seed)

    def _test_loader(self, df: pd.DataFrame, users: IdMap, items: IdMap, bs: int) -> TensorLoader:
        user_col, item_col, rating_col = self.columns
        check_columns(df, [user_col, item_col], "test_df")
        if rating_col in df.columns:
            ratings = checked_ratings(df, rating_col, "test_df", None)
        else:
            ratings = np.full(len(df), np.nan, dtype=np.float32)
        user_index = users.encode(checked_ids(df, user_col, "test_df"))
        return TensorLoader(user_index, items.encode(checked_ids(df, item_col, "test_df")), ratings, bs=bs)

    @takes(LearnerOptions, LEARNER_DEFAULTS, without=("opt_fn", "wd", "seed"))
    def get_learner(
        self,
        n_factors: int | Sequence[int] = 50,
        val_idxs: Any = None,
        bs: int = 64,
        opt_fn: Callable | None = None,
        *,
        test_df: pd.DataFrame | None = None,
        y_range: tuple[float, float] | None = None,
        hidden: Sequence[int] | None = None,
        dropouts: float | Sequence[float] = 0.0,
        model: nn.Module | None = None,
        wd: float | Sequence[float] | None = None,
        seed: int | None = None,
        layer_groups: GroupSpec | None = None,
        sparse: bool | None = None,
        **options: Any,
    ) -> CollabLearner:
        """A learner of `EmbeddingDotBias`, or of `EmbeddingNet` where `hidden` is given.

        Args:
            n_factors: width of the embeddings; `EmbeddingNet` also takes (user width, item width).
            val_idxs: row numbers to hold out, as of `get_data`; None trains on everything.
            bs: rows a batch.
            opt_fn: optimizer class; None takes the core's AdamW, for tables with sparse gradients
                `zoo.RowAdamW`.
            test_df: pairs for `learn.predict(is_test=True)`.
            y_range: (lowest, highest) output of the model. A sigmoid reaches its ends only at infinity, so by
                default it is the range of ratings widened by a tenth of its span at either end: (0.05, 5.45)
                for stars from 0.5 to 5. A rating outside the range you give is an error. What `predict_one`,
                `predict_batch` and `recommend` answer is clipped to the range of ratings.
            hidden: sizes of hidden layers; given, the model is an `EmbeddingNet`.
            dropouts: of `EmbeddingNet`.
            model: any module of (user indexes, item indexes) in place of both.
            wd: decoupled weight decay; by default (0.5, 0.05), of factors and biases, for the dot product and
                0.2 for other models. Tables of many rarely seen rows need more than other networks.
            seed: of the initial weights and of the order of the rows.
            layer_groups: of the learner; those of the model by default.
            sparse: whether the tables of users and items have sparse gradients, so that a step costs what its
                batch does, however many rows they have (`zoo.RowAdamW` tells what else that changes). By
                default where it pays, for tables that are large beside a batch.
        """
        given = {**options, "opt_fn": opt_fn, "wd": wd, "seed": seed}
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, given, "get_learner")
        if isinstance(n_factors, numbers.Integral):
            n_factors = int(n_factors)
        elif not isinstance(n_factors, str) and isinstance(n_factors, Iterable):
            n_factors = [int(width) if isinstance(width, numbers.Integral) else width for width in n_factors]
        else:
            raise ValueError(f"n_factors must be a whole number of 1 or more, got {n_factors!r}")
        if wd is None:
            chosen["wd"] = (0.5, 0.05) if model is None and hidden is None else 0.2
        data = self.get_data(val_idxs, bs, test_df=test_df, y_range=y_range, seed=seed)
        sizes = (len(data.users), len(data.items))
        sparse = by_rows(sparse, model, chosen["opt_fn"], sum(sizes), n_factors, bs, chosen["device"])
        with seeded(seed):
            if model is None:
                model = make_model(sizes, n_factors, hidden, dropouts, data.y_range, data.mean, sparse)
        if chosen["opt_fn"] is None and any(sparse_tables(model)):
            chosen["opt_fn"] = RowAdamW
        return CollabLearner(data, model, layer_groups=layer_groups, **chosen)
