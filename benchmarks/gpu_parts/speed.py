"""What a training step costs: beside a hand-written loop, in every format, and what holds it back."""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gpu_parts.domains import RATES, make
from gpu_parts.running import Context
from zoo import Callback, CancelFit, Learner
from zoo.data.loaders.batches import device_batches, split_batch
from zoo.inspect.operations import LAUNCH_SECONDS

H200 = {"fp32 FLOP/s": 67e12, "bf16 FLOP/s": 990e12, "bytes/s": 4.8e12}
"""By its data sheet, where the part `ceilings` has not measured."""


class Stopwatch(Callback):
    """Times a stretch of training steps inside a fit and ends it; waits for the device at both ends only.

    Args:
        skip: steps before it.
        steps: timed ones.
        profiled: steps after them that a profiler looks at.
        wait: waits until the device is done.
    """

    event_orders = {"before_batch": -1000}

    def __init__(self, skip: int, steps: int, profiled: int, wait: Callable[[], None]) -> None:
        self.skip, self.steps, self.profiled, self.wait = skip, steps, profiled, wait
        self.seen = self.rows = 0
        self.started = self.seconds = 0.0
        self.profiler: Any = None

    def before_batch(self, state: Any) -> None:
        if not state.training:
            return
        end = self.skip + self.steps
        if self.seen == self.skip:
            self.wait()
            self.started = time.perf_counter()
        if self.seen == end:
            self.wait()
            self.seconds = time.perf_counter() - self.started
            if self.profiled:
                self.profiler = profile(activities=[ProfilerActivity.CUDA])
                self.profiler.start()
        if self.seen == end + self.profiled:
            if self.profiler is not None:
                self.wait()
                self.profiler.stop()
            raise CancelFit
        self.rows += state.rows if self.skip <= self.seen < end else 0
        self.seen += 1

    def cleanup_fit(self, state: Any) -> None:
        if self.profiler is not None and self.seen < self.skip + self.steps + self.profiled:
            self.profiler.stop()


def device_time(profiler: Any) -> tuple[int, float]:
    """Kernels and copies that ran on the device, and seconds in which at least one did."""
    spans = []
    for event in profiler.events():
        ours = "CUDA" in str(event.device_type) and not getattr(event, "is_user_annotation", False)
        if ours and not event.name.startswith(("Optimizer.", "ProfilerStep", "## ")):
            spans.append((event.time_range.start, event.time_range.end))
    busy, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return len(spans), busy * 1e-6


