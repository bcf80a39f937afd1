"""Training and evaluation modes of modules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def preserve_modes(model: nn.Module) -> Iterator[None]:
    """Whatever runs inside, every module is afterwards in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def train_mode(model: nn.Module) -> None:
    """`model.train()`, except that layers with running statistics and frozen weights keep those
    statistics.
    """
    model.train()
    for layer in model.modules():
        if getattr(layer, "running_mean", None) is not None:
            own = list(layer.parameters(recurse=False))
            if own and not any(param.requires_grad for param in own):
                layer.eval()
