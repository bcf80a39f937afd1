"""What a fit gives back: the rows of its epochs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.notebook import Quiet, quietly


class EpochRows(Quiet, list[dict[str, Any]]):
    """One dict an epoch; a list, which a notebook does not print below the table that it has just shown.

    In any later cell it is displayed as a table.
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(rows)
        quietly(self)

    def __add__(self, others: Any) -> EpochRows:  # type: ignore[override]
        return EpochRows([*self, *others])

    def _display(self) -> None:
        import pandas as pd
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        display(pd.DataFrame(list(self)))
