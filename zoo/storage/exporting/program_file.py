"""Graphs as files of `torch.export`: a program that PyTorch runs without the code of the model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from zoo.storage.exporting.graph import Graph
from zoo.storage.files import atomic_write

TOLD = "zoo.json"


def traced(graph: Graph) -> ExportedProgram:
    """The program of a graph, for any number of rows (and tokens).

    Raises:
        TypeError: if the exporter of PyTorch does not take the network, or fixes a size that must be free;
            in one line, with its reason.
    """
    dims: dict[str, Any] = {}
    shapes = tuple(
        {
            place: dims.setdefault(axis, Dim(axis, min=1))
            for place, axis in enumerate(port.axes)
            if isinstance(axis, str)
        }
        for port in graph.inputs
    )
    try:
        with torch.no_grad(), warnings.catch_warnings():
            for kind, message in _WARNED:
                warnings.filterwarnings("ignore", message=message, category=kind)
            return torch.export.export(graph.module, graph.drawn(), dynamic_shapes=(shapes,))
    except Exception as error:
        name = type(getattr(graph.module, "network", graph.module)).__name__
        raise TypeError(f"{name} cannot be exported as a graph: {_reason(error)}") from error


def write_program(graph: Graph, path: str | Path) -> Path:
    """Write a graph as a `.pt2` file, atomically, with what it is told beside it (`read_told`).

    Raises:
        TypeError: as of `traced`; nothing is written then.
    """
    import json

    program = traced(graph)
    target = Path(path)
    with atomic_write(target) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file, extra_files={TOLD: json.dumps(graph.told)})
    return target.resolve()


def load_program(path: str | Path) -> tuple[ExportedProgram, dict[str, Any]]:
    """A program that `write_program` wrote, and what its file tells of it.

    Example: `program, told = load_program("cats.pt2"); program.module()(pictures)`
    """
    import json

    extra: dict[str, Any] = {TOLD: ""}
    with Path(path).open("rb") as file:
        program = torch.export.load(file, extra_files=extra)
    return program, json.loads(extra[TOLD] or "{}")


_WARNED: list[tuple[type[Warning], str]] = []


def _reason(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
