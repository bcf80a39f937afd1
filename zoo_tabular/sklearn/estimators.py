"""Neural networks for tables as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from zoo.callbacks.stopping import EarlyStopping
from zoo.data.seeding import preserve_rng, set_seed
from zoo_tabular.data import ColumnarModelData
from zoo_tabular.frames.target.transforms import target_names
from zoo_tabular.model.loss_weights import weigh_training_rows
from zoo_tabular.sklearn.base import TableEstimator, auto_batch_size, auto_epochs


class _TabularEstimator(TableEstimator, BaseEstimator):
    """Options and training, the same for numbers and classes."""

    def __init__(
        self,
        cat_flds: str | Sequence[Any] = "auto",
        *,
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
        self.cat_flds = cat_flds
        self.szs = szs
        self.drops = drops
        self.emb_drop = emb_drop
        self.emb_szs = emb_szs
        self.use_bn = use_bn
        self.clip_cont = clip_cont
        self.epochs = epochs
        self.lr = lr
        self.bs = bs
        self.wd = wd
        self.valid_pct = valid_pct
        self.patience = patience
        self.min_count = min_count
        self.max_levels = max_levels
        self.cat_dropout = cat_dropout
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _train(
        self,
        frame: pd.DataFrame,
        y: Any,
        weights: np.ndarray | None,
        strata: np.ndarray | None,
        *,
        y_range: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        """Make data and a learner, and train it in one cycle; leaves the random numbers of others alone."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        cats, conts = self._kinds(frame)
        held = self._held_out(len(frame), strata, seed)
        n = len(frame) - len(held)
        bs = auto_batch_size(n) if self.bs is None else self.bs
        use_bn = n >= 1000 if self.use_bn is None else self.use_bn
        lr = (0.005 if use_bn else 0.002) if self.lr is None else self.lr
        with preserve_rng():
            set_seed(seed)
            data = ColumnarModelData.from_data_frame(
                ".", held, frame, y, cats, bs, cont_flds=conts, min_count=self.min_count,
                max_levels=self.max_levels, cat_dropout=self.cat_dropout, seed=seed,
                allow_target=True, **options,
            )  # fmt: skip
            learn = data.get_learner(
                self.emb_szs, None, self.emb_drop, None, self.szs, self.drops, y_range, use_bn,
                clip_cont=self.clip_cont,
                wd=self.wd, seed=seed, device=self.device, progress=bool(self.verbose),
            )  # fmt: skip
            if weights is not None:
                weigh_training_rows(learn, np.delete(weights, held))
            epochs = auto_epochs(n, len(data.train_dl)) if self.epochs is None else self.epochs
            stop = [] if self.patience is None else [EarlyStopping(patience=self.patience)]
            learn.fit_one_cycle(epochs, lr, callbacks=stop)
        self.learner_ = learn

    def _held_out(self, n: int, strata: np.ndarray | None, seed: int) -> np.ndarray:
        """Row numbers to validate on."""
        if not isinstance(self.valid_pct, int | float) or not 0 <= self.valid_pct < 1:
            raise ValueError(
                f"{type(self).__name__}: valid_pct is a share of the rows, from 0 to below 1, "
                f"got {self.valid_pct!r}"
            )
        if not self.valid_pct:
            if self.patience is not None:
                raise ValueError(f"{type(self).__name__}: patience needs rows to validate on: valid_pct=0.1")
            return np.array([], dtype="int64")
        rarest = 0 if strata is None else int(np.bincount(strata).min())
        enough = rarest > 1 and min(self.valid_pct, 1 - self.valid_pct) * n >= int(strata.max()) + 1  # type: ignore[union-attr]
        rows = train_test_split(
            np.arange(n), test_size=self.valid_pct, random_state=seed, stratify=strata if enough else None
        )
        return np.sort(rows[1])

    def _weights(self, sample_weight: Any, n: int) -> np.ndarray | None:
        """Checked weights of rows."""
        if sample_weight is None:
            return None
        weights = check_array(
            sample_weight, ensure_2d=False, dtype="float64", input_name="sample_weight", estimator=self
        )
        if weights.shape != (n,):
            raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}: one weight a row")
        if (weights < 0).any():
            raise ValueError("Negative values in data passed to `sample_weight`")
        if not weights.any():
            raise ValueError("sample_weight: all weights are zero, there is nothing to learn from")
        return weights

    def _target(self, y: Any, frame: pd.DataFrame) -> np.ndarray:
        """The target as an array without gaps, of one row each."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        values = check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=self)  # type: ignore[arg-type]
        check_consistent_length(frame, values)
        return values


class TabularRegressor(RegressorMixin, _TabularEstimator):
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
        super().__init__(
            cat_flds, szs=szs, drops=drops, emb_drop=emb_drop, emb_szs=emb_szs, use_bn=use_bn,
            clip_cont=clip_cont, epochs=epochs,
            lr=lr, bs=bs, wd=wd, valid_pct=valid_pct, patience=patience, min_count=min_count,
            max_levels=max_levels, cat_dropout=cat_dropout, random_state=random_state, device=device,
            verbose=verbose,
        )  # fmt: skip
        self.target_transform = target_transform
        self.y_range = y_range

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


class TabularClassifier(ClassifierMixin, _TabularEstimator):
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
        super().__init__(
            cat_flds, szs=szs, drops=drops, emb_drop=emb_drop, emb_szs=emb_szs, use_bn=use_bn,
            clip_cont=clip_cont, epochs=epochs,
            lr=lr, bs=bs, wd=wd, valid_pct=valid_pct, patience=patience, min_count=min_count,
            max_levels=max_levels, cat_dropout=cat_dropout, random_state=random_state, device=device,
            verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

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
