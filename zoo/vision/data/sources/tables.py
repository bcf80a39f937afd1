"""Tables that name pictures in one column and tell their labels in another."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from zoo.data.csv_file import read_csv
from zoo.errors import did_you_mean, some


def open_table(
    path: str | os.PathLike[str],
    folder: str,
    csv_fname: str | os.PathLike[str],
    *,
    suffix: str,
    id_col: str | int,
    skip_header: bool,
) -> tuple[pd.DataFrame, str]:
    """The table in a CSV file, relative to `path` unless it exists as given, and what errors call it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table, or what should be column names names a picture.
    """
    csv = Path(path) / csv_fname
    if not csv.is_file() and Path(csv_fname).is_file():
        csv = Path(csv_fname)
    frame = read_label_table(csv, skip_header=skip_header)
    if skip_header and isinstance(id_col, int) and 0 <= id_col < frame.shape[1]:
        name = str(frame.columns[id_col]).strip()
        if Path(path, folder, f"{name}{suffix}").is_file():
            raise ValueError(
                f"the first line of {csv} looks like data, not like column names: picture "
                f"'{name}{suffix}' exists; pass skip_header=False"
            )
    return frame, str(csv)


def names_and_labels(
    frame: pd.DataFrame, folder: str, *, suffix: str, id_col: str | int, label_col: str | int, origin: str
) -> tuple[list[str], pd.Series]:
    """The two columns of a table: file names below `folder`, and labels as they stand there."""
    names = [str(name).strip() for name in table_column(frame, id_col, "file names", origin)]
    blank = [i for i, name in enumerate(names) if name in ("", "nan", "None", "<NA>")]
    if blank:
        raise ValueError(f"{origin}: {len(blank)} rows have no file name (first rows, from 0: {some(blank)})")
    labels = table_column(frame, label_col, "labels", origin)
    return [os.path.join(folder, f"{name}{suffix}") for name in names], labels


def read_label_table(csv: Path, *, skip_header: bool) -> pd.DataFrame:
    """A CSV of file names and labels with every cell as text (so 'NA' and '007' stay as written)."""
    return read_csv(csv, header=skip_header, dtype=str, missing="none")


def table_column(frame: pd.DataFrame, column: str | int, what: str, origin: str) -> pd.Series:
    """A column by name or by position, or a `ValueError` that suggests a near miss."""
    names = [str(c) for c in frame.columns]
    if isinstance(column, str):
        if column not in names:
            raise ValueError(
                f"{origin} has no column '{column}' for the {what}{did_you_mean(column, names)}; columns: "
                f"{some(names, 10)}"
            )
        if names.count(column) > 1:
            raise ValueError(f"{origin} has {names.count(column)} columns '{column}'; rename all but one")
        return frame.iloc[:, names.index(column)]
    if not 0 <= column < len(names):
        raise ValueError(
            f"{origin} has no column number {column} for the {what}; it has {len(names)}: {some(names, 10)} "
            "(expected a column of file names and one of labels, separated by commas)"
        )
    return frame.iloc[:, column]
