"""Tables of any kind of file, as commands read them and as scripts write it down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.cli.plans import Mendable
from zoo.errors import some

CSV = (".csv", ".tsv", ".txt")
BINARY = (".parquet", ".feather", ".arrow")
PACKED = (".gz", ".bz2", ".xz", ".zip")
_SEPARATORS = ",;\t|"


def kind_of(file: Path) -> str | None:
    """The ending of a table's file without that of its packing; None for other files.

    Example:
        >>> kind_of(Path("a/sales.csv.gz")), kind_of(Path("cat.jpg"))
        ('.csv', None)
    """
    ending = file.suffix.lower()
    if ending in PACKED:
        ending = Path(file.stem).suffix.lower()
        return ending if ending in CSV else None
    return ending if ending in (*CSV, *BINARY) else None


def reading(file: Path) -> tuple[str, dict[str, Any]]:
    """The function of pandas that reads a table, and its options.

    Raises:
        Mendable: for files that are no tables, or are not there.
    """
    kind = kind_of(file)
    if kind is None:
        raise Mendable(f"{file} is no table: its name must end in one of {', '.join((*CSV, *BINARY))}")
    if not file.exists():
        raise Mendable(f"there is no file {file}")
    if kind in BINARY:
        return ("read_parquet" if kind == ".parquet" else "read_feather"), {}
    try:
        head = pd.read_csv(file, sep="\x01", header=None, nrows=1, dtype=str, engine="python", quoting=3)
        line = str(head.iloc[0, 0])
    except (ValueError, OSError, IndexError) as error:
        raise Mendable(f"{file} cannot be read as a table: {error}") from error
    found = max(_SEPARATORS, key=line.count)
    return "read_csv", {**({} if found == "," else {"sep": found}), "low_memory": False}


def read_frame(file: Path) -> pd.DataFrame:
    """The whole table.

    Raises:
        Mendable: for files that are no tables, cannot be read, or have no rows.
    """
    function, options = reading(file)
    try:
        df = getattr(pd, function)(file, **options)
    except (ValueError, OSError, UnicodeError) as error:  # of pandas and Arrow
        raise Mendable(f"{file} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if not len(df):
        raise Mendable(f"{file} has no rows")
    df.columns = [str(name) for name in df.columns]
    return df


def read_line(file: Path) -> str:
    """The same as Python: `pd.read_csv(...)`."""
    function, options = reading(file)
    told = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"pd.{function}({str(file)!r}{told})"


def pieces(file: Path, rows: int = 65_536) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The table piece by piece, in bounded memory: as values, and as it is written in the file.

    Cells of text files are read twice: as values `007` is 7, and whole numbers with a gap are 7.0; what stands
    beside answers is `007`.
    """
    function, options = reading(file)
    if function == "read_csv":
        written = {name: value for name, value in options.items() if name not in ("low_memory", "decimal")}
        with (
            pd.read_csv(file, chunksize=rows, **options) as values,
            pd.read_csv(file, chunksize=rows, dtype=str, keep_default_na=False, **written) as cells,
        ):
            yield from zip(values, cells, strict=True)
        return
    from zoo_tabular import stream_table

    for piece in stream_table(file, rows=rows):
        yield piece, piece


def joined(df: pd.DataFrame, other: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table with the columns of another one, by the columns that both have; see `with_columns`."""
    return with_columns(df, read_frame(other), str(other))


def with_corrections(
    df: pd.DataFrame, record: str | None, target: str, names: dict[str, str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The table with what people corrected in a service as further rows, and this as Python."""
    if record is None:
        return df, []
    from zoo.serving import corrected

    file = Path(record).resolve()
    if not file.exists():
        raise Mendable(f"--append {record}: there is no such file")
    more = corrected(file, target, names)
    others = [name for name in more.columns if name not in df.columns]
    if others:
        raise Mendable(
            f"--append {record}: the table has no column {others[0]!r}, which the corrections have"
        )
    told = f"corrected({str(file)!r}, {target!r}{f', {names!r}' if names else ''})"
    return pd.concat([df, more], ignore_index=True), [f"df = pd.concat([df, {told}], ignore_index=True)"]


def with_columns(df: pd.DataFrame, more: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The table with the columns of another one, and the columns that both have; rows stay as they are.

    Raises:
        Mendable: where they have no column in common, and where a row would match several.
    """
    keys = [column for column in df.columns if column in more.columns]
    if not keys:
        raise Mendable(f"--join {name}: both tables must share a column; it has {some(more.columns)}")
    twice = int(more.duplicated(keys).sum())
    if twice:
        raise Mendable(f"--join {name}: {twice:,} rows repeat {some(keys)}: a row would match several")
    return df.merge(more, how="left", on=keys), keys
