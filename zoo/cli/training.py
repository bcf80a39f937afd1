"""`zoo train` and `zoo lr-find`: from what lies at a path to a run folder."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.cli.console import Console
from zoo.cli.planning import script_of
from zoo.cli.plans import Choice, Mendable, Plan
from zoo.cli.run_folder import RunFolder, fresh_folder
from zoo.cli.script import Running, load_script
from zoo.cli.worker import HISTORY, WEIGHTS

_NEAR = 3.0  # how far the finder may lead away from the rate that a domain's defaults were made with
_OF_TIME = 0.8  # share of the seconds that whole epochs are planned for


def find_rate(learn: Any, plan: Plan) -> tuple[Plan, float]:
    """The plan with a rate by the finder, which leaves no trace, and the seconds that a batch took it."""
    if plan.lr is not None:
        choice = Choice("rate", f"{plan.lr:g}", "as you said", "--lr")
        return replace(plan, choices=[*plan.choices, choice]), 0.0
    started = time.perf_counter()
    found = learn.lr_find()
    took = (time.perf_counter() - started) / max(1, len(found.lrs))
    if found.interrupted:
        raise KeyboardInterrupt
    told = {name: lr for name, lr in found.suggestions().items() if not math.isnan(lr)}
    near = sorted(lr for lr in told.values() if plan.usual_lr / _NEAR <= lr <= plan.usual_lr * _NEAR)
    said = ", ".join(f"{name} {lr:.2g}" for name, lr in told.items()) or "nothing, its curve is flat"
    if near:
        lr = float(f"{math.exp(sum(map(math.log, near)) / len(near)):.2g}")
        why = f"the finder says {said}"
    else:
        lr, why = plan.usual_lr, f"the usual one; the finder says {said}, which is far from it"
    return replace(plan, lr=lr, choices=[*plan.choices, Choice("rate", f"{lr:g}", why, "--lr")]), took


def within_time(learn: Any, plan: Plan, spent: float, per_batch: float) -> Plan:
    """The plan with as many epochs as its seconds allow."""
    if plan.seconds is None:
        return plan
    left = plan.seconds - spent
    if left < 1:
        raise Mendable(f"--seconds {plan.seconds:g} are over before the training began ({spent:.0f} s)")
    batches = len(learn.data.train_dl)
    possible = max(1, int(_OF_TIME * left / max(1e-9, batches * per_batch))) if per_batch else plan.epochs
    epochs = min(plan.epochs, possible)
    told = Choice("time", f"{plan.seconds:g} s", f"{epochs} of {plan.epochs} epochs fit in", "--seconds")
    return replace(plan, epochs=epochs, seconds=round(left, 1), choices=[*plan.choices, told])


def train(
    plan: Plan,
    out: Path | None,
    console: Console,
    *,
    eject: Path | None = None,
    command: str = "",
    processes: int = 1,
) -> dict[str, Any]:
    """Trains a plan into a run folder; returns what it reached.

    Args:
        plan: what is trained.
        out: the run folder; a new one by default.
        console: where it is told.
        eject: a further file for the script.
        command: as the user typed it.
        processes: that share the batches.
    """
    started = time.perf_counter()
    folder = fresh_folder(out, plan)
    console.choices(plan.choices)
    about = f"What `{command or 'zoo train'}` ran."
    running = _running(plan if plan.lr is not None else replace(plan, lr=plan.usual_lr), folder, about)
    learn = running.learner(running.data())
    learn.progress = not console.as_json
    told = len(plan.choices)
    plan, per_batch = find_rate(learn, plan)
    plan = within_time(learn, plan, time.perf_counter() - started, per_batch)
    console.choices(plan.choices[told:])
    text = script_of(plan, folder, about)
    run = RunFolder(folder)
    run.write_plan(plan, text)
    if eject is not None:
        eject.write_text(text, encoding="utf8")
    if processes > 1:
        in_processes(learn, folder, processes)
    else:
        load_script(text, str(run.script)).train(learn)
    if not learn.history:
        run.discard()
        raise KeyboardInterrupt
    found = run.write_results(learn, plan, time.perf_counter() - started)
    return found


def in_processes(learn: Any, folder: Path, processes: int) -> None:
    """Trains a run folder in several processes of this machine; the learner takes what came of it.

    Raises:
        RuntimeError: where one of them failed; they have told why.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    done = subprocess.run([*command, str(processes), "-m", "zoo.cli.worker", str(folder)], check=False)
    if done.returncode:
        raise RuntimeError(f"one of {processes} processes ended with exit code {done.returncode}, see above")
    learn.load(folder / "models" / WEIGHTS)
    learn.history = json.loads((folder / HISTORY).read_text(encoding="utf8"))


def _running(plan: Plan, folder: Path, about: str) -> Running:
    return load_script(script_of(plan, folder, about), str(folder / "train.py"))


def read_run(folder: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        Mendable: where it is none.
    """
    file = folder / "config.json"
    try:
        return Plan.from_dict(json.loads(file.read_text(encoding="utf8"))["plan"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Mendable(
            f"--from {folder}: it is no run folder ({file.name} cannot be read: {error})"
        ) from error


def as_command(words: list[str]) -> str:
    """A command as one would type it."""
    return shlex.join(["zoo", *words])
