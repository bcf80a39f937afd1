"""A file is kept only if it answers as the network that it was made of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.storage.exporting.graph import Graph

TOLERANCE = 1e-3
"""What rounding may change, as a share of the largest answer (of at least 1): a wrong graph is far off."""

SIZES = ((1, 1), (2, 9), (7, 4))
"""Rows and tokens with which a file is tried; it was traced with others."""


def prove(graph: Graph, run: Callable[..., Sequence[Any]], what: str) -> None:
    """Compares what a file answers with what the network does.

    Args:
        graph: the network.
        run: runs the file on tensors.
        what: the file, for the error.

    Raises:
        TypeError: if an answer is another one, in one line.
    """
    for rows, tokens in SIZES:
        inputs = graph.drawn(rows, tokens)
        with torch.no_grad():
            truth = graph.module(*copy.deepcopy(inputs))
        for told, one, other in zip(graph.outputs, truth, run(*inputs), strict=True):
            expected, found = one.double().numpy(), np.asarray(other, np.float64)
            far = f"{graph.name} can't be exported as {what}: for {rows} rows its output {told['name']}"
            if found.shape != expected.shape:
                raise TypeError(f"{far} has the shape {found.shape}, not {expected.shape}")
            apart = float(np.abs(found - expected).max(initial=0.0))
            if not apart <= TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0))):
                raise TypeError(f"{far} is off by {apart:.2g}")


def onnx_session(path: Path) -> Any:
    """A session of onnxruntime, on the CPU, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