def timed(context: Context, name: str, switch: Callable[[Learner], Any]) -> dict[str, Any]:
    """Steps and rows a second of a learner; on a GPU also kernels a step and how long the device idles."""
    skip, steps = _stretch(context, name)
    learn = make(name, context.where("full"))
    learn.data.valid_dl = None
    switch(learn)
    watch = Stopwatch(skip, steps, 10 if context.on_gpu else 0, context.wait)
    epochs = -(-(skip + steps + watch.profiled + 1) // len(learn.data.train_dl))
    learn.fit(RATES[name], epochs, callbacks=[watch])
    each = watch.seconds / steps
    found = {"steps/s": 1 / each, "rows/s": watch.rows / watch.seconds, "ms": 1e3 * each}
    if watch.profiler is not None:
        kernels, busy = device_time(watch.profiler)
        found |= {"kernels": kernels / watch.profiled, "idle": max(0.0, 1 - busy / watch.profiled / each)}
    graphs: Any = next(iter(learn._of_graphs), None)
    return found if graphs is None else found | {"replayed": graphs.replayed, "of": watch.seen}


def _stretch(context: Context, name: str) -> tuple[int, int]:
    """Steps to skip and to time."""
    if context.quick:
        return 1, 3
    return (6, 30) if name in ("language model", "text classifier") else (20, 200)


def by_hand(context: Context, name: str, dtype: torch.dtype | None) -> dict[str, Any]:
    """The loop that everybody writes, for the same network, loader and optimizer."""
    skip, steps = _stretch(context, name)
    learn = make(name, context.where("full"))
    model, loader, device = learn.model, learn.data.train_dl, learn.device
    params = [[p for p in group.params if p.requires_grad] for group in learn.groups]
    wds = learn.groups.spread(0.01 if learn.wd is None else learn.wd, "weight decay")
    opt = torch.optim.AdamW(
        [{"params": own, "weight_decay": wd} for own, wd in zip(params, wds, strict=True) if own],
        lr=RATES[name], fused=True,
    )  # fmt: skip
    every = list(itertools.chain.from_iterable(params))
    regularise = getattr(learn, "reg_fn", None)
    model.train()
    losses, rows, started = [], 0, 0.0
    passes = itertools.chain.from_iterable(
        device_batches(loader, device, training=True) for _ in itertools.count()
    )
    for number, batch in enumerate(itertools.islice(passes, skip + steps)):
        if number == skip:
            context.wait()
            started = time.perf_counter()
        inputs, target = split_batch(batch)
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            output = model(*inputs)
            preds, extras = (output[0], output[1:]) if isinstance(output, tuple) else (output, ())
            loss = learn.loss_fn(preds, target)
            total = regularise(loss, extras) if regularise is not None and extras else loss
        total.backward()
        if learn.clip is not None:
            torch.nn.utils.clip_grad_norm_(every, learn.clip)
        opt.step()
        opt.zero_grad()
        losses.append(loss.detach())
        rows += len(target) if number >= skip else 0
    context.wait()
    seconds = time.perf_counter() - started
    return {"steps/s": steps / seconds, "rows/s": rows / seconds, "ms": 1e3 * seconds / steps}


MODES: dict[str, Callable[[Learner], Any]] = {
    "fp32": lambda learn: learn.to_fp32(),
    "bf16": lambda learn: learn.to_bf16(),
    "fp16": lambda learn: learn.to_fp16(),
    "bf16, graphs": lambda learn: learn.to_bf16().cuda_graphs(),  # last: if it fails, what follows may
}


def speed(context: Context, name: str) -> dict[str, Any]:
    """Every format beside the hand-written loop in that format; "x by hand" is how many times as fast."""
    hand = {"fp32": by_hand(context, name, None), "bf16": by_hand(context, name, torch.bfloat16)}
    found: dict[str, Any] = {f"{mode} by hand": row for mode, row in hand.items()}
    errors = []
    for mode, switch in MODES.items():
        try:
            found[mode] = timed(context, name, switch)
        except Exception:  # the other formats are measured all the same
            errors.append(f"{mode}: {traceback.format_exc()}")
            found[mode] = {"failed": True}
            continue
        beside = hand.get(mode.partition(",")[0])
        if beside is not None:
            found[mode]["x by hand"] = found[mode]["steps/s"] / beside["steps/s"]
        context.note(found)
    if errors:
        raise RuntimeError("\n".join(errors))
    return found


def compiled(context: Context, name: str) -> dict[str, Any]:
    """`compile(mode="reduce-overhead")` in bfloat16; with the seconds that it takes once."""
    from zoo.engine.speed import find_compiler

    if name == "language model":
        return {"why": "a model that carries a state from batch to batch is not for CUDA graphs"}
    if context.quick and name != "ratings":
        return {"why": "a quick run compiles one network"}
    if find_compiler() is None:
        return {"why": "there is no C++ compiler"}
    options: dict[str, Any] = {"mode": "reduce-overhead"} if context.on_gpu else {"backend": "aot_eager"}
    started = time.perf_counter()
    found = timed(context, name, lambda learn: learn.to_bf16().compile(**options))
    torch._dynamo.reset()
    return found | {"all seconds": time.perf_counter() - started}


def operations(context: Context, name: str) -> dict[str, Any]:
    """What a step in bfloat16 asks of the device; which of launching, arithmetic and memory binds."""
    learn = make(name, context.where("full", precision="bf16"), None)
    counted = learn.count_operations()
    counted.flops += max(1, counted.steps) * recurrent_flops(learn)
    ceilings = {**H200, **context.ceilings}
    least = counted.least_seconds(ceilings["bf16 FLOP/s"], ceilings["bytes/s"])
    steps = max(1, counted.steps)
    return {
        "rows": counted.rows // steps,
        "kernels": counted.kernels / steps,
        f"kernels x {1e6 * LAUNCH_SECONDS:.0f} us, in ms": 1e3 * least["launches"],
        "GFLOP": counted.flops / steps / 1e9,
        "arithmetic, in ms": 1e3 * least["arithmetic"],
        "MB": counted.traffic / steps / 1e6,
        "memory, in ms": 1e3 * least["memory"],
        "binds": max(least, key=lambda kind: least[kind]),
        "waits": sorted({str(spot) for spot in counted.waits}),
    }


def recurrent_flops(learn: Learner) -> int:
    """Arithmetic of the recurrent layers in a step on the first batch, which is one operation to torch and is
    not counted by it.
    """
    layers = [m for m in learn.model.modules() if hasattr(m, "weight_hh") and hasattr(m, "weight_ih")]
    if not layers:
        return 0
    words = learn.data.one_batch(True, "cpu")[0].numel()
    forward = sum(2 * words * (m.weight_ih.numel() + m.weight_hh.numel()) for m in layers)  # type: ignore[operator,union-attr]
    return 3 * forward  # the way back takes twice as much


def ceilings(context: Context) -> dict[str, Any]:
    """What the device does at most: products of matrices, copies, launches."""
    n = 256 if context.quick else 8192
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(n, n, device=context.device, dtype=dtype) for _ in range(2))
        found[f"{name} FLOP/s"] = (
            2 * n**3 / seconds_of(context, lambda a=a, b=b: a @ b, 3 if name == "fp32" else 10)
        )
    big = torch.zeros((1 << 20) if context.quick else (1 << 31), device=context.device, dtype=torch.uint8)
    target = torch.empty_like(big)
    found["bytes/s"] = 2 * big.numel() / seconds_of(context, lambda: target.copy_(big), 5)
    little = torch.zeros(8, device=context.device)
    found["launch, in us"] = 1e6 * seconds_of(context, lambda: little.add_(1), 1000)
    context.ceilings.update(found)
    return found


def seconds_of(context: Context, work: Callable[[], Any], times: int) -> float:
    """Seconds a time, after one that is not counted."""
    work()
    context.wait()
    started = time.perf_counter()
    _repeat(work, range(times))
    context.wait()
    return (time.perf_counter() - started) / times


def _repeat(work: Callable[[], Any], times: Iterable[int]) -> None:
    for _ in times:
        work()
