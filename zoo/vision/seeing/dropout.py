"""Another dropout later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from zoo.storage.registry import ModelSpec
from zoo.vision.models.transfer import TransferModel

_KINDS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)


def set_dropout(model: nn.Module, p: float | Sequence[float]) -> dict[str, float]:
    """Change the dropout of a head, or of a network of one's own; see `Seeing.set_dropout`."""
    head: nn.Module = model.head if isinstance(model, TransferModel) else model
    where = "the head" if isinstance(model, TransferModel) else type(model).__name__
    layers = {name: layer for name, layer in head.named_modules() if isinstance(layer, _KINDS)}
    if not layers:
        raise ValueError(
            f"{where} has no dropout layers: heads made with ps=0 have none; make it with ps=0.5, say"
        )
    given = _numbers(p)
    values = np.full(len(layers), given).tolist() if given.ndim == 0 else given.reshape(-1).tolist()
    if len(values) != len(layers):
        raise ValueError(f"{where} has {len(layers)} dropout layers, p has {len(values)} values")
    if not all(0 <= value < 1 for value in values):
        raise ValueError(f"dropout probabilities must lie in [0, 1), got {p!r}")
    for layer, value in zip(layers.values(), values, strict=True):
        layer.p = value
    _remember(model, values)
    return dict(zip(layers, values, strict=True))


def _numbers(p: Any) -> np.ndarray:
    try:
        given = np.asarray(p)
    except ValueError:  # of lists of different lengths
        given = np.empty(0, object)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"p must be a probability, or one for each dropout layer, got {p!r}")
    return given.astype(np.float64)


def _remember(model: Any, values: list[float]) -> None:
    """Let the archive make the head anew with these; not if one is 0, which would leave its layer out."""
    spec = getattr(model, "model_spec", None)
    if not isinstance(model, TransferModel) or not isinstance(spec, ModelSpec) or "ps" not in spec.args:
        return
    linear = sum(isinstance(layer, nn.Linear) for layer in model.head.modules())
    if len(values) == linear and min(values) > 0:
        spec.args["ps"] = values
