"""Averages of gradients that have faded to nothing become zeros."""

from __future__ import annotations

import torch
from torch import Tensor

EVERY = 64  # batches
_TINY = 1e-30
_LARGE = 1 << 16  # numbers of a tensor from which on it matters
_AVERAGES = ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg")


@torch.no_grad()
def clear_tiny_averages(opt: torch.optim.Optimizer) -> None:
    """Sets averages below 1e-30 to zero, in large tensors on a CPU.

    What is rarely seen, such as most rows of a large embedding, gets no gradient for hundreds of steps; its
    averages are multiplied by 0.9 in each, and below 1.2e-38 every operation on them takes a CPU many times
    as long: half of the time of a recommender in small batches. Beside an `eps` of 1e-8 they change nothing.

    Args:
        opt: any optimizer; of others than torch's names of averages nothing is touched.
    """
    for state in opt.state.values():
        for name in _AVERAGES:
            value = state.get(name)
            if isinstance(value, Tensor) and _matters(value):
                value.masked_fill_(value.abs() < _TINY, 0)


def _matters(value: Tensor) -> bool:
    dense = value.layout == torch.strided and value.is_floating_point()
    return dense and value.device.type == "cpu" and value.numel() >= _LARGE
