"""`ImageTagResults`: which of several labels of each picture a model finds, misses and makes up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.data.asked import told_n
from zoo.data.check.label_errors import confident_doubts
from zoo.metrics.thresholds import best_threshold
from zoo.vision.files.names import shown
from zoo.vision.seeing.results import PictureResults, ranked
from zoo.vision.seeing.sets import class_number
from zoo.vision.seeing.show import label_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zoo.vision.seeing.page import Part

_LEAST = 1e-7


class ImageTagResults(PictureResults):
    """Predictions of a model that gives each picture any number of labels, against the truth.

    Args:
        data: the data the predictions belong to.
        log_probs: logarithms of the labels' probabilities, rows x labels, as `learn.predict()` gives them.
        targets: 0 and 1, rows x labels; default: the validation targets.
        thresholds: a label is set where its probability is above this: one number, or one a label.

    Attributes:
        probs: probabilities, rows x labels.
        preds: which labels are set, rows x labels.
        thresholds: one a label.
        losses: the mean binary cross-entropy over a picture's labels.

    Example:
        >>> from zoo.vision import ImageClassifierData
        >>> pictures, tags = np.zeros((3, 8, 8, 3), np.uint8), [["sea"], ["sea", "sky"], ["sky"]]
        >>> data = ImageClassifierData.from_arrays(None, (pictures, tags), (pictures, tags))
        >>> found = ImageTagResults(data, np.log([[0.9, 0.2], [0.8, 0.3], [0.6, 0.7]]))
        >>> found.per_label()[["label", "precision", "recall"]].round(2).values.tolist()
        [['sea', 0.67, 1.0], ['sky', 1.0, 0.5]]
        >>> found.most_wrong("sky").tolist()
        [1]
    """

    def __init__(
        self, data: Any, log_probs: Any, targets: Any = None, *, thresholds: float | Any = 0.5
    ) -> None:
        if not data.is_multi:
            raise ValueError("these data have one label per picture: use ImageModelResults")
        super().__init__(data, targets)
        log_probs = np.asarray(log_probs, np.float64)
        self.targets = self.targets > 0.5
        shape = (len(data.val_ds), data.c)
        if log_probs.shape != shape or self.targets.shape != shape:
            raise ValueError(
                f"expected log_probs and targets of shape {shape}, got {log_probs.shape} and "
                f"{self.targets.shape}"
            )
        if not (log_probs <= 1e-4).all():
            raise ValueError("log_probs must be logarithms of probabilities; take numpy.log of probabilities")
        self.probs = np.exp(log_probs)
        chosen = np.asarray(thresholds, np.float64)
        if (
            chosen.ndim > 1
            or (chosen.ndim and chosen.shape != (data.c,))
            or not ((chosen >= 0) & (chosen <= 1)).all()
        ):
            raise ValueError(
                f"thresholds is one number from 0 to 1, or one for each of the {data.c} labels, got "
                f"{thresholds!r}"
            )
        self.thresholds = np.full(data.c, 1.0) * chosen
        self.preds = self.probs > self.thresholds
        self.losses = self._label_losses().mean(1)

    @classmethod
    def of(cls, learn: Any) -> Self:
        """Predict the validation pictures; of a calibrated learner with its thresholds."""
        found = super().of(learn)
        calibration = getattr(learn, "calibration", None)
        if calibration is None or calibration.thresholds is None:
            return found
        least = np.nextafter(
            np.asarray(calibration.thresholds, np.float64), 0
        )  # it sets labels from there on
        made = cls(
            found.data,
            np.log(np.maximum(found.probs, 1e-300)),
            found.targets,
            thresholds=np.clip(least, 0, 1),
        )
        made.learn = learn
        return made

    def with_best_thresholds(self, beta: float = 2.0) -> ImageTagResults:
        """The same predictions with the threshold of each label that has the highest F-beta on these rows.

        Args:
            beta: recall counts this many times as much as precision.
        """
        best = best_threshold(self.probs, self.targets.astype(np.float64), beta, per_class=True)
        found = ImageTagResults(
            self.data, np.log(np.maximum(self.probs, 1e-300)), self.targets, thresholds=best.thresh
        )
        found.learn = self.learn
        return found

    @property
    def correct(self) -> np.ndarray:
        """True for pictures all of whose labels are right."""
        return (self.preds == self.targets).all(1)

    # ---- rows

    def most_wrong(self, label: str | int, n: int | None = None) -> np.ndarray:
        """Pictures on which one label is wrongly set or wrongly missing, the surest mistakes first."""
        column = self._column(label)
        wrong = self.preds[:, column] != self.targets[:, column]
        return ranked(wrong, -self._label_losses()[:, column], n, f"pictures wrong in {label!r}")

    def most_correct(self, label: str | int, n: int | None = None) -> np.ndarray:
        """Pictures on which one label is rightly set, the surest first."""
        column = self._column(label)
        right = self.preds[:, column] & self.targets[:, column]
        return ranked(right, -self.probs[:, column], n, f"pictures with {label!r} rightly set")

    def missed(self, label: str | int, n: int | None = None) -> np.ndarray:
        """Pictures that have a label which is not set, the lowest probability first."""
        column = self._column(label)
        missing = ~self.preds[:, column] & self.targets[:, column]
        return ranked(missing, self.probs[:, column], n, f"pictures with {label!r} missed")

    def made_up(self, label: str | int, n: int | None = None) -> np.ndarray:
        """Pictures on which a label is set that they do not have, the highest probability first."""
        column = self._column(label)
        extra = self.preds[:, column] & ~self.targets[:, column]
        return ranked(extra, -self.probs[:, column], n, f"pictures with {label!r} made up")

    def _column(self, label: str | int) -> int:
        return class_number(label, self.data.classes or [])

    def _label_losses(self) -> np.ndarray:
        """Binary cross-entropy of every label of every picture."""
        of_truth = np.where(self.targets, self.probs, 1 - self.probs)
        return -np.log(np.maximum(of_truth, _LEAST))

    # ---- tables

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        names = self.data.classes or []
        return {
            "prediction": [label_text(names, self.preds[i]) for i in rows],
            "truth": [label_text(names, self.targets[i]) for i in rows],
        }

    def per_label(self) -> pd.DataFrame:
        """One row a label: `pictures` that have it, `threshold`, `precision`, `recall`, `f1`, and
        `average_precision`, which no threshold enters; NaN where there is nothing to divide by."""
        import pandas as pd
        from sklearn.metrics import average_precision_score

        hits = (self.preds & self.targets).sum(0)
        said, there = self.preds.sum(0), self.targets.sum(0)
        ranking = [
            float(average_precision_score(truth, chance)) if truth.any() else np.nan
            for truth, chance in zip(self.targets.T, self.probs.T, strict=True)
        ]
        return pd.DataFrame(
            {
                "label": list(self.data.classes or []),
                "pictures": there,
                "threshold": self.thresholds,
                "precision": np.where(said > 0, hits / np.maximum(said, 1), np.nan),
                "recall": np.where(there > 0, hits / np.maximum(there, 1), np.nan),
                "f1": np.where(said + there > 0, 2 * hits / np.maximum(said + there, 1), np.nan),
                "average_precision": ranking,
            }
        )

    def suspicious_labels(self, n: int | None = None) -> pd.DataFrame:
        """Labels that the model has reason to doubt, each judged by itself by confident learning.

        Args:
            n: the first so many, the most doubtful first; all by default.

        Returns:
            `file`, `label`, whether the picture `has_it`, the `probability` that it has, and `row`.
        """
        import pandas as pd

        names, files = self.data.classes or [], self.dataset.fnames
        found = []
        for column, name in enumerate(names):
            chance = self.probs[:, column]
            for one in confident_doubts(
                np.stack([1 - chance, chance], 1), self.targets[:, column].astype(int)
            ):
                given = bool(one.given)
                found.append(
                    (one.margin, shown(files[one.row]), name, given, float(chance[one.row]), one.row)
                )
        found.sort(key=lambda entry: (entry[0], entry[5]))
        found = found if n is None else found[: told_n(n, len(found), "suspicious labels")]
        columns = ["file", "label", "has_it", "probability", "row"]
        return pd.DataFrame([entry[1:] for entry in found], columns=columns)

    # ---- figures and report

    def caption(self, row: int) -> str:
        names = self.data.classes or []
        return f"{label_text(names, self.preds[row])}\ntruth: {label_text(names, self.targets[row])}"

    def plot_most_wrong(self, label: str | int, n: int | None = None, *, heat: bool = False) -> Figure:
        """Pictures of `most_wrong`; with `heat` where the network looked."""
        return self.plot_rows(self.most_wrong(label, n), heat=heat)

    def parts(self, n: int) -> list[Part]:
        from zoo.vision.seeing.page import table_part

        right = self.correct
        told = f"{right.sum():,} of {len(self):,} pictures with all labels right ({right.mean():.2%})"
        return [table_part("Labels", told, self.per_label())]

    def grids(self, n: int) -> list[tuple[str, np.ndarray]]:
        """Titles and rows of the pictures that the report shows."""
        wrong = (self.preds != self.targets).sum(0)
        worst = [i for i in np.argsort(-wrong, kind="stable")[:5] if wrong[i]]
        order = np.argsort(-self.losses, kind="stable")
        names = self.data.classes or []
        return [
            ("Highest losses", order[:n]),
            *((f"Most wrong in {names[i]}", self.most_wrong(int(i))[: max(1, n // 2)]) for i in worst),
        ]
