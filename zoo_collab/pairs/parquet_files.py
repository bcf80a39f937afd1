"""Which Parquet files there are, and what their columns hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import did_you_mean, some

_BUFFER = 1 << 16  # bytes that are read of a column at a time

Files = str | os.PathLike | Sequence[str | os.PathLike]


def parquet_files(path: Path, files: Files) -> list[Path]:
    """The files, in order; of a folder those below it that end in ".parquet", but none whose name, or whose
    folder's, begins with "." or "_", as what other tools keep beside the rows does.

    Raises:
        FileNotFoundError: naming the first that is not there.
        ValueError: for a folder without any, an empty list, and a file that is given twice.
        TypeError: for something else.
    """
    if not isinstance(files, str | os.PathLike | Iterable):
        raise TypeError(f"from_parquet: files is a Parquet file, a folder or a list of files, not {files!r}")
    given = [files] if isinstance(files, str | os.PathLike) else list(files)
    found: list[Path] = []
    for name in given:
        file = path / name
        if file.is_dir():
            inside = [
                one
                for one in sorted(file.rglob("*.parquet"))
                if not any(part.startswith((".", "_")) for part in one.relative_to(file).parts)
            ]
            if not inside:
                raise ValueError(f"{file}: there is no file that ends in .parquet")
            found += inside
        elif file.is_file():
            found.append(file)
        else:
            there = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
            raise FileNotFoundError(
                f"no ratings file {file}{did_you_mean(file.name, there)}: files are taken relative to path"
            )
    if not found:
        raise ValueError("from_parquet: the list of files is empty")
    seen: set[Path] = set()
    for file in (one.resolve() for one in found):
        if file in seen:
            raise ValueError(f"from_parquet: {file} is given twice, and its rows would count twice")
        seen.add(file)
    return found


def opened(file: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{file} cannot be read as Parquet: {error}") from error


def types_of(
    files: list[Path],
    columns: tuple[str, str, str | None],
    time_col: str | None,
    weight_col: str | None,
) -> dict[str, Any]:
    """The type of each column, in a form that is the same for all ways in which files store it."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    names = [name for name in (*columns, time_col, weight_col) if name is not None]
    for file in files:
        with opened(file) as parquet:
            schema, empty = parquet.schema_arrow, not parquet.metadata.num_rows
        for name in dict.fromkeys(names):
            if (count := schema.names.count(name)) != 1:
                there = f" has {count} columns {name!r}" if count else f" has no column {name!r}"
                meant = "" if count else did_you_mean(str(name), schema.names)
                raise ValueError(f"{file}{there}{meant}. Its columns: {some(schema.names, 12)}")
            kind = _plain(schema.field(name).type)
            if empty:
                continue  # a frame without rows may not know what it would hold
            if pa.types.is_nested(kind):
                raise ValueError(
                    f"{file}: column {name!r} holds {kind}, several values in a cell, and a row needs one; "
                    "frame.explode makes a row of each of a list, and a field of a struct a column of its own"
                )
            before = found.setdefault(name, kind)
            if name in columns[:2] and kind != before:
                raise ValueError(
                    f"{file}: column {name!r} holds {kind}, in {files[0]} it holds {before}: ids of two "
                    "types are different ids; write both files alike"
                )
            if name == time_col and kind != before:
                if _is_number(kind) != _is_number(before):
                    raise ValueError(
                        f"{file}: column {name!r} holds {kind}, in {files[0]} it holds {before}: dates and "
                        "numbers have no common order; write both files alike"
                    )
                found[name] = pa.float64() if _is_number(kind) else kind
    return found


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def kind_of_times(kind: Any) -> str:
    """How times of a type are stored: dates as microseconds, numbers as they are."""
    import pyarrow as pa

    return "f64" if pa.types.is_floating(kind) else "u64" if pa.types.is_uint64(kind) else "i64"


def _plain(kind: Any) -> Any:
    """Numbers and texts in their widest form, dictionaries as what they stand for."""
    import pyarrow as pa

    known = pa.types
    if known.is_dictionary(kind):
        return _plain(kind.value_type)
    if known.is_string(kind) or known.is_large_string(kind) or known.is_string_view(kind):
        return pa.large_string()
    if known.is_integer(kind) and not known.is_uint64(kind):
        return pa.int64()
    return pa.float64() if known.is_floating(kind) else kind
