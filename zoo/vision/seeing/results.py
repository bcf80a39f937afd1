"""`PictureResults`: what the results of every kind of image model have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.data.asked import told_n
from zoo.vision.files.names import shown
from zoo.vision.seeing.activation_map import activation_map, blended
from zoo.vision.seeing.looks import range_of, shown_picture
from zoo.vision.seeing.show import picture_grid, view

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zoo.vision.seeing.page import Part

SHOWN = 6  # pictures of a grid unless asked otherwise


class PictureResults:
    """Predictions for the validation pictures of some data against the truth, with their pictures.

    Args:
        data: the data that the predictions belong to.
        targets: the truth, one row a picture; default: the validation targets.

    Attributes:
        dataset: the validation pictures.
        targets: the truth.
        losses: how wrong each prediction is, one value a picture; the higher, the worse.
        learn: the learner that predicted, where it is known.
    """

    losses: np.ndarray
    learn: Any = None

    def __init__(self, data: Any, targets: Any = None) -> None:
        if data.val_ds is None:
            raise ValueError("these data have no validation pictures")
        self.data, self.dataset = data, data.val_ds
        self.targets = np.asarray(data.val_y if targets is None else targets)

    @classmethod
    def of(cls, learn: Any) -> Self:
        """Predict the validation pictures of a learner and keep the results."""
        answers, targets = learn.predict_with_targs()
        found = cls(learn.data, answers, targets)  # type: ignore[call-arg]
        found.learn = learn
        return found

    def __len__(self) -> int:
        return len(self.targets)

    # ---- what each kind says of its rows

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        """Prediction and truth of some rows, as columns of a table."""
        raise NotImplementedError

    def caption(self, row: int) -> str:
        """Prediction and truth of one row, in two lines."""
        raise NotImplementedError

    def parts(self, n: int) -> list[Part]:
        """Tables, figures and grids of the report."""
        raise NotImplementedError

    # ---- for all kinds

    def top_losses(self, n: int | None = None) -> pd.DataFrame:
        """The pictures with the highest loss, the worst first.

        Args:
            n: how many; 20 by default. A log line tells where there are fewer than asked for.

        Returns:
            `file`, `loss`, what was predicted and what is true, and `row`, the number of the picture.
        """
        import pandas as pd

        n = 20 if n is None else told_n(n, len(self), "validation pictures")
        rows = np.argsort(-self.losses, kind="stable")[:n]
        files = self.dataset.fnames
        return pd.DataFrame(
            {
                "file": [shown(files[i]) for i in rows],
                "loss": self.losses[rows],
                **self.columns(rows),
                "row": rows,
            }
        )

    def plot_top_losses(self, n: int | None = None, *, heat: bool = False) -> Figure:
        """Pictures of `top_losses`; with `heat` where the network looked, see `plot_rows`."""
        return self.plot_rows(self.top_losses(SHOWN if n is None else n).row.to_numpy(), heat=heat)

    def plot_rows(self, rows: Sequence[int] | np.ndarray, *, heat: bool = False) -> Figure:
        """Validation pictures by row number, with prediction and truth.

        Args:
            rows: numbers of validation pictures.
            heat: lay the activation map of the predicted class over each picture; for results of a learner.

        Raises:
            ValueError: for row numbers that do not exist, and `heat` without a learner.
        """
        numbers = [self._row(row) for row in rows]
        pictures = [self.heated(row) / 255 if heat else view(self.dataset, row) for row in numbers]
        return picture_grid(pictures, [self.caption(row) for row in numbers])

    def heated(self, row: int) -> np.ndarray:
        """A picture as it was given with the activation map of its highest output, H x W x 3 uint8."""
        if self.learn is None:
            raise ValueError("heat=True needs the network: make these results with learn.results()")
        item = self.dataset.items[row]
        picture = shown_picture(item, range_of(self.data))
        return blended(np.asarray(picture), activation_map(self.learn, item))

    def report(self, path: str | Path, n: int = 12, *, heat: bool = False) -> Path:
        """Write all of this as one HTML page that needs nothing else: no scripts, no network, light or dark.

        Args:
            path: the file, such as "results.html".
            n: pictures of each grid.
            heat: also where the network looked, for the pictures with the highest loss.

        Returns:
            The file.
        """
        from zoo.vision.seeing.report import write_report

        return write_report(self, path, n, heat=heat)

    def _row(self, row: Any) -> int:
        if isinstance(row, bool | np.bool_) or not isinstance(row, int | np.integer):
            raise TypeError(f"rows are numbers of validation pictures, got {row!r}")
        if not 0 <= row < len(self):
            raise ValueError(f"there is no validation picture {row}: there are {len(self)}, from 0")
        return int(row)


def ranked(chosen: np.ndarray, key: np.ndarray, n: int | None, what: str) -> np.ndarray:
    """Chosen rows by ascending key.

    Args:
        chosen: True where a row counts.
        key: one value a row.
        n: how many; `None`: the usual number, without a word where there are fewer.
        what: the chosen rows are called.

    Example:
        >>> ranked(np.array([True, False, True]), np.array([2.0, 0.0, 1.0]), 2, "rows").tolist()
        [2, 0]
    """
    rows = np.flatnonzero(chosen)
    n = SHOWN if n is None else told_n(n, len(rows), what)
    return rows[np.argsort(key[rows], kind="stable")][:n]
