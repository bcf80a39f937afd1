"""Graphs as ONNX files, which onnxruntime and others run without PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from zoo.storage.exporting.graph import Graph
from zoo.storage.exporting.needed import needed
from zoo.storage.exporting.program_file import traced
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
    needed("onnx", "onnxscript")
    size = sum(part.numel() * part.element_size() for part in graph.module.state_dict().values())
    if size > LARGEST:
        raise ValueError(
            f"{path}: the weights take {size / 1e9:.1f} GB, and an ONNX file ends at 2: use export_program"
        )
    program = traced(graph)
    inputs, outputs = [port.name for port in graph.inputs], [str(part["name"]) for part in graph.outputs]
    try:
        with warnings.catch_warnings():
            for kind, message in _WARNED:
                warnings.filterwarnings("ignore", message=message, category=kind)
            found: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
            )
    except Exception as error:
        name = type(getattr(graph.module, "network", graph.module)).__name__
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise TypeError(f"{name} cannot be written as ONNX: {line}") from error
    _name_axes(found.model, graph)
    found.model.metadata_props.update(graph.metadata())
    found.model.producer_name = "zoo"
    target = Path(path)
    with atomic_write(target) as temporary:
        found.save(str(temporary), external_data=False)
    return target.resolve()


_WARNED: list[tuple[type[Warning], str]] = []


def _name_axes(model: Any, graph: Graph) -> None:
    """Free sizes are called what they are in place of what the tracer called them."""
    names: dict[str, str] = {}
    for value, port in zip(model.graph.inputs, graph.inputs, strict=True):
        names |= {
            str(dim.value): axis
            for dim, axis in zip(value.shape, port.axes, strict=True)
            if not isinstance(dim, int) and isinstance(axis, str)
        }
    del names
