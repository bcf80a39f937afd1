"""`ImageValueResults`: how far the numbers that a model reads from pictures lie from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.inspect.plots import figure
from zoo.vision.seeing.results import PictureResults, ranked

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zoo.vision.seeing.page import Part


class ImageValueResults(PictureResults):
    """Predicted numbers of the validation pictures against the truth, with their pictures.

    Args:
        data: the data the predictions belong to.
        predictions: rows x values (or one value a row), in the user's units, as `learn.predict()` gives them.
        targets: the truth in the same units and shape; default: the validation targets.

    Attributes:
        preds: predictions, rows x values.
        errors: prediction minus truth, rows x values.
        losses: the mean of a picture's squared errors, each value in units of its standard deviation.
    """

    def __init__(self, data: Any, predictions: Any, targets: Any = None) -> None:
        super().__init__(data, targets)
        rows = len(data.val_ds)
        self.preds = np.asarray(predictions, np.float64).reshape(len(predictions), -1)
        self.targets = np.asarray(self.targets, np.float64).reshape(len(self.targets), -1)
        if len(self.preds) != rows or self.preds.shape != self.targets.shape:
            raise ValueError(
                f"expected predictions and targets of the same shape for {rows} pictures, got "
                f"{np.shape(predictions)} and {self.targets.shape}"
            )
        self.errors = self.preds - self.targets
        spread = self.targets.std(0)
        self.losses = ((self.errors / np.where(spread > 0, spread, 1.0)) ** 2).mean(1)

    @property
    def names(self) -> list[str]:
        """Names of the values: those of the data where they have as many, else "value 0" and so on."""
        own = getattr(getattr(self.data, "target", None), "names", None) or []
        n = self.preds.shape[1]
        return [str(name) for name in own] if len(own) == n else [f"value {i}" for i in range(n)]

    def most_wrong(self, n: int | None = None) -> np.ndarray:
        """Rows with the largest errors, the largest first."""
        return ranked(np.ones(len(self), bool), -self.losses, n, "validation pictures")

    def most_correct(self, n: int | None = None) -> np.ndarray:
        """Rows with the smallest errors, the smallest first."""
        return ranked(np.ones(len(self), bool), self.losses, n, "validation pictures")

    def per_value(self) -> pd.DataFrame:
        """One row a value: root mean square error, mean absolute error, bias (mean error), and R2."""
        import pandas as pd

        variance = self.targets.var(0)
        r2 = 1 - (self.errors**2).mean(0) / np.where(variance > 0, variance, np.nan)
        return pd.DataFrame(
            {
                "value": self.names,
                "rmse": np.sqrt((self.errors**2).mean(0)),
                "mae": np.abs(self.errors).mean(0),
                "bias": self.errors.mean(0),
                "r2": r2,
            }
        )

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        if self.preds.shape[1] == 1:
            return {"prediction": self.preds[rows, 0], "truth": self.targets[rows, 0]}
        found: dict[str, Any] = {}
        for i, name in enumerate(self.names):
            found[f"prediction {name}"], found[f"truth {name}"] = self.preds[rows, i], self.targets[rows, i]
        return found

    def caption(self, row: int) -> str:
        return f"{_numbers(self.preds[row])}\ntruth: {_numbers(self.targets[row])}"

    def plot_most_wrong(self, n: int | None = None, *, heat: bool = False) -> Figure:
        """Pictures of `most_wrong`; with `heat` where the network looked for its first value."""
        return self.plot_rows(self.most_wrong(n), heat=heat)

    def plot_predictions(self) -> Figure:
        """Prediction against truth, one panel a value (the first six); on the line they would be right."""
        shown = self.names[:6]
        drawn = figure(3.4 * len(shown) + 0.4, 3.6)
        for i, name in enumerate(shown):
            axis = drawn.add_subplot(1, len(shown), i + 1)
            axis.scatter(self.targets[:, i], self.preds[:, i], s=8, alpha=0.5)
            low = min(self.targets[:, i].min(), self.preds[:, i].min())
            high = max(self.targets[:, i].max(), self.preds[:, i].max())
            axis.plot([low, high], [low, high], color="grey", linewidth=1)
            axis.set(xlabel="truth", ylabel="prediction")
            axis.set_title(name, parse_math=False)
        return drawn

    def parts(self, n: int) -> list[Part]:
        from zoo.vision.seeing.page import figure_part, table_part

        return [
            table_part("Values", f"{len(self):,} pictures", self.per_value()),
            figure_part("Predictions", "", self.plot_predictions()),
        ]

    def grids(self, n: int) -> list[tuple[str, np.ndarray]]:
        """Titles and rows of the pictures that the report shows."""
        order = np.argsort(self.losses, kind="stable")
        return [("Most wrong", order[::-1][:n]), ("Nearest to the truth", order[:n])]


def _numbers(values: np.ndarray) -> str:
    more = " ..." if len(values) > 4 else ""
    return ", ".join(f"{value:.4g}" for value in values[:4]) + more
