"""Side features of users or items: columns of a frame as a few weighted levels an id."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zoo.data.columns.category_column import MISSING, CategoryColumn
from zoo.data.columns.floats import to_floats
from zoo.data.columns.kinds import holds_dates, holds_numbers, is_flag, is_missing, is_text, object_kind
from zoo.data.csv_file import check_columns
from zoo.errors import some

BETWEEN = "|"
"""What stands between the values of a text cell that holds several."""
MOST_KNOTS = 8
MOST_CELLS = 1 << 28
_SEVERAL = (list, tuple, set, frozenset, np.ndarray)

log = logging.getLogger("zoo.collab")


class FeatureRows(NamedTuple):
    """What is known of several ids: a weighted sum over levels, one row an id.

    Attributes:
        places: which levels, int32, (ids, longest); 0 pads.
        shares: how much each counts, float32, likewise.
    """

    places: np.ndarray
    shares: np.ndarray


@dataclass
class FeatureColumn:
    """How a column becomes levels.

    Attributes:
        name: the column.
        kind: "category", "many" (cells of several values), "number" or "date".
        category: its levels; of the first two kinds.
        knots: of the other two: a value between two of them counts as both, by how near each is; one beyond
            the ends counts as the end. What is learned of a number is a line of as many pieces.
    """

    name: Any
    kind: str
    category: CategoryColumn | None = None
    knots: list[float] = field(default_factory=list)

    @property
    def n_levels(self) -> int:
        """Levels, that of missing values first."""
        return len(self.knots) + 1 if self.category is None else self.category.n_codes

    @property
    def silent(self) -> str:
        """Why the column does not tell the ids of training apart; empty if it does."""
        if self.category is None:
            return "" if len(self.knots) > 1 else "it has no two different values"
        if not self.category.levels:
            return "no value belongs to two ids or more"
        alone = len(self.category.levels) == 1 and not self.category.rare and not self.category.missing_seen
        return "it has a single value" if alone and self.kind == "category" else ""

    def encode(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Levels of cells, counted from 0, and their shares, (rows, longest); a share of 0 pads."""
        if self.category is None:
            return _between(_numbers(values, self.kind), self.knots)
        if self.kind == "category":
            codes = self.category.encode(values)[0][:, None]
            return codes, np.ones(codes.shape)
        rows, parts = _parts(values)
        codes = self.category.encode(parts)[0]
        keys = np.unique(rows * self.category.n_codes + codes)  # two unknown values of a cell are one
        rows, codes = np.divmod(keys, self.category.n_codes)
        counts = np.bincount(rows, minlength=len(values))
        at = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        found = np.full((len(values), max(1, int(counts.max(initial=0)))), MISSING, dtype=np.int64)
        shares = np.zeros(found.shape)
        found[rows, at], shares[rows, at] = codes, 1 / counts[rows]
        shares[counts == 0, 0] = 1  # nothing in the cell: the level of missing values
        return found, shares


