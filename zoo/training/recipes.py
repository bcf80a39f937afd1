"""Ways of training that are made of several fits."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from zoo.callbacks.saving import SaveBest
from zoo.engine.callback import callback_list
from zoo.engine.layer_groups import LayerGroups
from zoo.schedules import OneCycle, three_momenta
from zoo.training.fitting import positive
from zoo.training.rows import EpochRows


class FineTunable(Protocol):
    """What fine-tuning needs of a learner."""

    groups: LayerGroups

    def freeze(self) -> None: ...
    def _unfreeze_all(self) -> None: ...
    def _checked_metrics(self, metrics: Any) -> list[Any]: ...
    def _checked_clip(self, clip: Any) -> Any: ...
    def _require_training_data(self) -> None: ...
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
    options = with_listed(options)
    check_fine_tune(
        learn, epochs, lr, freeze_epochs,
        lr_mult=lr_mult, pct_start=pct_start, div_factor=div_factor, **options,
    )  # fmt: skip
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


def with_listed(options: dict[str, Any]) -> dict[str, Any]:
    """Options whose callbacks and metrics can be read more than once, also where they come as generators."""
    kept = {
        name: options[name] for name in ("callbacks", "metrics") if isinstance(options.get(name), Iterator)
    }
    return {**options, **{name: list(value) for name, value in kept.items()}}


def check_fine_tune(
    learn: FineTunable, epochs: int, lr: float, freeze_epochs: int, *, lr_mult: float = 1, **options: Any
) -> None:
    """Refuse arguments that make no fine-tuning, or none of the fits of it, before anything has changed."""
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
    if isinstance(lr_mult, bool) or not isinstance(lr_mult, numbers.Real) or not 1 <= lr_mult < math.inf:
        raise ValueError(f"fine_tune: lr_mult divides rates and must be at least 1, got {lr_mult!r}")
    try:
        inspect.signature(learn.fit_one_cycle).bind(epochs, slice(lr), **options)
    except TypeError as error:
        raise TypeError(f"fine_tune: {error}") from None
    cycle = {name: options[name] for name in ("pct_start", "div_factor") if name in options}
    OneCycle(1, **cycle, moms=three_momenta(options.get("moms")))
    if options.get("wds") is not None:
        learn.groups.spread(options["wds"], "weight decay")
    if options.get("metrics") is not None:
        learn._checked_metrics(options["metrics"])
    callback_list(options.get("callbacks", ()))
    learn._checked_clip(options.get("clip"))
    if options.get("checkpoint_every") is not None:
        positive(checkpoint_every=options["checkpoint_every"])
    learn._require_training_data()
