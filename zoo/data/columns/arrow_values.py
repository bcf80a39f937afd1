"""Columns of Arrow in the form in which columns are read. No torch here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zoo.data.columns.floats import to_floats


def decimals_as_floats(array: Any) -> Any:
    """An Arrow array of decimals as the float64 numbers that are nearest to them, those of Python's `float`.

    Arrow's own cast may give a neighbour: 4.2700000000000005 for 4.27. Its reading of text does not.
    """
    import pyarrow as pa

    return array.cast(pa.string()).cast(pa.float64())


def classic(array: Any) -> Any:
    """An Arrow array of views as one of plain text or bytes, which every function understands."""
    import pyarrow as pa

    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    return array.cast(pa.large_binary()) if pa.types.is_binary_view(array.type) else array


def arrow_floats(array: Any, name: str) -> np.ndarray:
    """An Arrow array as float64 with NaN for gaps.

    Raises:
        TypeError: for dates and durations.
        ValueError: for text that is no number, and for infinite values.
    """
    import pyarrow as pa

    kind = array.type
    if pa.types.is_decimal(kind):
        array, kind = decimals_as_floats(array), pa.float64()
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if plain or pa.types.is_null(kind):
        array = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return to_floats(pd.Series(array, name=name))
    return to_floats(array.to_pandas().rename(name))
