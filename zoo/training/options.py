"""The keyword arguments that every constructor of a learner hands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from zoo.engine.callback import Callback
from zoo.engine.layer_groups import Rates
from zoo.training.switches import Precision


class LearnerOptions(TypedDict, total=False):
    """What `Learner` takes beside data, model and layer groups.

    Args:
        opt_fn: optimizer class or function of param groups, as in `Learner`.
        loss_fn: `(predictions, targets) -> scalar`, as in `Learner`.
        metrics: functions `(predictions, targets) -> number`, as in `Learner`.
        callbacks: listeners of every fit.
        device: "cuda", "mps", "cpu", ...; the best of the machine by default.
        wd: decoupled weight decay; a number, one a group, or a slice.
        clip: largest gradient norm, or None.
        path: where files are kept; the data's path by default.
        precision: number format of training, as in `Learner`.
        seed: of the first weights of new layers, and of every fit as in `Learner`.
        progress: whether fits print their epoch table and bar.
    """

    opt_fn: Callable[..., torch.optim.Optimizer] | None
    loss_fn: Callable[..., Tensor] | None
    metrics: Sequence[Any] | None
    callbacks: Iterable[Callback]
    device: str | torch.device | None
    wd: Rates | None
    clip: float | None
    path: str | Path | None
    precision: Precision
    seed: int | None
    progress: bool


LEARNER_DEFAULTS: dict[str, Any] = {
    "opt_fn": None,
    "loss_fn": None,
    "metrics": None,
    "callbacks": (),
    "device": None,
    "wd": None,
    "clip": None,
    "path": None,
    "precision": "auto",
    "seed": None,
    "progress": True,
}
