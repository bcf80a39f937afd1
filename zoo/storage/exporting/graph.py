"""What of a learner is exported as a graph: its network, from prepared inputs to answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zoo._version import __version__
from zoo.data.ports import Port, ports_of
from zoo.storage.exporting.recurrent import with_loops
from zoo.storage.exporting.refusal import refusal

ROWS, TOKENS = 3, 5
"""Sizes with which graphs are traced; no graph keeps them."""


@dataclass(frozen=True)
class Rewritten:
    """A network in a form that exporters take: it answers the same.

    Args:
        module: returns a tensor, followed by one for each of `further`.
        inputs: what it reads, where that is more than the network itself reads or has other axes.
        further: name, axes and meaning of outputs beside the answer: the state after it, of which as many
            inputs, the last ones, are the state before.
        axes: of the answer.
    """

    module: nn.Module
    inputs: list[Port]
    further: list[dict[str, Any]] = field(default_factory=list)
    axes: tuple[str | int, ...] = ("rows",)


@runtime_checkable
class Rewriting(Protocol):
    """A model that exporters cannot take as it is, and that knows a form of itself that they can."""

    def as_graph(self, inputs: Sequence[Port]) -> Rewritten:
        """That form. It may use the model's own parts: it is called on a copy, on the CPU.

        Args:
            inputs: what is known of the model's inputs.

        Raises:
            TypeError: if there is none, with the reason in a sentence.
        """
        ...


@dataclass(frozen=True)
class Graph:
    """A network that is ready to be written, and what a file tells of it.

    Attributes:
        module: reads the inputs in their order, returns a tuple of outputs.
        inputs: names, axes, examples.
        outputs: what files tell of each output.
        told: everything that files tell, for people and programs, as JSON can hold it.
        name: of the model's class, for errors.
        n_state: how many of the inputs, the last ones, are a state that the model itself carries.
    """

    module: nn.Module
    inputs: list[Port]
    outputs: list[dict[str, Any]]
    told: dict[str, Any]
    name: str
    n_state: int = 0

    def drawn(self, rows: int = ROWS, tokens: int = TOKENS) -> tuple[Tensor, ...]:
        """Inputs of these sizes, made of the examples; axes of other names keep the size of theirs."""
        sizes: dict[str, int] = {}
        for port in self.inputs:
            for axis, size in zip(port.axes, port.example.shape, strict=True):
                if isinstance(axis, str):
                    sizes.setdefault(axis, size)
        sizes |= {"rows": rows, "tokens": tokens}
        return tuple(port.drawn(sizes) for port in self.inputs)

    def metadata(self) -> dict[str, str]:
        """What files keep beside the network: texts by name."""
        return {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in self.told.items()
        }


class Answering(nn.Module):
    """Prepares inputs, runs a network, and makes answers of its outputs.

    Args:
        network: returns a tensor or a tuple that begins with it.
        ports: of its inputs.
        n_further: how many outputs beside the answer are kept.
        finish: from outputs to answers.
    """

    def __init__(self, network: nn.Module, ports: Sequence[Port], n_further: int, finish: nn.Module) -> None:
        super().__init__()
        self.network, self.finish, self.n_further = network, finish, n_further
        self.prepared = nn.ModuleList(
            nn.Identity() if port.prepare is None else port.prepare for port in ports
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        read = [prepare(part) for prepare, part in zip(self.prepared, inputs, strict=True)]
        found = self.network(*read)
        main, *further = found if isinstance(found, tuple) else (found,)
        if not isinstance(main, Tensor):
            raise TypeError(f"it answers with a {type(main).__name__}, and a graph with tensors")
        return (self.finish(main), *further[: self.n_further])


class Finish(nn.Module):
    """The last activation, and the way to the user's units.

    Args:
        activation: of `zoo.losses.Activation`, or any function of a tensor.
        units: see `ModelData.output_units`.
    """

    def __init__(self, activation: Any = None, units: nn.Module | None = None) -> None:
        super().__init__()
        self.activation, self.units = activation, units

    def forward(self, outputs: Tensor) -> Tensor:
        found = outputs if self.activation is None else self.activation(outputs)
        return found if self.units is None else self.units(found)


def graph_of(
    model: nn.Module,
    inputs: Sequence[Port] | Sequence[Tensor],
    finish: Finish | None = None,
    told: Mapping[str, Any] | None = None,
    output: tuple[str, str] = ("output", "as the network gives it"),
) -> Graph:
    """A model as a graph; the model itself stays as it is.

    Args:
        model: any module; one with `as_graph` (see `Rewriting`) is rewritten by it.
        inputs: what it reads, as ports or as a batch of tensors.
        finish: from its outputs to answers.
        told: what files tell beside names and meanings of inputs and outputs.
        output: name and meaning of the answer.

    Raises:
        TypeError: if the model cannot be exported, with the reason.

    Example:
        >>> graph = graph_of(nn.Linear(2, 1), (torch.zeros(4, 2),))
        >>> graph.module(torch.zeros(7, 2))[0].shape, graph.outputs[0]["axes"]
        (torch.Size([7, 1]), ['rows', 1])
    """
    refused = getattr(model, "no_graph", None)
    if isinstance(refused, str):
        raise TypeError(refused)
    ports = [part for part in inputs if isinstance(part, Port)]
    ports = ports if len(ports) == len(inputs) else ports_of(inputs)
    own = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    rewritten = own.as_graph(ports) if isinstance(own, Rewriting) else Rewritten(with_loops(own), ports)
    finish = Finish() if finish is None else finish
    module = Answering(rewritten.module, rewritten.inputs, len(rewritten.further), finish)
    module = _apart(module.cpu().eval())
    n_state = len(rewritten.further)
    graph = Graph(module, rewritten.inputs, [], {}, type(model).__name__, n_state)
    name, meaning = output
    main = {"name": name, "axes": _axes(graph, rewritten.axes), "meaning": meaning}
    outputs = [main, *rewritten.further]
    described = {
        "zoo": __version__,
        "inputs": [port.told() for port in rewritten.inputs],
        "outputs": outputs,
        **(told or {}),
    }
    return replace(graph, outputs=outputs, told=described)


def _apart(model: Answering) -> Answering:
    """The same model, each tensor with memory of its own: some optimizers keep several side by side, and
    exporters would write them all for each."""
    for part in (*model.parameters(), *model.buffers()):
        part.data = part.data.clone(memory_format=torch.contiguous_format)
    return model


def _axes(graph: Graph, named: tuple[str | int, ...]) -> list[str | int]:
    """The axes of the answer: named ones first, then the sizes that it has."""
    try:
        with torch.no_grad():
            shape = graph.module(*graph.drawn())[0].shape
    except Exception as error:
        raise refusal(graph.name, error) from error
    return [*named, *shape[len(named) :]]