class FeatureCoder:
    """Learns the columns of a frame, and makes rows of levels of this and of other frames.

    Text, true/false and pandas' categories are categories; a level needs two ids, others are "rare".
    Numbers and dates are interpolated between up to 8 levels. Cells with several values (lists, or texts with
    "|" between them) count as the mean of theirs. Each column also has a level for what is missing, and those
    of categories one for values that training has not seen, which says nothing.

    Args:
        columns: what was learned; made by `learn`.
        id_col: the column of ids.
        where: names the frame in messages.

    Example:
        >>> films = pd.DataFrame({"film": [7, 8, 9], "genre": ["War", "War|Drama", None]})
        >>> films["year"] = [1950, 1990, 2010]
        >>> coder = FeatureCoder.learn(films, "film")
        >>> [(column.name, column.kind, column.n_levels) for column in coder.columns]
        [('genre', 'many', 4), ('year', 'number', 4)]
        >>> places, shares = coder.encode(pd.DataFrame({"film": [1], "genre": ["War"], "year": [1970]}))
        >>> places.tolist(), shares.tolist()
        ([[2, 6, 7]], [[1.0, 0.5, 0.5]])
    """

    def __init__(self, columns: Sequence[FeatureColumn], id_col: Any, where: str = "the features"):
        self.columns, self.id_col, self.where = list(columns), id_col, where

    @classmethod
    def learn(cls, frame: pd.DataFrame, id_col: Any, where: str = "the features") -> FeatureCoder:
        """Collects the levels of all columns but that of the ids.

        Args:
            frame: a row an id, those of training.
            id_col: the column of ids.
            where: names the frame in messages.

        Raises:
            ValueError: for columns that cannot be read; they are named.
        """
        columns = []
        for name in frame.columns:
            if name == id_col:
                continue
            try:
                column = _learned(frame[name])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{where}: {error}") from error
            if column.silent:
                log.warning("%s: column %r tells nothing: %s", where, name, column.silent)
            columns.append(column)
        return cls(columns, id_col, where)

    @property
    def n_levels(self) -> int:
        """Levels of all columns, the one that pads (0) included."""
        return 1 + sum(column.n_levels for column in self.columns)

    def encode(self, frame: pd.DataFrame) -> FeatureRows:
        """Rows of levels, one a row of the frame, which needs the columns of training.

        Raises:
            ValueError: for missing columns, and where cells hold so many values that rows do not fit.
        """
        check_columns(frame, [column.name for column in self.columns], self.where)
        places, shares, first = [], [], 1
        for column in self.columns:
            try:
                found, part = column.encode(frame[column.name])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self.where}: {error}") from error
            if found.size > MOST_CELLS:
                raise ValueError(
                    f"{self.where}: a cell of column {column.name!r} holds {found.shape[1]:,} values, and "
                    "each row would need room for as many: leave each cell its most telling ones"
                )
            places.append(np.where(part > 0, found + first, 0))
            shares.append(part)
            first += column.n_levels
        return FeatureRows(
            np.concatenate(places, axis=1).astype(np.int32),
            np.concatenate(shares, axis=1).astype(np.float32),
        )

    def unknown(self) -> FeatureRows:
        """The row of an id of which nothing is known: everything is missing."""
        sizes = [column.n_levels for column in self.columns]
        places = 1 + np.cumsum([0, *sizes[:-1]])[None]
        return FeatureRows(places.astype(np.int32), np.ones(places.shape, dtype=np.float32))

    def rows(self, frame: pd.DataFrame, indexes: np.ndarray, n: int) -> FeatureRows:
        """Rows of `n` indexes, of which the frame has those at `indexes` (0: not wanted); others are
        unknown."""
        wanted = indexes > 0
        found, unknown = self.encode(frame[wanted]), self.unknown()
        width = found.places.shape[1]  # of a column at least one, as of the unknown row
        if n * width > MOST_CELLS:
            raise ValueError(
                f"{self.where}: some id has {width:,} levels, and each of the {n:,} would need room for as "
                "many: leave cells of many values their most telling ones"
            )
        whole = FeatureRows(np.zeros((n, width), dtype=np.int32), np.zeros((n, width), dtype=np.float32))
        for all_rows, nobody, own in zip(whole, unknown, found, strict=True):
            all_rows[:, : nobody.shape[1]] = nobody
            all_rows[indexes[wanted]] = own
        return whole

    def told(self) -> list[str]:
        """What each level stands for, in order, as a file of weights keeps it."""
        named = []
        for column in self.columns:
            levels: Iterable[Any] = column.knots
            if column.category is not None:
                levels = [*column.category.levels, "(rare)", "(unknown)"]
            named += [f"{column.name}: {level}" for level in ("(missing)", *levels)]
        return named

    def to_json(self) -> dict[str, Any]:
        """JSON-able state."""
        columns = [
            {
                "name": column.name,
                "kind": column.kind,
                "category": None if column.category is None else asdict(column.category),
                "knots": column.knots,
            }
            for column in self.columns
        ]
        return {"id_col": self.id_col, "where": self.where, "columns": columns}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> FeatureCoder:
        """The inverse of `to_json`."""
        columns = [
            FeatureColumn(
                column["name"],
                column["kind"],
                None if column["category"] is None else CategoryColumn(**column["category"]),
                column["knots"],
            )
            for column in state["columns"]
        ]
        return cls(columns, state["id_col"], state["where"])


def digest_of(rows: FeatureRows) -> str:
    """A digest (sha256, hex) of rows."""
    found = hashlib.sha256(str(rows.places.shape).encode())
    for part in rows:
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def _learned(values: pd.Series) -> FeatureColumn:
    name = values.name
    if _has_several(values):
        return FeatureColumn(name, "many", CategoryColumn.learn(_parts(values)[1], 2, None))
    if not isinstance(values.dtype, pd.CategoricalDtype) and not is_flag(values):
        kind = object_kind(values)
        if holds_dates(values) or kind == "dates":
            return FeatureColumn(name, "date", knots=_knots(_numbers(values, "date")))
        if holds_numbers(values) or kind in ("numbers", "complex"):
            return FeatureColumn(name, "number", knots=_knots(_numbers(values, "number")))
    return FeatureColumn(name, "category", CategoryColumn.learn(values, 2, None))


