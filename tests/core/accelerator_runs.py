"""Fits of every domain on an accelerator that is none; prints what was asked of it, as JSON.

Run as a process of its own: `python -m tests.core.accelerator_runs`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.accelerator import NAME, Accelerator
from tests.core.helpers import DigitsNet, digits
from tests.gallery import cases
from zoo import Callback, Learner, ModelData, TensorLoader
from zoo.callbacks import EMA, Accumulate, ClipGradients
from zoo.data.loaders.batches import split_batch
from zoo.engine import arrivals, make_optimizer
from zoo.inspect.operations import OperationCounter, Operations


class Watch(Callback):
    """Lets one counter run in the training batches from the third on, another in those of the validation."""

    event_orders = {"before_batch": -1000, "cleanup_batch": 1000}

    def __init__(self, device: torch.device) -> None:
        self.training, self.validation = OperationCounter(device), OperationCounter(device)
        self.training.on = self.validation.on = False

    def before_batch(self, state: Any) -> None:
        self.training.on = state.training and (state.epoch > 0 or state.batch_index > 1)
        self.validation.on = not state.training

    def cleanup_batch(self, state: Any) -> None:
        if self.training.on:
            self.training.found.steps += 1
        self.training.on = self.validation.on = False


class Careless(Callback):
    """What users write: it waits for the loss, and makes a tensor where the batch is not."""

    def after_loss(self, state: Any) -> None:
        if state.training:
            loss = state.loss.detach().reshape(1)
            state.row["latest"] = loss.item()
            loss[loss > 0]
            loss.repeat_interleave((loss > 0).long())
            loss.cpu()
            torch.ones(3)


def told(found: Operations) -> dict[str, Any]:
    return {
        "steps": found.steps,
        "operations": sum(found.calls.values()),
        "kernels": found.kernels,
        "waits": sorted({str(spot) for spot in found.waits}),
        "strays": sorted({str(spot) for spot in found.strays}),
    }


def watched(name: str, *callbacks: Callback) -> dict[str, Any]:
    """A whole fit with recorder, progress, metrics, clipping, averaged weights and accumulation."""
    case = cases.CASES[name](Path(tempfile.mkdtemp()))
    case.learn.clip, case.learn.progress = 0.5, True
    watch = Watch(case.learn.device)
    with watch.training, watch.validation:
        rows = case.fit(callbacks=[EMA(), Accumulate(2), watch, *callbacks])
    losses = [row["train_loss"] for row in rows]
    return {
        "training": told(watch.training.found), "validation": told(watch.validation.found), "losses": losses
    }  # fmt: skip


def by_hand(learn: Learner, batches: list[tuple], clip: float) -> Operations:
    """The operations of the loop that everybody writes."""
    counter = OperationCounter(learn.device)
    counter.on = False
    groups = [group.params for group in learn.groups]
    params = [param for group in groups for param in group if param.requires_grad]
    opt = torch.optim.AdamW([{"params": group} for group in groups if group], lr=1e-4, fused=True)
    learn.model.train()
    losses = []
    with counter:
        for number, batch in enumerate(batches):
            counter.on = number > 1
            inputs, target = split_batch(batch)
            output = learn.model(*inputs)
            loss = learn.loss_fn(output[0] if isinstance(output, tuple) else output, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, clip)
            opt.step()
            opt.zero_grad()
            losses.append(loss.detach())
            counter.found.steps += counter.on
            counter.on = False
    return counter.found


def compared(name: str) -> dict[str, Any]:
    """A step of the learner beside the same step by hand."""
    learn = cases.CASES[name](Path(tempfile.mkdtemp())).learn
    learn.clip = 0.5
    batches = [learn.data.one_batch(True, learn.device)] * 6
    ours = learn.count_operations(n=4)
    return {"ours": told(ours), "by hand": told(by_hand(learn, batches, 0.5)), "groups": len(learn.groups)}


def equal_to_the_processor() -> dict[str, Any]:
    """The losses of a fit there and on the CPU."""
    found = {}
    for device in (NAME, "cpu"):
        x, y = digits()
        data = ModelData(
            TensorLoader(x[:500], y[:500], bs=64, shuffle=True), TensorLoader(x[500:600], y[500:600])
        )
        torch.manual_seed(0)
        learn = Learner(data, DigitsNet(16), seed=0, device=device, precision="fp32", progress=False)
        learn.lr_find(num_it=5)
        rows = learn.fit(1e-2, 2, callbacks=[EMA(0.9), ClipGradients(1.0)])
        found[device] = [[row["train_loss"], row["valid_loss"]] for row in rows]
    return found


def bad_batch() -> str:
    """The message about a loss that is no number, when the flag arrives later."""
    x = torch.ones(640, 3)
    x[64 * 5 + 7] = float("nan")
    data = ModelData(TensorLoader(x, torch.ones(640, 1), bs=8))
    learn = Learner(data, nn.Linear(3, 1), device=NAME, precision="fp32", progress=False)
    try:
        learn.fit(1e-3, 1)
    except FloatingPointError as error:
        return str(error) + f" finite: {bool(torch.isfinite(learn.model.weight).all())}"
    return "nothing"


class Huge(Callback):
    """Gradients of the first batches that are too large for float32, too, once they are scaled."""

    def after_loss(self, state: Any) -> None:
        if state.training and state.batch_index < 3:
            state.loss = state.loss * 1e36


class Weights(Callback):
    def __init__(self) -> None:
        self.sums: list[float] = []

    def after_batch(self, state: Any) -> None:
        if state.training:
            self.sums.append(float(state.model.weight.detach().sum().cpu()))


def float16() -> dict[str, Any]:
    """Loss scaling where a fused optimizer leaves updates out; the device still computes in float32."""
    found: dict[str, Any] = {}
    for name, callbacks in (("sound", []), ("huge", [Huge()])):
        x = torch.rand(160, 3, generator=torch.Generator().manual_seed(0))
        data = ModelData(TensorLoader(x, x.sum(1, keepdim=True), bs=8))
        torch.manual_seed(0)
        learn = Learner(data, nn.Linear(3, 1), device=NAME, progress=False, seed=0).to_fp16()
        watch, weights = Watch(learn.device), Weights()
        with watch.training:
            learn.fit(1e-2, 1, callbacks=[watch, *callbacks])
        rerun = Learner(data, nn.Linear(3, 1), device=NAME, progress=False, seed=0).to_fp16()
        rerun.model.load_state_dict(
            {name: torch.full_like(p, 0.1) for name, p in rerun.model.state_dict().items()}
        )
        rerun.fit(1e-2, 1, callbacks=[weights, *callbacks])
        found[name] = {
            "skipped": learn._autocast.skipped, "waits": told(watch.training.found)["waits"],
            "sums": weights.sums[:5], "scale": learn._autocast._scaler.get_scale(),
        }  # fmt: skip
    return found


def main() -> None:
    arrivals.ASYNCHRONOUS.add(NAME)
    make_optimizer.FUSED_ON.add(NAME)
    cases.OPTIONS["device"] = NAME
    out, sys.stdout = sys.stdout, sys.stderr
    with Accelerator():
        found = {
            "fits": {name: watched(name) for name in cases.CASES},
            "careless": watched("core", Careless()),
            "steps": {name: compared(name) for name in cases.CASES},
            "equal": equal_to_the_processor(),
            "bad batch": bad_batch(),
            "float16": float16(),
        }
    print(json.dumps(found), file=out)


if __name__ == "__main__":
    main()
