"""Ways to begin: weights of new heads and of recurrent layers."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

Module = TypeVar("Module", bound=nn.Module)

_LINEAR = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@torch.no_grad()
def kaiming_head(module: Module) -> Module:
    """Starts the layers of a new head afresh, in place, so that signals keep their size through its ReLUs.

    Weights of linear and convolutional layers are drawn from a normal distribution of variance `2 / inputs`
    (He et al. 2015, "Delving Deep into Rectifiers"), their biases become zero; normalisation layers scale by
    one, shift by zero and forget their statistics. Other layers stay as they are.

    Args:
        module: a head, or a single layer.

    Returns:
        The same module.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> head = kaiming_head(nn.Sequential(nn.Linear(5000, 20), nn.ReLU(), nn.Linear(20, 3)))
        >>> round(head[0].weight.std().item(), 3), head[2].bias.tolist()
        (0.02, [0.0, 0.0, 0.0])
    """
    for layer in module.modules():
        if isinstance(layer, _LINEAR):
            weight = torch.empty_like(layer.weight)
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
            if is_parametrized(layer, "weight"):
                layer.weight = weight  # torch works out the parts that it is made of
            else:
                layer.weight.copy_(weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, _NORMS):
            if isinstance(getattr(layer, "weight", None), Tensor):
                nn.init.ones_(layer.weight)  # pyright: ignore[reportArgumentType]
            if isinstance(getattr(layer, "bias", None), Tensor):
                nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
            if isinstance(layer, nn.modules.batchnorm._NormBase):
                layer.reset_running_stats()
    return module


def identity_recurrent(module: Module) -> Module:
    """Lets recurrent layers start by handing their state on unchanged, in place (Le, Jaitly & Hinton 2015, "A
    Simple Way to Initialize Recurrent Networks of Rectified Linear Units").

    Every recurrent weight matrix, and that of every gate, becomes the identity; all else stays as it is.

    Args:
        module: holds `nn.RNN`, `nn.LSTM` or `nn.GRU` layers, or cells of these kinds.

    Returns:
        The same module.

    Raises:
        ValueError: if it holds none, or an LSTM with `proj_size`, whose recurrent weights are not square.

    Example:
        >>> identity_recurrent(nn.RNN(3, 2)).weight_hh_l0.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.RNNBase | nn.RNNCellBase)]
    if not layers:
        raise ValueError(
            f"identity_recurrent: this {type(module).__name__} has no nn.RNN, nn.LSTM or nn.GRU layer or cell"
        )
    for layer in layers:
        if getattr(layer, "proj_size", 0):
            raise ValueError(
                "identity_recurrent: the recurrent weights of an LSTM with proj_size are not square"
            )
    for layer in layers:
        for name, param in layer.named_parameters(recurse=False):
            if name.startswith("weight_hh"):
                identity_gates_(param)
    return module


@torch.no_grad()
def identity_gates_(weight: Tensor) -> Tensor:
    """Fills recurrent weights (gates x n, n), in place, with one identity matrix a gate; returns them.

    Example:
        >>> identity_gates_(torch.zeros(4, 2)).tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    size = weight.shape[1]
    return weight.copy_(
        torch.eye(size, dtype=weight.dtype, device=weight.device).repeat(len(weight) // size, 1)
    )
