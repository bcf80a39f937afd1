"""Tensors in a quarter of their size: 8 bits a number, and a scale for each block."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

BLOCK = 64
"""Numbers that share a scale; with its 16 bits a number takes 8.25."""

_LEAST = 1024  # numbers; smaller tensors stay as they are
_SCALE = ":scale"


def eight_bit(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The large float32 tensors as whole numbers from -127 to 127 times the scale of their block, symmetric
    about 0 as in Jacob et al. 2018, "Quantization and Training of Neural Networks"; the others as they are.

    Tensors with numbers that are not finite, or too large for a scale of 16 bits, stay as they are.

    Raises:
        ValueError: if a tensor has a name that ends as those of scales do.

    Example:
        >>> weight = torch.linspace(-1, 1, 2048).reshape(32, 64)
        >>> packed = eight_bit({"weight": weight})
        >>> sum(part.numel() * part.element_size() for part in packed.values()), weight.numel() * 4
        (2112, 8192)
        >>> (from_eight_bit(packed)["weight"] - weight).abs().max() < 1 / 127
        tensor(True)
    """
    packed: dict[str, Tensor] = {}
    done: dict[tuple, tuple[Tensor, Tensor] | None] = {}  # tied tensors stay one
    for name, tensor in tensors.items():
        if name.endswith(_SCALE):
            raise ValueError(f"{name} cannot be written in 8 bits: names ending in {_SCALE!r} are of scales")
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if key not in done or not tensor.numel():
            done[key] = _packed(tensor)
        parts = done[key]
        if parts is None:
            packed[name] = tensor
        else:
            packed[name], packed[name + _SCALE] = parts
    return packed


def from_eight_bit(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `eight_bit`, rounded; tensors that it left alone are the same.

    Raises:
        ValueError: naming a tensor whose scales do not fit.
    """
    found: dict[str, Tensor] = {}
    done: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(_SCALE):
            if name.removesuffix(_SCALE) not in tensors:
                raise ValueError(f"{name} belongs to no tensor")
            continue
        scale = tensors.get(name + _SCALE)
        if scale is None:
            found[name] = tensor
            continue
        if tensor.dtype != torch.int8 or scale.numel() != -(-tensor.numel() // BLOCK):
            raise ValueError(f"{name} and its scales do not fit")
        if tensor.data_ptr() not in done:
            each = scale.float().flatten().repeat_interleave(BLOCK)[: tensor.numel()]
            done[tensor.data_ptr()] = tensor.float() * each.reshape(tensor.shape)
        found[name] = done[tensor.data_ptr()]
    return found


def _packed(tensor: Tensor) -> tuple[Tensor, Tensor] | None:
    if tensor.dtype != torch.float32 or tensor.numel() < _LEAST:
        return None
    flat = tensor.detach().cpu().flatten()
    rows = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)
    scale = (rows.abs().amax(1, keepdim=True) / 127).half()
    if not bool(scale.isfinite().all()):
        return None
    # a scale that was rounded down would cut the largest; one of 0 stands for numbers too small to matter
    whole = (rows / scale.float().clamp(min=1e-30)).round().clamp(-127, 127)
    whole = torch.where(scale > 0, whole, 0.0).to(torch.int8)
    return whole.flatten()[: len(flat)].reshape(tensor.shape), scale[:, 0]
