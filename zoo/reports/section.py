"""One domain's part of the demo: what was done, what came out, and the pictures of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from zoo import load_learner


@dataclass
class Section:
    """A domain in the report.

    Attributes:
        domain: heading of the section, for example "Images".
        story: what the data are and what the model learns from them.
        metric: name of the number.
        reached: its value on rows the model never saw.
        reference: what to compare it with, in words with numbers.
        verdict: the goal in words, and whether it was reached.
        model: the exported learner.
        seconds: time the domain took.
        parts: captions with HTML, in reading order.
    """

    domain: str
    story: str
    metric: str = ""
    reached: float = float("nan")
    reference: str = ""
    verdict: str = ""
    model: Path = Path()
    seconds: float = 0.0
    parts: list[tuple[str, str]] = field(default_factory=list)

    def expect(self, goal: str, met: bool) -> None:
        """Note what the model should do at least, and whether it does."""
        self.verdict = f"{goal}: {'reached' if met else 'missed'}"

    def add_figure(self, caption: str, figure: Figure) -> None:
        """Keep a figure as an inline PNG."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=80)
        encoded = base64.b64encode(buffer.getvalue()).decode()
        self.parts.append((caption, f'<img alt="{_escape(caption)}" src="data:image/png;base64,{encoded}">'))

    def add_table(self, caption: str, frame: pd.DataFrame) -> None:
        """Keep a frame as an HTML table; its cells are escaped."""
        html = frame.to_html(index=False, border=0, float_format=lambda value: f"{value:.4g}", justify="left")
        self.parts.append((caption, html))

    def add_curves(self, learn: Any, finder: Any, name: str = "") -> None:
        """The finder's plot and the loss curves of a learner."""
        self.add_figure(f"{name}learning-rate finder", finder.plot())
        self.add_figure(f"{name}loss while training", learn.sched.plot_loss())


def export_and_check(learn: Any, path: Path, raw: Any) -> Path:
    """Export a learner, open it again, and compare its predictions on raw inputs.

    Raises:
        RuntimeError: if the opened learner predicts anything else.
    """
    learn.export(path)
    before, after = learn.predict_batch(raw), load_learner(path, device=learn.device).predict_batch(raw)
    if not _equal(before, after):
        raise RuntimeError(f"the learner opened from {path} predicts other values than the one exported")
    return path


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(np.allclose(a, b, rtol=1e-5, atol=1e-6))
    return len(a) == len(b) and all(
        left.label == right.label and abs(left.probability - right.probability) < 1e-5
        for left, right in zip(a, b, strict=True)
    )


def scatter_with_names(
    points: np.ndarray, names: Sequence[str], groups: Sequence[Any] | None = None
) -> Figure:
    """2-D points with their names beside them.

    Args:
        points: shape (n, 2).
        names: n labels.
        groups: n keys; points of one key share a colour.
    """
    figure = Figure(figsize=(6, 5), layout="constrained")
    axis = figure.add_subplot()
    keys = [0] * len(points) if groups is None else list(groups)
    for number, key in enumerate(dict.fromkeys(keys)):
        chosen = np.array([other == key for other in keys])
        axis.scatter(*points[chosen].T, s=18, color=f"C{number % 10}", label=str(key))
    for (x, y), name in zip(points, names, strict=True):
        axis.annotate(name, (x, y), xytext=(3, 2), textcoords="offset points", fontsize=7)
    if groups is not None:
        axis.legend(fontsize=7)
    axis.set(xlabel="first principal component", ylabel="second")
    return figure


def confusion(truth: Sequence[str], guessed: Sequence[str], classes: Sequence[str]) -> Figure:
    """Counts of (true class, guessed class) as a coloured table."""
    counts = confusion_matrix(truth, guessed, labels=list(classes))
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axis = figure.add_subplot()
    axis.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axis.text(
            column, row, count, ha="center", va="center", color="w" if count > counts.max() / 2 else "k"
        )
    axis.set(xlabel="guess", ylabel="truth")
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    return figure


def principal_plane(table: np.ndarray) -> np.ndarray:
    """The rows of a table along its two main directions, shape (n, 2)."""
    centred = table.astype(np.float64) - table.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
