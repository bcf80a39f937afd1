"""The graph of a learner: its network, between inputs and answers in the user's terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.data.model_data import ModelData
from zoo.data.ports import Units, ports_of
from zoo.storage.exporting.graph import Finish, Graph, graph_of


def graph_of_learner(learn: Any, inputs: Sequence[Tensor] | None = None) -> Graph:
    """What `export_onnx` and `export_program` write.

    Args:
        learn: any learner.
        inputs: a batch of what its model reads, where the data do not tell.

    Raises:
        TypeError: if the model cannot be exported.
        ValueError: if nothing tells what it reads.
    """
    activation, data = learn.activation, learn.data
    if inputs is not None:
        ports = ports_of((inputs,) if isinstance(inputs, Tensor) else inputs)
    else:
        ports = data.input_ports()
    told: dict[str, Any] = {
        "domain": learn.domain,
        "model": type(learn.model).__name__,
        "task": getattr(data, "task", None) or "",
        "activation": activation.kind,
    }
    if activation.kind != "identity":
        if (classes := getattr(data, "classes", None)) is not None:
            told["classes"] = [str(name) for name in classes]
        thresholds = None if learn.calibration is None else learn.calibration.thresholds
        if thresholds is not None:
            told["thresholds"] = [float(limit) for limit in thresholds]
        what = "words of the vocabulary" if told["task"] == "sequence" else "classes, in their order"
        meaning = f"probabilities of the {what}, along axis {activation.axis}"
        return graph_of(learn.model, ports, Finish(activation), told, ("probabilities", meaning))
    units: Units | None = data.output_units() if isinstance(data, ModelData) else None
    if units is None:
        own = isinstance(data, ModelData) and type(data).invert_target is ModelData.invert_target
        meaning = "values" if own else "values on the scale of the network, as data.invert_target reads them"
        return graph_of(learn.model, ports, Finish(activation), told, ("values", meaning))
    if units.names is not None:
        told["values"] = units.names
    return graph_of(learn.model, ports, Finish(activation, units), told, ("values", units.meaning))


def with_suffix(path: str | Path, suffix: str) -> Path:
    """The path of an exported file.

    Raises:
        ValueError: for another suffix.

    Example:
        >>> with_suffix("cats", ".onnx").name, with_suffix("cats.onnx", ".onnx").name
        ('cats.onnx', 'cats.onnx')
    """
    target = Path(path)
    if target.suffix not in ("", suffix):
        raise ValueError(f"{path}: a file of this kind ends in {suffix!r}, not in {target.suffix!r}")
    return target.with_suffix(suffix)
