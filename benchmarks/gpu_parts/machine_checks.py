"""Memory, files, streaming and the tests marked `gpu`, on the device."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any
from unittest import mock

import numpy as np
import torch

from gpu_parts.domains import RATES, make, scratch, shortened
from gpu_parts.running import Context
from gpu_parts.training import difference, expect, full_float32, losses_of
from gpu_parts.uninstalled import ROOT
from zoo import load_learner

BUDGET = 3 << 30  # bytes of the device that may be taken while its memory is "full"


def gpu_tests(context: Context, selected: str = "not compiled_on") -> dict[str, Any]:
    """The tests marked `gpu`, in a process of their own.

    Args:
        context: with the seconds that they have.
        selected: pytest's `-k`.
    """
    files = sorted(
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if "mark.gpu" in file.read_text(encoding="utf8")
    )
    if context.quick:
        files = [file for file in files if file.endswith("core/test_learner.py")]
    command = [
        sys.executable, "-m", "pytest", *files, "-m", "gpu", "-k", selected, "-vv", "-W", "default", "-rfE",
        "-p", "no:cacheprovider", "--tb=short", f"--timeout={max(30, int(context.seconds))}",
    ]  # fmt: skip
    log = scratch() / "tests.log"
    with log.open("w") as out:
        child = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        try:
            code = child.wait(timeout=max(5.0, context.seconds - 3))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    told = log.read_text(errors="replace")
    states = re.findall(r"^(tests/\S+::.+?) (PASSED|FAILED|SKIPPED|ERROR)", told, re.M)
    found = {state.lower(): sum(own == state for _, own in states) for state in ("PASSED", "SKIPPED")}
    bad = [name for name, state in states if state in ("FAILED", "ERROR")]
    expect(code is not None, f"stopped after {context.seconds:.0f} s: {found}, failed {bad}\n{told[-3000:]}")
    expect(code in (0, 5), f"{found}, failed {bad}\n{told[-8000:]}")
    return found


def compile_tests(context: Context) -> dict[str, Any]:
    """Those that compile, which takes long."""
    if not context.on_gpu:
        return {"why": "there is no GPU"}
    return gpu_tests(context, "compiled_on")


def memory(context: Context) -> dict[str, Any]:
    """A batch that does not fit: what is said, how the learner goes on, which size is found."""
    learn = make("tables", context.where("full", precision="fp32"))
    learn.data.valid_dl = None
    whole = learn.data.train_dl
    found: dict[str, Any] = {}
    if context.on_gpu:
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(min(1.0, BUDGET / total))
        learn.data.train_dl = whole.with_bs(whole.n_rows)
        try:
            learn.fit(1e-3, 1)
        except torch.OutOfMemoryError as error:
            found["advice"] = next((note for note in error.__notes__ if "try bs=" in note), "none")
            del error
        else:
            raise AssertionError(f"a batch of {whole.n_rows:,} rows fits into {BUDGET:,} bytes")
        expect(found["advice"] != "none", "the error gives no advice")
        found["MB taken after it"] = torch.cuda.memory_allocated() / 1e6
    small = shortened(whole, 3)
    taken = []
    for _ in range(3):
        learn.data.train_dl = small
        learn.fit(1e-3, 1)
        taken.append(torch.cuda.memory_allocated() if context.on_gpu else 0)
    found["bytes that fits leave behind"] = [after - taken[1] for after in taken[1:]]
    expect(taken[2] - taken[1] < 1 << 20, f"each fit keeps memory: {taken}")
    learn.data.train_dl = whole
    result = learn.find_batch_size(max_bs=4 * whole.bs if context.quick else None, seconds=5)
    found |= {"batch size found": result.bs, "limit": result.limit}
    if context.on_gpu:
        expect(result.limit == "memory", f"the search ended for another reason: {result}")
    learn.data.train_dl = shortened(whole.with_bs(result.suggested), 2)
    learn.fit(1e-3, 1)
    if context.on_gpu:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return found


def exported(context: Context, name: str) -> dict[str, Any]:
    """A file written on the device answers on the CPU as it did there, and the other way round."""
    with full_float32():
        learn = make(name, context.where(), 5)
        *inputs, _ = learn.data.one_batch(True, "cpu")
        rows = tuple(part[:8] for part in inputs)
        learn.fit(RATES[name], 1)
        there = np.asarray(learn.predict_array(rows))
        file = learn.export(scratch() / "there.zip")
        on_cpu = load_learner(file, device="cpu")
        here = np.asarray(on_cpu.predict_array(rows))
        back = load_learner(file, device="cpu")
        second = scratch() / "here.zip"
        back.export(second)
        again = np.asarray(load_learner(second, device=context.device).predict_array(rows))
    found = {
        "answers": list(there.shape), "there and on the CPU differ by": float(np.abs(there - here).max()),
        "and back by": float(np.abs(there - again).max()),
    }  # fmt: skip
    size = max(1.0, float(np.abs(there).max()))
    expect(np.allclose(there, here, rtol=2e-3, atol=2e-3 * size), f"answers differ: {found}")
    expect(np.allclose(there, again, rtol=2e-3, atol=2e-3 * size), f"answers differ: {found}")
    return found


def streamed(context: Context) -> dict[str, Any]:
    """Rows that fill more than half of the device (as it is told) come through pinned memory."""
    steps = 5 if context.quick else 60
    resident = losses_of(make("tables", context.where(), steps), 1e-3)
    learn = make("tables", context.where(), steps)
    loader = learn.data.train_dl
    with mock.patch.object(torch.cuda, "mem_get_info", return_value=(1000, 1000)):
        streaming = losses_of(learn, 1e-3)
        found = {
            "losses differ by": difference(streaming, resident),
            "kept on": str(loader.tensors[0].device),
        }
        if context.on_gpu:
            found["pinned"] = next(iter(loader))[0].is_pinned()
    expect(found["losses differ by"] < 1e-3, f"streamed rows train otherwise: {found}")
    if context.on_gpu:
        expect(
            found["kept on"] == "cpu" and found["pinned"], f"rows do not come through pinned memory: {found}"
        )
    return found
