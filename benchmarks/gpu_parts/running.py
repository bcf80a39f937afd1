"""Runs parts one after the other against a clock; whatever happens, what is done is on disk."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from report import machine

from gpu_parts.domains import Where

SHORTEST = 0.5  # a share of a part's usual time that must be left for it to begin


class OutOfTime(BaseException):
    """The time of a part is over; no ordinary handler of errors takes it."""


@dataclass
class Context:
    """What every part is given.

    Attributes:
        folder: of the prepared members.
        device: "cuda" or "cpu".
        quick: as little of everything as possible.
        seconds: that the running part has.
        ceilings: what the device can do at most, by name.
        chosen: what an earlier part found to be better, for later ones.
        note: keeps what is known so far, in case the part does not come to its end.
    """

    folder: Path
    device: str
    quick: bool
    seconds: float = 60.0
    ceilings: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    note: Callable[[dict[str, Any]], None] = lambda found: None

    def where(self, scale: str = "small", **options: Any) -> Where:
        """How to make learners; everything is tiny if the run is quick."""
        return Where(self.folder, self.device, "tiny" if self.quick else scale, **options)

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def wait(self) -> None:
        """Until the device is done."""
        if self.on_gpu:
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Part:
    """One thing to find out.

    Attributes:
        name: of the row in the table.
        run: returns what was found, by name; raises if something is wrong.
        usual: seconds it should take; it is left out if much less is left.
        most: seconds after which it is stopped.
        adapts: it makes good use of more time, as far as later parts keep what they usually take.
    """

    name: str
    run: Callable[[Context], dict[str, Any]]
    usual: float
    most: float
    adapts: bool = False


class Report:
    """The rows of a run as JSON and Markdown, written after every part.

    Args:
        out: folder of both files.
        name: of the files.
        title: first line of the Markdown.
        going_on: keep the rows that are there.
    """

    def __init__(self, out: Path, name: str, title: str, *, going_on: bool = False) -> None:
        self.out, self.name, self.title = out, name, title
        self.rows: list[dict[str, Any]] = []
        self.unfinished: dict[str, Any] = {}
        self.machine = device_facts()  # now, as a device that is lost tells nothing
        out.mkdir(parents=True, exist_ok=True)
        if going_on and self.json.is_file():
            found = json.loads(self.json.read_text())["parts"]
            self.rows = [row for row in found if row["state"] != "unfinished"]

    @property
    def json(self) -> Path:
        return self.out / f"{self.name}.json"

    @property
    def failed(self) -> list[str]:
        """Parts that went wrong."""
        return [row["part"] for row in self.rows if row["state"] in ("failed", "out of time")]

    def add(self, part: str, state: str, seconds: float, found: Any = None, error: str = "") -> None:
        known = self.unfinished.get("found", {}) if found is None else _plain(found)
        self.unfinished = {}
        row = {"part": part, "state": state, "seconds": round(seconds, 2), "found": known}
        self.rows.append({**row, "error": error} if error else row)
        self.write()
        print(f"[{state}] {part} ({seconds:.1f} s) {_told(row['found'])}", flush=True)
        if error:
            print(error, flush=True)

    def so_far(self, part: str, found: dict[str, Any]) -> None:
        """Write down what a running part knows already."""
        self.unfinished = {"part": part, "state": "unfinished", "seconds": 0.0, "found": _plain(found)}
        self.write()

    def write(self) -> None:
        """Both files, each replaced at once."""
        rows = [*self.rows, *filter(None, [self.unfinished])]
        about = {"benchmark": self.name, "when": datetime.now(UTC).isoformat(timespec="seconds")}
        whole = {**about, "machine": self.machine, "parts": rows}
        head = [f"# {self.title}", "", ", ".join(f"{k}: {v}" for k, v in whole["machine"].items()), ""]
        lines = ["| part | state | seconds | found |", "| --- | --- | ---: | --- |"]
        for row in rows:
            told = "see below" if _own_table(row) else _told(row["found"])
            cells = [row["part"], row["state"], f"{row['seconds']:.1f}", told]
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
        for row in rows:
            lines += _own_table(row)
            if row.get("error"):
                lines += ["", f"## {row['part']}: {row['state']}", "", "```", row["error"].rstrip(), "```"]
        _replace(self.json, json.dumps(whole, indent=1) + "\n")
        _replace(self.out / f"{self.name}.md", "\n".join([*head, *lines]) + "\n")


def run_parts(
    parts: Sequence[Part], context: Context, report: Report, seconds: float, broken: str | None = None
) -> bool:
    """Run parts until the time is over.

    Args:
        parts: the most valuable first.
        context: what they are given.
        report: where their results go; parts that it holds are not run again.
        seconds: for all of them.
        broken: name of a part that shall fail as if the device were lost, to see what happens then.

    Returns:
        Whether all were dealt with; otherwise the device is lost to this process, and another one may go on.
    """
    end = time.perf_counter() + seconds
    done = {row["part"] for row in report.rows}
    waiting = [part for part in parts if part.name not in done]
    for number, part in enumerate(waiting):
        left = end - time.perf_counter()
        if left < SHORTEST * part.usual:
            report.add(
                part.name,
                "skipped",
                0,
                {"why": f"{max(0, left):.0f} s left, it takes about {part.usual:.0f} s"},
            )
            continue
        later = sum(other.usual for other in waiting[number + 1 :]) if part.adapts else 0.0
        context.seconds = min(part.most, max(part.usual, left - later), left)
        context.note = functools.partial(report.so_far, part.name)
        started = time.perf_counter()
        state, found, error = "done", None, ""
        try:
            with _no_longer_than(context.seconds):
                if part.name == broken:
                    raise RuntimeError("this part was made to fail")
                found = part.run(context)
        except OutOfTime:
            state, error = "out of time", f"stopped after {context.seconds:.0f} s\n{traceback.format_exc()}"
        except Exception:
            state, error = "failed", traceback.format_exc()
        if found and "why" in found:
            state = "skipped"
        report.add(part.name, state, time.perf_counter() - started, found, error)
        try:
            lost = state in ("failed", "out of time") and (part.name == broken or not device_lives(context))
            _tidy(context)
        except Exception:  # an error of the device that shows only now
            lost = True
        if lost:
            return False
    return True


def go_on_in_new_process(seconds: float) -> None:
    """Replace this process, whose device is lost, by one that runs the parts that are left."""
    sys.stdout.flush()
    argv = [part for part in sys.argv if not part.startswith(("--going-on=", "--break="))]
    os.execv(sys.executable, [sys.executable, *argv, f"--going-on={seconds:.1f}"])


def device_lives(context: Context) -> bool:
    """Whether the device still computes; after some errors it does nothing more for this process."""
    try:
        torch.rand(2, device=context.device)  # refused after a recording that failed
        return int(torch.ones(2, device=context.device).sum().item()) == 2
    except Exception:
        return False


def device_facts() -> dict[str, Any]:
    """The machine, with what a card can do."""
    facts: dict[str, Any] = machine()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        facts |= {
            "capability": f"{card.major}.{card.minor}",
            "memory_gb": round(card.total_memory / 1e9, 1),
            "multiprocessors": card.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    def over(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds), 10)  # again, should something swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tidy(context: Context) -> None:
    """What one part switched or kept is no matter of the next."""
    torch.use_deterministic_algorithms(False)
    gc.collect()
    if context.on_gpu:
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "__float__"):
        return float(f"{float(value):.5g}")
    return str(value)


def _own_table(row: dict[str, Any]) -> list[str]:
    """Of a part that found several figures for each of several things."""
    several = {name: part for name, part in row["found"].items() if isinstance(part, dict)}
    if len(several) < 2:
        return []
    columns = list(dict.fromkeys(name for part in several.values() for name in part))
    lines = ["", f"## {row['part']}", "", "| | " + " | ".join(columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for name, part in several.items():
        cells = [_told(part[column]) if column in part else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _told(found: Any) -> str:
    """On one line, for a table."""
    if isinstance(found, dict):
        return "; ".join(f"{name}: {_told(part)}" for name, part in found.items())
    if isinstance(found, list):
        return ", ".join(map(_told, found))
    return f"{found:,.4g}" if isinstance(found, float) else str(found).replace("\n", " ")


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf8")
    fresh.replace(file)
