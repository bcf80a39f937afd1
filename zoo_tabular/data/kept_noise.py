"""Loaders whose batches are disturbed at a known rate: the rate is kept with prepared data, not the code."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Prepared = tuple[dict[str, Any], dict[str, Tensor]]

RATE = "noise"


def prepared_with_rate(
    prepare: Callable[[str, Any], Prepared], part: str, loader: Any, noise: type
) -> Prepared:
    """What is kept of a loader, with the rate of its batch transform if that is a `noise`.

    Raises:
        TypeError: if the loader or another batch transform cannot be kept.
    """
    transform: Any = getattr(loader, "batch_transform", None)
    if transform is None or type(transform) is not noise:
        return prepare(part, loader)
    plain = copy.copy(loader)
    plain.batch_transform = None
    settings, arrays = prepare(part, plain)
    return {**settings, RATE: transform.rate}, arrays


def without_rates(loaders: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """The settings of loaders without their rates, and the rates of those that have one."""
    rest = {part: {key: kept for key, kept in own.items() if key != RATE} for part, own in loaders.items()}
    return rest, {part: own[RATE] for part, own in loaders.items() if RATE in own}
