"""Frames in Feather and Parquet files, with their categories and indexes. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.errors import did_you_mean, some
from zoo.storage.files import atomic_write
from zoo_tabular.frames.frame_checks import check_columns, check_frame, name_list


def write_table(df: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame as Feather (".feather", ".arrow") or Parquet (".parquet"), atomically.

    Indexes keep their values and names. Feather keeps the levels and the order of all categories; Parquet
    those of text categories, other categories come back as their plain values. Feather files are not
    compressed, so that `read_table` can map them into memory.

    Args:
        df: a frame, also of polars or an Arrow table; decimal numbers of Arrow become floats.
        path: the file; what was there is replaced once all is written.

    Raises:
        ValueError: for another file ending, and for columns that such a file would not give back, such as
            values of mixed types or categories of intervals; nothing is written then.

    Example:
        >>> import tempfile
        >>> df = pd.DataFrame({"State": pd.Categorical(["BE", "HH"])}, index=pd.Index([7, 9], name="Store"))
        >>> path = write_table(df, Path(tempfile.mkdtemp()) / "stores.feather")
        >>> read_table(path).equals(df)
        True
    """
    from pyarrow import feather, parquet

    df = check_frame(df, "write_table")
    path = Path(path)
    kind = _kind(path)
    table = _arrow_table(df, kind, "write_table")
    with atomic_write(path) as temporary:
        if kind == "feather":
            feather.write_feather(table, str(temporary), compression="uncompressed")
        else:
            parquet.write_table(table, temporary)
    return path


def _arrow_table(df: pd.DataFrame, kind: str, where: str, *, index: bool | None = None) -> Any:
    """The frame as an Arrow table that a file of this kind gives back; `index` as in `from_pandas`."""
    import pyarrow as pa

    try:
        table = pa.Table.from_pandas(df, preserve_index=index)
        _rehearse(table, kind)
    except _REFUSALS as error:
        for name in df.columns:
            try:
                _rehearse(pa.Table.from_pandas(df[[name]], preserve_index=False), kind)
            except _REFUSALS as reason:
                categories = isinstance(df[name].dtype, pd.CategoricalDtype)
                change = ".cat.rename_categories(str)" if categories else ".astype(str)"
                raise ValueError(
                    f"{where}: column {name!r} ({df[name].dtype}) does not go through a {kind.title()} file: "
                    f"make it text or numbers, such as df[{name!r}] = df[{name!r}]{change}, or drop it; "
                    f"reason: {reason}"
                ) from None
        raise ValueError(
            f"{where}: the index does not go through a {kind.title()} file: df.reset_index(drop=True) "
            f"drops it; reason: {error}"
        ) from None
    return table


_REFUSALS = (TypeError, ValueError, OverflowError, NotImplementedError, OSError)  # Arrow's own among them