def _has_several(values: pd.Series) -> bool:
    if not is_text(values):
        return False
    return any(
        BETWEEN in value if isinstance(value, str) else isinstance(value, _SEVERAL) for value in values
    )


def _parts(values: pd.Series) -> tuple[np.ndarray, pd.Series]:
    """The values of cells with several, each once a cell: number of the cell, and the value."""
    rows: list[int] = []
    found: list[Any] = []
    for row, cell in enumerate(values):
        if isinstance(cell, str):
            parts = [part.strip() for part in cell.split(BETWEEN)]
        elif isinstance(cell, _SEVERAL):
            parts = list(cell)
        else:
            parts = [cell]
        kept = dict.fromkeys(part for part in parts if not is_missing(part) and part != "")
        rows += [row] * len(kept)
        found += kept
    return np.array(rows, dtype=np.int64), pd.Series(found, dtype=object, name=values.name)


def _numbers(values: pd.Series, kind: str) -> np.ndarray:
    """A column as float64, dates in days since 1970 (UTC), NaN for gaps."""
    if kind == "number":
        return to_floats(values)
    if not holds_dates(values) and not values.isna().all():
        raise TypeError(f"column {values.name!r} held dates or durations in training, and now {values.dtype}")
    found = pd.Series(values.tolist())  # dates as objects, too
    if isinstance(found.dtype, pd.DatetimeTZDtype):
        found = found.dt.tz_convert("UTC").dt.tz_localize(None)
    if found.dtype.kind not in "mM":
        found = pd.to_datetime(found)
    since: Any = found - pd.Timestamp(0) if found.dtype.kind == "M" else found
    return (since / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)


def _knots(numbers: np.ndarray) -> list[float]:
    """Quantiles, each once."""
    present = np.sort(numbers[~np.isnan(numbers)])
    if not len(present):
        return []
    count = min(MOST_KNOTS, len(np.unique(present)))
    return np.unique(np.quantile(present, np.linspace(0, 1, count))).tolist()


def _between(numbers: np.ndarray, knots: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both knots about each number, counted from 1, and how near it is to each; 0 with all for a gap."""
    gaps = np.isnan(numbers) if knots else np.ones(len(numbers), dtype=bool)
    levels, shares = np.zeros((len(numbers), 2), dtype=np.int64), np.zeros((len(numbers), 2))
    shares[:, 0] = 1
    if len(knots) > 1:
        at = np.array(knots)
        held = np.clip(np.where(gaps, at[0], numbers), at[0], at[-1])
        low = np.clip(np.searchsorted(at, held, side="right") - 1, 0, len(at) - 2)
        share = (held - at[low]) / (at[low + 1] - at[low])
        levels, shares = np.stack([low + 1, low + 2], 1), np.stack([1 - share, share], 1)
    elif knots:
        levels[:, 0] = 1
    levels[gaps], shares[gaps] = 0, [1, 0]
    return levels, shares


def checked_features(frame: Any, id_col: Any, where: str) -> pd.DataFrame | None:
    """A frame of features with a row an id, as it will be kept; None stays so.

    Raises:
        TypeError: if it is no frame.
        ValueError: if it lacks the column of ids or all others, and for ids that are missing or come twice.
    """
    if frame is None:
        return None
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"{where} is a frame with the column {id_col!r} and one column a feature, not a "
            f"{type(frame).__name__}"
        )
    check_columns(frame, [id_col], where)
    if frame.shape[1] < 2:
        raise ValueError(f"{where}: there is no column beside the ids in {id_col!r}")
    if not frame.columns.is_unique:
        raise ValueError(f"{where}: two columns are called {frame.columns[frame.columns.duplicated()][0]!r}")
    ids = frame[id_col]
    if ids.isna().any():
        raise ValueError(f"{where}: column {id_col!r} has no id in {int(ids.isna().sum())} rows; drop them")
    twice = ids[ids.duplicated()]
    if len(twice):
        raise ValueError(
            f"{where}: there is one row an id, and {len(twice)} come again: "
            f"{some(map(repr, twice.tolist()))}; several values go into one cell, as a list"
        )
    return frame.reset_index(drop=True)
