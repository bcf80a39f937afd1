"""What sizes of pictures a network reads, found out without computing anything."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from zoo.engine.modes import preserve_modes


@torch.no_grad()
def run_zeros(module: nn.Module, c_in: int, height: int, width: int) -> Any:
    """What a network in evaluation mode gives for one picture of zeros, on its own device.

    Args:
        module: any network; its modes are afterwards as before.
        c_in: channels of the picture.
        height: in pixels.
        width: in pixels.

    Raises:
        Exception: whatever the network raises for a picture of this size.
    """
    one = next(module.parameters())
    with preserve_modes(module):
        return module.eval()(torch.zeros(1, c_in, height, width, device=one.device, dtype=one.dtype))


@torch.no_grad()
def run_shapes(module: nn.Module, c_in: int, height: int, width: int) -> Any:
    """The same as `run_zeros` as far as shapes go: on torch's "meta" device, where nothing is computed.

    Networks that hold tensors which are neither parameters nor buffers cannot run there and do compute.
    """
    state = {k: v.to("meta") for k, v in [*module.named_parameters(), *module.named_buffers()]}
    picture = torch.zeros(1, c_in, height, width, device="meta")
    try:
        with preserve_modes(module):
            module.eval()
            return torch.func.functional_call(module, state, (picture,))
    except Exception:
        if next(module.parameters()).is_meta:
            raise
        return run_zeros(module, c_in, height, width)


def smallest_size(body: nn.Module, c_in: int = 3) -> int | None:
    """The side, in pixels, of the smallest square picture that a network reads; `None` if it reads none of
    1 to 512 pixels.

    >>> smallest_size(nn.Sequential(nn.Conv2d(3, 4, 7), nn.MaxPool2d(2)))
    8
    """
    works = _usual_sides(body, c_in)
    if not works:
        return None
    low, high = 0, works[0]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _reads(body, c_in, middle, middle) else (middle, high)
    return high


def check_size(body: nn.Module, name: str, size: int | tuple[int, int], c_in: int = 3) -> None:
    """Tell a user whose pictures are too small for a body, before anything is computed.

    Args:
        body: from `build_body`, or any network that reads pictures.
        name: of the architecture, for the message.
        size: side of the pictures in pixels, or (height, width).
        c_in: their channels.

    Raises:
        ValueError: the body cannot read pictures of this size; the message tells the smallest.

    >>> check_size(nn.Sequential(nn.Conv2d(3, 4, 7), nn.MaxPool2d(2)), "my_net", 5)
    Traceback (most recent call last):
    ValueError: my_net needs pictures of at least 8 pixels, sz is 5
    """
    height, width = (size, size) if isinstance(size, int) else size
    try:
        run_shapes(body, c_in, height, width)
    except Exception as error:
        given, works = str(size if isinstance(size, int) else (height, width)), _usual_sides(body, c_in)
        smallest = smallest_size(body, c_in) if len(works) > 1 else None  # one alone is a fixed size
        if smallest is not None and min(height, width) < smallest:
            raise ValueError(f"{name} needs pictures of at least {smallest} pixels, sz is {given}") from error
        hint = f"; it reads {works[-1]} x {works[-1]} pixels, for example" if works else ""
        raise ValueError(f"{name} cannot read pictures of sz {given}{hint} ({error})") from error


def _usual_sides(body: nn.Module, c_in: int) -> list[int]:
    """Which of the usual sizes of pictures a network reads."""
    return [side for side in (16, 32, 64, 128, 224, 256, 299, 384, 512) if _reads(body, c_in, side, side)]


def _reads(body: nn.Module, c_in: int, height: int, width: int) -> bool:
    try:
        run_shapes(body, c_in, height, width)
    except Exception:
        return False
    return True


def resolution_octave(picture_side: int, map_side: int) -> int:
    """How often a picture was halved to become a map: the nearest power of two, so that convolutions without
    padding do not count.

    >>> resolution_octave(299, 147), resolution_octave(256, 63)
    (1, 2)
    """
    return round(math.log2(picture_side / map_side))
