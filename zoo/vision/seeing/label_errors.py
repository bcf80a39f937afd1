"""Pictures that are probably labelled wrongly, judged by the features of a network's body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.asked import told_n
from zoo.data.check.label_errors import judged_out_of_fold, label_doubts
from zoo.vision.files.names import shown
from zoo.vision.seeing.features import raw_features
from zoo.vision.seeing.sets import PictureSet, data_of, picture_set

if TYPE_CHECKING:
    import pandas as pd

_DIRECTIONS = 128  # main directions of the features that the judging classifier reads


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

    def judged(given: np.ndarray, n_classes: int) -> np.ndarray:
        return out_of_fold(reduced, given, n_classes, folds=folds, seed=seed)

    doubts = label_doubts(judged, y, names, what="pictures", cure="body")
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

    Args:
        features: rows x values, each about as wide as the others.
        y: class numbers; negative ones are neither learned from nor judged.
        n_classes: columns of the answer.
        folds, seed: as of `zoo.data.check.label_errors.judged_out_of_fold`.
    """
    from sklearn.linear_model import LogisticRegression

    def judge(learned: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model = LogisticRegression(max_iter=300).fit(features[learned], y[learned])
        return model.classes_, model.predict_proba(features[judged])

    return judged_out_of_fold(judge, y, n_classes, folds=folds, seed=seed, what="picture")


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
