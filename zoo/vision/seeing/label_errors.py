"""Labels that are probably wrong: confident learning (Northcutt, Jiang & Chuang 2021)."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.vision.files.names import shown
from zoo.vision.seeing.features import raw_features
from zoo.vision.seeing.sets import PictureSet, data_of, picture_set, told_n

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_DIRECTIONS = 128  # main directions of the features that the judging classifier reads


@dataclass(frozen=True)
class Doubt:
    """A label that is probably wrong.

    Attributes:
        row: of the picture.
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


def suspicious_labels(learn: Any, n: int | None = None, *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Training and validation pictures that are probably labelled wrongly.

    Every picture is judged by a classifier that has not seen its label: logistic regression on the features
    of the network's body, by cross-validation over training and validation pictures together; then the rule
    of confident learning (Northcutt et al. 2021) picks out labels. A body that was fine-tuned on
    these very labels has seen them: take a learner whose body is still frozen.

    Args:
        learn: a learner of labelled pictures.
        n: the first so many, the most doubtful first; all by default.
        folds: how often the judging classifier is fitted.
        seed: of the folds.

    Returns:
        One row a label: `file`, `part` of the split, `label`, `suggested`, `probability` and
        `suggested_probability` (out of fold), and `row` within the part. Of data with several labels a
        picture, each label by itself: `label` is then the label in question with "+" (is set) or "-" (is not)
        before it, and `suggested` the opposite.

    Raises:
        ValueError: for pictures without labels, or with values instead of classes.
        TypeError: for anything but a learner.
    """
    if not hasattr(learn, "model"):
        raise TypeError(
            "suspicious_labels needs a learner, whose network tells pictures apart, got "
            f"{type(learn).__name__}"
        )
    pictures = picture_set(learn)
    features = raw_features(learn)[: pictures.n_labelled]
    return suspicious_table(pictures, features, n, folds=folds, seed=seed)


def suspicious_table(
    pictures: PictureSet, features: np.ndarray, n: int | None, *, folds: int = 5, seed: int = 0
) -> pd.DataFrame:
    """What `suspicious_labels` gives, from features that are there."""
    import pandas as pd

    if pictures.y is None or not pictures.classes:
        raise ValueError("suspicious_labels needs pictures with classes or labels: these data have none")
    y, names = pictures.y, list(pictures.classes)
    reduced = _main_directions(features)
    doubts: list[tuple[str, str, Doubt]] = []
    if pictures.is_multi:
        for column, name in enumerate(names):
            given = (y[:, column] > 0.5).astype(np.int64)
            for one in confident_doubts(out_of_fold(reduced, given, 2, folds=folds, seed=seed), given):
                sign, other = ("+", "-") if one.given else ("-", "+")
                doubts.append((f"{sign}{name}", f"{other}{name}", one))
    else:
        given = y.astype(np.int64)
        probs = out_of_fold(reduced, given, len(names), folds=folds, seed=seed)
        _tell_weak(probs, given)
        doubts = [(names[one.given], names[one.suggested], one) for one in confident_doubts(probs, given)]
    doubts.sort(key=lambda entry: (entry[2].margin, entry[2].row))
    if n is not None:
        doubts = doubts[: told_n(n, len(doubts), "suspicious labels")]
    rows = [one.row for _, _, one in doubts]
    return pd.DataFrame(
        {
            "file": [shown(pictures.names[i]) for i in rows],
            "part": [str(pictures.parts[i]) for i in rows],
            "label": [label for label, _, _ in doubts],
            "suggested": [suggested for _, suggested, _ in doubts],
            "probability": [one.probability for _, _, one in doubts],
            "suggested_probability": [one.suggested_probability for _, _, one in doubts],
            "row": [int(pictures.rows[i]) for i in rows],
        }
    )


def out_of_fold(
    features: np.ndarray, y: np.ndarray, n_classes: int, *, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """Probabilities of every row by a logistic regression that was fitted to other rows.

    Rows of classes with a single row cannot be judged; they are NaN, and a log line tells of them.

    Args:
        features: rows x values, each about as wide as the others.
        y: class numbers; negative ones are neither learned from nor judged.
        n_classes: columns of the answer.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    if isinstance(folds, bool) or folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds!r}")
    probs = np.full((len(y), n_classes), np.nan)
    counts = np.bincount(y[y >= 0], minlength=n_classes)
    single = np.flatnonzero(counts == 1)
    if len(single):
        log.warning("%d classes have a single picture, whose labels cannot be judged", len(single))
    rows = np.flatnonzero((y >= 0) & ~np.isin(y, single))
    present = np.unique(y[rows])
    if len(present) < 2:
        return probs
    splitter = StratifiedKFold(min(folds, int(counts.max())), shuffle=True, random_state=seed)
    with (
        warnings.catch_warnings()
    ):  # of classes with fewer rows than folds, which are spread out all the same
        warnings.simplefilter("ignore", UserWarning)
        parts = list(splitter.split(features[rows], y[rows]))
    for learned, judged in parts:
        model = LogisticRegression(max_iter=300).fit(features[rows[learned]], y[rows[learned]])
        found = np.zeros((len(judged), n_classes))
        found[:, model.classes_] = model.predict_proba(features[rows[judged]])
        probs[rows[judged]] = found
    return probs


def _tell_weak(probs: np.ndarray, given: np.ndarray) -> None:
    """Say so where the judge is hardly better than always the most frequent class."""
    judged = (given >= 0) & np.isfinite(probs).all(1)
    if not judged.any():
        return
    right = float((probs[judged].argmax(1) == given[judged]).mean())
    always = float(np.bincount(given[judged]).max() / judged.sum())
    if right < always + 0.1 * (1 - always):
        log.warning(
            "the classifier that judges the labels is right on %.0f%% of pictures that it has not seen, "
            "always the most frequent class on %.0f%%: with this body it can tell little about single labels",
            100 * right, 100 * always,
        )  # fmt: skip


def _main_directions(features: np.ndarray) -> np.ndarray:
    """Rows along the main directions of their features, scaled so that a weak penalty suits them."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    values = StandardScaler().fit_transform(features.astype(np.float32))
    most = min(_DIRECTIONS, *values.shape)
    reduced = PCA(most, svd_solver="randomized", random_state=0).fit_transform(values)
    return reduced / max(float(reduced.std(0).max()), 1e-9)


def has_labels(source: Any) -> bool:
    """Whether labels of a learner's pictures could be judged."""
    data = data_of(source)
    if data is None or not getattr(data, "classes", None):
        return False
    return any(getattr(ds, "y", None) is not None for ds in (data.trn_ds, data.val_ds) if ds is not None)