def _rehearse(table: Any, kind: str) -> None:
    """Write and read the first rows in memory: an error tells what a file would not give back."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    for field in table.schema:
        if pa.types.is_dictionary(field.type):
            levels = field.type.value_type
            zoned = pa.types.is_timestamp(levels) and levels.tz is not None
            if zoned or pa.types.is_duration(levels) or isinstance(levels, pa.BaseExtensionType):
                raise TypeError(f"categories of {levels} come back changed, or not at all")
    buffer = pa.BufferOutputStream()
    if kind == "feather":
        feather.write_feather(table.slice(0, 3), buffer, compression="uncompressed")
        back = feather.read_table(pa.BufferReader(buffer.getvalue()))
    else:
        parquet.write_table(table.slice(0, 3), buffer)
        back = parquet.read_table(pa.BufferReader(buffer.getvalue()))
    back.to_pandas()


def read_table(path: str | Path, columns: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Read what `write_table` (or pandas) wrote; Feather files are mapped into memory, not copied, where
    possible.

    Args:
        path: a ".feather", ".arrow" or ".parquet" file, or a folder of partitioned Parquet files.
        columns: only this column, or these.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another file ending, or absent columns.
    """
    from pyarrow import dataset, feather, parquet

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read_table: no file {path}")
    wanted = None if columns is None else name_list(columns, "read_table")
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
    path: str | Path, columns: str | Sequence[str] | None = None, *, rows: int = 65_536, where: Any = None
) -> Iterator[pd.DataFrame]:
    """Read a file or a folder of partitioned Parquet files piece by piece, for tables larger than memory.

    Args:
        path: a ".feather", ".arrow" or ".parquet" file, or a folder of Parquet files (`key=value` folders
            become columns).
        columns: only this column, or these.
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
    wanted = None if columns is None else name_list(columns, "stream_table")
    _check_names(source.schema.names, wanted, path)
    # little is read ahead: the default is a hundred MB and more
    for batch in source.to_batches(
        columns=wanted, filter=where, batch_size=rows, batch_readahead=2, fragment_readahead=1
    ):
        if batch.num_rows:
            yield batch.to_pandas()


def write_partitioned(df: pd.DataFrame, path: str | Path, by: str | Sequence[str]) -> Path:
    """Write a frame as a folder of Parquet files, one folder a value of the `by` columns; without its index.

    Folders are named `Year=2013`, so the values of `by` must be what a name of a folder can give back: text,
    whole numbers of 32 bits, categories of these (they come back without being categories), or missing.
    Others, such as true/false, fractions and dates, must be made whole numbers or text first.

    Args:
        df: a frame, also of polars or an Arrow table; decimal numbers of Arrow become floats.
        path: a folder that is new or empty.
        by: one column or several, of which the folders are made, the outermost first.

    Raises:
        FileExistsError: if the folder is there and not empty, or is a file.
        ValueError: for an empty frame, absent columns, no column beside `by`, values of `by` that would come
            back as others, as the text "01", and columns that Parquet would not give back.
    """
    from pyarrow import dataset
    from pyarrow import schema as make_schema

    where = "write_partitioned"
    df = check_frame(df, where, empty_ok=False)
    path, by = Path(path), name_list(by, where)
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{where}: {path} is a file: name a folder that is new or empty")
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{where}: {path} is not empty")
    check_columns(df, by, where)
    if len(by) == df.shape[1]:
        raise ValueError(f"{where}: no column is left to write beside {some(map(repr, by))}")
    table = _arrow_table(df, "parquet", where, index=False)
    for name in by:
        _check_key(df[name], table.schema.field(name).type, where)
    folders = df.groupby(by, dropna=False, observed=True).ngroups if by else 1
    keys = dataset.partitioning(make_schema([table.schema.field(name) for name in by]), flavor="hive")
    dataset.write_dataset(table, path, format="parquet", partitioning=keys, max_partitions=folders)
    return path


def _check_key(values: pd.Series, kind: Any, where: str) -> None:
    """Raise a ValueError unless names of folders give back the values, whose Arrow type is `kind`."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    told = f"{where}: column {values.name!r}"
    if re.search("[/=]", str(values.name)):
        raise ValueError(f"{told}: a name of a folder cannot hold '/' or '=': rename the column")
    if not (types.is_integer(kind) or types.is_floating(kind) or _is_text(kind)):
        if types.is_null(kind):
            raise ValueError(f"{told} holds nothing but missing values: leave it out of by")
        raise ValueError(
            f"{told} holds {kind}, which comes back from names of folders as text: make it whole numbers or "
            f"text first, such as df[{values.name!r}].astype({'int' if types.is_boolean(kind) else 'str'})"
        )
    found = values.dropna().unique()
    if not _is_text(kind):
        odd = [one for one in found if not -(2**31) <= one < 2**31 or one % 1 != 0]
        if odd:
            raise ValueError(
                f"{told} holds {odd[0]}, which comes back from names of folders as text: make the values "
                "whole numbers of 32 bits, or text with a letter before each"
            )
        return
    if _NO_VALUE in found:
        raise ValueError(f"{told} holds {_NO_VALUE!r}, which comes back from names of folders as missing")
    if len(found) and all(_reads_as_number(text) for text in found):
        raise ValueError(
            f"{told} holds text such as {found[0]!r}, which comes back "
            f"from names of folders as the number {int(found[0])}: make it numbers, or put a letter "
            "before each"
        )


_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


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
