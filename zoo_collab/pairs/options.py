"""What may be said of a ratings table."""

from __future__ import annotations

from typing import Any, TypedDict

import pandas as pd

from zoo_collab.pairs.titles import Titles


class TableOptions(TypedDict, total=False):
    """What may be said of a ratings table.

    Args:
        item_titles: readable names of the items: a dict or Series from raw id to title, or a frame with the
            columns `item_col` and `title_col`.
        title_col: the column of `item_titles` that holds the names.
        rating_range: (lowest, highest) allowed rating; a rating outside is an error. None accepts all
            numbers.
        time_col: the column that says when each rating was given: dates, or numbers that grow with time. For
            splits (`by_time`), and for which of several ratings is the last.
        weight_col: where there are no ratings, the column that says how much each row counts, such as how
            often a song was heard; above 0. None counts all rows alike, repeated ones each time.
        duplicates: what to do where a user has rated an item several times: "keep" all of them, keep the
            "last" (by time, without a time column in the order of the rows), take their "mean" or their "sum"
            (for weights), or refuse them ("error"). Row numbers in `val_idxs` stay those of the table given.
        user_features, item_features: what is known of users and items beside their ratings: frames with a row
            an id, the ids in a column named as that of the table. Text, true/false and pandas' categories are
            read as categories (numbers that are names, such as postcodes, are made text by `.astype(str)`),
            numbers and dates as quantities, cells of several values as lists or "Action|Comedy"
            (`.astype("category")` keeps such texts whole). Learners use them; leave them out and they do not.
    """

    item_titles: Titles | None
    title_col: str
    rating_range: tuple[float, float] | None
    time_col: str | None
    weight_col: str | None
    duplicates: str
    user_features: pd.DataFrame | None
    item_features: pd.DataFrame | None


TABLE_DEFAULTS: dict[str, Any] = {
    "item_titles": None,
    "title_col": "title",
    "rating_range": None,
    "time_col": None,
    "weight_col": None,
    "duplicates": "keep",
    "user_features": None,
    "item_features": None,
}
