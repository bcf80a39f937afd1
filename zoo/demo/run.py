"""Runs the four domains one after the other and writes the report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo.data.loaders.seeding import set_seed
from zoo.demo import images, ratings, sales, text
from zoo.errors import did_you_mean
from zoo.reports.report import COLUMNS, summary_rows, write_report
from zoo.reports.section import Section

_DOMAINS: dict[str, tuple[str, Callable[..., Section]]] = {
    "images": ("handwritten digits", images.run),
    "tables": ("simulated store sales", sales.run),
    "text": ("docstrings of the installed libraries", text.run),
    "ratings": ("simulated film ratings", ratings.run),
}


@dataclass(frozen=True)
class DemoResult:
    """What a demo left behind.

    Attributes:
        sections: one a domain, in the order run.
        report: the HTML file.
        models: folders or files that `zoo.load_learner` opens.
        seconds: how long it all took.
    """

    sections: tuple[Section, ...]
    report: Path
    models: tuple[Path, ...]
    seconds: float

    def table(self) -> str:
        """The closing table as text."""
        rows = [COLUMNS, *summary_rows(self.sections)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def run(
    out: str | os.PathLike = "zoo-demo",
    *,
    seed: int = 42,
    scale: float = 1.0,
    only: str | None = None,
    echo: Callable[[str], None] = print,
) -> DemoResult:
    """Train a model in each of the four domains, without network or files.

    Args:
        out: folder for data, models and `report.html`; made if missing.
        seed: of the simulated data and of all training.
        scale: size of the data, 1 for the full demo (two to three minutes on two cores).
        only: one of images, tables, text, ratings; None runs all four.
        echo: gets every line of progress.

    Returns:
        The sections, the path of the report and the exported models.
    """
    if not 0 < scale <= 4:
        raise ValueError(f"scale is the size of the demo, more than 0 and at most 4, got {scale}")
    if only is not None and only not in _DOMAINS:
        raise ValueError(f"no demo {only!r}{did_you_mean(only, _DOMAINS)}; there are {', '.join(_DOMAINS)}")
    folder = Path(out)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    chosen = list(_DOMAINS) if only is None else [only]
    started = time.perf_counter()
    sections = []
    for number, name in enumerate(chosen, 1):
        what, train = _DOMAINS[name]
        echo(f"[{number}/{len(chosen)}] {name}: {what}")
        begun = time.perf_counter()
        set_seed(seed)
        section = train(folder, seed=seed, scale=scale)
        section.seconds = time.perf_counter() - begun
        result = f"{section.metric} {section.reached:.3f} ({section.reference}); {section.verdict}"
        echo(f"      {result}, {section.seconds:.0f} s\n")
        sections.append(section)
    seconds = time.perf_counter() - started
    report = write_report(sections, folder / "report.html", seconds)
    result = DemoResult(tuple(sections), report, tuple(section.model for section in sections), seconds)
    echo(result.table())
    echo(f"\n{seconds:.0f} s in all. Report: {report}\nModels: {', '.join(map(str, result.models))}")
    return result
