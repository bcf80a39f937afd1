"""Ratings as people hand them over: {item: rating}, a list of what is liked, a series, a frame."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from zoo.data.csv_file import check_columns
from zoo.errors import some
from zoo_collab.pairs.checks import checked_ids, checked_ratings, checked_weights
from zoo_collab.pairs.ids import IdMap

WEIGHT = "how often"

log = logging.getLogger("zoo.collab")


@dataclass(frozen=True)
class Given:
    """What some people think of items that the model knows.

    Attributes:
        people: their raw ids in the order in which they came; [None] where nobody is named.
        rows: number of the person of each pair, (pairs,).
        items: item indexes, likewise.
        ratings: likewise, float64; None where only pairs were given.
    """

    people: list[Any]
    rows: np.ndarray
    items: np.ndarray
    ratings: np.ndarray | None

    @classmethod
    def read(
        cls,
        ratings: Any,
        items: IdMap,
        columns: tuple[str, str, str | None],
        limits: tuple[float, float] | None,
    ) -> Given:
        """From whatever was given; unknown items are told once, and do not count.

        Args:
            ratings: a dict or Series from item to rating; a list of items that are liked, or of (item,
                rating) pairs; or a frame with the columns of items and ratings, and of users where it is
                about several. A frame without ratings is of what is liked.
            items: the items of the model.
            columns: names of the user, item and rating column; without ratings None, and then what is given
                with an item is how often it was taken, and a frame says only which pairs there are.
            limits: the lowest and the highest that the model can answer; None takes all numbers.

        Raises:
            ValueError: where no item is known, and for ratings that are no numbers or outside the limits.
            TypeError: for something else.

        Example:
            >>> given = Given.read({"b": 4, "z": 1}, IdMap(["a", "b"]), ("who", "film", "stars"), (1, 5))
            >>> given.items.tolist(), given.ratings.tolist(), given.people
            ([2], [4.0], [None])
        """
        user_col, item_col, rating_col = columns
        where = _where(rating_col)
        frame = as_frame(ratings, item_col, rating_col)
        raw = checked_ids(frame, item_col, where)
        worth = None
        if rating_col is None and WEIGHT in frame and not isinstance(ratings, pd.DataFrame):
            worth = checked_weights(frame, WEIGHT, where).astype(np.float64)
        elif rating_col is not None and rating_col in frame:
            worth = checked_ratings(frame, rating_col, where, None).astype(np.float64)
            check_reach(worth, raw, limits, where)
        people, rows = [None], np.zeros(len(frame), dtype=np.int64)
        if user_col in frame:
            rows, named = pd.factorize(checked_ids(frame, user_col, where))
            people = named.tolist()
        index = items.encode(raw, warn=False)
        _tell_unknown(raw, index, items)
        return cls(people, *_last(rows.astype(np.int64), index, worth))


def _where(rating_col: str | None) -> str:
    return "the items given" if rating_col is None else "the ratings given"


def as_frame(ratings: Any, item_col: str, rating_col: str | None) -> pd.DataFrame:
    """Ratings, in any of the forms that `Given.read` takes, as a frame."""
    where, implicit = _where(rating_col), rating_col is None
    rating_col = WEIGHT if rating_col is None else rating_col
    if isinstance(ratings, pd.DataFrame):
        check_columns(ratings, [item_col], where)
        frame = ratings.reset_index(drop=True)
    elif isinstance(ratings, pd.Series | Mapping):
        given = pd.Series(ratings, dtype=object) if isinstance(ratings, Mapping) else ratings
        raw = pd.Series(list(given.index), dtype=object).infer_objects()
        frame = pd.DataFrame({item_col: raw, rating_col: given.to_numpy()})
    elif isinstance(ratings, str | bytes) or not isinstance(ratings, Iterable):
        wanted = "ratings as {item: rating}, or the items that are liked as a list"
        if implicit:
            wanted = "items that were taken as a list, or as {item: how often}"
        raise TypeError(f"give the {wanted}, not {ratings!r}")
    else:
        listed = ratings.tolist() if isinstance(ratings, np.ndarray | Tensor) else list(ratings)
        if listed and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in listed):
            frame = pd.DataFrame(
                {
                    item_col: pd.Series([item for item, _ in listed], dtype=object).infer_objects(),
                    rating_col: [rating for _, rating in listed],
                }
            )
        else:
            frame = pd.DataFrame({item_col: pd.Series(listed, dtype=object).infer_objects()})
    if not len(frame):
        what, such = ("items", "[item]") if implicit else ("ratings", "{item: rating}")
        raise ValueError(f"there are no {what}: give at least one, such as {such}")
    return frame


def check_reach(worth: np.ndarray, raw: pd.Series, limits: tuple[float, float] | None, where: str) -> None:
    """Ratings that the model could never answer are refused."""
    if limits is None:
        return
    low, high = limits
    outside = (worth < low - 1e-6) | (worth > high + 1e-6)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{where}: {worth[row]:g} for the item {raw.tolist()[row]!r} lies outside what the model can "
            f"answer, {low:g} to {high:g} ({int(outside.sum())} such ratings): bring them to the "
            "scale of training"
        )


def _tell_unknown(raw: pd.Series, index: np.ndarray, items: IdMap) -> None:
    unknown = raw[index == 0].unique().tolist()
    if not unknown:
        return
    told = some(map(repr, unknown))
    if not index.any():
        raise ValueError(
            f"none of the items given is known to the model: {told}; it knows {some(map(repr, items.ids))}"
        )
    log.warning(
        "%s: %d of the %d items given are not known to the model and do not count: %s",
        items.name, len(unknown), raw.nunique(), told,
    )  # fmt: skip


def _last(
    rows: np.ndarray, items: np.ndarray, worth: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Known pairs, of repeated ones the last."""
    known = items > 0
    rows, items, worth = rows[known], items[known], None if worth is None else worth[known]
    keys = (rows << 32) | items
    _, behind = np.unique(keys[::-1], return_index=True)
    kept = np.sort(len(keys) - 1 - behind)
    if len(kept) < len(keys):
        log.warning("%d of the items given come again further down: the last counts",
                    len(keys) - len(kept))  # fmt: skip
    return rows[kept], items[kept], None if worth is None else worth[kept]
