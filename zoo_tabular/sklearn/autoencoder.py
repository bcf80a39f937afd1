"""Autoencoder features as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from zoo.data.loaders.seeding import preserve_rng, set_seed
from zoo_tabular.autoencoder import AutoencoderData
from zoo_tabular.sklearn.table_estimator import TableEstimator


class TabularAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableEstimator, BaseEstimator):
    """Turns rows with categories, numbers and gaps into a few numbers, learned without a target.

    A denoising autoencoder with swap noise (see `zoo_tabular.model.autoencoder`): fit it to all rows there
    are, labelled or not, and give its features to any model, beside the raw columns or instead of them.

    Args:
        cat_flds: category columns: "auto" or a list, as in `TabularRegressor`.
        width: how many features.
        szs: hidden sizes before the middle, mirrored after it.
        swap_noise: share of the cells that come from other rows.
        epochs: length of the one cycle; if None as many as give about 3000 steps, from 5 to 60.
        lr: the largest rate of the cycle.
        bs: rows a batch; 32 to 512 by the number of rows if None.
        wd: decoupled weight decay.
        min_count, max_levels: as in `ColumnarModelData.from_data_frame`.
        random_state: a number makes fits repeatable.
        device: "cpu", "cuda", ...; the best of the machine if None.
        verbose: show epochs and progress.

    Attributes:
        learner_: the `AutoencoderLearner`, for `learner_.export(path)` and `learner_.errors(df)`.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"kind": ["a", "b"] * 20, "size": range(40)})
        >>> maker = TabularAutoencoder(width=2, epochs=2, random_state=0, device="cpu").fit(df)
        >>> maker.transform(df).shape, maker.get_feature_names_out().tolist()
        ((40, 2), ['tabularautoencoder0', 'tabularautoencoder1'])
    """

    width: int
    szs: Sequence[int]
    swap_noise: float
    epochs: int | None
    lr: float
    bs: int | None
    wd: float
    min_count: int
    max_levels: int | None
    random_state: Any
    verbose: bool

    def __init__(
        self,
        cat_flds: str | Sequence[Any] = "auto",
        *,
        width: int = 16,
        szs: Sequence[int] = (256, 256),
        swap_noise: float = 0.15,
        epochs: int | None = None,
        lr: float = 5e-3,
        bs: int | None = None,
        wd: float = 0.01,
        min_count: int = 1,
        max_levels: int | None = None,
        random_state: Any = None,
        device: Any = None,
        verbose: bool = False,
    ) -> None:
        self._remember(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.learner_.model.width

    def fit(self, X: Any, y: Any = None) -> TabularAutoencoder:
        """Train on rows `X`; `y` is accepted for pipelines and not looked at."""
        frame = self._features(X, reset=True)
        cats, conts = self._kinds(frame)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        n = len(frame)
        bs = max(2, min(n, max(32, min(512, n // 32)))) if self.bs is None else self.bs
        with preserve_rng():
            set_seed(seed)
            data = AutoencoderData.from_frame(
                ".", None, frame, cats, bs, cont_flds=conts, swap_noise=self.swap_noise,
                min_count=self.min_count, max_levels=self.max_levels, seed=seed,
            )  # fmt: skip
            learn = data.get_autoencoder(
                self.width, self.szs, wd=self.wd, seed=seed, device=self.device, progress=bool(self.verbose)
            )
            auto = max(5, min(60, round(3000 / len(data.train_dl))))
            learn.fit_one_cycle(auto if self.epochs is None else self.epochs, self.lr)
        self.learner_ = learn
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of rows, float32 of shape (rows, width)."""
        check_is_fitted(self)
        return self.learner_.features(self._features(X, reset=False)).to_numpy()
