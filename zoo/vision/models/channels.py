"""Pictures of other than three channels: the convolution that reads them, and its filters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def first_conv(body: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that reads the picture.

    Raises:
        ValueError: if there is no convolution.
    """
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ValueError(f"{type(body).__name__} has no convolution")


def adapt_first_weight(weight: Tensor, c_in: int) -> Tensor:
    """Filters for 3 channels turned into filters for `c_in` channels with the same response to grey pictures.

    One channel: the sum over the colours (a grey picture equals its RGB copy). Others: the colours repeat,
    scaled by 3 / c_in.

    Args:
        weight: out x 3 x height x width.
        c_in: channels wanted.

    >>> adapt_first_weight(torch.ones(8, 3, 5, 5), 4).sum().item() == 8 * 3 * 25
    True
    """
    if c_in == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-c_in // 3)
    return weight.repeat(1, repeats, 1, 1)[:, :c_in] * (3 / c_in)


def replace_first_conv(body: nn.Module, c_in: int) -> None:
    """Let a network for colour pictures read pictures of `c_in` channels; its filters are adapted, in place.

    Args:
        body: its first convolution reads 3 channels.
        c_in: channels wanted.
    """
    name, old = first_conv(body)
    new = nn.Conv2d(
        c_in,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        old.groups,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
        device=old.weight.device,
    )
    with torch.no_grad():
        new.weight.copy_(adapt_first_weight(old.weight, c_in))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    parent, _, leaf = name.rpartition(".")
    setattr(body.get_submodule(parent), leaf, new)
