"""Readable names of items, as people give them, in the order of the items' indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from zoo.data.csv_file import check_columns
from zoo.data.utf8 import writable
from zoo.errors import some
from zoo_collab.pairs.ids import IdMap, log

UNKNOWN_TITLE = "(unknown)"

Titles = Mapping[Any, str] | pd.Series | pd.DataFrame


def title_series(titles: Titles, item_col: str, title_col: str) -> pd.Series:
    """Titles by raw id, of a dict, a series, or a frame with both columns."""
    if isinstance(titles, pd.DataFrame):
        check_columns(titles, [item_col, title_col], "item_titles")
        return pd.Series(titles[title_col].to_numpy(), index=pd.Index(titles[item_col]))
    return titles if isinstance(titles, pd.Series) else pd.Series(dict(titles), dtype=object)


def titles_of(items: IdMap, known: pd.Series | None) -> list[str]:
    """One title an item index; items without one go by their ids."""
    titles = [UNKNOWN_TITLE, *(str(value) for value in items.ids)]
    if known is None:
        return titles
    known = known[known.notna()]
    indexes = items.encode(known.index, warn=False)
    if not indexes.any():
        log.warning(
            "item_titles: none of its %d ids is an item of the training rows, such as %s "
            "(titles: %s); items go by their ids",
            len(indexes),
            some([repr(value) for value in items.ids]),
            some([repr(value) for value in known.index.tolist()]),
        )
    for index, title in zip(indexes, known, strict=True):
        titles[index] = writable(str(title))
    titles[0] = UNKNOWN_TITLE
    return titles
