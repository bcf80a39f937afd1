"""Codes and numbers straight from Arrow columns, as a processor makes them from frames. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.arrow_values import arrow_floats, classic
from zoo.data.columns.category_column import MISSING, CategoryColumn
from zoo.data.columns.codes import code_values, smallest_int
from zoo_tabular.frames.processor import TableProcessor

UNMET = np.iinfo("int64").min  # in the place of a code
WIDEST = 1 << 22  # a column of whole numbers in a range up to this is read from a table of codes
DICTIONARIES = 64  # codes of so many dictionaries of a stored column are remembered,
DICTIONARY_BYTES = 1 << 25  # as long as they take no more than this


class Codebook:
    """Codes of the values of one column, remembered, so that each distinct value is looked at once.

    Args:
        code: gives the codes of a series of distinct values, missing ones among them.
        missing: the code of rows without a value.
        strange: the code of values that are not worth remembering, or None.
        whole: whole numbers that have codes of their own; all others have the code `strange`.
    """

    def __init__(
        self,
        code: Callable[[pd.Series], np.ndarray],
        missing: int = MISSING,
        strange: int | None = None,
        whole: list[int] | None = None,
    ) -> None:
        self._code, self.missing, self.strange = code, missing, strange
        self._known: dict[Any, tuple[Any, np.ndarray]] = {}  # by Arrow type: values, codes
        self._texts: dict[str | None, int] = {None: missing}
        self._dictionaries: list[tuple[Any, np.ndarray]] = []
        self._first, self._table = 0, np.empty(0, dtype="int64")
        near = whole and max(whole) - min(whole) < WIDEST and -(2**62) < min(whole) < 2**62
        if whole and near and strange is not None:
            self._first = min(whole) - 1  # one place more on either side, for values beyond
            self._table = np.full(max(whole) - self._first + 2, strange, dtype="int32")
            self._table[np.array(whole) - self._first] = code(pd.Series(whole))

    def __call__(self, array: Any) -> np.ndarray:
        """Codes of an Arrow array."""
        import pyarrow as pa

        kind = array.type
        if pa.types.is_null(kind):
            return np.full(len(array), self.missing)
        if _is_text(kind):
            array = array.dictionary_encode()
            table = np.append(self._of_texts(array.dictionary), self.missing)
            return table[array.indices.fill_null(len(table) - 1).to_numpy()]
        if pa.types.is_dictionary(kind):
            table = np.append(self._of_dictionary(array.dictionary), self.missing)
            return table[array.indices.fill_null(len(table) - 1).to_numpy()]
        if len(self._table) and pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
            values = array.cast(pa.int64()).fill_null(self._first).to_numpy()
            codes = self._table[np.clip(values - self._first, 0, len(self._table) - 1)]
            if array.null_count:
                codes[array.is_null().to_numpy(zero_copy_only=False)] = self.missing
            return codes
        return self._look_up(array)

    def _of_dictionary(self, dictionary: Any) -> np.ndarray:
        for known, codes in self._dictionaries:
            if len(known) == len(dictionary) and known.equals(dictionary):
                return codes
        find = self._of_texts if _is_text(dictionary.type) else self._look_up
        codes = find(dictionary)
        kept = [(dictionary, codes), *self._dictionaries[: DICTIONARIES - 1]]
        sizes = np.cumsum([known.nbytes + found.nbytes for known, found in kept])
        self._dictionaries = [one for one, size in zip(kept, sizes, strict=True) if size <= DICTIONARY_BYTES]
        return codes

    def _of_texts(self, array: Any) -> np.ndarray:
        """Codes of texts: Arrow would build a table of all known ones anew every time."""
        import pyarrow as pa

        texts = array.to_numpy(zero_copy_only=False)
        codes = np.fromiter(map(self._texts.get, texts, repeat(UNMET)), "int64", len(texts))
        unmet = codes == UNMET
        if unmet.any():
            new = array.filter(pa.array(unmet)).unique()
            found = dict(zip(new.to_pylist(), self._code(new.to_pandas()).tolist(), strict=True))
            codes[unmet] = [found[text] for text in texts[unmet]]
            self._texts.update((text, code) for text, code in found.items() if code != self.strange)
        return codes

    def _look_up(self, array: Any) -> np.ndarray:
        import pyarrow as pa
        from pyarrow import compute

        pc: Any = compute

        values, codes = self._known.get(array.type, (pa.array([], array.type), np.empty(0, dtype="int64")))
        places = pc.index_in(array, value_set=values)
        if not places.null_count:
            return codes[places.to_numpy()]
        new = array.filter(places.is_null()).unique()
        new_codes = np.full(len(new), self.missing)
        # without gaps: pandas would round large whole numbers beside them
        new_codes[new.is_valid().to_numpy(zero_copy_only=False)] = self._code(new.drop_null().to_pandas())
        values, codes = pa.concat_arrays([values, new]), np.concatenate([codes, new_codes])
        places = pc.index_in(array, value_set=values).to_numpy()
        found = codes[places]
        if self.strange is not None:
            worth = codes != self.strange
            values, codes = values.filter(pa.array(worth)), codes[worth]
        self._known[array.type] = values, codes
        return found


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


class ArrowCoder:
    """Turns record batches into what `TableProcessor.transform_arrays` makes of the same rows.

    Args:
        processor: fitted.

    Attributes:
        unknown: values that training rows never showed, by column, with their counts so far.
    """

    def __init__(self, processor: TableProcessor) -> None:
        self.processor = processor
        self.unknown: dict[str, dict[Any, int]] = {}
        self._books = [_book(column) for column in processor.categories_]
        self._kind = smallest_int(max((column.n_codes for column in processor.categories_), default=0))
        n = len(processor.numbers_)
        names = processor.number_names_
        self._n_numbers = len(names)
        self._indicators = {name.removesuffix("_na"): n + i for i, name in enumerate(names[n:])}

    def __call__(self, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        """Codes of shape (rows, category columns), float32 numbers of shape (rows, numbers and gaps)."""
        import pyarrow as pa

        columns = self.processor.categories_
        codes = np.empty((len(batch), len(columns)), dtype=self._kind)
        for i, (column, book) in enumerate(zip(columns, self._books, strict=True)):
            values = classic(batch.column(column.name))
            found = book(values)
            codes[:, i] = found
            strange = found == column.unknown_code
            if strange.any():
                self._note(column.name, values.filter(pa.array(strange)))
        columns = self.processor.numbers_
        numbers = np.empty((len(batch), self._n_numbers), dtype="float32")
        for i, column in enumerate(columns):
            found = pd.Series(arrow_floats(batch.column(column.name), column.name), name=column.name)
            numbers[:, i], gaps = column.encode(found)
            if column.name in self._indicators:
                numbers[:, self._indicators[column.name]] = gaps
        return codes, numbers

    def _note(self, name: str, values: Any) -> None:
        counts = self.unknown.setdefault(name, {})
        for value, count in values.to_pandas().value_counts().items():
            if count:  # a dictionary holds more values than these rows
                counts[value] = counts.get(value, 0) + int(count)


def _book(column: CategoryColumn) -> Codebook:
    levels = [*column.levels, *column.rare]
    whole = levels if column.kind == "number" and all(isinstance(level, int) for level in levels) else None
    return Codebook(partial(_level_codes, column), MISSING, column.unknown_code, whole)


def _level_codes(column: CategoryColumn, values: pd.Series) -> np.ndarray:
    return column.encode(values)[0]


def class_book(levels: list[Any]) -> Codebook:
    """Class numbers of the values of a target; -1 where it is missing or none of the classes."""
    return Codebook(partial(_class_codes, {level: number for number, level in enumerate(levels)}), -1)


def _class_codes(numbers: dict[Any, int], values: pd.Series) -> np.ndarray:
    return code_values(values, lambda distinct: (numbers.get(value, -1) for value in distinct), -1)[0]
