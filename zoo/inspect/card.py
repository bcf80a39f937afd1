"""A model card from an exported learner alone: nothing of it is typed by hand.

What is told follows Mitchell et al. 2019, "Model Cards for Model Reporting", as far as a file can know it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import some
from zoo.inspect.measured import Measured
from zoo.storage.archive import read_archive

_EPOCHS = 12  # rows of the history that are shown


@dataclass(frozen=True)
class Card:
    """A model card; print it, or write `markdown()` or `html()` to a file.

    Attributes:
        title: of the card.
        sections: headings with rows of (what, value).
    """

    title: str
    sections: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]

    def markdown(self) -> str:
        """The card as Markdown."""
        lines = [f"# {self.title}", ""]
        for heading, rows in self.sections:
            lines += [f"## {heading}", "", "| | |", "| --- | --- |"]
            lines += [f"| {_cell(what)} | {_cell(value)} |" for what, value in rows] + [""]
        return "\n".join(lines)

    def html(self) -> str:
        """The card as one page that needs nothing else."""
        parts = [f"<h1>{html.escape(self.title)}</h1>"]
        for heading, rows in self.sections:
            cells = "".join(
                f"<tr><th>{html.escape(what)}</th><td>{html.escape(value)}</td></tr>" for what, value in rows
            )
            parts.append(f"<h2>{html.escape(heading)}</h2><table>{cells}</table>")
        return _PAGE.format(title=html.escape(self.title), body="\n".join(parts))

    def __repr__(self) -> str:
        return self.markdown()


def card_of(path: str | Path) -> Card:
    """The card of an exported learner.

    Args:
        path: the folder or zip file that `Learner.export` wrote.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ArchiveError: if it is no exported learner.
    """
    from zoo.storage.load_learner import load_learner

    archive = read_archive(path)
    learn = load_learner(path, device="cpu")
    record = archive.config.get("record", {})
    sections = [
        ("Model", tuple(_model(archive, learn))),
        ("Inputs and answers", tuple(_inputs(learn))),
        ("Training", tuple(_training(record))),
        ("On rows held out", tuple(_measured(record, learn))),
        ("Limits", tuple(_limits(record, learn))),
    ]
    return Card(
        f"{Path(path).stem}: a model of {learn.domain}",
        tuple((head, rows) for head, rows in sections if rows),
    )


def _model(archive: Any, learn: Any) -> Iterator[tuple[str, str]]:
    yield "network", str(archive.config["model"]["name"])
    yield "numbers", f"{sum(tensor.numel() for tensor in archive.tensors.values()):,}"
    for name in ("zoo", "torch"):
        if name in archive.config:
            yield f"written by {name}", str(archive.config[name])
    if "sha256" in archive.config:
        yield "digest", str(archive.config["sha256"])


def _inputs(learn: Any) -> Iterator[tuple[str, str]]:
    data = learn.data
    yield "task", str(getattr(data, "task", None) or learn.activation.kind)
    yield from getattr(data, "card_rows", lambda: ())()
    classes = getattr(data, "classes", None)
    if classes:
        yield "classes", some(map(str, classes), 40)


def _training(record: Any) -> Iterator[tuple[str, str]]:
    if not record:
        yield "record", "none: the file was written by an older version, or by a learner that was not trained"
        return
    rows = record.get("rows", {})
    if rows:
        yield "rows", ", ".join(f"{name} {count:,}" for name, count in rows.items())
    for name in ("optimizer", "loss", "batch", "seed"):
        if record.get(name) is not None:
            yield name, str(record[name])
    history = record.get("history", [])
    yield "epochs", str(record.get("epochs", len(history)))
    for row in history[-_EPOCHS:]:
        told = ", ".join(
            f"{name} {_number(value)}" for name, value in row.items() if name not in ("epoch", "seconds")
        )
        yield f"epoch {row.get('epoch')}", told


def _measured(record: Any, learn: Any) -> Iterator[tuple[str, str]]:
    if record.get("measured"):
        found = Measured.from_dict(record["measured"])
        for name, (value, low, high) in found.metrics.items():
            told = f"{found.level:.0%} interval {low:.4f} to {high:.4f}, {found.rows:,} rows"
            if low == high:  # as where no row is wrong: resamples know no others
                told += f"; of so few, up to {3 / found.rows:.1%} may be otherwise (rule of three)"
            yield name, f"{value:.4f} ({told})"
    if learn.calibration is not None:
        found = learn.calibration
        told = f"expected calibration error {found.before.ece:.4f} before, {found.after.ece:.4f} after"
        yield "calibration", f"temperature {found.temperature:.3g}; {told}, on {found.rows:,} rows"


def _limits(record: Any, learn: Any) -> Iterator[tuple[str, str]]:
    if getattr(learn.data, "classes", None):
        yield "other classes", "every input gets one of the classes above, whatever it is"
    if learn.calibration is None and learn.activation.kind != "identity":
        yield "probabilities", "not calibrated: they may be too sure"
    if not record.get("measured"):
        yield "quality", "not measured with intervals (learn.measure() before the export does that)"
    elif record.get("history"):
        yield (
            "choices",
            "where the best epoch was kept, it was chosen on the rows held out, whose figures flatter",
        )


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "no number"
    return "no number" if value is None else str(value)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 55rem; margin: 0 auto; padding: 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; overflow-wrap: anywhere; }}
tr {{ border-bottom: 1px solid #8886; }}
th {{ width: 30%; font-weight: 600; }}
</style></head><body>
{body}
</body></html>
"""
