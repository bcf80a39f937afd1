"""Tables of any kind of file, as commands read them and as scripts write it down."""

from __future__ import annotations

import contextlib
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
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
_SAMPLE = 1000  # rows that tell how numbers are written


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
    options: dict[str, Any] = {}
    with _unreadable(file):
        if file.suffix.lower() not in PACKED and _head(file) in _UTF16:
            options["encoding"] = "utf-16"
        head = pd.read_csv(
            file, sep="\x01", header=None, nrows=1, dtype=str, engine="python", quoting=3, **options
        )
        line = str(head.iloc[0, 0])
        found = max(_SEPARATORS, key=line.count)
        if found != ",":
            options["sep"] = found
            sample = pd.read_csv(file, nrows=_SAMPLE, dtype=str, **options)
            if decimal_comma(sample, sure=found == ";"):
                options["decimal"] = ","
    return "read_csv", {**options, "low_memory": False}


def decimal_comma(cells: pd.DataFrame, sure: bool = False) -> bool:
    """Whether numbers are written as 3,14.

    Args:
        cells: as they are written.
        sure: 1,234 is such a number, too, and not one thousand and more.

    Example:
        >>> decimal_comma(pd.DataFrame({"size": ["3,14", "2"], "name": ["a", "b, c"]}))
        True
    """

    def any_like(pattern: str) -> bool:
        return any(bool(column.str.fullmatch(pattern).any()) for _, column in cells.items())

    cells = cells.dropna(axis=1, how="all")
    comma = any_like(r"\s*[+-]?\d+,\d+\s*" if sure else r"\s*[+-]?\d+,(\d{1,2}|\d{4,})\s*")
    return comma and not any_like(r"\s*[+-]?\d+\.\d+\s*")


@contextlib.contextmanager
def _unreadable(file: Path) -> Iterator[None]:
    """Errors of pandas and Arrow with the name of the file, and what to do."""
    try:
        yield
    except UnicodeError as error:
        raise Mendable(f"{file} is not written in UTF-8 ({error}): save it as a CSV file in UTF-8") from error
    except (ValueError, OSError, IndexError) as error:
        raise Mendable(f"{file} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(2)


def read_frame(file: Path) -> pd.DataFrame:
    """The whole table.

    Raises:
        Mendable: for files that are no tables, cannot be read, or have no rows.
    """
    function, options = reading(file)
    with _unreadable(file):
        df = getattr(pd, function)(file, **options)
    if not len(df):
        raise Mendable(f"{file} has no rows")
    df.columns = [str(name) for name in df.columns]
    return df


def read_line(file: Path, **of_text: Any) -> str:
    """The same as Python: `pd.read_csv(...)`, with further options for text files."""
    function, options = reading(file)
    options |= of_text if function == "read_csv" else {}
    told = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"pd.{function}({str(file)!r}{told})"


def pieces(file: Path, rows: int = 65_536) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The table piece by piece, in bounded memory: as values, and as it is written in the file.

    Cells of text files are read twice: as values `007` is 7, and whole numbers with a gap are 7.0; what
    stands beside answers is `007`.
    """
    function, options = reading(file)
    if function == "read_csv":
        written = {name: value for name, value in options.items() if name not in ("low_memory", "decimal")}
        with (
            _unreadable(file),
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
