"""Whether exported files answer as their learner does, how large they are and how quick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.storage.exporting.graph import Graph
from zoo.storage.exporting.needed import needed
from zoo.storage.exporting.of_learner import graph_of_learner
from zoo.storage.exporting.program_file import load_program
from zoo.storage.exporting.proof import onnx_session
from zoo.storage.load_learner import load_learner

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-4
"""What rounding may change, as a share of the largest answer (of at least 1)."""

ROWS, TOKENS = (1, 7), (5, 93)

_SECONDS = 0.5  # that each latency is measured for, at most

Answer = Callable[[tuple[Tensor, ...]], np.ndarray]


@dataclass(frozen=True)
class CheckedFile:
    """An exported file beside its learner.

    Attributes:
        format: "onnx", "program" or "archive".
        path: of the file or folder.
        difference: the largest, over all answers that were compared.
        allowed: what rounding may change of answers this large.
        size_mb: in million bytes.
        ms: milliseconds for one input, the median.
        learner_ms: those of the learner itself, by `predict_array`.
    """

    format: str
    path: Path
    difference: float
    allowed: float
    size_mb: float
    ms: float
    learner_ms: float

    @property
    def same(self) -> bool:
        """Whether it answers as the learner does, up to rounding."""
        return self.difference <= self.allowed


@dataclass(frozen=True)
class ExportCheck:
    """What `check_export` found; prints as a table.

    Attributes:
        files: one for each exported file.
        compared: how many rows were compared.
    """

    files: list[CheckedFile]
    compared: int

    @property
    def same(self) -> bool:
        """Whether all files answer as the learner does, up to rounding."""
        return all(file.same for file in self.files)

    def frame(self) -> pd.DataFrame:
        """One row a file."""
        import pandas as pd

        names = ("format", "difference", "same", "size_mb", "ms", "learner_ms")
        return pd.DataFrame([{name: getattr(file, name) for name in names} for file in self.files])

    def __repr__(self) -> str:
        heading = (
            f"{'format':<9}{'largest difference':>20}{'same':>6}{'MB':>9}{'ms':>9}{'learner ms':>12}  file"
        )
        lines = [
            f"{file.format:<9}{file.difference:>20.2g}{'yes' if file.same else 'NO':>6}{file.size_mb:>9.2f}"
            f"{file.ms:>9.2f}{file.learner_ms:>12.2f}  {file.path.name}"
            for file in self.files
        ]
        return "\n".join([heading, *lines, f"{self.compared} rows compared; times are of one input"])


def check_export(learn: Any, path: str | Path | Iterable[str | Path], *, inputs: Any = None) -> ExportCheck:
    """Compares exported files with the learner that wrote them, on inputs made for that.

    Args:
        learn: the learner.
        path: a file of `export_onnx` or `export_program`, a file or folder of `export`, or several of them.
        inputs: as of `export_onnx`, where the data do not tell what the model reads.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without onnxruntime, for an ONNX file.

    Example: `learn.export_onnx("cats.onnx"); print(check_export(learn, "cats.onnx"))`
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    graph = graph_of_learner(learn, inputs)
    batches = [graph.drawn(rows, tokens) for rows in ROWS for tokens in _lengths(graph)]
    own = _of_learner(learn, graph)
    expected = [own(batch) for batch in batches]
    learner_ms = _milliseconds(lambda: own(batches[0]))
    files = []
    for one in paths:
        kind, answer = _opened(one, graph)
        worst = allowed = 0.0
        for batch, truth in zip(batches, expected, strict=True):
            worst = max(worst, _difference(answer(batch), truth, one))
            allowed = max(allowed, TOLERANCE * max(1.0, float(np.abs(truth).max(initial=0.0))))
        ms = _milliseconds(lambda answer=answer: answer(batches[0]))
        files.append(CheckedFile(kind, one, worst, allowed, _size(one) / 1e6, ms, learner_ms))
    return ExportCheck(files, sum(len(batch[0]) for batch in batches))


def _lengths(graph: Graph) -> tuple[int, ...]:
    return TOKENS if any("tokens" in port.axes for port in graph.inputs) else TOKENS[:1]


def _of_learner(learn: Any, graph: Graph) -> Answer:
    """The learner's own answers to inputs of its graph."""

    def answer(batch: tuple[Tensor, ...]) -> np.ndarray:
        read = [
            part if port.prepare is None else port.prepare(part)
            for part, port in zip(batch, graph.inputs, strict=True)
        ]
        read = read[: len(read) - graph.n_state]
        return learn.predict_array(tuple(read) if len(read) > 1 else read[0], log=False)

    return answer


def _opened(path: Path, graph: Graph) -> tuple[str, Answer]:
    """The kind of a file, and what answers with it."""
    if not path.exists():
        raise FileNotFoundError(f"no exported file {path}")
    if path.suffix == ".onnx":
        needed("onnxruntime")
        session = onnx_session(path)
        names = [port.name for port in graph.inputs]

        def by_onnx(batch: tuple[Tensor, ...]) -> np.ndarray:
            found = session.run(None, {n: part.numpy() for n, part in zip(names, batch, strict=True)})
            return np.asarray(found[0])

        return "onnx", by_onnx
    if path.suffix == ".pt2":
        module = load_program(path)[0].module()

        def by_program(batch: tuple[Tensor, ...]) -> np.ndarray:
            with torch.inference_mode():
                return module(*batch)[0].numpy()

        return "program", by_program
    return "archive", _of_learner(load_learner(path, "cpu"), graph)


def _difference(found: np.ndarray, truth: np.ndarray, path: Path) -> float:
    if found.size != truth.size:
        raise ValueError(
            f"{path} answers with shape {found.shape} and the learner with {truth.shape}: it is of "
            "another learner"
        )
    apart = np.abs(found.reshape(truth.shape).astype("float64") - truth)
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def _size(path: Path) -> int:
    return sum(
        part.stat().st_size for part in ([path] if path.is_file() else path.rglob("*")) if part.is_file()
    )


def _milliseconds(run: Callable[[], Any]) -> float:
    """The median time of a call, after two that do not count."""
    for _ in range(2):
        run()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or (len(times) < 50 and time.perf_counter() - begin < _SECONDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3
