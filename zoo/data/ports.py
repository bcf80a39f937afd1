"""What goes into a network and comes out of it, as files tell it that are read without this library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Port:
    """An input of a network.

    Args:
        name: in files.
        axes: of each dimension the size, or where it may be any the name: "rows", "tokens".
        meaning: in a sentence, for whoever has the file alone.
        example: a tensor of these axes.
        prepare: what a graph does with it before the network reads it, such as a normalisation.
        names: of the columns of the last axis, where they have some.

    Example:
        >>> port = Port("numbers", ("rows", 2), "scaled numbers", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> port.drawn({"rows": 3}).tolist()
        [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]
    """

    name: str
    axes: tuple[str | int, ...]
    meaning: str
    example: Tensor
    prepare: nn.Module | None = None
    names: Sequence[str] | None = None

    def drawn(self, sizes: Mapping[str, int]) -> Tensor:
        """A tensor of these sizes, made of the example, which is repeated where it is too small."""
        found = self.example
        for place, axis in enumerate(self.axes):
            if isinstance(axis, str):
                found = found.index_select(place, torch.arange(sizes[axis]) % found.shape[place])
        return found.clone()

    def told(self) -> dict[str, Any]:
        """Name, axes, number format and meaning, as JSON can hold them."""
        kind = str(self.example.dtype).removeprefix("torch.")
        told = {"name": self.name, "axes": list(self.axes), "type": kind, "meaning": self.meaning}
        return told if self.names is None else {**told, "names": [str(name) for name in self.names]}


def ports_of(inputs: Sequence[Any]) -> list[Port]:
    """Ports of a batch of which nothing is known but that rows come first.

    Raises:
        TypeError: for inputs that are no tensors.

    Example:
        >>> [port.name for port in ports_of((torch.zeros(2, 3), torch.zeros(2)))]
        ['input_0', 'input_1']
    """
    found = []
    for number, part in enumerate(inputs):
        if not isinstance(part, Tensor) or not part.ndim:
            raise TypeError(
                f"input {number} of the network is a {type(part).__name__}: only tensors with rows in their "
                "first dimension can be the inputs of an exported graph"
            )
        name = "input" if len(inputs) == 1 else f"input_{number}"
        axes = ("rows", *part.shape[1:])
        found.append(Port(name, axes, "as the network reads it", part.detach().cpu()))
    return found


class Units(nn.Module):
    """Carries the values of a network to the user's units, as a part of a graph: `values x scale + shift`.

    Args:
        names: of the values, one a column.
        scale: of each.
        shift: of each.
        meaning: of the values, in a sentence.

    Example:
        >>> Units(["age"], [2.0], [10.0])(torch.tensor([[1.0]])).tolist()
        [[12.0]]
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        names: Sequence[str] | None = None,
        scale: Any = 1.0,
        shift: Any = 0.0,
        *,
        meaning: str = "values in the units of the targets",
    ) -> None:
        super().__init__()
        self.names, self.meaning = None if names is None else list(names), meaning
        for name, value in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, torch.from_numpy(np.array(value, np.float64)))
        self.changes = bool((self.scale != 1).any() or (self.shift != 0).any())

    def forward(self, values: Tensor) -> Tensor:
        if not self.changes:
            return values
        return (values.double() * self.scale + self.shift).to(values.dtype)
