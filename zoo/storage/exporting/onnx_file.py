"""Graphs as ONNX files, which onnxruntime and others run without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zoo.storage.exporting.graph import Graph
from zoo.storage.exporting.needed import needed
from zoo.storage.exporting.program_file import traced
from zoo.storage.exporting.proof import onnx_session, prove
from zoo.storage.exporting.refusal import refusal
from zoo.storage.files import atomic_write

LARGEST = 2_000_000_000
"""Bytes of weights that an ONNX file holds: its format ends at 2 GB."""

OPSET = 20


def write_onnx(graph: Graph, path: str | Path) -> Path:
    """Write a graph as an `.onnx` file, atomically, with what it is told as metadata (`metadata_props`).

    Raises:
        ModuleNotFoundError: without the packages of the extra `export`.
        TypeError: if the network cannot be exported, in one line; nothing is written then.
        ValueError: if its weights are more than an ONNX file holds.
    """
    needed("onnx", "onnxscript", "onnxruntime")
    size = sum(part.numel() * part.element_size() for part in graph.module.state_dict().values())
    if size > LARGEST:
        raise ValueError(
            f"{path}: the weights take {size / 1e9:.1f} GB, and an ONNX file ends at 2: use export_program"
        )
    program = traced(graph)
    inputs, outputs = [port.name for port in graph.inputs], [str(part["name"]) for part in graph.outputs]
    try:
        found: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
        )
    except Exception as error:
        raise refusal(graph.name, error, "written as ONNX") from error
    _forget_tracing(found.model)
    _name_axes(found.model, graph)
    found.model.metadata_props.update(graph.metadata())
    found.model.producer_name = "zoo"
    target = Path(path)
    with atomic_write(target) as temporary:
        found.save(str(temporary), external_data=False)
        prove(graph, _runner(temporary, graph), "ONNX")
    return target.resolve()


def _runner(path: Path, graph: Graph) -> Callable[..., list[Any]]:
    try:
        session = onnx_session(path)
    except Exception as error:
        raise refusal(graph.name, error, "written as ONNX") from error
    names = [port.name for port in graph.inputs]
    return lambda *inputs: session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})


def _forget_tracing(model: Any) -> None:
    """Removes what the tracer tells of the code that it saw, which may be larger than the weights."""
    nodes = list(model.graph.all_nodes())
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [value for node in nodes for value in node.outputs]
    for part in (model, model.graph, *nodes, *values):
        part.metadata_props.clear()


def _name_axes(model: Any, graph: Graph) -> None:
    """Calls free sizes what they are, in place of the symbols of the tracer."""
    from onnx_ir import Shape

    names: dict[str, str] = {}
    for value, port in zip(model.graph.inputs, graph.inputs, strict=True):
        for size, axis in zip(value.shape, port.axes, strict=True):
            if isinstance(axis, str) and not isinstance(size, int):
                names[str(size.value)] = axis
    inner = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in [*model.graph.inputs, *inner]:
        if value.shape is not None:
            sizes = [size if isinstance(size, int) else size.value for size in value.shape]
            value.shape = Shape([names.get(str(size), size) for size in sizes])
