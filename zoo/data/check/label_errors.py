"""Labels that are probably wrong: confident learning (Northcutt, Jiang & Chuang 2021)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

log = logging.getLogger(__name__)

Judge = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Doubt:
    """A label that is probably wrong.

    Attributes:
        row: its number.
        given: number of the class that it is labelled as.
        suggested: number of the class that it rather is.
        probability: of the given class.
        suggested_probability: of the suggested one.
    """

    row: int
    given: int
    suggested: int
    probability: float
    suggested_probability: float

    @property
    def margin(self) -> float:
        """Probability of the given class minus that of the suggested one; the lower, the more doubtful."""
        return self.probability - self.suggested_probability


def label_doubts(
    judged: Callable[[np.ndarray, int], np.ndarray],
    targets: np.ndarray,
    names: Sequence[str],
    *,
    what: str,
    cure: str,
) -> list[tuple[str, str, Doubt]]:
    """Doubtful labels with what they say and what they should say, the most doubtful first.

    Args:
        judged: takes class numbers and how many classes there are to out-of-sample probabilities.
        targets: class numbers, or rows x labels of 0 and 1. Of several labels each is judged by itself:
            "+" (is set) or "-" (is not) stands before its name.
        names: of the classes or labels.
        what: the rows are, for the warning that the judge knows little.
        cure: what would help it, likewise.
    """
    if targets.ndim == 1:
        given = targets.astype(np.int64)
        probs = judged(given, len(names))
        tell_weak(probs, given, what, cure)
        doubts = [(names[one.given], names[one.suggested], one) for one in confident_doubts(probs, given)]
    else:
        doubts = []
        for column, name in enumerate(names):
            given = (targets[:, column] > 0.5).astype(np.int64)
            for one in confident_doubts(judged(given, 2), given):
                sign, other = ("+", "-") if one.given else ("-", "+")
                doubts.append((f"{sign}{name}", f"{other}{name}", one))
    return sorted(doubts, key=lambda entry: (entry[2].margin, entry[2].row))


def confident_doubts(probs: np.ndarray, given: np.ndarray) -> list[Doubt]:
    """Rows off the diagonal of the confident joint, the most doubtful first.

    A row counts as of class j if its probability of j is at least the mean probability of j among the rows
    labelled j; of several such classes the most probable one is taken. Rows counted as another class than
    they are labelled as are doubtful (Northcutt et al. 2021, section 3.1; ranked by normalised margin).

    Args:
        probs: out-of-sample probabilities, rows x classes; rows with NaN are not judged.
        given: class numbers; negative ones are not judged.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.05, 0.95]])
        >>> [(one.row, one.suggested) for one in confident_doubts(probs, np.array([0, 0, 1, 0]))]
        [(3, 1)]
    """
    judged = (given >= 0) & np.isfinite(probs).all(1)
    n_classes = probs.shape[1]
    self_confidence = np.full(n_classes, np.inf)
    for number in range(n_classes):
        own = probs[judged & (given == number), number]
        if len(own):
            self_confidence[number] = own.mean()
    confident = np.where(probs >= self_confidence, probs, -1.0)
    rows = np.flatnonzero(judged & (confident.max(1) >= 0) & (confident.argmax(1) != np.maximum(given, 0)))
    doubts = [
        Doubt(
            int(i),
            int(given[i]),
            j := int(confident[i].argmax()),
            float(probs[i, given[i]]),
            float(probs[i, j]),
        )
        for i in rows
    ]
    doubts = [one for one in doubts if one.margin < 0]
    return sorted(doubts, key=lambda one: (one.margin, one.row))


def judged_out_of_fold(
    judge: Judge, y: np.ndarray, n_classes: int, *, folds: int = 5, seed: int = 0, what: str = "row"
) -> np.ndarray:
    """Probabilities of every row by a model that was fitted to other rows.

    Rows of classes with a single row cannot be judged; they are NaN, and a log line tells of them.

    Args:
        judge: fits a model to the rows of its first argument and judges those of its second; gives the
            classes of its columns, and their probabilities.
        y: class numbers; negative ones are neither learned from nor judged.
        n_classes: columns of the answer.
        folds: how often a model is fitted.
        seed: of the folds.
        what: a row is called, for the log.

    Returns:
        Shape (rows, classes).

    Example:
        >>> y = np.array([0, 0, 1, 1])
        >>> def always_first(learned, judged):
        ...     return np.array([0]), np.ones((len(judged), 1))
        >>> judged_out_of_fold(always_first, y, 2, folds=2).tolist()
        [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    """
    from sklearn.model_selection import StratifiedKFold

    if isinstance(folds, bool) or folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds!r}")
    probs = np.full((len(y), n_classes), np.nan)
    counts = np.bincount(y[y >= 0], minlength=n_classes)
    single = np.flatnonzero(counts == 1)
    if len(single):
        log.warning(
            "labels of classes with a single %s cannot be judged; such classes: %d", what, len(single)
        )
    rows = np.flatnonzero((y >= 0) & ~np.isin(y, single))
    if len(np.unique(y[rows])) < 2:
        return probs
    splitter = StratifiedKFold(min(folds, int(counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # of classes with fewer rows than folds, which are spread all the same
        warnings.simplefilter("ignore", UserWarning)
        parts = list(splitter.split(rows, y[rows]))
    for learned, judged in parts:
        classes, given = judge(rows[learned], rows[judged])
        found = np.zeros((len(judged), n_classes))
        found[:, classes] = given
        probs[rows[judged]] = found
    return probs


def tell_weak(probs: np.ndarray, given: np.ndarray, what: str, judge: str) -> None:
    """Say so where the judge is hardly better than always the most frequent class.

    Args:
        probs: out-of-sample probabilities, rows x classes.
        given: class numbers.
        what: rows are called.
        judge: what the probabilities come from.
    """
    judged = (given >= 0) & np.isfinite(probs).all(1)
    if not judged.any():
        return
    right = float((probs[judged].argmax(1) == given[judged]).mean())
    always = float(np.bincount(given[judged]).max() / judged.sum())
    if right < always + 0.1 * (1 - always):
        log.warning(
            "the classifier that judges the labels is right on %.0f%% of %s that it has not seen, always the "
            "most frequent class on %.0f%%: with this %s it can tell little about single labels",
            100 * right, what, 100 * always, judge,
        )  # fmt: skip
