"""`ImageModelResults`: which pictures a classifier gets right and wrong, and how sure it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import did_you_mean
from zoo.inspect.plots import figure
from zoo.vision.show import label_text, picture_grid, view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.vision.data.image_data import ImageClassifierData
    from zoo.vision.learner import ConvLearner


class ImageModelResults:
    """Predictions of a single-label classifier against the truth, with their pictures.

    Args:
        data: the data the predictions belong to.
        log_probs: log-probabilities of the validation pictures, rows x classes, as `learn.predict()` gives
            them.
        targets: class numbers; default: the validation targets.

    Attributes:
        probs: probabilities, rows x classes.
        preds: predicted class numbers.
        targets: true class numbers.
    """

    def __init__(
        self, data: ImageClassifierData, log_probs: np.ndarray, targets: np.ndarray | None = None
    ) -> None:
        if data.is_multi:
            raise ValueError("ImageModelResults needs one label per picture; these data have several")
        if data.val_ds is None:
            raise ValueError("these data have no validation pictures")
        self.data, self.dataset = data, data.val_ds
        self.log_probs = np.asarray(log_probs, np.float64)
        self.targets = np.asarray(data.val_y if targets is None else targets).astype(np.int64)
        rows, classes = len(data.val_ds), data.c
        if self.log_probs.shape != (rows, classes) or self.targets.shape != (rows,):
            raise ValueError(
                f"expected log_probs of shape ({rows}, {classes}) and {rows} targets, got "
                f"{self.log_probs.shape} and "
                f"{self.targets.shape}"
            )
        if not (self.log_probs <= 1e-4).all():
            raise ValueError("log_probs must be logarithms of probabilities; take numpy.log of probabilities")
        self.probs = np.exp(self.log_probs)
        self.preds = self.log_probs.argmax(1)

    @classmethod
    def from_learner(cls, learn: ConvLearner) -> ImageModelResults:
        """Predict the validation pictures of a learner and keep the results."""
        log_probs, targets = learn.predict_with_targs()
        return cls(learn.data, log_probs, targets)

    @property
    def correct(self) -> np.ndarray:
        """True where the prediction is right."""
        return self.preds == self.targets

    # ---- rows

    def most_correct(self, label: str | int | None = None, n: int = 6) -> np.ndarray:
        """Rows predicted rightly with the highest probability, best first; of one true class if given."""
        return self._ranked(self._rows(label) & self.correct, -self._of_truth(), n)

    def most_incorrect(self, label: str | int | None = None, n: int = 6) -> np.ndarray:
        """Rows predicted wrongly with the lowest probability of the truth, worst first."""
        return self._ranked(self._rows(label) & ~self.correct, self._of_truth(), n)

    def most_uncertain(self, label: str | int | None = None, n: int = 6) -> np.ndarray:
        """Rows whose two highest probabilities lie closest."""
        top = np.sort(self.probs, 1)[:, ::-1]
        margin = top[:, 0] - top[:, 1] if top.shape[1] > 1 else top[:, 0]
        return self._ranked(self._rows(label), margin, n)

    def random(self, correct: bool, n: int = 6, *, seed: int = 0) -> np.ndarray:
        """Random rows that are right, or wrong."""
        rows = np.flatnonzero(self.correct == correct)
        return np.random.default_rng(seed).permutation(rows)[:n]

    def _of_truth(self) -> np.ndarray:
        return self.log_probs[np.arange(len(self.targets)), self.targets]

    def _rows(self, label: str | int | None) -> np.ndarray:
        if label is None:
            return np.ones(len(self.targets), bool)
        classes = self.data.classes or []
        if isinstance(label, str):
            if label not in classes:
                raise ValueError(f"there is no class '{label}'{did_you_mean(label, classes)}")
            label = classes.index(label)
        return self.targets == label

    @staticmethod
    def _ranked(chosen: np.ndarray, key: np.ndarray, n: int) -> np.ndarray:
        rows = np.flatnonzero(chosen)
        return rows[np.argsort(key[rows], kind="stable")][:n]

    # ---- tables

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

    # ---- figures

    def plot_confusion_matrix(self, *, normalize: bool = False) -> Figure:
        """The confusion matrix; with `normalize` as shares of each true class."""
        counts = self.confusion_matrix()
        shown = counts / np.maximum(counts.sum(1, keepdims=True), 1) if normalize else counts
        size = max(3.0, 0.55 * self.data.c + 1.8)
        drawn = figure(size, size)
        axis = drawn.add_subplot()
        axis.imshow(shown, cmap="Blues")
        ticks = np.arange(self.data.c)
        axis.set(xlabel="predicted", ylabel="truth")
        axis.set_xticks(ticks, self.data.classes, rotation=90)
        axis.set_yticks(ticks, self.data.classes)
        for i, j in np.ndindex(shown.shape):
            text = f"{shown[i, j]:.2f}" if normalize else str(shown[i, j])
            axis.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                color="white" if shown[i, j] > shown.max() / 2 else "black",
            )
        return drawn

    def plot_most_correct(self, label: str | int | None = None, n: int = 6) -> Figure:
        """Pictures of `most_correct`."""
        return self.plot_rows(self.most_correct(label, n))

    def plot_most_incorrect(self, label: str | int | None = None, n: int = 6) -> Figure:
        """Pictures of `most_incorrect`."""
        return self.plot_rows(self.most_incorrect(label, n))

    def plot_most_uncertain(self, label: str | int | None = None, n: int = 6) -> Figure:
        """Pictures of `most_uncertain`."""
        return self.plot_rows(self.most_uncertain(label, n))

    def plot_random_correct(self, n: int = 6, *, seed: int = 0) -> Figure:
        """Random pictures that are right."""
        return self.plot_rows(self.random(True, n, seed=seed))

    def plot_random_incorrect(self, n: int = 6, *, seed: int = 0) -> Figure:
        """Random pictures that are wrong."""
        return self.plot_rows(self.random(False, n, seed=seed))

    def plot_rows(self, rows: np.ndarray) -> Figure:
        """Validation pictures by row number, with prediction, probability and truth."""
        titles = [
            f"{label_text(self.data.classes, self.preds[row])} {self.probs[row, self.preds[row]]:.2f}\n"
            f"truth: {label_text(self.data.classes, self.targets[row])}"
            for row in rows
        ]
        return picture_grid([view(self.dataset, int(row)) for row in rows], titles)
