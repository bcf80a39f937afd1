"""Training with a target, the same for numbers and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_consistent_length

from zoo.callbacks.stopping import EarlyStopping
from zoo.data.loaders.seeding import preserve_rng, set_seed
from zoo_tabular.data.columnar import ColumnarModelData
from zoo_tabular.data.fit_length import auto_batch_size, auto_epochs
from zoo_tabular.sklearn.row_weights import weigh_training_rows
from zoo_tabular.sklearn.table_estimator import TableEstimator


class SupervisedEstimator(TableEstimator, BaseEstimator):
    """Options and training, the same for numbers and classes."""

    szs: Sequence[int]
    drops: float | Sequence[float]
    emb_drop: float
    emb_szs: Sequence[Sequence[int]] | None
    use_bn: bool | None
    clip_cont: float | None
    epochs: int | None
    lr: float | None
    bs: int | None
    wd: float
    valid_pct: float
    patience: int | None
    min_count: int
    max_levels: int | None
    cat_dropout: float
    random_state: Any
    verbose: bool

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
