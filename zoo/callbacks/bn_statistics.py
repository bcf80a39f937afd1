"""Running statistics of batch norm for weights that were not trained but made, such as averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from zoo.data.loaders.batches import device_batches
from zoo.data.loaders.seeding import preserve_generators
from zoo.engine.callback import Callback
from zoo.engine.modes import preserve_modes
from zoo.engine.speed import uncompiled
from zoo.engine.state import State

BatchNorm = nn.modules.batchnorm._BatchNorm


def statistics_layers(state: State) -> list[BatchNorm]:
    """The batch-norm layers whose running statistics training changes; those of frozen layers it does not."""
    with preserve_modes(state.model):
        state.train_mode(state.model)
        return [
            layer
            for layer in state.model.modules()
            if isinstance(layer, BatchNorm) and layer.training and layer.running_mean is not None
        ]


def recompute_statistics(state: State, layers: Sequence[BatchNorm]) -> None:
    """Replace the running statistics of `layers` by the means over the batches of the training data.

    A pass without gradients (Izmailov et al. 2018, section 3.2) in which only these layers are in train mode:
    no dropout, and no batch transforms of training; a compiled model runs uncompiled. Every batch counts
    alike. Generators and the order of the data are afterwards as before; if the pass fails, so are the
    statistics.
    """
    from zoo.engine.loop import Loop, State  # the loop imports this package

    loader = WholeLoader(state.data.train_dl, state.device)
    gather = _Gather(layers)
    if state.learner is not None:
        loop = state.learner._loop([*state.learner._step_callbacks(None), gather], ())
    else:
        inner = State(state.model, state.data, state.opt, state.loss_fn, state.device)
        inner.forward_context = state.forward_context
        loop = Loop(inner, [gather])
    kept = [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers()]
    momenta = [layer.momentum for layer in layers]
    try:
        with preserve_generators(loader.loader), uncompiled(state.model):
            loop.evaluate(loader, lambda: None)
    except BaseException:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


class _Gather(Callback):
    order = 1000

    def __init__(self, layers: Sequence[BatchNorm]) -> None:
        self.layers = layers

    def before_validate(self, state: State) -> None:
        for layer in self.layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over batches
            layer.train()


class WholeLoader:
    """All batches of a loader, also where several processes otherwise share them out."""

    undivided = True

    def __init__(self, loader: Any, device: torch.device) -> None:
        self.loader, self.device = loader, device

    @property
    def epoch(self) -> int:
        return getattr(self.loader, "epoch", 0)

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple]:
        return device_batches(self.loader, self.device, training=False)
