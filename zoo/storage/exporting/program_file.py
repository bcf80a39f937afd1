"""Graphs as files of `torch.export`: a program that PyTorch runs without the code of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from zoo.storage.exporting.graph import Graph
from zoo.storage.exporting.proof import prove
from zoo.storage.exporting.refusal import refusal
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
        with torch.no_grad():
            program = torch.export.export(graph.module, graph.drawn(), dynamic_shapes=(shapes,))
    except Exception as error:
        raise refusal(graph.name, error) from error
    program.example_inputs = None  # they may be rows of the user's
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # nobody has to know the folders of this machine
    return program


def write_program(graph: Graph, path: str | Path) -> Path:
    """Write a graph as a `.pt2` file, atomically, with what it is told beside it (`read_told`).

    Raises:
        TypeError: as of `traced`; nothing is written then.
    """
    program = traced(graph)
    target = Path(path)
    with atomic_write(target) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file, extra_files={TOLD: json.dumps(graph.told)})
        file.flush()
        module = load_program(temporary)[0].module()
        with torch.no_grad():
            prove(graph, module, "a program")
    return target.resolve()


def load_program(path: str | Path) -> tuple[ExportedProgram, dict[str, Any]]:
    """A program that `write_program` wrote, and what its file tells of it.

    Example: `program, told = load_program("cats.pt2"); program.module()(pictures)`
    """
    extra: dict[str, Any] = {TOLD: ""}
    with Path(path).open("rb") as file:
        program = torch.export.load(file, extra_files=extra)
    return program, json.loads(extra[TOLD] or "{}")
