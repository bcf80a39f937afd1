"""Ratings tables: raw ids and ratings in, batches of indexes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.data import ModelData, TensorLoader
from zoo.errors import did_you_mean, some
from zoo_collab.ids import IdMap

if TYPE_CHECKING:
    from zoo_collab.learner import CollabLearner

Titles = Mapping[Any, str] | pd.Series | pd.DataFrame
_BATCH = 65_536


def check_columns(df: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raises a ValueError that names the missing column and the nearest present one."""
    for column in columns:
        if column not in df.columns:
            raise ValueError(
                f"{where} has no column {column!r}{did_you_mean(column, df.columns)};"
                f" its columns are: {some(df.columns, 12)}"
            )


def _plain(value: Any) -> Any:
    """A numpy number as the Python number it prints like."""
    return value.item() if isinstance(value, np.generic) else value


def _checked_ids(df: pd.DataFrame, column: str, where: str) -> pd.Series:
    missing = df[column].isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{where}: column {column!r} has no id in row {_plain(df.index[missing.argmax()])!r}"
            f" ({int(missing.sum())} such rows); drop them or give them an id"
        )
    return df[column].reset_index(drop=True)


def _checked_ratings(
    df: pd.DataFrame, column: str, where: str, limits: tuple[float, float] | None
) -> np.ndarray:
    numbers = pd.to_numeric(df[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{where}: column {column!r} holds {_plain(df[column].iloc[row])!r} in row {_plain(df.index[row])!r},"
            f" which is not a finite number ({int(bad.sum())} such rows); drop or repair them"
        )
    _check_limits(numbers, df.index, column, where, limits)
    return numbers.astype(np.float32)


def _check_limits(
    ratings: np.ndarray, rows: pd.Index, column: str, where: str, limits: tuple[float, float] | None
) -> None:
    if limits is None:
        return
    low, high = limits
    if not low < high:
        raise ValueError(
            f"the range of the ratings is (lowest, highest) with lowest < highest, got {tuple(limits)}"
        )
    outside = (ratings < low) | (ratings > high)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{where}: column {column!r} holds {float(ratings[row]):g} in row {_plain(rows[row])!r}, outside"
            f" the range ({low:g}, {high:g}) you gave ({int(outside.sum())} such rows);"
            " widen the range or repair the rows"
        )


def _title_series(titles: Titles, item_col: str, title_col: str) -> pd.Series:
    if isinstance(titles, pd.DataFrame):
        check_columns(titles, [item_col, title_col], "item_titles")
        return pd.Series(titles[title_col].to_numpy(), index=pd.Index(titles[item_col]))
    return pd.Series(titles)


class SeenPairs:
    """Which items each user has rated, as two compact arrays (compressed sparse rows).

    Args:
        starts: int64, shape (n_users + 1,): the items of user index u are `items[starts[u]:starts[u + 1]]`.
        items: int32 item indexes, sorted for each user.

    Example:
        >>> SeenPairs.from_pairs(np.array([1, 2, 1]), np.array([3, 1, 2]), n_users=3).of(1).tolist()
        [2, 3]
    """

    def __init__(self, starts: Tensor, items: Tensor):
        if starts.dim() != 1 or items.dim() != 1 or len(starts) < 1 or int(starts[-1]) != len(items):
            raise ValueError("seen pairs: starts and items do not belong together")
        if int(starts[0]) != 0 or bool((starts.diff() < 0).any()):
            raise ValueError("seen pairs: starts must begin at 0 and never fall")
        self.starts, self.items = starts, items

    @classmethod
    def from_pairs(cls, users: np.ndarray, items: np.ndarray, n_users: int) -> SeenPairs:
        """Collects pairs of indexes; pairs with the unknown user or item are left out, repeats kept once."""
        known = (users > 0) & (items > 0)
        pairs = np.unique(np.stack([users[known], items[known]], axis=1), axis=0)
        starts = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=n_users))])
        return cls(torch.from_numpy(starts.astype(np.int64)), torch.from_numpy(pairs[:, 1].astype(np.int32)))

    def of(self, user: int) -> Tensor:
        """Item indexes that this user index has rated."""
        return self.items[int(self.starts[user]) : int(self.starts[user + 1])]

    def mask(self, users: Tensor, n_items: int) -> Tensor:
        """Boolean, shape (len(users), n_items): true where the user has rated the item."""
        counts = self.starts[users + 1] - self.starts[users]
        rows = torch.repeat_interleave(torch.arange(len(users)), counts)
        within = torch.arange(int(counts.sum())) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        columns = self.items[torch.repeat_interleave(self.starts[users], counts) + within].long()
        mask = torch.zeros(len(users), n_items, dtype=torch.bool)
        mask[rows, columns] = True
        return mask


