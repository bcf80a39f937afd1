"""Frames in Feather and Parquet files, with their categories and indexes. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.errors import did_you_mean, some
from zoo.files import atomic_write
from zoo_tabular._frames import check_frame


def write_table(df: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame as Feather (".feather", ".arrow") or Parquet (".parquet"), atomically.

    Categories keep their levels and order, indexes their values and names. Feather files are not compressed,
    so that `read_table` can map them into memory.

    Raises:
        ValueError: for another file ending.

    Example:
        >>> import tempfile
        >>> df = pd.DataFrame({"State": pd.Categorical(["BE", "HH"])}, index=pd.Index([7, 9], name="Store"))
        >>> path = write_table(df, Path(tempfile.mkdtemp()) / "stores.feather")
        >>> read_table(path).equals(df)
        True
    """
    import pyarrow as pa
    from pyarrow import feather, parquet

    df = check_frame(df, "write_table")
    path = Path(path)
    kind = _kind(path)
    table = pa.Table.from_pandas(df)
    with atomic_write(path) as temporary:
        if kind == "feather":
            feather.write_feather(table, str(temporary), compression="uncompressed")
        else:
            parquet.write_table(table, temporary)
    return path


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read what `write_table` (or pandas) wrote; Feather files are mapped into memory, not copied, where
    possible.

    Args:
        path: a ".feather", ".arrow" or ".parquet" file, or a folder of partitioned Parquet files.
        columns: only these columns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another file ending, or absent columns.
    """
    from pyarrow import dataset, feather, parquet

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read_table: no file {path}")
    wanted = None if columns is None else list(columns)
    if path.is_dir():
        source = dataset.dataset(path, format="parquet", partitioning="hive")
        _check_names(source.schema.names, wanted, path)
        return source.to_table(columns=wanted).to_pandas()
    if _kind(path) == "feather":
        table = feather.read_table(str(path), memory_map=True)
        _check_names(table.column_names, wanted, path)
        return (table if wanted is None else table.select(wanted)).to_pandas()
    _check_names(parquet.read_schema(path).names, wanted, path)
    return parquet.read_table(path, columns=wanted, memory_map=True).to_pandas()


def stream_table(
    path: str | Path, columns: Sequence[str] | None = None, *, rows: int = 65_536, where: Any = None
) -> Iterator[pd.DataFrame]:
    """Read a file or a folder of partitioned Parquet files piece by piece, for tables larger than memory.

    Args:
        path: a ".feather", ".arrow" or ".parquet" file, or a folder of Parquet files (`key=value` folders
            become columns).
        columns: only these columns.
        rows: the largest number of rows of a piece.
        where: a pyarrow filter expression, such as `pyarrow.dataset.field("Year") == 2015`.

    Yields:
        Frames in the order of the files.
    """
    from pyarrow import dataset

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"stream_table: no file or folder {path}")
    if rows < 1:
        raise ValueError(f"stream_table: rows must be at least 1, got {rows}")
    source = dataset.dataset(path, format="parquet" if path.is_dir() else _kind(path), partitioning="hive")
    _check_names(source.schema.names, None if columns is None else list(columns), path)
    wanted = columns and list(columns)
    # little is read ahead: the default is a hundred MB and more
    for batch in source.to_batches(
        columns=wanted, filter=where, batch_size=rows, batch_readahead=2, fragment_readahead=1
    ):
        if batch.num_rows:
            yield batch.to_pandas()


def write_partitioned(df: pd.DataFrame, path: str | Path, by: Sequence[str]) -> Path:
    """Write a frame as a folder of Parquet files, one folder a value of the `by` columns.

    Raises:
        FileExistsError: if the folder is there and not empty.
        ValueError: for absent columns, and text in the `by` columns that would come back as numbers, as "01".
    """
    from pyarrow import Table, dataset
    from pyarrow import schema as make_schema

    df = check_frame(df, "write_partitioned")
    path = Path(path)
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"write_partitioned: {path} is not empty")
    table = Table.from_pandas(df, preserve_index=False)
    _check_names(table.column_names, list(by), path)
    for name in by:
        texts = df[name].dropna().unique()
        if len(texts) and all(isinstance(text, str) and _reads_as_number(text) for text in texts):
            raise ValueError(
                f"write_partitioned: column {name!r} holds text such as {texts[0]!r}, which comes back "
                f"from names of folders as the number {int(texts[0])}: make it numbers, or put a letter "
                "before each"
            )
    keys = dataset.partitioning(make_schema([table.schema.field(name) for name in by]), flavor="hive")
    dataset.write_dataset(table, path, format="parquet", partitioning=keys)
    return path


def _reads_as_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", text) is not None and -(2**31) <= int(text) < 2**31


def _kind(path: Path) -> str:
    kinds = {".feather": "feather", ".arrow": "feather", ".parquet": "parquet", ".pq": "parquet"}
    if path.suffix not in kinds:
        raise ValueError(
            f"cannot tell the format of {path.name!r}{did_you_mean(path.suffix, kinds)}: use {some(kinds)}"
        )
    return kinds[path.suffix]


def _check_names(present: Sequence[str], wanted: Sequence[str] | None, path: Path) -> None:
    absent = [name for name in wanted or () if name not in present]
    if absent:
        raise ValueError(
            f"{path} has no column {some(f'{name!r}{did_you_mean(name, present)}' for name in absent)}"
        )
