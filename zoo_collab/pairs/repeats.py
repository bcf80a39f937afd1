"""What to do where a user has rated an item several times."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from zoo.errors import did_you_mean
from zoo_collab.pairs.checks import repeated_pairs

RULES = ("keep", "last", "mean", "sum", "error")

log = logging.getLogger("zoo.collab")


def settled(
    users: pd.Series,
    items: pd.Series,
    ratings: np.ndarray,
    times: np.ndarray | None,
    rule: str,
    where: str,
    columns: tuple[str, str, str | None],
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows that are kept, ascending, and their ratings.

    Args:
        users, items: raw ids.
        ratings: (rows,).
        times: of the rows; without them later rows count as later.
        rule: one of `RULES`, see `TableOptions.duplicates`.
        where: for messages.
        columns: of users, items and ratings, for messages; without ratings repeated pairs are nothing to
            tell of.

    Raises:
        ValueError: for another rule, and for repeated pairs where the rule is "error".
    """
    if rule not in RULES:
        raise ValueError(
            f"duplicates={rule!r} is not known{did_you_mean(str(rule), RULES)}: {', '.join(RULES)}"
        )
    if rule == "sum" and columns[2] is not None:
        raise ValueError(
            "duplicates='sum' adds up weights, and these are ratings: 'last' or 'mean' makes one of them"
        )
    everything = np.arange(len(ratings))
    repeats = repeated_pairs(users, items, where)
    if not repeats:
        return everything, ratings
    told = f"{where}: {repeats} of {len(ratings)} rows repeat an earlier ({columns[0]}, {columns[1]}) pair"
    if rule == "error":
        raise ValueError(
            f"{told}; duplicates='last' or 'mean' makes one rating of them, 'keep' keeps them all"
        )
    if rule == "keep" and columns[2] is None:
        return everything, ratings
    if rule == "keep":
        log.warning(
            "%s; all are kept, so a pair may stand among both training and validation rows: "
            "duplicates='last' or 'mean' makes one of them",
            told,
        )
        return everything, ratings
    numbers = [pd.factorize(ids)[0].astype(np.int64) for ids in (users, items)]
    pairs = pd.factorize((numbers[0] << 32) | numbers[1])[0]
    order = np.lexsort((everything, everything if times is None else times, pairs))
    last = np.sort(order[np.append(np.diff(pairs[order]) != 0, True)])
    if rule in ("mean", "sum"):
        totals = np.bincount(pairs, weights=ratings.astype(np.float64))
        if rule == "mean":
            totals /= np.bincount(pairs)
        ratings = totals.astype(np.float32)[pairs]
    log.info("%s: %s", told, "the last counts" if rule == "last" else f"their {rule} counts")
    return last, ratings[last]
