"""The model that `ConvLearner.pretrained` trains, from what a user writes: body, weights and head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from torch import Tensor, nn

from zoo.data.loaders.seeding import seeded
from zoo.vision.models.bodies import arch_name
from zoo.vision.models.transfer import TransferModel, transfer_model, with_custom_head
from zoo.vision.models.weights import load_body_weights, published_weights, read_state_dict

HEAD_DAMPING = 0.1
"""Of new heads, see `DampedLinear`; chosen by `benchmarks/small_pictures.py`."""

Weights = str | PathLike[str] | Mapping[str, Tensor] | None


def pretrained_model(
    arch: Callable[..., Any] | str,
    n_classes: int,
    channels: int,
    *,
    ps: float | Sequence[float] | None = None,
    xtra_fc: Sequence[int] | None = None,
    custom_head: nn.Module | None = None,
    weights: Weights = "default",
    seed: int | None = None,
) -> TransferModel:
    """A torchvision body with weights, and a new head; see `ConvLearner.pretrained` for the arguments.

    Raises:
        TypeError: an argument is not of the kind that is asked for.
        ValueError: unknown or unsupported architecture, or weights that do not fit it.
        FileNotFoundError: no such weights file.
        OSError: the weights could not be downloaded.
    """
    name = arch_name(arch)
    with seeded(seed):
        model = _with_new_head(name, n_classes, channels, ps, xtra_fc, custom_head)
    if weights is None:
        return model
    if not isinstance(weights, str | PathLike | Mapping):
        raise TypeError(
            f"weights must be 'default', a file, a state dict or None for random weights, got {weights!r}"
        )
    origin = f"weights file {weights}" if isinstance(weights, str | PathLike) else "weights"
    if isinstance(weights, Mapping):
        state = dict(weights)
    else:
        state = published_weights(name) if weights == "default" else read_state_dict(weights)
    load_body_weights(model.body, state, channels, origin)
    return model


def _with_new_head(
    name: str,
    n_classes: int,
    channels: int,
    ps: float | Sequence[float] | None,
    xtra_fc: Sequence[int] | None,
    custom_head: nn.Module | None,
) -> TransferModel:
    if custom_head is not None:
        if ps is not None or xtra_fc is not None:
            raise ValueError("custom_head replaces the standard head: leave out ps and xtra_fc")
        return with_custom_head(name, custom_head, channels)
    layers = [512] if xtra_fc is None else _numbers(xtra_fc, "xtra_fc", "layer sizes, e.g. [128]", whole=True)
    dropout = ps
    if ps is not None:
        values = _numbers([ps] if np.ndim(ps) == 0 else ps, "ps", "one dropout probability or a list of them")
        dropout = values[0] if np.ndim(ps) == 0 else values
    return transfer_model(name, n_classes, channels, layers, dropout, damping=HEAD_DAMPING)


def _numbers(values: Any, name: str, what: str, *, whole: bool = False) -> list[Any]:
    """Plain Python numbers from a list or array of numbers."""
    plain = None if np.ndim(values) != 1 or isinstance(values, str | dict) else [*values]
    kinds = int | np.integer if whole else int | float | np.number
    if plain is None or any(isinstance(v, bool) or not isinstance(v, kinds) for v in plain):
        raise TypeError(f"{name} takes {what}, got {values!r}")
    return [int(v) if whole else float(v) for v in plain]
