"""Weights of classes in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.data.class_weights import balanced_weights, named_weights
from zoo_tabular.data.columnar import ColumnarModelData
from zoo_tabular.data.row_weights import split_weights


def class_weights(data: ColumnarModelData, weights: str | Mapping[Any, float] = "balanced") -> Tensor:
    """One weight a class for a loss, such as `CrossEntropyFlat(weight=class_weights(data))`.

    Args:
        data: classes to learn, with training rows.
        weights: "balanced" gives rare classes as much say as frequent ones, rows / (classes * rows of the
            class) (King & Zeng 2001); or weights by class, named as in `data.classes` or by its value in the
            target, 1 for those that are not named.

    Returns:
        Float32 of shape (classes,), in the order of `data.classes`.

    Raises:
        ValueError: for data without classes or training rows, for names that are no class.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"x": range(8), "kind": list("aaaaaabb")})
        >>> class_weights(ColumnarModelData.from_data_frame(".", None, df, "kind", [], is_reg=False)).tolist()
        [0.6666666865348816, 2.0]
    """
    if data.task != "classification" or data.classes is None:
        raise ValueError(f"class_weights: the target must be classes, this is {data.task}")
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(f"class_weights: expected 'balanced' or weights by class name, got {weights!r}")
        if data.train_dl is None:
            raise ValueError("class_weights: 'balanced' counts training rows, and these data have none")
        if data.base is not None:  # of streamed rows
            return (1 / (data.n_out * data.base)).float()
        numbers, _ = split_weights(data.train_dl.tensors[-1].cpu().numpy(), data.task, data.n_out)
        return balanced_weights(torch.bincount(torch.from_numpy(numbers), minlength=data.n_out))
    return named_weights(weights, data.classes)
