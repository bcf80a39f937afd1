"""A neural network that predicts numbers, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from zoo_tabular.frames.target.transforms import target_names
from zoo_tabular.sklearn.supervised import SupervisedEstimator


class TabularRegressor(RegressorMixin, SupervisedEstimator):
    """Predicts numbers from categories and numbers: entity embeddings and a small network.

    A thin layer on `ColumnarModelData`, its `get_learner` and `fit_one_cycle`, with defaults for tables of
    ten to some hundred thousand rows. Frames keep their categories and text columns; missing values and
    values that were not seen in training are fine. Fitted estimators can be pickled; they then travel
    without the training rows.

    All of scikit-learn's `check_estimator` passes but `check_sample_weight_equivalence_on_dense_data`, which
    wants whole weights to give the same numbers as repeated rows. Batches, dropout and column means differ,
    so they do in expectation only, as with scikit-learn's own `SGDRegressor`. This call passes:
    `check_estimator(TabularRegressor(epochs=3), expected_failed_checks={
    "check_sample_weight_equivalence_on_dense_data": "equal only in expectation"})`.

    Args:
        cat_flds: category columns: "auto" takes all category and text columns, a list names columns (whole
            numbers such as a store's number are categories only if they are named) or, for arrays, their
            positions.
        target_transform: "standardize", "log", "log1p" or None, or a list of one for each
            target; see `ColumnarModelData.from_data_frame`;
            predictions come back in the unit of `y`.
        y_range: (low, high) of the outputs on the model's scale, or None.
        szs: hidden sizes.
        drops: dropout after the hidden layers.
        emb_drop: dropout of the embeddings.
        emb_szs: (levels, width) of every category column; chosen by the number of levels if None.
        use_bn: batch norm on numbers and hidden layers; if None from 1000 training rows on (with fewer its
            noise costs more than it gives).
        clip_cont: bound of the scaled numbers, approached smoothly: a value far outside the training rows
            cannot drive the answer, but trends do not go on far beyond them either; None for no bound.
        epochs: length of the one cycle; if None as many as give 200 to 2000 steps, by the number of rows.
        lr: the largest rate of the cycle; if None 0.005 with batch norm, 0.002 without.
        bs: rows a batch; 16 to 512 by the number of rows if None.
        wd: decoupled weight decay.
        valid_pct: share of the rows to validate on after every epoch, not trained on; see
            `learner_.history`.
        patience: end the fit when the validation loss has not fallen for so many epochs, with the best
            weights.
        min_count, max_levels, cat_dropout: as in `ColumnarModelData.from_data_frame`.
        random_state: a number makes fits repeatable (also with several processes; threads that fit at the
            same time share torch's random numbers).
        device: "cpu", "cuda", ...; the best of the machine if None.
        verbose: show epochs and progress.

    Attributes:
        learner_: the `TabularLearner`, for `learner_.export(path)`, `learner_.embedding(column)` and so on.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"kind": ["a", "b"] * 20, "size": range(40)})
        >>> y = df["size"] + 100 * (df["kind"] == "b")
        >>> model = TabularRegressor(random_state=0, device="cpu").fit(df, y)
        >>> bool(model.score(df, y) > 0.9)
        True
    """

    target_transform: str | Sequence[str] | None
    y_range: Sequence[float] | None

    def __init__(
        self,
        cat_flds: str | Sequence[Any] = "auto",
        *,
        target_transform: str | Sequence[str] | None = "standardize",
        y_range: Sequence[float] | None = None,
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
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularRegressor:
        """Train on rows `X` with targets `y` of shape (rows,) or (rows, targets).

        Args:
            X: a frame, or anything that scikit-learn takes as an array.
            y: numbers.
            sample_weight: how much each row counts in the loss; rows of weight 0 are left out.

        Raises:
            ValueError: for dates among the columns, for missing or infinite targets, and so on.
        """
        frame = self._features(X, reset=True)
        values = self._target(y, frame)
        if values.dtype.kind not in "fiub":
            values = values.astype("float64")
        weights = self._weights(sample_weight, len(frame))
        if weights is not None and not weights.all():
            frame, values, weights = frame[weights > 0], values[weights > 0], weights[weights > 0]
        transform = None if self.target_transform == "none" else self.target_transform
        names = target_names(y) if isinstance(y, pd.DataFrame) else None
        target = values
        if names and not set(names) & set(frame):  # reasons bring named targets into the order of the model
            target = pd.DataFrame(values, frame.index, names)
        self._train(
            frame, target, weights, None, y_range=self.y_range, is_reg=True, target_transform=transform
        )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers in the unit of the target: float32 of shape (rows,), float64 of shape (rows, targets)."""
        values = self._outputs(X)
        return values if values.ndim == 1 else values.astype("float64")