class CollabData(ModelData):
    """Loaders of (user index, item index, rating) and what turns raw ids into indexes and back.

    Built by `CollabFilterDataset.get_data`. Index 0 stands for users and items that training did not see.

    Args:
        users, items: the raw ids of the training rows.
        titles: one readable name an item index; entry 0 is the unknown item's.
        y_range: (lowest, highest) training rating, or the range the user gave.
        mean: mean training rating.
        seen: the pairs to leave out of recommendations.
        item_counts: training ratings of each item index.
        columns: names of the user, item and rating column.
    """

    task = "regression"

    def __init__(
        self,
        train_dl: Any = None,
        valid_dl: Any = None,
        test_dl: Any = None,
        path: str | os.PathLike | None = None,
        *,
        users: IdMap,
        items: IdMap,
        titles: list[str],
        y_range: tuple[float, float],
        mean: float,
        seen: SeenPairs,
        item_counts: Tensor,
        columns: tuple[str, str, str],
    ):
        super().__init__(train_dl, valid_dl, test_dl, path)
        if not (len(titles) == len(item_counts) == len(items) and len(seen.starts) == len(users) + 1):
            raise ValueError("the ids, titles, counts and seen pairs of the ratings do not belong together")
        if len(seen.items) and not (int(seen.items.min()) >= 0 and int(seen.items.max()) < len(items)):
            raise ValueError("seen pairs: an item index lies outside the item ids")
        self.users, self.items, self.titles = users, items, titles
        self.y_range, self.mean = (float(y_range[0]), float(y_range[1])), float(mean)
        self.seen, self.item_counts = seen, item_counts
        self.columns = columns

    def default_metrics(self) -> list[Callable]:
        """Root mean squared error and mean absolute error, in units of the ratings."""
        from zoo.metrics import mae, rmse

        return [rmse, mae]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Batches of (user indexes, item indexes) from a frame with the two id columns or a list of pairs."""
        user_col, item_col, _ = self.columns
        if isinstance(items, pd.DataFrame):
            check_columns(items, [user_col, item_col], "the frame to predict")
            raw_users, raw_items = items[user_col], items[item_col]
        else:
            pairs = [_pair(pair, user_col, item_col) for pair in items]
            raw_users = pd.Series([user for user, _ in pairs], dtype=object)
            raw_items = pd.Series([item for _, item in pairs], dtype=object)
        users = torch.from_numpy(self.users.encode(raw_users))
        films = torch.from_numpy(self.items.encode(raw_items))
        for start in range(0, len(users), _BATCH):
            yield users[start : start + _BATCH], films[start : start + _BATCH]

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Ids and titles as JSON; seen pairs and counts as tensors."""
        state = {
            "users": self.users.to_json(),
            "items": self.items.to_json(),
            "titles": self.titles[1:],
            "y_range": list(self.y_range),
            "mean": self.mean,
            "columns": list(self.columns),
        }
        tensors = {
            "seen_starts": self.seen.starts,
            "seen_items": self.seen.items,
            "item_counts": self.item_counts,
        }
        return state, tensors

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> CollabData:
        """The same data without its loaders: enough to predict and recommend."""
        user_col, item_col, rating_col = state["columns"]
        return cls(
            users=IdMap.from_json(state["users"]),
            items=IdMap.from_json(state["items"]),
            titles=[_UNKNOWN_TITLE, *state["titles"]],
            y_range=tuple(state["y_range"]),
            mean=state["mean"],
            seen=SeenPairs(tensors["seen_starts"], tensors["seen_items"]),
            item_counts=tensors["item_counts"],
            columns=(user_col, item_col, rating_col),
        )


_UNKNOWN_TITLE = "(unknown)"


def _pair(pair: Any, user_col: str, item_col: str) -> tuple[Any, Any]:
    if isinstance(pair, Mapping):
        if user_col in pair and item_col in pair:
            return pair[user_col], pair[item_col]
        raise ValueError(f"a dict to predict needs the keys {user_col!r} and {item_col!r}, got {some(pair)}")
    if isinstance(pair, (tuple, list, np.ndarray)) and len(pair) == 2:
        return pair[0], pair[1]
    raise ValueError(f"expected a ({user_col}, {item_col}) pair of raw ids, got {pair!r}")


