"""Frames and column names that a caller hands over, checked. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.arrow_values import decimals_as_floats
from zoo.errors import did_you_mean, some

_COPY_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3


def fresh(df: pd.DataFrame) -> pd.DataFrame:
    """A frame that can be written to without touching the caller's one."""
    return df.copy(deep=not _COPY_ON_WRITE)


def check_frame(df: object, where: str, *, empty_ok: bool = True) -> pd.DataFrame:
    """The frame itself, or a clear error when it is no frame, has names that are no text or repeated, or no
    rows. A polars data frame, an Arrow table or record batch becomes a pandas frame."""
    if not isinstance(df, pd.DataFrame):
        df = _of_arrow(df, where)
    strange = [name for name in df.columns if not isinstance(name, str)]
    if strange:
        raise ValueError(
            f"{where}: column names must be text, got {some(map(repr, strange), 3)}: "
            "rename them first, such as df.rename(columns=str)"
        )
    if not df.columns.is_unique:
        repeated = df.columns[df.columns.duplicated()].unique()
        raise ValueError(f"{where}: column names must be unique, repeated: {some(repeated)}")
    if not empty_ok and len(df) == 0:
        raise ValueError(f"{where}: the data frame has no rows")
    return df


def _of_arrow(rows: Any, where: str) -> pd.DataFrame:
    """The pandas frame of whatever hands out Arrow data; whole numbers with gaps keep all their digits."""
    if isinstance(rows, pd.Series) or not (
        hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__")
    ):
        raise TypeError(
            f"{where}: expected a pandas DataFrame (a polars one or an Arrow table will do), "
            f"got {type(rows).__name__}"
        )
    import pyarrow as pa

    try:
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    except (TypeError, ValueError, pa.ArrowInvalid) as error:
        raise TypeError(f"{where}: expected a data frame, got {type(rows).__name__}: {error}") from None
    names = table.column_names
    if len(set(names)) != len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{where}: column names must be unique, repeated: {some(repeated)}")
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, decimals_as_floats(table.column(place)))
    nullable = {
        field.type for field, column in zip(table.schema, table.columns, strict=True) if column.null_count
    }
    kinds: dict[Any, Any] = {pa.bool_(): pd.BooleanDtype()}
    kinds |= {getattr(pa, f"int{bits}")(): getattr(pd, f"Int{bits}Dtype")() for bits in (8, 16, 32, 64)}
    kinds |= {getattr(pa, f"uint{bits}")(): getattr(pd, f"UInt{bits}Dtype")() for bits in (8, 16, 32, 64)}
    return table.to_pandas(
        date_as_object=False, types_mapper=lambda kind: kinds.get(kind) if kind in nullable else None
    )


def check_columns(df: pd.DataFrame, names: Iterable[str], where: str) -> None:
    """Raise a ValueError that names the columns that `df` lacks and suggests near misses."""
    missing = [name for name in names if name not in df.columns]
    if missing:
        listed = some(f"{name!r}{did_you_mean(name, df.columns)}" for name in missing)
        has = some(df.columns, 12)
        raise ValueError(f"{where}: the data frame has no column {listed}. Its columns: {has}")


def name_list(names: str | Sequence[str] | None, where: str) -> list[str]:
    """A new list of column names from one name, several, or None; repeated names are an error."""
    listed = [] if names is None else [names] if isinstance(names, str) else list(names)
    if len(set(listed)) != len(listed):
        repeated = sorted({name for name in listed if listed.count(name) > 1})
        raise ValueError(f"{where}: named more than once: {some(repeated)}")
    return listed


def same_values(old: pd.Series, new: pd.Series) -> bool:
    """Whether two columns have the same values and gaps, of whatever type."""
    gaps = old.isna().to_numpy()
    if not np.array_equal(gaps, new.isna().to_numpy()):
        return False
    return np.array_equal(old[~gaps].to_numpy(dtype=object), new[~gaps].to_numpy(dtype=object))
