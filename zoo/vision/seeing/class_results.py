"""`ImageModelResults`: which pictures a classifier gets right and wrong, and how sure it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.asked import told_n
from zoo.vision.files.names import shown
from zoo.vision.seeing.confusion import confusion_figure
from zoo.vision.seeing.results import PictureResults, ranked
from zoo.vision.seeing.sets import class_number
from zoo.vision.seeing.show import label_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zoo.vision.seeing.page import Part


class ImageModelResults(PictureResults):
    """Predictions of a single-label classifier against the truth, with their pictures.

    `learn.results()` and `ImageModelResults.from_learner(learn)` make them, of other targets results of their
    kind. Methods that choose pictures take `n`, how many (6 by default); a log line tells where there
    are fewer.

    Args:
        data: the data the predictions belong to.
        log_probs: log-probabilities of the validation pictures, rows x classes, as `learn.predict()` gives
            them.
        targets: class numbers; default: the validation targets.

    Attributes:
        probs: probabilities, rows x classes.
        preds: predicted class numbers.
        targets: true class numbers.
        losses: minus the logarithm of the probability of the truth.
    """

    def __init__(self, data: Any, log_probs: Any, targets: Any = None) -> None:
        if data.is_multi:
            raise ValueError(
                "ImageModelResults needs one label per picture; these data have several: use learn.results() "
                "or ImageTagResults(data, log_probs)"
            )
        super().__init__(data, targets)
        self.log_probs = np.asarray(log_probs, np.float64)
        self.targets = self.targets.astype(np.int64)
        rows, classes = len(data.val_ds), data.c
        if self.log_probs.shape != (rows, classes) or self.targets.shape != (rows,):
            raise ValueError(
                f"expected log_probs of shape ({rows}, {classes}) and {rows} targets, got "
                f"{self.log_probs.shape} and {self.targets.shape}"
            )
        lost = np.isnan(self.log_probs).any(1)
        if lost.any():
            raise ValueError(
                f"{lost.sum():,} of {rows:,} predictions are NaN: the weights were lost in a fit; load or "
                "train them again"
            )
        if not (self.log_probs <= 1e-4).all():
            raise ValueError("log_probs must be logarithms of probabilities; take numpy.log of probabilities")
        self.probs = np.exp(self.log_probs)
        self.preds = self.log_probs.argmax(1)
        self.losses = -np.maximum(self._of_truth(), -1e4)

    @classmethod
    def from_learner(cls, learn: Any) -> Any:
        """Predict the validation pictures of a learner and keep the results.

        Returns:
            Results of the kind that the learner's targets ask for: these, `ImageTagResults` for several
            labels, `ImageValueResults` for values.
        """
        from zoo.vision.seeing.tag_results import ImageTagResults
        from zoo.vision.seeing.value_results import ImageValueResults

        data = learn.data
        if getattr(data, "val_ds", None) is None:
            raise ValueError("there are no validation pictures to show results of")
        kinds = {"classification": cls, "multilabel": ImageTagResults, "regression": ImageValueResults}
        task = getattr(data, "task", None)
        if task not in kinds:
            raise ValueError(f"results() knows {', '.join(kinds)}; these data are of the kind {task!r}")
        return kinds[task].of(learn)

    @property
    def correct(self) -> np.ndarray:
        """True where the prediction is right."""
        return self.preds == self.targets

    # ---- rows

    def most_correct(self, label: str | int | None = None, n: int | None = None) -> np.ndarray:
        """Rows predicted rightly with the highest probability, best first; of one true class if given."""
        chosen = self._rows(label) & self.correct
        return ranked(chosen, -self._of_truth(), n, self._called("right", label))

    def most_incorrect(self, label: str | int | None = None, n: int | None = None) -> np.ndarray:
        """Rows predicted wrongly with the lowest probability of the truth, worst first."""
        chosen = self._rows(label) & ~self.correct
        return ranked(chosen, self._of_truth(), n, self._called("wrong", label))

    def most_uncertain(self, label: str | int | None = None, n: int | None = None) -> np.ndarray:
        """Rows whose two highest probabilities lie closest."""
        top = np.sort(self.probs, 1)[:, ::-1]
        margin = top[:, 0] - top[:, 1] if top.shape[1] > 1 else top[:, 0]
        return ranked(self._rows(label), margin, n, self._called("", label))

    def random(self, correct: bool, n: int | None = None, *, seed: int = 0) -> np.ndarray:
        """Random rows that are right, or wrong."""
        draws = np.random.default_rng(seed).permutation(len(self))
        return ranked(self.correct == correct, draws, n, self._called("right" if correct else "wrong", None))

    def _called(self, kind: str, label: str | int | None) -> str:
        of = "" if label is None else f" of class {label!r}"
        return f"{kind} pictures{of}".strip()

    def _of_truth(self) -> np.ndarray:
        return self.log_probs[np.arange(len(self.targets)), self.targets]

    def _rows(self, label: str | int | None) -> np.ndarray:
        if label is None:
            return np.ones(len(self.targets), bool)
        return self.targets == class_number(label, self.data.classes or [])

    # ---- tables

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        names, preds, truth = self.data.classes or [], self.preds[rows], self.targets[rows]
        return {
            "prediction": [label_text(names, i) for i in preds],
            "probability": self.probs[rows, preds],
            "truth": [label_text(names, i) for i in truth],
            "truth_probability": self.probs[rows, truth],
        }

    def confusion_matrix(self) -> np.ndarray:
        """Counts, classes x classes: row = truth, column = prediction."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.targets, self.preds, labels=np.arange(self.data.c))

    def most_confused(self, min_count: int = 1) -> list[tuple[str, str, int]]:
        """(truth, prediction, count) of wrong pairs with at least `min_count`, most frequent first."""
        matrix = self.confusion_matrix()
        np.fill_diagonal(matrix, 0)
        names = self.data.classes or []
        pairs = [(names[i], names[j], int(matrix[i, j])) for i, j in np.argwhere(matrix >= max(1, min_count))]
        return sorted(pairs, key=lambda pair: -pair[2])

    def per_class(self) -> pd.DataFrame:
        """One row a class: `pictures`, `precision`, `recall`, `f1`; NaN for shares of nothing."""
        import pandas as pd

        matrix = self.confusion_matrix()
        hits, said, there = np.diag(matrix), matrix.sum(0), matrix.sum(1)
        return pd.DataFrame(
            {
                "label": list(self.data.classes or []),
                "pictures": there,
                "precision": _shares(hits, said),
                "recall": _shares(hits, there),
                "f1": _shares(2 * hits, said + there),
            }
        )

    def suspicious_labels(self, n: int | None = None) -> pd.DataFrame:
        """Validation pictures whose label the model has reason to doubt, by confident learning.

        The model has not seen these labels, so its probabilities are out of sample; for the training pictures
        see `zoo.vision.suspicious_labels`, which makes such probabilities for all.

        Args:
            n: the first so many, the most doubtful first; all by default.

        Returns:
            `file`, `label`, `suggested`, their probabilities, and `row`.
        """
        import pandas as pd

        from zoo.data.check.label_errors import confident_doubts

        doubts = confident_doubts(self.probs, self.targets)
        doubts = doubts if n is None else doubts[: told_n(n, len(doubts), "suspicious labels")]
        names, labels = self.dataset.fnames, self.data.classes or []
        rows = [one.row for one in doubts]
        return pd.DataFrame(
            {
                "file": [shown(names[i]) for i in rows],
                "label": [label_text(labels, one.given) for one in doubts],
                "suggested": [label_text(labels, one.suggested) for one in doubts],
                "probability": [one.probability for one in doubts],
                "suggested_probability": [one.suggested_probability for one in doubts],
                "row": rows,
            }
        )

    # ---- figures

    def caption(self, row: int) -> str:
        said = label_text(self.data.classes, self.preds[row])
        truth = label_text(self.data.classes, self.targets[row])
        return f"{said} {self.probs[row, self.preds[row]]:.2f}\ntruth: {truth}"

    def plot_confusion_matrix(self, *, normalize: bool = False, most: int | None = None) -> Figure:
        """The confusion matrix, readable also with hundreds of classes.

        Args:
            normalize: shares of each true class instead of counts.
            most: only so many classes, those that are confused most.
        """
        return confusion_figure(
            self.confusion_matrix(), self.data.classes or [], normalize=normalize, most=most
        )

    def plot_most_correct(
        self, label: str | int | None = None, n: int | None = None, *, heat: bool = False
    ) -> Figure:
        """Pictures of `most_correct`; with `heat` where the network looked."""
        return self.plot_rows(self.most_correct(label, n), heat=heat)

    def plot_most_incorrect(
        self, label: str | int | None = None, n: int | None = None, *, heat: bool = False
    ) -> Figure:
        """Pictures of `most_incorrect`; with `heat` where the network looked."""
        return self.plot_rows(self.most_incorrect(label, n), heat=heat)

    def plot_most_uncertain(
        self, label: str | int | None = None, n: int | None = None, *, heat: bool = False
    ) -> Figure:
        """Pictures of `most_uncertain`; with `heat` where the network looked."""
        return self.plot_rows(self.most_uncertain(label, n), heat=heat)

    def plot_random_correct(self, n: int | None = None, *, seed: int = 0) -> Figure:
        """Random pictures that are right."""
        return self.plot_rows(self.random(True, n, seed=seed))

    def plot_random_incorrect(self, n: int | None = None, *, seed: int = 0) -> Figure:
        """Random pictures that are wrong."""
        return self.plot_rows(self.random(False, n, seed=seed))

    # ---- report

    def parts(self, n: int) -> list[Part]:
        from zoo.vision.seeing.page import figure_part, table_part

        right = self.correct
        told = (
            f"{right.sum():,} of {len(self):,} pictures right ({right.mean():.2%})"
            if len(self)
            else "no rows"
        )
        pairs = [list(pair) for pair in self.most_confused()[:20]]
        large = self.data.c > 40
        drawn = self.plot_confusion_matrix(most=30 if large else None)
        return [
            table_part("Classes", told, self.per_class()),
            figure_part("Confusion matrix", "rows: truth; columns: prediction", drawn),
            table_part("Most confused", "", (["truth", "prediction", "pictures"], pairs)),
        ]

    def grids(self, n: int) -> list[tuple[str, np.ndarray]]:
        """Titles and rows of the pictures that the report shows."""

        top = np.sort(self.probs, 1)
        margin = top[:, -1] - top[:, -2] if top.shape[1] > 1 else top[:, -1]
        worst, doubtful = np.argsort(self._of_truth(), kind="stable"), np.argsort(margin, kind="stable")
        chance = np.random.default_rng(0).permutation(len(self))
        return [
            ("Most wrong", worst[~self.correct[worst]][:n]),
            ("Most uncertain", doubtful[:n]),
            ("Some that are right", chance[self.correct[chance]][:n]),
        ]


def _shares(counts: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.where(of > 0, counts / np.maximum(of, 1), np.nan)
