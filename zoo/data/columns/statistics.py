"""What is learned about columns that are read piece by piece. No torch here."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.arrow_values import classic
from zoo.data.columns.category_column import CategoryColumn
from zoo.data.columns.codes import factorize
from zoo.data.columns.floats import check_fits
from zoo.data.columns.median import MedianSketch
from zoo.data.columns.number_column import NumberColumn
from zoo.errors import some

PENDING = 1 << 19  # distinct values of pieces that are held before they are merged


class NumberStatistics:
    """Mean, deviation, median, range and gaps of one number column, piece by piece.

    Sums of squares are merged as deviations from means (Chan, Golub & LeVeque 1979), so that large numbers
    close together lose no digits.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.n = self.gaps = 0
        self.mean = self.squares = 0.0
        self.low, self.high = np.inf, -np.inf
        self.sketch = MedianSketch()

    def add(self, values: np.ndarray) -> None:
        """Takes in float64 values, NaN where there are gaps."""
        self.sketch.add(self.add_moments(values))

    def add_moments(self, values: np.ndarray) -> np.ndarray:
        """The same without the median; returns the values that are there."""
        missing = np.isnan(values)
        gaps = int(np.count_nonzero(missing))
        self.gaps += gaps
        present = values[~missing] if gaps else values
        if not len(present):
            return present
        check_fits(present, present, self.name)
        mean = float(present.mean())
        apart = present - mean
        self._merge(len(present), mean, float(np.dot(apart, apart)))
        self.low, self.high = min(self.low, float(present.min())), max(self.high, float(present.max()))
        return present

    @property
    def std(self) -> float:
        """Standard deviation of the values so far (that of a population), 0 where all are the same."""
        return float(np.sqrt(self.squares / self.n)) if self.low < self.high else 0.0

    def column(self, scale: bool) -> NumberColumn:
        """What was learned; gaps count with the median that will fill them. Ends the collection."""
        median = self.sketch.median()
        if self.gaps:
            self._merge(self.gaps, median, 0.0)
        return NumberColumn(self.name, median, self.mean, self.std, self.gaps > 0, scale)

    def _merge(self, n: int, mean: float, squares: float) -> None:
        total = self.n + n
        apart = mean - self.mean
        self.mean += apart * n / total
        self.squares += squares + apart * apart * self.n * n / total
        self.n = total


class CategoryStatistics:
    """The distinct values of one category column and how many rows have each, piece by piece."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.missing = 0
        self.ranks: bool | None = None
        self._counts: dict[Any, int] = {}
        self._pending: dict[Any, list[tuple[Any, np.ndarray]]] = {}  # by Arrow type
        self._n_pending, self._limit = 0, PENDING

    def add(self, values: Any) -> None:
        """Takes in a series or an Arrow array."""
        if isinstance(values, pd.Series):
            codes, distinct = factorize(values)
            counts = np.bincount(codes + 1, minlength=len(distinct) + 1)
            self.missing += int(counts[0])
            ranks = isinstance(values.dtype, pd.CategoricalDtype) and bool(values.dtype.ordered)
            self._count(distinct, counts[1:].tolist(), ranks)
        else:
            self._add_array(values)

    def distinct(self) -> tuple[list[Any], list[int]]:
        """The values so far, without missing ones, and how many rows have each."""
        self._merge()
        for [(values, counts)] in self._pending.values():
            there = values.is_valid().to_numpy(zero_copy_only=False)
            self.missing += int(counts[~there].sum())
            counts = counts[there]
            codes, distinct = factorize(values.drop_null().to_pandas())  # gaps would round large numbers
            sums = np.bincount(codes + 1, counts, minlength=len(distinct) + 1).astype("int64").tolist()
            self.missing += sums[0]
            self._count(distinct, sums[1:], False)
        self._pending, self._n_pending = {}, 0
        return list(self._counts), list(self._counts.values())

    def column(self, min_count: int, max_levels: int | None) -> CategoryColumn:
        """What was learned."""
        distinct, counts = self.distinct()
        return CategoryColumn.of_counts(
            self.name, distinct, counts, self.missing, bool(self.ranks), min_count, max_levels
        )

    def _add_array(self, array: Any) -> None:
        import pyarrow as pa

        array = classic(array)
        if pa.types.is_null(array.type):
            self.missing += len(array)
        elif pa.types.is_dictionary(array.type):
            self.missing += array.null_count
            indices = array.indices.drop_null().to_numpy()
            counts = np.bincount(indices, minlength=len(array.dictionary))
            if array.type.ordered:
                self._count(array.dictionary.to_pylist(), counts.tolist(), True)
            else:
                self._wait(array.dictionary, counts)
        else:
            found = array.value_counts()
            self._wait(found.field("values"), found.field("counts").to_numpy())

    def _wait(self, values: Any, counts: np.ndarray) -> None:
        self._pending.setdefault(values.type, []).append((values, counts))
        self._n_pending += len(values)
        if self._n_pending > self._limit:
            self._merge()
            self._limit = max(PENDING, 2 * self._n_pending)

    def _merge(self) -> None:
        """Counts of equal values are added up, without leaving Arrow."""
        import pyarrow as pa

        for kind, parts in self._pending.items():
            if len(parts) > 1:
                table = pa.table(
                    {
                        "value": pa.chunked_array([values for values, _ in parts]),
                        "count": pa.chunked_array([pa.array(counts, pa.int64()) for _, counts in parts]),
                    }
                )
                sums = table.group_by("value").aggregate([("count", "sum")])
                values = sums["value"].combine_chunks()
                self._pending[kind] = [(values, sums["count_sum"].to_numpy())]
        self._n_pending = sum(len(values) for [(values, _)] in self._pending.values())

    def _count(self, distinct: list[Any], counts: list[int], ranks: bool) -> None:
        if ranks and self.ranks:
            order = _merged(list(self._counts), distinct)
            if order is None:
                raise ValueError(
                    f"column {self.name!r}: its ordered categories come in different orders in different "
                    f"pieces, or these leave open which comes first ({some(self._counts, 8)}; "
                    f"{some(distinct, 8)}): "
                    "give every piece the same categories"
                )
            self._counts = {value: self._counts.get(value, 0) for value in order}
        self.ranks = ranks and self.ranks is not False
        for value, count in zip(distinct, counts, strict=True):
            self._counts[value] = self._counts.get(value, 0) + count


def _merged(known: list[Any], new: list[Any]) -> list[Any] | None:
    """The one order that agrees with both, or None."""
    sorter: TopologicalSorter[Any] = TopologicalSorter()
    for chain in (known, new):
        for value in chain:
            sorter.add(value)
        for before, after in pairwise(chain):
            sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError:
        return None
    order: list[Any] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        if len(ready) > 1:
            return None
        order += ready
        sorter.done(*ready)
    return order
