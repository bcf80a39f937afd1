"""What scikit-learn asks of a transformer of frames; scikit-learn itself is not imported. No torch here."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np

from zoo.errors import did_you_mean, some


class FrameTransformer:
    """Parameters, names of features and tags for scikit-learn's pipelines, searches and `clone`.

    Subclasses store the arguments of `__init__` as attributes of the same names, and have `feature_names_in_`
    and `feature_names_out_` once fitted. Importing scikit-learn's own base class would more than double the
    time that importing the processing of tables takes.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name, as they were given; `deep` is accepted for scikit-learn."""
        return {name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if
                name != "self"}  # fmt: skip

    def set_params(self, **params: Any) -> Self:
        """Change options, by name; what was learned stays until the next `fit`.

        Raises:
            ValueError: for names that are no options.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__}: there is no option {name!r}{did_you_mean(name, known)}; "
                    f"the options: {some(known, 20)}"
                )
            setattr(self, name, value)
        return self

    def set_output(self, *, transform: str | None = None) -> Self:
        """Accepted for scikit-learn: frames of pandas come out whatever "default", "pandas" or None says.

        Raises:
            ValueError: for another container.
        """
        if transform not in (None, "default", "pandas"):
            raise ValueError(
                f"{type(self).__name__}: frames of pandas come out, not {transform!r}: use transform='pandas'"
            )
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` makes, as an array of text.

        Args:
            input_features: names of the columns that come in; more than are read are fine.

        Raises:
            ValueError: before `fit`, and when columns that are read are not among `input_features`.
        """
        if not self.__sklearn_is_fitted__():
            raise ValueError(f"{type(self).__name__}: call fit first")
        fitted: Any = self
        given = fitted.feature_names_in_ if input_features is None else list(input_features)
        absent = [name for name in fitted.feature_names_in_ if name not in given]
        if absent:
            raise ValueError(
                f"{type(self).__name__}.get_feature_names_out: input_features lack "
                f"{some(f'{name!r}{did_you_mean(name, given)}' for name in absent)}"
            )
        return np.asarray(fitted.feature_names_out_, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "feature_names_in_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(string=True, categorical=True, allow_nan=True),
        )
