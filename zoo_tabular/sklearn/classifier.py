"""A neural network that predicts classes or labels, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from zoo_tabular.sklearn.supervised import SupervisedEstimator


class TabularClassifier(ClassifierMixin, SupervisedEstimator):
    """Predicts classes, or several labels at once, from categories and numbers.

    Everything that `TabularRegressor` says holds here, also that one check of `check_estimator` fails. A
    target of one column means classes of any type (text, numbers, true/false, categories); a 0/1 array or
    frame of several columns means labels of which several may hold at once.

    Args:
        class_weight: "balanced", or a dict of weights by class: how much the rows of a class count.
        cat_flds, szs, drops, emb_drop, emb_szs, use_bn, clip_cont, epochs, lr, bs, wd, valid_pct, patience,
            min_count, max_levels, cat_dropout, random_state, device, verbose: as in `TabularRegressor`.

    Attributes:
        classes_: the classes in the order of the columns of `predict_proba`; for several labels one row
            [0, 1] a label, while `predict_proba` gives the probability of 1, one column a label.
        learner_, n_features_in_, feature_names_in_: as in `TabularRegressor`.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"kind": ["a", "b"] * 20, "size": range(40)})
        >>> model = TabularClassifier(random_state=0, device="cpu").fit(df, df["kind"] + "!")
        >>> model.predict(df[:3]).tolist(), model.predict_proba(df).shape
        (['a!', 'b!', 'a!'], (40, 2))
    """

    class_weight: str | Mapping[Any, float] | None

    def __init__(
        self,
        cat_flds: str | Sequence[Any] = "auto",
        *,
        class_weight: str | Mapping[Any, float] | None = None,
        szs: Sequence[int] = (200, 100),
        drops: float | Sequence[float] = 0.25,
        emb_drop: float = 0.05,
        emb_szs: Sequence[Sequence[int]] | None = None,
        use_bn: bool | None = None,
        clip_cont: float | None = 3.0,
        epochs: int | None = None,
        lr: float | None = None,
        bs: int | None = None,
        wd: float = 0.01,
        valid_pct: float = 0.0,
        patience: int | None = None,
        min_count: int = 1,
        max_levels: int | None = None,
        cat_dropout: float = 0.02,
        random_state: Any = None,
        device: Any = None,
        verbose: bool = False,
    ) -> None:
        self._remember(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularClassifier:
        """Train on rows `X` with classes `y`; see `TabularRegressor.fit`.

        Raises:
            ValueError: for a single class, for numbers with fractions as classes, and so on.
        """
        frame = self._features(X, reset=True)
        values = self._target(y, frame)
        several = values.ndim == 2 and values.shape[1] > 1
        values = values if several else column_or_1d(values, warn=True)
        check_classification_targets(values)
        weights = self._weights(sample_weight, len(frame))
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, values)
            weights = by_class if weights is None else weights * by_class
        if weights is not None and not weights.all():
            frame, values, weights = frame[weights > 0], values[weights > 0], weights[weights > 0]
        if several:
            if type_of_target(values) != "multilabel-indicator":
                raise ValueError(
                    "TabularClassifier: several target columns must be labels of 0 or 1; for classes of "
                    "several targets fit one classifier each (sklearn.multioutput.MultiOutputClassifier)"
                )
            names = list(y.columns) if isinstance(y, pd.DataFrame) else range(values.shape[1])
            # one row a label: scikit-learn's scorers would take arange(2) for two classes of one target
            self.classes_ = np.tile([0, 1], (values.shape[1], 1))
            labels = [f"{name} (label)" if name in frame else f"{name}" for name in names]
            table = pd.DataFrame(values.astype("float32"), frame.index, labels)
            self._train(frame, table, weights, None, is_reg=False, is_multi=True)
            return self
        self.classes_, codes = np.unique(values, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"TabularClassifier: the target has only one class, {str(self.classes_[0])!r}: "
                "there is nothing to learn"
            )
        levels = pd.CategoricalDtype(pd.Index(self.classes_), ordered=True)  # outputs in this order
        target = pd.Series(pd.Categorical.from_codes(codes, dtype=levels), frame.index)
        self._train(frame, target, weights, codes, is_reg=False)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of `classes_`, float32 of shape (rows, classes).

        For several labels the probability that each holds, of shape (rows, labels).
        """
        return np.exp(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, or 0/1 for several labels."""
        check_is_fitted(self)
        probabilities = self.predict_proba(X)
        if self.learner_.data.task == "multilabel":
            return (probabilities > 0.5).astype("int64")
        return self.classes_[probabilities.argmax(axis=1)]
