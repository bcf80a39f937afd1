"""Does training on a device do what it does on a CPU: losses, waiting, recording, resuming, the finder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu_parts.domains import RATES, Where, make, scratch, shortened
from gpu_parts.running import Context
from zoo import Callback, Learner

TOLERANCE = 5e-3
"""Largest share by which losses of the same training in float32 may differ between two kinds of device."""


@contextmanager
def full_float32() -> Iterator[None]:
    """Products of matrices and convolutions in float32 proper, not TensorFloat32."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


@contextmanager
def deterministic() -> Iterator[None]:
    """The same bits every time, where the operations can; those that cannot run all the same."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = benchmark


def losses_of(learn: Learner, rate: float) -> np.ndarray:
    """The loss of every batch of one epoch."""
    learn.fit(rate, 1)
    return np.array(learn.sched.losses, dtype="float64")


def difference(some: np.ndarray, others: np.ndarray) -> float:
    """The largest relative difference.

    Raises:
        AssertionError: if there are not as many.
    """
    expect(len(some) == len(others), f"{len(some)} losses and {len(others)}")
    return float(np.max(np.abs(some - others) / np.maximum(np.abs(others), 1e-9)))


def expect(holds: bool, otherwise: str) -> None:
    """Fail the part unless something holds."""
    if not holds:
        raise AssertionError(otherwise)


def same_losses(context: Context, name: str) -> dict[str, Any]:
    """The first 30 losses there and on the CPU, without dropout, in float32."""
    steps = 5 if context.quick else 30
    where = context.where(noise=False)
    on_cpu = Where(where.folder, "cpu", where.scale, noise=False)
    with full_float32():
        there, here = (losses_of(make(name, w, steps), RATES[name]) for w in (where, on_cpu))
    found = {
        "steps": len(there), "first": there[0], "last": there[-1], "on the CPU": here[-1],
        "first 10 differ by": difference(there[:10], here[:10]), "all differ by": difference(there, here),
    }  # fmt: skip
    expect(found["all differ by"] < TOLERANCE, f"losses are not those of the CPU: {found}\n{there}\n{here}")
    return found


class NoWaiting(Callback):
    """From the third batch on an operation for which the host would wait is an error of torch's."""

    event_orders = {"before_batch": -1000, "cleanup_batch": 1000}

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu, self.batches = on_gpu, 0

    def _mode(self, mode: str) -> None:
        if self.on_gpu:
            torch.cuda.set_sync_debug_mode(mode)

    def before_batch(self, state: Any) -> None:
        if state.training and state.batch_index > 2:
            self.batches += 1
            self._mode("error")

    def cleanup_batch(self, state: Any) -> None:
        self._mode("default")

    def cleanup_fit(self, state: Any) -> None:
        self._mode("default")


def no_waiting(context: Context, name: str) -> dict[str, Any]:
    """50 training steps with recorder, progress bar and metrics in which the host never waits."""
    steps = 6 if context.quick else 53
    learn = make(name, context.where(precision="auto"))
    train, valid = learn.data.train_dl, learn.data.valid_dl
    learn.data.train_dl, learn.data.valid_dl = shortened(train, steps), shortened(valid, 1)
    learn.progress = True
    watch = NoWaiting(context.on_gpu)
    learn.fit(RATES[name], 1, callbacks=[watch])
    counted = learn.count_operations()
    return {
        "steps without waiting": watch.batches,
        "metrics": [name for name in learn.history[-1] if name not in ("epoch", "seconds")],
        "waits counted": sorted({str(spot) for spot in counted.waits}),
        "strays": sorted({str(spot) for spot in counted.strays}),
    }


def recorded(context: Context, name: str) -> dict[str, Any]:
    """Losses with `cuda_graphs()` and without; how many batches were replayed."""
    where = context.where(noise=False)
    steps = 8 if context.quick else 60
    with full_float32():
        plain = losses_of(make(name, where, steps), RATES[name])
        learn = make(name, where, steps).cuda_graphs()
        with_graphs = losses_of(learn, RATES[name])
    watch: Any = learn._of_graphs[0]
    found = {
        "batches": len(plain), "replayed": watch.replayed, "updates replayed": watch.updates,
        "losses differ by": difference(with_graphs, plain),
    }  # fmt: skip
    expect(found["losses differ by"] < TOLERANCE, f"recorded steps train otherwise: {found}")
    if context.on_gpu and name in ("tables", "ratings", "images"):
        expect(watch.replayed > 0, f"nothing was replayed: {found}")
    return found


class EndAt(Callback):
    """Ends the process of a fit, as it were, after so many batches."""

    order = 1001

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def after_batch(self, state: Any) -> None:
        if state.training and state.batches_before + state.batch_index + 1 == self.batch:
            raise Ended


class Ended(Exception):
    """A fit came to its end before its time."""


def weights_of(learn: Learner) -> dict[str, Tensor]:
    """Copies of all weights and buffers."""
    return {name: value.detach().clone() for name, value in learn.model.state_dict().items()}


def unequal(some: dict[str, Tensor], others: dict[str, Tensor]) -> list[str]:
    """Names of those that differ in any bit."""
    return [name for name, value in some.items() if not torch.equal(value, others[name])]


def resumed(context: Context, name: str) -> dict[str, Any]:
    """A fit that ended inside its second epoch goes on from its checkpoint, bit for bit."""
    where, per_epoch, every = context.where(), 4 if context.quick else 12, 3
    folder = scratch()

    def learner() -> Learner:
        learn = make(name, where, per_epoch)
        learn.path = folder
        return learn

    with deterministic():
        whole, again = make(name, where, per_epoch), make(name, where, per_epoch)
        for learn in (whole, again):
            learn.fit(RATES[name], 2)
        stable = not unequal(weights_of(whole), weights_of(again))
        broken = learner()
        try:
            broken.fit(RATES[name], 2, checkpoint_every=every, callbacks=[EndAt(per_epoch + every + 1)])
        except Ended:
            pass
        else:
            raise AssertionError("the fit was not ended")
        going_on = learner()
        going_on.fit(RATES[name], 2, checkpoint_every=every, resume=True)
    differ = unequal(weights_of(whole), weights_of(going_on))
    found = {"the same fit twice is the same": stable, "unequal after resuming": differ}
    expect(not differ or not stable, f"{len(differ)} tensors differ after resuming: {differ[:5]}")
    return found


def finder_leaves_nothing(context: Context, name: str) -> dict[str, Any]:
    """Weights, generators and the fit that follows are what they are without `lr_find`."""
    where, steps = context.where(), 6 if context.quick else 20

    def draws() -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if context.on_gpu else [])]

    with deterministic():
        plain, found = make(name, where, steps), make(name, where, steps)
        before, drawn = weights_of(found), draws()
        result = found.lr_find(num_it=5 if context.quick else 20)
        changed = unequal(before, weights_of(found))
        moved = [
            number for number, (a, b) in enumerate(zip(drawn, draws(), strict=True)) if not torch.equal(a, b)
        ]
        expect(not changed, f"lr_find changed {changed}")
        expect(not moved, f"lr_find drew from generators {moved}")
        apart = difference(losses_of(found, RATES[name]), losses_of(plain, RATES[name]))
    expect(apart < 1e-4, f"a fit after lr_find differs by {apart:.2g}")
    return {"rates tried": len(result.lrs), "losses after it differ by": apart}
