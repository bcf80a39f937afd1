"""The demo's HTML page: one file, nothing loaded from elsewhere."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from jinja2 import Environment, StrictUndefined

from zoo.reports.section import Section
from zoo.storage.files import atomic_write

COLUMNS = ("domain", "metric", "value", "reference", "goal", "seconds")


def summary_rows(sections: Sequence[Section]) -> list[tuple[str, ...]]:
    """Rows of the closing table, a cell for each of `COLUMNS`."""
    return [
        (s.domain, s.metric, f"{s.reached:.3f}", s.reference, s.verdict, f"{s.seconds:.0f}") for s in sections
    ]


def render(sections: Sequence[Section], seconds: float) -> str:
    """The report as HTML; every text is escaped, tables and pictures come as HTML made by `Section`."""
    template = files("zoo.reports").joinpath("template.html.j2").read_text(encoding="utf8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(template)
    threads = torch.get_num_threads()
    cores = "1 thread" if threads == 1 else f"{threads} threads"
    return page.render(
        sections=sections,
        columns=COLUMNS,
        rows=summary_rows(sections),
        seconds=seconds,
        machine=f"Python {platform.python_version()}, torch {torch.__version__}, {cores}",
    )


def write_report(sections: Sequence[Section], path: Path, seconds: float) -> Path:
    """Write the report to `path`, replacing an older one only when complete."""
    html = render(sections, seconds)
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf8")
    return path
