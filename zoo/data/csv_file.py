"""Tables from CSV files, for every domain; an unreadable file is one error that names it. No torch here.

What a file may be is the same everywhere: UTF-8 with or without a byte order mark, compressed or not (by the
end of its name), with or without a line of column names. What differs from domain to domain is said by
arguments: which cells are missing values, and which columns stay text.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd

from zoo.errors import did_you_mean, some

Missing = Literal["usual", "empty", "none"]

_USUAL = ["", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None"]
_BLANKS, _SEPARATORS = r"\s+", (",", ";", "\t", "|")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
_UNPACKING = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


def read_csv(
    file: str | Path,
    *,
    columns: Iterable[str] = (),
    header: bool = True,
    sep: str = ",",
    dtype: Mapping[str, Any] | type[str] | None = None,
    missing: Missing = "usual",
    what: str = "table",
    hint: str = "",
) -> pd.DataFrame:
    """The table of a CSV file.

    Args:
        file: its path; a name that ends in .gz, .bz2, .xz or .zip is unpacked.
        columns: names (without a header numbers) that the file must have, each once; names of other columns
            may repeat, and stand in the frame as they do in the file.
        header: whether the first line holds the column names; otherwise they are 0, 1, ...
        sep: what separates the fields, as it stands there; r"\\s+" stands for any blanks. Within quotes a
            separator of one character is text; one of several separates there too.
        dtype: types of columns by name, or `str` for all. Columns of digits are read as numbers where it says
            nothing, so that 007 becomes 7; as `str` every cell stays as it is written.
        missing: the cells that are missing values. "usual": empty ones, and NA, NaN, NULL, None and the like,
            these only in columns that `dtype` does not make text; "empty": empty ones alone; "none": none at
            all, an empty cell is an empty text.
        what: the file is called in the error for one that does not exist.
        hint: ends that error.

    Raises:
        FileNotFoundError: if there is no such file; it suggests the near miss.
        TypeError: for a separator that is no text.
        ValueError: for a file that is empty, damaged, not UTF-8 or ragged: one with rows that have more or
            fewer fields than its line of column names; one without rows; a column that is not there, or there
            twice; `dtype` for a column that is not there.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_text("id,label\\n007,NA\\n008,yes\\n")
        >>> read_csv(file).values.tolist()
        [[7, nan], [8, 'yes']]
        >>> read_csv(file, dtype=str, columns=["id"]).values.tolist()
        [['007', 'NA'], ['008', 'yes']]
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{what} {file} does not exist{_near(file)}{hint}")
    if not isinstance(sep, str) or not sep:
        raise TypeError(f"sep is the text between two fields, such as ',' or '\\t', got {sep!r}")
    several = len(sep) > 1 and sep != _BLANKS
    plain: dict[str, Any] = {"sep": re.escape(sep) if several else sep, "keep_default_na": False}
    if several:  # pandas' faster reader knows single characters only
        plain["engine"] = "python"
    else:  # a column is of one kind, whatever stands in which stretch of it
        plain["low_memory"] = False
    try:
        closed = header and len(sep) == 1 and _rows_are_closed(file, sep)
        # the first two rows alone: a longer second row is an error here and would pass as an index below
        head = pd.read_csv(file, header=None, nrows=1 if closed else 2, dtype=str, **plain)
        names = head.iloc[0].tolist() if header else list(range(head.shape[1]))
        first = 0 if header else None
        told = pd.read_csv(file, header=first, nrows=0 if header else 1, **plain).columns
        kinds = {given: _kind(dtype, own) for given, own in zip(told, names, strict=True)}
        df = pd.read_csv(
            file,
            header=first,
            dtype={given: kind for given, kind in kinds.items() if kind is not None},
            na_values=_missing_cells(kinds, missing),
            **({"index_col": False, "usecols": range(len(names))} if closed else {}),
            **plain,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: cannot be read as UTF-8 text ({error}): save it as UTF-8 first") from error
    except ValueError as error:
        raise ValueError(
            f"{file}: cannot be read as a CSV file separated by {sep!r}: {str(error).strip()}"
            + _other_separator(file, sep)
        ) from error
    except _UNPACKING as error:
        if file.suffix.lower() not in (*_COMPRESSED, ".tar"):
            raise
        raise ValueError(
            f"{file}: cannot be unpacked, it is damaged or no {file.suffix} file ({error})"
        ) from error
    # pandas has called a second "a" "a.1": it would be found, or missed, under that name
    df.columns = [given if own == "" else own for own, given in zip(names, df.columns, strict=True)]
    check_columns(df, columns, str(file), _other_separator(file, sep) if df.shape[1] == 1 else "")
    if isinstance(dtype, Mapping):
        _check_kinds(dtype, names, file)
    if len(sep) == 1 and df.shape[1] > 1 and (df.iloc[:, -1].isna() | (df.iloc[:, -1] == "")).any():
        _check_lengths(file, sep, names)  # a row that is too short ends so, as does one with an empty cell
    if not len(df):
        raise ValueError(f"{file} has no rows below its line of column names")
    return df


def check_columns(df: pd.DataFrame, columns: Iterable[str], where: str, hint: str = "") -> None:
    """Raise where a frame lacks a column, with the nearest name that it has, or has it more than once."""
    names = list(df.columns)
    for column in columns:
        if names.count(column) > 1:
            raise ValueError(f"{where} has {names.count(column)} columns {column!r}; rename all but one")
        if column not in names:
            raise ValueError(
                f"{where} has no column {column!r}{did_you_mean(column, names)};"
                f" its columns are: {some(names, 12)}{hint}"
            )


def _check_kinds(dtype: Mapping[str, Any], names: list[Any], file: Path) -> None:
    absent = [name for name in dtype if name not in names]
    if absent:
        raise ValueError(
            f"{file}: dtype names {some(map(repr, absent))}, which the file has not"
            f"{did_you_mean(absent[0], names)}; its columns are: {some(names, 12)}"
        )


def _check_lengths(file: Path, sep: str, names: list[Any]) -> None:
    """Raise for the first row with fewer fields than there are columns, which pandas fills up."""
    with _opened(file) as text:
        for row in (rows := csv.reader(text, delimiter=sep)):
            if row and len(row) < len(names):
                raise ValueError(
                    f"{file}: line {rows.line_num} has {len(row)} fields where the first has {len(names)}: "
                    f"{some(map(repr, row))}; complete the row or take it out"
                )


def _rows_are_closed(file: Path, sep: str) -> bool:
    """Whether every row but the line of column names ends with a separator, as some programs write them."""
    with _opened(file) as text:
        rows = (row for row in csv.reader(text, delimiter=sep) if row)
        fields = len(next(rows, []))
        seen = False
        for row in rows:
            if len(row) != fields + 1 or row[-1]:
                return False
            seen = True
    return seen


def _opened(file: Path) -> IO[str]:
    """The text of a file, unpacked as pandas does it."""
    unpack: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(file.suffix.lower(), open)
    if file.suffix.lower() == ".zip":
        packed = zipfile.ZipFile(file)
        return io.TextIOWrapper(packed.open(packed.namelist()[0]), encoding="utf-8-sig", newline="")
    return unpack(file, "rt", encoding="utf-8-sig", newline="")


def _other_separator(file: Path, sep: str) -> str:
    """What separates the fields of the first line, where `sep` does not occur in it."""
    try:
        with _opened(file) as text:
            line = text.readline()
    except (OSError, ValueError, *_UNPACKING):
        return ""
    if sep in line:
        return ""
    found = max(_SEPARATORS, key=line.count)
    return f"; its first line looks separated by {found!r}: give sep={found!r}" if found in line else ""


def _kind(dtype: Any, name: Any) -> Any:
    """The type that was asked for a column, by the name that stands in the file."""
    return dtype.get(name) if isinstance(dtype, Mapping) else dtype


def _missing_cells(kinds: Mapping[Any, Any], missing: Missing) -> Any:
    """The cells that pandas is to take for missing values."""
    if missing != "usual":
        return [""] if missing == "empty" else None
    return {name: [""] if _is_text(kind) else _USUAL for name, kind in kinds.items()}


def _is_text(kind: Any) -> bool:
    return kind is not None and pd.api.types.is_string_dtype(pd.api.types.pandas_dtype(kind))


def _near(file: Path) -> str:
    """The table in the same folder that may have been meant."""
    if not file.parent.is_dir():
        return f": there is no folder {file.parent}"
    endings = {file.suffix, ".csv", ".tsv", ".txt", *_COMPRESSED}
    return did_you_mean(file.name, sorted(one.name for one in file.parent.iterdir() if one.suffix in endings))
