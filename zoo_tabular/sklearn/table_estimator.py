"""What estimators for scikit-learn share: reading features, telling categories, travelling in pickles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from zoo.data.columns.kinds import is_text
from zoo.errors import some
from zoo_tabular.frames.frame_checks import check_columns, check_frame
from zoo_tabular.sklearn.pickles import pack, unpack

_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")

_DATES = ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period")


class TableEstimator:
    """Reads frames and arrays as scikit-learn expects it, and keeps a learner as `learner_`.

    In a pickle (and in a copy) the learner travels as what `Learner.export` writes, without training rows.
    """

    cat_flds: Any
    device: Any
    learner_: Any
    n_features_in_: int

    def _remember(self, given: Mapping[str, Any]) -> None:
        """Keep the arguments of a constructor as attributes of their names, as scikit-learn wants it.

        Args:
            given: `locals()` of the constructor.
        """
        for name, value in given.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        parent: Any = super()
        state = dict(parent.__getstate__())
        if "learner_" in state:
            state["learner_"] = pack(state["learner_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "learner_" in state:
            state["learner_"] = unpack(state["learner_"], state.get("device"))
        super().__setstate__(state)  # type: ignore[misc]

    def _features(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """The features as a frame with text names; `reset` learns how many there are and what they are
        called.
        """
        name = type(self).__name__
        if not isinstance(X, pd.DataFrame | pd.Series) and hasattr(X, "__arrow_c_stream__"):
            X = check_frame(X, name)  # of polars or Arrow
        if isinstance(X, pd.DataFrame) and any(isinstance(column, str) for column in X.columns):
            check_frame(X, name)
            if reset and len(X) < 2:
                raise ValueError(f"{name}: there is 1 sample (n_samples = {len(X)}), at least 2 are needed")
            validate_data(self, X, reset=reset, skip_check_array=True)  # type: ignore[arg-type]
            return X
        if isinstance(X, pd.DataFrame):  # columns without names
            check_array(
                X,
                dtype=None,  # type: ignore[arg-type]
                ensure_all_finite=False,
                ensure_min_samples=2 if reset else 1,
            )
            validate_data(self, X, reset=reset, skip_check_array=True)  # type: ignore[arg-type]
            frame = X.copy(deep=False)
        else:
            options: Any = {
                "dtype": None,
                "ensure_all_finite": False,
                "ensure_min_samples": 2 if reset else 1,
            }
            frame = pd.DataFrame(validate_data(self, X, reset=reset, **options))  # type: ignore[arg-type]
        names = getattr(self, "feature_names_in_", None)
        frame.columns = [f"x{i}" for i in range(frame.shape[1])] if names is None else list(names)
        return frame

    def _kinds(self, frame: pd.DataFrame) -> tuple[list[str], list[str]]:
        """Names of the category and of the number columns."""
        name = type(self).__name__
        chosen = self.cat_flds
        if isinstance(chosen, str):
            if chosen != "auto":
                raise ValueError(
                    f"{name}: cat_flds must be 'auto' or a list of columns, got {chosen!r}; did you mean "
                    f"cat_flds=[{chosen!r}]?"
                )
            cats = [column for column in frame.columns if _is_category(frame[column], name)]
        else:
            names = list(frame.columns)
            places = [one for one in chosen if isinstance(one, int | np.integer)]
            beyond = [one for one in places if not -len(names) <= one < len(names)]
            if beyond:
                raise ValueError(
                    f"{name}: cat_flds: there is no column number {beyond[0]}, the data have {len(names)}"
                )
            cats = [names[int(one)] if isinstance(one, int | np.integer) else one for one in chosen]
            check_columns(frame, cats, f"{name}: cat_flds")
        conts = [column for column in frame.columns if column not in cats]
        for column in conts:
            if _is_category(frame[column], name):
                raise ValueError(
                    f"{name}: column {column!r} is {frame[column].dtype} and not among cat_flds: "
                    "add it there or drop it"
                )
        return cats, conts

    def _outputs(self, X: Any) -> np.ndarray:
        """What the learner's `predict` would say about new rows."""
        check_is_fitted(self)
        data = self.learner_.data
        batches = data.batches_from_raw(self._features(X, reset=False))
        return np.concatenate([self.learner_.predict_array(batch) for batch in batches])


def _is_category(values: pd.Series, where: str) -> bool:
    """Whether a column holds categories or text rather than numbers; dates are refused."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return True
    if pd.api.types.is_complex_dtype(values.dtype):
        raise ValueError(f"{where}: Complex data not supported: column {values.name!r} is {values.dtype}")
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in _DATES:
        raise ValueError(
            f"{where}: column {values.name!r} holds dates: make features of them with "
            f"zoo_tabular.add_datepart(df, {values.name!r}), or drop the column"
        )
    if not is_text(values) or kind in _NUMBERS:
        return False
    if kind != "string":
        strange = next(
            (one for one in values.dropna() if not isinstance(one, str | int | float | bool)), None
        )
        if isinstance(strange, dict | list | set | tuple | np.ndarray):
            raise TypeError(
                f"{where}: column {values.name!r} holds {some([repr(strange)])}; "
                "the argument must be a string or a number"
            )
    return True