class CollabFilterDataset:
    """A table of ratings: who, what, how much. Any two columns of ids and one measure will do.

    Args:
        path: folder of the project; learners save under `path/models`.
        df: the table; it is not changed.
        user_col, item_col, rating_col: its columns.
        item_titles: readable names of the items: a dict or Series from raw id to title, or a frame with the
            columns `item_col` and `title_col`.
        title_col: the column of `item_titles` that holds the names.
        rating_range: (lowest, highest) allowed rating; a rating outside is an error. None accepts all
            numbers.

    Raises:
        ValueError: for a missing column, a missing id, a rating that is not a finite number or lies outside
            the range.

    Example:
        >>> df = pd.DataFrame({"who": ["ann", "ann", "bob"], "film": [7, 9, 9], "stars": [4.0, 2.5, 5.0]})
        >>> CollabFilterDataset(".", df, "who", "film", "stars")
        CollabFilterDataset: 3 ratings by 2 users (who) of 2 items (film), stars from 2.5 to 5
    """

    def __init__(
        self,
        path: str | os.PathLike,
        df: pd.DataFrame,
        user_col: str,
        item_col: str,
        rating_col: str,
        *,
        item_titles: Titles | None = None,
        title_col: str = "title",
        rating_range: tuple[float, float] | None = None,
        where: str = "the ratings",
    ):
        check_columns(df, [user_col, item_col, rating_col], where)
        if len({user_col, item_col, rating_col}) < 3:
            raise ValueError(
                f"{where}: user, item and rating need three columns, got {user_col, item_col, rating_col}"
            )
        if not len(df):
            raise ValueError(f"{where}: no rows")
        self.path, self.where, self.rows = Path(path), where, df.index
        self.columns = (user_col, item_col, rating_col)
        self.users, self.items = _checked_ids(df, user_col, where), _checked_ids(df, item_col, where)
        self.ratings = _checked_ratings(df, rating_col, where, rating_range)
        self.rating_range = rating_range
        self.titles = None if item_titles is None else _title_series(item_titles, item_col, title_col)

    @classmethod
    def from_data_frame(
        cls,
        path: str | os.PathLike,
        df: pd.DataFrame,
        user_col: str,
        item_col: str,
        rating_col: str,
        *,
        item_titles: Titles | None = None,
        title_col: str = "title",
        rating_range: tuple[float, float] | None = None,
    ) -> CollabFilterDataset:
        """From a frame; arguments as of the class."""
        return cls(
            path,
            df,
            user_col,
            item_col,
            rating_col,
            item_titles=item_titles,
            title_col=title_col,
            rating_range=rating_range,
        )

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike,
        csv: str | os.PathLike,
        user_col: str,
        item_col: str,
        rating_col: str,
        *,
        item_titles: Titles | None = None,
        title_col: str = "title",
        rating_range: tuple[float, float] | None = None,
    ) -> CollabFilterDataset:
        """From a CSV file, named relative to `path`; other arguments as of the class."""
        file = Path(path) / csv
        if not file.is_file():
            raise FileNotFoundError(f"no ratings file {file}: csv is taken relative to path")
        return cls(
            path,
            pd.read_csv(file),
            user_col,
            item_col,
            rating_col,
            item_titles=item_titles,
            title_col=title_col,
            rating_range=rating_range,
            where=str(file),
        )

    def __len__(self) -> int:
        return len(self.ratings)

    def __repr__(self) -> str:
        user_col, item_col, rating_col = self.columns
        return (
            f"CollabFilterDataset: {len(self)} ratings by {self.users.nunique()} users ({user_col}) of"
            f" {self.items.nunique()} items ({item_col}), {rating_col} from {self.ratings.min():g} to"
            f" {self.ratings.max():g}"
        )

    def _validation_mask(self, val_idxs: Any) -> np.ndarray:
        mask = np.zeros(len(self), dtype=bool)
        if val_idxs is None:
            return mask
        rows = np.asarray(val_idxs)
        if rows.dtype == bool and rows.shape == mask.shape:
            return rows.copy()
        if rows.size and (
            not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() >= len(self)
        ):
            raise ValueError(
                f"val_idxs must be row numbers from 0 to {len(self) - 1}, got {some(rows.ravel())}"
            )
        mask[rows.astype(np.int64)] = True
        if mask.all():
            raise ValueError(f"val_idxs holds all {len(self)} rows: nothing is left to train on")
        return mask

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
            validation rows
        is as unknown as it will be in use, and is measured as such.

        Args:
            val_idxs: row numbers to hold out (see `zoo.get_cv_idxs`); None trains on everything.
            bs: rows a batch.
            test_df: further pairs to predict, with the user and item columns; ratings are optional.
            y_range: (lowest, highest) prediction; None takes the training ratings' own, or `rating_range` if
                given.
            seed: of the order of the training rows.
        """
        held_out = self._validation_mask(val_idxs)
        train = ~held_out
        user_col, item_col, rating_col = self.columns
        users, items = IdMap.fit(self.users[train], user_col), IdMap.fit(self.items[train], item_col)
        if y_range is not None:
            _check_limits(self.ratings, self.rows, rating_col, self.where, y_range)
        limits = (
            y_range
            or self.rating_range
            or (float(self.ratings[train].min()), float(self.ratings[train].max()))
        )
        if not limits[0] < limits[1]:
            raise ValueError(
                f"{self.where}: every training rating is {limits[0]:g}; give y_range to train all the same"
            )
        user_index, item_index = users.encode(self.users, warn=False), items.encode(self.items, warn=False)

        def loader(rows: np.ndarray, shuffle: bool) -> TensorLoader:
            arrays = (user_index[rows], item_index[rows], self.ratings[rows])
            return TensorLoader(*arrays, bs=bs if shuffle else max(bs, 8192), shuffle=shuffle, seed=seed)

        return CollabData(
            loader(train, True),
            loader(held_out, False) if held_out.any() else None,
            None if test_df is None else self._test_loader(test_df, users, items, max(bs, 8192)),
            self.path,
            users=users,
            items=items,
            titles=self._titles(items),
            y_range=limits,
            mean=float(self.ratings[train].mean()),
            seen=SeenPairs.from_pairs(user_index, item_index, len(users)),
            item_counts=torch.from_numpy(np.bincount(item_index[train], minlength=len(items))),
            columns=self.columns,
        )

    def _titles(self, items: IdMap) -> list[str]:
        titles = [_UNKNOWN_TITLE, *(str(value) for value in items.ids)]
        if self.titles is not None:
            known = self.titles[self.titles.notna()]
            for index, title in zip(items.encode(known.index, warn=False), known, strict=True):
                titles[index] = str(title)
            titles[0] = _UNKNOWN_TITLE
        return titles

    def _test_loader(self, df: pd.DataFrame, users: IdMap, items: IdMap, bs: int) -> TensorLoader:
        user_col, item_col, rating_col = self.columns
        check_columns(df, [user_col, item_col], "test_df")
        if rating_col in df.columns:
            ratings = _checked_ratings(df, rating_col, "test_df", None)
        else:
            ratings = np.full(len(df), np.nan, dtype=np.float32)
        user_index = users.encode(_checked_ids(df, user_col, "test_df"))
        return TensorLoader(user_index, items.encode(_checked_ids(df, item_col, "test_df")), ratings, bs=bs)

    def get_learner(
        self,
        n_factors: int = 50,
        val_idxs: Any = None,
        bs: int = 64,
        opt_fn: Callable | None = None,
        *,
        test_df: pd.DataFrame | None = None,
        y_range: tuple[float, float] | None = None,
        hidden: Sequence[int] | None = None,
        dropouts: float | Sequence[float] = 0.0,
        model: nn.Module | None = None,
        wd: float = 0.1,
        seed: int | None = None,
        **learner_options: Any,
    ) -> CollabLearner:
        """A learner of `EmbeddingDotBias`, or of `EmbeddingNet` where `hidden` is given.

        Args:
            n_factors: width of the embeddings.
            val_idxs: row numbers to hold out; None trains on everything.
            bs: rows a batch.
            opt_fn: optimizer class; None takes the core's AdamW.
            test_df: pairs for `learn.predict(is_test=True)`.
            y_range: (lowest, highest) prediction, by default those of the training ratings. A sigmoid
                reaches its ends only at infinity, so a slightly wider range, (0, 5.5) for stars from 0.5 to
                5, makes them easier to reach. A rating outside the range you give is an error.
            hidden: sizes of hidden layers; given, the model is an `EmbeddingNet`.
            dropouts: of `EmbeddingNet`.
            model: any module of (user indexes, item indexes) in place of both.
            wd: decoupled weight decay. Tables of many rarely seen rows need more than other networks.
            seed: of the initial weights and of the order of the rows.
            learner_options: further arguments of `zoo.Learner`.
        """
        from zoo.seeding import set_seed
        from zoo_collab.learner import CollabLearner
        from zoo_collab.models import EmbeddingDotBias, EmbeddingNet

        data = self.get_data(val_idxs, bs, test_df=test_df, y_range=y_range, seed=seed)
        sizes = (len(data.users), len(data.items), n_factors)
        if seed is not None:
            set_seed(seed)
        if model is None and hidden is not None:
            model = EmbeddingNet(
                *sizes, hidden=list(hidden), dropouts=dropouts, y_range=list(data.y_range), mean=data.mean
            )
        elif model is None:
            model = EmbeddingDotBias(*sizes, y_range=list(data.y_range), mean=data.mean)
        return CollabLearner(data, model, opt_fn=opt_fn, wd=wd, seed=seed, **learner_options)
