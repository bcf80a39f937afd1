"""Raw ids of users and items <-> contiguous indexes."""

from __future__ import annotations

import contextlib
import logging
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.codes import code_values
from zoo.data.utf8 import writable
from zoo.errors import some

UNKNOWN = 0
"""Index of every id that training did not see."""

log = logging.getLogger("zoo.collab")


def _kind(value: object) -> str:
    """The JSON type that keeps this id, or an error for ids that JSON cannot keep."""
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, numbers.Integral):
        return "int"
    if isinstance(value, numbers.Real):
        return "float"
    if isinstance(value, str):
        return "str"
    if isinstance(value, pd.Timestamp):
        return "timestamp"
    raise TypeError(
        f"an id must be a number, a string or a timestamp, got {value!r} of type {type(value).__name__};"
        " convert the column with .astype(str) first"
    )


_TO_JSON = {"bool": bool, "int": int, "float": float, "str": str, "timestamp": lambda v: v.isoformat()}
_FROM_JSON = {"bool": bool, "int": int, "float": float, "str": str, "timestamp": pd.Timestamp}


class IdMap:
    """Raw ids in a fixed order; id number k of the list has index k + 1, index 0 is the unknown id.

    Args:
        ids: distinct raw ids: integers, floats, strings, booleans or timestamps, mixed if need be.
        name: what the ids are called in messages, usually the column.

    Example:
        >>> films = IdMap.fit(["b", "a", "b"], name="film")
        >>> films.ids, films.encode(["a", "b", "z"]).tolist()
        (['a', 'b'], [1, 2, 0])
    """

    def __init__(self, ids: Sequence[Any] | np.ndarray, name: str = "id"):
        self.name = name
        if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
            self.ids: list[Any] = ids.tolist()
            self.kinds = ["int"]
        else:
            kinds = [_kind(value) for value in ids]
            self.ids = [_FROM_JSON[k](_TO_JSON[k](value)) for k, value in zip(kinds, ids, strict=True)]
            self.kinds = sorted(set(kinds))
        self._index = pd.Index(self.ids) if len(self.kinds) == 1 else pd.Index(self.ids, dtype=object)
        if not self._index.is_unique:
            raise ValueError(
                f"{name}: ids must be distinct, {self._index[self._index.duplicated()][0]!r} repeats"
            )

    @classmethod
    def fit(cls, values: Iterable[Any], name: str = "id") -> IdMap:
        """Collects the distinct ids, sorted where they can be compared, else in order of appearance."""
        series = values if isinstance(values, pd.Series) else pd.Series(list(values), dtype=object)
        if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iu" and len(series):
            return cls(np.sort(series.unique()), name)
        distinct = series.unique().tolist()
        if any(isinstance(value, str) and not value.isascii() for value in distinct):
            distinct = list(dict.fromkeys(writable(v) if isinstance(v, str) else v for v in distinct))
        with contextlib.suppress(TypeError):  # ids of several types have no order: that of appearance stands
            distinct = sorted(distinct)
        return cls(distinct, name)

    def __len__(self) -> int:
        """Number of indexes, the unknown one included: the rows an embedding needs."""
        return len(self.ids) + 1

    def __contains__(self, value: object) -> bool:
        return bool(self.encode([value], warn=False)[0])

    def encode(self, values: Any, *, warn: bool = True) -> np.ndarray:
        """Indexes, `int64`, one a value; ids never seen become 0 and are reported in one log line.

        Integers written as strings find integer ids and the other way round, so ids may come from JSON or a
        shell.
        """
        if isinstance(values, pd.Series | pd.Index | np.ndarray):
            series = pd.Series(values)
        else:  # as they are: a gap in a list of whole numbers would make floats of them
            series = pd.Series(list(values), dtype=object)
        whole = isinstance(series.dtype, np.dtype) and series.dtype.kind == "i"
        if whole and self.kinds == ["int"] and self._index.dtype == np.int64:
            index = self._index.get_indexer(pd.Index(series.to_numpy(dtype=np.int64))).astype("int64") + 1
        elif pd.api.types.is_object_dtype(series.dtype) or series.hasnans:  # True and 1 may be two ids
            index = np.array(self._indexes(series.tolist()), dtype="int64")
        else:
            index, _ = code_values(series, self._indexes, UNKNOWN)
        if warn and (index == UNKNOWN).any():
            unknown = series[index == UNKNOWN].unique()
            log.warning(
                "%s: %d of %d values were not seen in training and take the fallback row: %s",
                self.name,
                int((index == UNKNOWN).sum()),
                len(index),
                some([repr(v) for v in unknown.tolist()]),
            )
        return index

    def _indexes(self, asked: list[Any]) -> list[int]:
        """Indexes of ids, one each."""
        if self.kinds == ["int"]:
            asked = [_as_int(self._whole(value)) for value in asked]
        elif self.kinds == ["str"]:
            asked = [self._as_str(value) for value in asked]
        alike = len({type(value) for value in asked}) == 1
        target = pd.Index(asked) if alike and self._index.dtype != object else pd.Index(asked, dtype=object)
        return (self._index.get_indexer(target) + 1).tolist()

    def _whole(self, value: Any) -> Any:
        """A whole number that came as a float, as it does from a column with gaps.

        Raises:
            ValueError: for one so large that floats have rounded it, which would be another id.
        """
        if not isinstance(value, float | np.floating) or not float(value).is_integer():
            return value
        if abs(value) >= 2**53:
            raise ValueError(
                f"{self.name}: {value!r} came as a float, which cannot tell ids of this size apart: read the "
                "column as text or as Int64 (whole numbers with gaps)"
            )
        return int(value)

    def _as_str(self, value: Any) -> Any:
        if isinstance(value, float | np.floating):
            exact = str(float(value))
            value = exact if exact in self._index else self._whole(value)
        if isinstance(value, str):
            return writable(value)
        return str(value) if _is_int(value) else value

    def grown(self, values: pd.Series) -> IdMap:
        """These ids and, behind them, those of `values` that are not among them: every index stays what it
        is. New ones are sorted where they can be compared.

        Raises:
            TypeError: for ids of another kind, such as a name among numbers, which could not be found again.

        Example:
            >>> IdMap([3, 7]).grown(pd.Series(["9", 7, 5], dtype=object)).ids
            [3, 7, 5, 9]
        """
        unknown = values[self.encode(values, warn=False) == UNKNOWN].unique().tolist()
        if self.kinds == ["int"]:
            unknown = [_as_int(self._whole(value)) for value in unknown]
        elif self.kinds == ["str"]:
            unknown = [self._as_str(value) for value in unknown]
        if len(self.kinds) == 1:
            for value in unknown:
                if _kind(value) != self.kinds[0]:
                    raise TypeError(
                        f"{self.name}: the ids are of type {self.kinds[0]}, and {value!r} is none: bring the "
                        "new ids to the form of those of training"
                    )
        return IdMap([*self.ids, *IdMap.fit(unknown, self.name).ids], self.name)

    def decode(self, indexes: Iterable[int]) -> list[Any]:
        """Raw ids of indexes; None for the unknown one."""
        return [self.ids[i - 1] if i != UNKNOWN else None for i in indexes]

    def to_json(self) -> dict[str, Any]:
        """JSON-able state that keeps the type of every id."""
        if len(self.kinds) == 1:
            return {
                "name": self.name,
                "kind": self.kinds[0],
                "ids": [_TO_JSON[self.kinds[0]](v) for v in self.ids],
            }
        return {
            "name": self.name,
            "kind": "mixed",
            "ids": [[k := _kind(v), _TO_JSON[k](v)] for v in self.ids],
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> IdMap:
        """The inverse of `to_json`."""
        kind = state["kind"]
        if kind != "mixed" and kind not in _FROM_JSON:
            raise ValueError(
                f"ids of kind {kind!r} are not known to this version; known: {some(_FROM_JSON, 9)}"
            )
        if kind == "mixed":
            return cls([_FROM_JSON[k](value) for k, value in state["ids"]], state["name"])
        return cls([_FROM_JSON[kind](value) for value in state["ids"]], state["name"])


def ids_of_text(cells: pd.Series) -> pd.Series:
    """Ids as they stand in a file: whole numbers where all of them are (12.0 is one), else the texts.

    Example:
        >>> ids_of_text(pd.Series(["12.0", "7"])).tolist(), ids_of_text(pd.Series(["1.10", "1.1"])).tolist()
        ([12, 7], ['1.10', '1.1'])
    """
    if cells.isna().any() or not cells.str.fullmatch(r"[+-]?\d{1,15}(\.0*)?").all():
        return cells
    return cells.str.partition(".")[0].astype("int64")


def _is_int(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))


def _as_int(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = int(value)
    except ValueError:
        return value
    return number if str(number) == value else value  # int() also reads "1_0", "007" and " 7 "
