"""Ways of training that are made of several fits."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from zoo.callbacks.saving import SaveBest
from zoo.engine.layer_groups import LayerGroups
from zoo.training.rows import EpochRows


class FineTunable(Protocol):
    """What fine-tuning needs of a learner."""

    groups: LayerGroups

    def freeze(self) -> None: ...
    def _unfreeze_all(self) -> None: ...
    @property
    def fit_one_cycle(self) -> Callable[..., list[dict[str, Any]]]: ...


def fine_tune(
    learn: FineTunable,
    epochs: int,
    lr: float,
    *,
    freeze_epochs: int = 1,
    lr_mult: float = 100.0,
    pct_start: float = 0.3,
    div_factor: float = 5.0,
    **options: Any,
) -> list[dict[str, Any]]:
    """See `Learner.fine_tune`."""
    check_fine_tune(learn, epochs, lr, freeze_epochs)
    if not lr_mult >= 1:
        raise ValueError(f"fine_tune: lr_mult divides rates and must be at least 1, got {lr_mult}")
    inspect.signature(learn.fit_one_cycle).bind(epochs, slice(lr), pct_start=pct_start, **options)
    rows = EpochRows()
    if freeze_epochs:
        learn.freeze()
        rows += learn.fit_one_cycle(freeze_epochs, slice(lr), pct_start=0.99, **first_stage(options))
        if len(rows) < freeze_epochs:  # interrupted, or stopped by a callback
            return rows
    learn._unfreeze_all()
    half = lr / 2
    rates = slice(half / lr_mult, half)
    options = next_stage(rows, options)
    return rows + learn.fit_one_cycle(epochs, rates, pct_start=pct_start, div_factor=div_factor, **options)


def first_stage(options: dict[str, Any]) -> dict[str, Any]:
    """Options of the first stage: `sizes` are by the epochs of the second one, with whose first it trains.

    Example:
        >>> first_stage({"sizes": {0: 128, 1: 192}})
        {'sizes': {0: 128}}
    """
    sizes = options.get("sizes")
    return options if sizes is None else {**options, "sizes": {0: sizes[0]}}


def next_stage(rows: Sequence[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """Options of `fit_one_cycle` for a stage after those of `rows`: saves as best what beats them all."""
    known = [row["valid_loss"] for row in rows if not math.isnan(row.get("valid_loss", math.nan))]
    if options.get("best_save_name") is None or not known:
        return options
    saver = SaveBest(options["best_save_name"], beat=min(known))
    return {**options, "best_save_name": None, "callbacks": [*options.get("callbacks", ()), saver]}


def check_fine_tune(learn: FineTunable, epochs: int, lr: float, freeze_epochs: int) -> None:
    """Refuse arguments that make no fine-tuning, before anything has changed."""
    if len(learn.groups) == 1:
        raise ValueError(
            "fine_tune trains the last layer group first, then all: this model has a single group; give the "
            "learner layer_groups={'body': ..., 'head': ...}, or use fit_one_cycle"
        )
    for name, value, least in (("epochs", epochs, 1), ("freeze_epochs", freeze_epochs, 0)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"fine_tune: {name} must be a whole number of at least {least}, got {value!r}")
    if isinstance(lr, bool) or not isinstance(lr, numbers.Real) or not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"fine_tune: lr must be a positive number (that of the last group), got {lr!r}")
