"""Which ratings to hold out: splits that are functions of a ratings table, for `val_idxs=`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pandas as pd

log = logging.getLogger("zoo.collab")


class RatingsTable(Protocol):
    """What a split looks at: a `CollabFilterDataset`."""

    where: str
    users: pd.Series
    times: np.ndarray | None
    given: np.ndarray

    def as_time(self, value: Any, what: str) -> Any:
        """A time as `times` holds them; `what` says in errors where it was given."""

    def __len__(self) -> int: ...


Split = Callable[[RatingsTable], np.ndarray]
"""Gives the numbers of the rows to hold out, in the table that was given."""


def by_time(share: float | None = None, *, after: Any = None) -> Split:
    """Holds out the latest ratings, as it will be in use: what is known comes before what is asked.

    Args:
        share: of all rows, about: rows of the same time stay together.
        after: or all rows later than this time: a number where the time column holds numbers (such as seconds
            since 1970), where it holds dates a date or its text ("2020-12-31").

    Raises:
        ValueError: for a table without a time column, for a date among numbers or the other way round, and
            where nothing is left on either side.

    Example:
        >>> from zoo_collab import CollabFilterDataset
        >>> frame = pd.DataFrame({"u": [1, 1, 2, 2], "i": [1, 2, 1, 3], "r": 3.0, "t": [5, 9, 7, 6]})
        >>> table = CollabFilterDataset(".", frame, "u", "i", "r", time_col="t")
        >>> by_time(0.5)(table).tolist(), by_time(after=7)(table).tolist()
        ([1, 2], [1])
    """
    if (share is None) == (after is None):
        raise ValueError("by_time holds out a share of the rows, or those after a time: give one of them")
    _check_share(share)

    def rows(table: RatingsTable) -> np.ndarray:
        times = _times(table, "by_time")
        if share is not None:
            ordered = np.sort(times)
            limit = ordered[max(1, len(times) - max(1, round(share * len(times)))) - 1]
            if limit == ordered[-1] > ordered[0]:  # many rows of the latest time: these
                limit = ordered[ordered < limit][-1]
        else:
            limit = table.as_time(after, "by_time(after")
        return _some(np.flatnonzero(times > limit), table, "by_time")

    return rows


def by_user_time(last: int | None = None, *, share: float | None = None) -> Split:
    """Holds out each user's latest ratings; of users with fewer than two it holds out none.

    Args:
        last: so many of each user, 1 by default, and at most half of them.
        share: or a share of each user's ratings, rounded down.

    Raises:
        ValueError: for a table without a time column.

    Example:
        >>> from zoo_collab import CollabFilterDataset
        >>> frame = pd.DataFrame({"u": [1, 1, 2, 2], "i": [1, 2, 1, 3], "r": 3.0, "t": [5, 9, 7, 6]})
        >>> by_user_time()(CollabFilterDataset(".", frame, "u", "i", "r", time_col="t")).tolist()
        [1, 2]
    """
    if last is not None and share is not None:
        raise ValueError("by_user_time holds out the last so many, or a share of them: give one of them")
    if last is not None and last < 1:
        raise ValueError(f"last must be 1 or more, not {last}")
    _check_share(share)

    def rows(table: RatingsTable) -> np.ndarray:
        times = _times(table, "by_user_time")
        users, counts = _users(table)
        order = np.lexsort((np.arange(len(users)), times, users))
        wanted = np.minimum(last or 1, counts // 2) if share is None else (counts * share).astype(int)
        return _some(np.sort(order[_from_behind(counts) < np.repeat(wanted, counts)]), table, "by_user_time")

    return rows


def leave_one_out(seed: int = 0) -> Split:
    """Holds out one rating of each user with two or more, drawn at random; `by_user_time()` takes the latest.

    Args:
        seed: of the draw.

    Example:
        >>> from zoo_collab import CollabFilterDataset
        >>> frame = pd.DataFrame({"u": [1, 1, 2], "i": [1, 2, 1], "r": [1.0, 2, 3]})
        >>> len(leave_one_out()(CollabFilterDataset(".", frame, "u", "i", "r")))
        1
    """

    def rows(table: RatingsTable) -> np.ndarray:
        users, counts = _users(table)
        order = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
        chosen = (_from_behind(counts) == 0) & np.repeat(counts > 1, counts)
        return _some(np.sort(order[chosen]), table, "leave_one_out")

    return rows


def by_user(share: float, seed: int = 0) -> Split:
    """Holds out all ratings of some users, drawn at random: how well the model does for people that it has
    never met. It knows none of them, so that only what it says of items counts.

    Args:
        share: of the users.
        seed: of the draw.

    Example:
        >>> from zoo_collab import CollabFilterDataset
        >>> frame = pd.DataFrame({"u": [1, 1, 2, 2], "i": [1, 2, 1, 3], "r": [1.0, 2, 3, 4]})
        >>> by_user(0.5)(CollabFilterDataset(".", frame, "u", "i", "r")).tolist() in ([0, 1], [2, 3])
        True
    """
    _check_share(share)

    def rows(table: RatingsTable) -> np.ndarray:
        users, counts = _users(table)
        drawn = np.random.default_rng(seed).permutation(len(counts))[: max(1, round(share * len(counts)))]
        return _some(np.flatnonzero(np.isin(users, drawn)), table, "by_user")

    return rows


def later_in_training(users: np.ndarray, times: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float:
    """Share of the held-out rows whose user has a later rating among the training rows.

    Args:
        users: index of each row, 0 for none.
        times: of each row.
        train: numbers of the training rows.
        held_out: of the others.
    """
    latest = np.full(int(users.max(initial=0)) + 1, times.min())
    np.maximum.at(latest, users[train], times[train])
    return float((times[held_out] < latest[users[held_out]]).mean())


def tell_leaks(
    where: str,
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray | None,
    train: np.ndarray,
    held_out: np.ndarray,
) -> float | None:
    """Logs what makes figures of held-out rows better or worse than those in use.

    Returns:
        The share of held-out rows whose user has a later row in training; None without times.

    Args:
        where: the table, for the messages.
        users, items: index of each row, 0 for those that training has not seen.
        times: of each row.
        train: numbers of the training rows.
        held_out: of the others.
    """
    if not len(held_out):
        return None
    unknown = (users[held_out] == 0) | (items[held_out] == 0)
    if unknown.any():
        log.log(
            logging.WARNING if unknown.mean() > 0.1 else logging.INFO,
            "%s: %.0f%% of the held-out rows have a user or an item that training has not seen",
            where, 100 * unknown.mean(),
        )  # fmt: skip
    later = None if times is None else later_in_training(users, times, train, held_out)
    if later is not None and later > 0.1:
        log.warning(
            "%s: of %.0f%% of the held-out rows the user has a later rating among the training rows, "
            "which tells of the future: val_idxs=by_time(0.2) or by_user_time() hold out the latest",
            where, 100 * later,
        )  # fmt: skip
    return later


def _check_share(share: float | None) -> None:
    if share is not None and not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")


def _times(table: RatingsTable, what: str) -> np.ndarray:
    if table.times is None:
        raise ValueError(
            f"{what} goes by time, and {table.where} has no time column: name it, "
            "CollabFilterDataset(..., time_col='timestamp')"
        )
    return table.times


def _users(table: RatingsTable) -> tuple[np.ndarray, np.ndarray]:
    """Number of each row's user, and rows of each user."""
    users, _ = pd.factorize(table.users)
    return users, np.bincount(users)


def _from_behind(counts: np.ndarray) -> np.ndarray:
    """Of rows in the order of their users the place within the user's, counted from behind."""
    return np.repeat(np.cumsum(counts), counts) - 1 - np.arange(counts.sum())


def _some(rows: np.ndarray, table: RatingsTable, what: str) -> np.ndarray:
    if not 0 < len(rows) < len(table):
        raise ValueError(f"{what} holds out {len(rows)} of {len(table)} rows: nothing is left on one side")
    return table.given[rows]
