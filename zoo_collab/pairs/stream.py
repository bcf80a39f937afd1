"""Ratings in Parquet files as memory maps of numbers, made once in two passes; needs little memory."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.distributed.group import write_once
from zoo.errors import some
from zoo.folders import atomic_folder, present_folder
from zoo_collab.pairs.checks import checked_ratings, checked_weights
from zoo_collab.pairs.ids import IdMap
from zoo_collab.pairs.parquet_files import Files, kind_of_times, opened, parquet_files, types_of
from zoo_collab.pairs.times import are_dates, checked_times

ROWS = 1 << 20
"""Rows that are in memory at a time."""

_FORMAT = 2
_META, _USERS, _ITEMS, _TIMES = "meta.json", "users.i32", "items.i32", "times"
_RATINGS, _WEIGHTS = "ratings.f32", "weights.f32"


class StoredPairs:
    """Who rated what and how much, as numbers in a folder: `users.i32` and `items.i32` (places in the sorted
    ids), `ratings.f32` (without ratings `weights.f32`), `times.i64` (or `u64`, `f64`), both lists of ids and
    `meta.json`. Made by `build`.

    Attributes:
        folder: where it lies.
        users, items: raw ids by row, categorical columns whose codes are memory maps where the number of ids
            asks for 32 bits.
        ratings: float32, a memory map; without ratings the weights. Writing to it changes nothing on disk.
        times: int64, uint64 or float64, likewise; None without a time column.
        dated: whether the times are dates.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> frame = pd.DataFrame({"who": ["bo", "al", "bo"], "film": [9, 7, 7], "stars": [4.0, 2.0, 5.0]})
        >>> frame.to_parquet(folder / "ratings.parquet")
        >>> pairs = StoredPairs.build(folder, "ratings.parquet", ("who", "film", "stars"))
        >>> pairs.users.tolist(), pairs.items.array.codes.tolist(), pairs.ratings.tolist()
        (['bo', 'al', 'bo'], [1, 0, 0], [4.0, 2.0, 5.0])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / _META).read_text(encoding="utf8"))
        rows = self.meta["rows"]
        self.users, self.items = (
            _column(_mapped(folder / codes, "<i4", rows), _ids_file(folder, codes))
            for codes in (_USERS, _ITEMS)
        )
        self.ratings = _mapped(folder / self.meta["values"], "<f4", rows)
        kind, self.dated = self.meta["times"], bool(self.meta["dated"])
        self.times = None if kind is None else _mapped(folder / f"{_TIMES}.{kind}", f"<{kind[0]}8", rows)

    @classmethod
    def build(
        cls,
        path: Path,
        files: Files,
        columns: tuple[str, str, str | None],
        time_col: str | None = None,
        weight_col: str | None = None,
    ) -> StoredPairs:
        """Makes the folder below `path/ratings`, or opens it if it holds what these files hold: as long as
        they have the size and the time of change that they had.

        A first pass collects the ids, a second writes numbers, about a million rows at a time. The folder
        appears when it is complete.

        Args:
            path: what the names of the files are relative to.
            files: a Parquet file, a folder of them, or a list of files.
            columns: of users, items and ratings; the last is None for pairs without ratings.
            time_col: of times.
            weight_col: without ratings, of weights; None counts all rows alike.

        Raises:
            FileNotFoundError: for a file that is not there.
            ValueError: for files that cannot be read, lack a column or do not go together; for missing ids,
                and for ratings, weights and times as `CollabFilterDataset` refuses them. File and row are
                named.
        """
        found = parquet_files(path, files)
        names: list[str | None] = [*columns, *([] if time_col is None else [time_col])]
        if columns[2] is None:
            names = [*columns, time_col, weight_col]
        stamps = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in found]
        about = {"format": _FORMAT, "files": stamps, "columns": names}
        named = hashlib.sha256(json.dumps([[name for name, *_ in stamps], names]).encode()).hexdigest()
        folder = path / "ratings" / f"{found[0].stem}-{named[:12]}"
        if _about(folder) != about:
            write_once(folder, lambda: _write(folder, found, columns, time_col, weight_col, about))
        return cls(present_folder(folder))

    def __len__(self) -> int:
        return len(self.ratings)

    def encoded(self, ids: IdMap, column: pd.Series) -> np.ndarray:
        """Indexes of the ids of a column such as `users`, int32; those that `ids` does not know get 0.

        Returns:
            A memory map of a file that has no name and goes with it.
        """
        place: Any = column.array
        lookup = ids.encode(place.categories, warn=False).astype(np.int32)
        return self._on_disk((lookup[place.codes[start:stop]] for start, stop in _blocks(len(column))), "<i4")

    def taken(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`values[rows]`, as a memory map of a file that has no name and goes with it."""
        parts = (values[rows[start:stop]] for start, stop in _blocks(len(rows)))
        return self._on_disk(parts, values.dtype)

    def _on_disk(self, parts: Iterable[np.ndarray], dtype: Any) -> np.ndarray:
        with tempfile.TemporaryFile(dir=self.folder) as file:
            for part in parts:
                file.write(np.ascontiguousarray(part, dtype).tobytes())
            file.flush()
            count = file.tell() // np.dtype(dtype).itemsize
            return np.memmap(file, dtype, mode="c", shape=(count,)) if count else np.zeros(0, dtype)


def _write(
    folder: Path,
    files: list[Path],
    columns: tuple[str, str, str | None],
    time_col: str | None,
    weight_col: str | None,
    about: dict[str, Any],
) -> None:
    from pyarrow import feather, table

    user_col, item_col, rating_col = columns
    types = types_of(files, columns, time_col, weight_col)
    distinct = {user_col: _Distinct(), item_col: _Distinct()}
    for file, start, batch in _batches(files, [user_col, item_col]):
        for name, ids in distinct.items():
            ids.add(_cast(batch.column(name), types[name], file, name, start))
    ids = {name: one.sorted() for name, one in distinct.items()}
    if not len(ids[user_col]):
        raise ValueError(f"{some([str(file) for file in files])}: no rows")
    others = list(dict.fromkeys(name for name in (rating_col, time_col, weight_col) if name is not None))
    values = _WEIGHTS if rating_col is None else _RATINGS
    with atomic_folder(folder) as fresh:
        kind, dated, rows = None, False, 0
        with (
            (fresh / _USERS).open("wb") as users,
            (fresh / _ITEMS).open("wb") as items,
            (fresh / values).open("wb") as ratings,
            (fresh / _TIMES).open("wb") as times,
        ):
            for file, start, batch in _batches(files, list(dict.fromkeys([user_col, item_col, *others]))):
                for name, into in ((user_col, users), (item_col, items)):
                    column = _cast(batch.column(name), types[name], file, name, start)
                    codes = _compute().index_in(column, value_set=ids[name])
                    into.write(codes.to_numpy(zero_copy_only=False).astype("<i4").tobytes())
                frame = batch.select(others).to_pandas()
                frame.index = pd.RangeIndex(start, start + len(batch))
                worth = _worth(frame, rating_col, weight_col, str(file))
                ratings.write(worth.astype("<f4").tobytes())
                if time_col is not None:
                    found = checked_times(frame, time_col, str(file))
                    kind, dated = kind_of_times(types[time_col]), are_dates(frame[time_col])
                    times.write(found.astype(f"<{kind[0]}8").tobytes())
                rows += len(batch)
        (fresh / _TIMES).replace(fresh / f"{_TIMES}.{kind}") if kind else (fresh / _TIMES).unlink()
        for name, codes in ((user_col, _USERS), (item_col, _ITEMS)):
            feather.write_feather(table({"id": ids[name]}), str(fresh / f"{codes}.ids"))
        meta = {"about": about, "rows": rows, "values": values, "times": kind, "dated": dated}
        (fresh / _META).write_text(json.dumps(meta), encoding="utf8")


def _worth(frame: pd.DataFrame, rating_col: str | None, weight_col: str | None, where: str) -> np.ndarray:
    """Ratings, or without them weights."""
    if rating_col is not None:
        return checked_ratings(frame, rating_col, where, None)
    if weight_col is not None:
        return checked_weights(frame, weight_col, where)
    return np.ones(len(frame), dtype=np.float32)


class _Distinct:
    """The distinct values of a column that comes in parts."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._kept = self._added = 0

    def add(self, column: Any) -> None:
        self._parts.append(column.unique())
        self._added += len(self._parts[-1])
        if self._added > max(self._kept, ROWS):  # so that all merging takes about twice the time of the last
            self._merge()

    def _merge(self) -> None:
        import pyarrow as pa

        self._parts = [pa.concat_arrays(self._parts).unique()] if self._parts else []
        self._kept, self._added = sum(map(len, self._parts)), 0

    def sorted(self) -> Any:
        import pyarrow as pa

        self._merge()
        if not self._parts:
            return pa.array([])
        (values,) = self._parts
        return values.take(_compute().array_sort_indices(values))


def _batches(files: list[Path], columns: Sequence[str]) -> Iterator[tuple[Path, int, Any]]:
    """Files, the number in it of the row that comes next, and about a million rows."""
    for file in files:
        start = 0
        with opened(file) as parquet:
            parts = parquet.iter_batches(ROWS, columns=list(columns))
            while (batch := _next(parts, file)) is not None:
                yield file, start, batch
                start += len(batch)


def _next(parts: Iterator[Any], file: Path) -> Any:
    import pyarrow as pa

    try:
        return next(parts, None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read as Parquet, it is damaged: {error}") from error


def _cast(column: Any, kind: Any, file: Path, name: str, start: int) -> Any:
    """A column of ids in its plain type."""
    pc = _compute()
    whole = column.dictionary_decode() if hasattr(column, "dictionary_decode") else column
    gone = pc.is_null(whole, nan_is_null=True)
    if count := pc.sum(gone).as_py():
        row = start + pc.index(gone, True).as_py()
        raise ValueError(
            f"{file}: column {name!r} has no id in row {row} ({count} such rows among those read with it); "
            "drop them or give them an id"
        )
    return whole.cast(kind)


def _compute() -> Any:
    """Pyarrow's functions, which are made as it is imported."""
    from pyarrow import compute

    return compute


def _about(folder: Path) -> dict[str, Any] | None:
    """What a folder says that it was made of; None if it does not say."""
    try:
        return json.loads((present_folder(folder) / _META).read_text(encoding="utf8"))["about"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ids_file(folder: Path, codes: str) -> pd.Index:
    from pyarrow import feather

    return pd.Index(feather.read_table(str(folder / f"{codes}.ids"))["id"].to_pandas())


def _column(codes: np.ndarray, ids: pd.Index) -> pd.Series:
    return pd.Series(pd.Categorical.from_codes(codes, categories=ids, validate=False), copy=False)


def _mapped(file: Path, dtype: str, count: int) -> np.ndarray:
    size = file.stat().st_size
    if size != count * np.dtype(dtype).itemsize:
        raise ValueError(f"{file} is damaged ({size:,} bytes): remove its folder, and it is made anew")
    return np.memmap(file, dtype, mode="c")


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + ROWS, count)) for start in range(0, count, ROWS))
