"""The results of an image model as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.asked import checked_n
from zoo.vision.files.names import shown
from zoo.vision.seeing.looks import range_of
from zoo.vision.seeing.page import Part, card, grid_part, table_part, write_page


def write_report(results: Any, path: str | Path, n: int, *, heat: bool) -> Path:
    """What `PictureResults.report` does."""
    n = checked_n(n)
    names, seen = [shown(name) for name in results.dataset.fnames], range_of(results.data)
    sections: list[Part] = list(results.parts(n))

    def cards(rows: np.ndarray) -> list[str]:
        return [
            card(results.dataset.items[i], results.caption(int(i)), name=names[i], value_range=seen)
            for i in rows
        ]

    for title, rows in results.grids(n):
        sections.append(grid_part(title, "", cards(rows)))
    worst = np.argsort(-results.losses, kind="stable")[:n]
    if heat:
        heated = [card(results.heated(int(i)), results.caption(int(i)), name=names[i]) for i in worst]
        sections.append(
            grid_part(
                "Where it looked", "bright: what speaks for the highest output; highest losses first", heated
            )
        )
    table = results.top_losses(min(n, len(results))) if len(results) else None
    if table is not None:
        sections.append(table_part("Highest losses", "", table))
    return write_page(path, "Results on the validation pictures", sections)
