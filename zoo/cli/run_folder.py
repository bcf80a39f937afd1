"""What a training leaves behind: configuration, script, history, plots, model and report."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import platform
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zoo._version import __version__
from zoo.cli.plans import Mendable, Plan
from zoo.inspect.card import card_of
from zoo.inspect.measured import Measured
from zoo.reports.report import write_report
from zoo.reports.section import Section
from zoo.storage.files import atomic_write

log = logging.getLogger("zoo")


class RunFolder:
    """Files of a run: `config.json`, `train.py`, `history.csv`, `metrics.json`, `model.zip`, `card.md`,
    `report.html`.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script, self.model = folder / "train.py", folder / "model.zip"

    def write_plan(self, plan: Plan, script: str) -> None:
        """The configuration, from which the run can be run again, and its script."""
        versions = {
            "zoo": __version__, "torch": torch.__version__, "pandas": pd.__version__,
            "python": platform.python_version(),
        }  # fmt: skip
        self._json("config.json", {"plan": plan.to_dict(), "versions": versions})
        self._text("train.py", script)

    def discard(self) -> None:
        """Takes back what `write_plan` wrote, of a run that came to nothing."""
        for file in (self.folder / "config.json", self.script):
            file.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def write_results(self, learn: Any, plan: Plan, seconds: float) -> dict[str, Any]:
        """What the training reached, beside the quick model that one would try first.

        Returns:
            The metrics, those of the quick models, and where the files lie.
        """
        pd.DataFrame(learn.history).to_csv(self.folder / "history.csv", index=False)
        told = _measured(learn)
        model = learn.export(self.model)
        card = card_of(model)
        self._text("card.md", card.markdown())
        section = Section(f"{plan.domain}: {plan.choices[1].value}", _story(plan))
        section.add_table("what was taken for what", _choices(plan))
        found: dict[str, Any] = {"domain": plan.domain, "metrics": dict(learn.evaluate())}
        rows = [{"model": "this model", **found["metrics"]}]
        try:
            quick = learn.baseline()
        except ValueError as error:  # data that have no quick model, such as pairs without ratings
            found["baseline"] = None
            section.reference = str(error)
        else:
            others = [one for one in (quick.reference, *quick.others, quick) if one is not None]
            rows = [*({"model": one.name, **one.metrics} for one in others), *rows]
            found["baseline"] = {"name": quick.name, **quick.metrics}
            metric = next(reversed(found["metrics"]))
            section.metric, section.reached = metric, float(found["metrics"][metric])
            section.reference = f"{quick.name}: {quick.metrics[metric]:.4f}"
        section.add_table("on the rows held out", pd.DataFrame(rows))
        if told is not None:
            intervals = [(name, *found) for name, found in told.metrics.items()]
            section.add_table(
                "with intervals of 95%", pd.DataFrame(intervals, columns=["metric", "value", "from", "to"])
            )
        if learn.sched.losses:  # none where other processes have trained
            section.add_figure("loss while training", learn.sched.plot_loss())
            section.add_figure("rate while training", learn.sched.plot_lr())
        section.add_table("epochs", pd.DataFrame(learn.history))
        if getattr(learn.sched, "finder", None) is not None:
            section.add_figure("learning-rate finder", learn.sched.finder.plot())
        section.model, section.seconds = model, seconds
        report = write_report([section], self.folder / "report.html", seconds)
        found |= {
            "epochs": len(learn.history), "lr": plan.lr, "seconds": round(seconds, 1), "rows": rows,
            "model": str(model), "report": str(report), "run": str(self.folder),
        }  # fmt: skip
        self._json(
            "metrics.json", {name: found[name] for name in ("metrics", "baseline", "epochs", "seconds")}
        )
        return found

    def _json(self, name: str, value: Any) -> None:
        self._text(name, json.dumps(value, indent=1, default=str))

    def _text(self, name: str, text: str) -> None:
        with atomic_write(self.folder / name) as temporary:
            temporary.write_text(text, encoding="utf8")


def _measured(learn: Any) -> Measured | None:
    """Metrics with intervals, where the model has one answer a row."""
    try:
        return learn.measure()
    except (ValueError, TypeError) as error:
        log.info("no intervals: %s", error)
        return None


def fresh_folder(out: Path | None, plan: Plan) -> Path:
    """The folder of a new run: the one asked for, if it is empty or not there, or one with the time in its
    name below `runs`.

    Raises:
        Mendable: for a folder that holds something.
    """
    if out is None:
        return _own_folder(Path("runs") / f"{plan.domain}-{time.strftime('%Y%m%d-%H%M%S')}").resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and plan.checkpoint is None:
        raise Mendable(
            f"--out {out} is there already and not empty: name another folder, or --resume the run"
        )
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()


def _own_folder(folder: Path) -> Path:
    """A folder that nobody has: of two runs that begin in the same second the later gets a number."""
    for number in itertools.count(1):
        own = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with contextlib.suppress(FileExistsError):
            own.mkdir(parents=True)
            return own
    raise AssertionError("numbers do not end")


def _choices(plan: Plan) -> pd.DataFrame:
    rows = [(one.what, one.value, one.why, one.option) for one in plan.choices]
    return pd.DataFrame(rows, columns=["what", "taken", "why", "overrule with"])


def _story(plan: Plan) -> str:
    return f"Trained by `zoo train`, {plan.epochs} epochs at a rate of up to {plan.lr:g}."
