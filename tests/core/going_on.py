"""A fit that ends in the middle of an epoch and goes on in a new learner, as after a kill."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.core.helpers import weights
from zoo import Callback as ZooCallback
from zoo import CancelFit, Learner


def through_a_file(value: Any) -> Any:
    """A state as it comes back from a file: JSON, and copies of tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        return {key: through_a_file(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(through_a_file(item) for item in value)
    return json.loads(json.dumps(value, allow_nan=False))


class Stop(ZooCallback):
    """Takes down everything at the end of a training batch, and ends the fit."""

    order = 1000

    def __init__(self, at: int, parts: Sequence[ZooCallback]) -> None:
        self.at, self.parts = at, parts
        self.taken: dict[str, Any] = {}

    def after_batch(self, state) -> None:
        if not state.training or state.batches_before + state.batch_index + 1 != self.at or self.taken:
            return
        self.taken = {
            "model": weights(state.model),
            "opt": copy.deepcopy(state.opt.state_dict()),
            "grads": [None if p.grad is None else p.grad.clone() for p in state.model.parameters()],
            "states": [through_a_file(part.state_dict()) for part in self.parts],
            "position": {
                name: getattr(state, name) for name in ("epoch", "batches_before", "step", "first_epoch")
            },
            "start_batch": state.batch_index + 1,
            "pending": state.pending,
            "row": dict(state.row),
            "history": [dict(row) for row in state.history],
            "rng": torch.get_rng_state(),
        }
        raise CancelFit


class GoOn(ZooCallback):
    """Puts everything back at the beginning of a fit."""

    order = 1000

    def __init__(self, taken: dict[str, Any], parts: Sequence[ZooCallback]) -> None:
        self.taken, self.parts = taken, parts

    def before_fit(self, state) -> None:
        state.model.load_state_dict(self.taken["model"])
        state.opt.load_state_dict(self.taken["opt"])
        for name, value in self.taken["position"].items():
            setattr(state, name, value)
        state.start_batch = self.taken["start_batch"]
        state.history[:] = self.taken["history"]

    def before_train(self, state) -> None:
        taken, self.taken = self.taken, {}
        if not taken:
            return
        state.pending = taken["pending"]
        for param, grad in zip(state.model.parameters(), taken["grads"], strict=True):
            param.grad = grad
        for part, own in zip(self.parts, taken["states"], strict=True):
            part.load_state_dict(own)
        torch.set_rng_state(taken["rng"])


def in_one_go_and_in_two(
    make: Callable[[], tuple[Learner, list[ZooCallback]]], fit: Callable[..., Any], at: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a fit ends with, run through and run until `at` batches are done and then by others.

    Args:
        make: a learner and the callbacks of its fit.
        fit: `(learner, callbacks)`.
    """

    def parts_of(learn: Learner, callbacks: list[ZooCallback]) -> list[ZooCallback]:
        return [*callbacks, *([] if learn._autocast is None else [learn._autocast])]

    def end(learn: Learner, callbacks: list[ZooCallback]) -> dict[str, Any]:
        hidden = ("seconds", "train_loss")  # those of a stopwatch, and of the recorder
        return {
            "weights": weights(learn.model),
            "opt": learn.opt.state_dict(),  # type: ignore[union-attr]
            "history": [{k: v for k, v in row.items() if k not in hidden} for row in learn.history],
            "states": [through_a_file(part.state_dict()) for part in parts_of(learn, callbacks)],
        }

    learn, callbacks = make()
    fit(learn, callbacks)
    whole = end(learn, callbacks)

    learn, callbacks = make()
    stop = Stop(at, parts_of(learn, callbacks))
    fit(learn, [*callbacks, stop])
    learn, callbacks = make()
    fit(learn, [*callbacks, GoOn(stop.taken, parts_of(learn, callbacks))])
    return whole, end(learn, callbacks)


def identical(a: Any, b: Any) -> bool:
    """Bit for bit, through nested containers."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    return a == b
