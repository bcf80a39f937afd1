"""What a model is made of: every layer with its output shape and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zoo.data.loaders.seeding import preserve_rng
from zoo.engine.modes import preserve_modes
from zoo.inspect.hooks import Hooks, first_tensor


@dataclass(frozen=True)
class LayerRow:
    """One layer of a summary. `shape` begins with -1 for the batch."""

    name: str
    kind: str
    shape: tuple[int, ...] | None
    n_params: int
    n_trainable: int

    @property
    def trainable(self) -> bool:
        """Whether any of its parameters trains."""
        return self.n_trainable > 0


@dataclass(frozen=True)
class Summary:
    """All layers of a model in the order in which they run; prints as a table."""

    rows: list[LayerRow]

    @property
    def n_params(self) -> int:
        return sum(row.n_params for row in self.rows)

    @property
    def n_trainable(self) -> int:
        return sum(row.n_trainable for row in self.rows)

    def __repr__(self) -> str:
        cells = [
            (
                f"{row.name} ({row.kind})",
                str(list(row.shape)) if row.shape else "-",
                f"{row.n_params:,}",
                row.trainable,
            )
            for row in self.rows
        ]
        wide = max([5, *(len(cell[0]) for cell in cells)])
        shape = max([12, *(len(cell[1]) for cell in cells)])
        lines = [f"{'layer':<{wide}}  {'output shape':<{shape}}  {'parameters':>12}  trainable"]
        lines += [f"{a:<{wide}}  {b:<{shape}}  {c:>12}  {'yes' if d else 'no'}" for a, b, c, d in cells]
        return "\n".join([*lines, f"parameters: {self.n_params:,}, trainable: {self.n_trainable:,}"])


def _in_training(model: nn.Module, inputs: tuple) -> None:
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.train()
    try:
        model(*inputs)
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)


def summarize(model: nn.Module, inputs: tuple) -> Summary:
    """Run one batch through the model and note what every layer gives.

    Args:
        model: any module; it is left as it was.
        inputs: the inputs of a batch, on the model's device.
    """
    shapes: dict[str, tuple[int, ...] | None] = {}
    layers: dict[str, nn.Module] = {}
    seen: set[int] = set()
    owned: dict[str, int] = {}
    kinds: dict[str, tuple[str, int]] = {}
    for name, module in model.named_modules():
        own = [param for param in module.parameters(recurse=False) if id(param) not in seen]
        seen.update(id(param) for param in own)
        is_leaf = next(module.children(), None) is None
        if not (is_leaf or own):
            continue
        label = name or type(model).__name__
        owned[label] = sum(param.numel() for param in own)
        kinds[label] = (type(module).__name__, sum(param.numel() for param in own if param.requires_grad))
        layers[label] = module

    def note(label: str, output: Any) -> None:
        tensor = first_tensor(output)
        shapes[label] = None if tensor is None or tensor.ndim == 0 else (-1, *tensor.shape[1:])

    with Hooks(layers, note), torch.no_grad(), preserve_rng(), preserve_modes(model):
        model.eval()
        try:
            model(*inputs)
        except AttributeError:  # of layers that make their statistics of the first training batch
            shapes.clear()
            _in_training(model, inputs)
    order = [*shapes, *(label for label in owned if label not in shapes)]
    return Summary([LayerRow(n, kinds[n][0], shapes.get(n), owned[n], kinds[n][1]) for n in order])
