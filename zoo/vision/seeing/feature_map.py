"""The last feature map of any network: found by hooks that are taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.inspect.hooks import Hooks, first_tensor


@dataclass(frozen=True)
class FeatureMap:
    """Where the last feature map of a network comes from, and its values for some pictures.

    Attributes:
        name: of the layer that gives it.
        values: N x C x height x width.
        channels_last: whether the layer gives N x height x width x C.
    """

    name: str
    values: Tensor
    channels_last: bool = False

    @classmethod
    def of(cls, model: nn.Module, pictures: Tensor) -> FeatureMap:
        """Run a network and find the last layer whose output has a place for every part of the picture.

        Args:
            model: in evaluation mode.
            pictures: N x channels x height x width, normalised, on the model's device.

        Raises:
            ValueError: if no layer gives such a map, or the network answers with one.

        Example:
            >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            >>> found = FeatureMap.of(net, torch.zeros(1, 3, 9, 9))
            >>> found.name, tuple(found.values.shape)
            ('0', (1, 4, 4, 4))
        """
        last: list[tuple[str, Tensor, bool]] = []
        outputs: list[Tensor] = []

        def note(name: str, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                return
            if name == "":
                outputs[:] = [tensor]
            form = map_form(tensor, pictures)
            if form is not None and name:
                last[:] = [(name, tensor.detach(), form == "NHWC")]

        layers = dict(model.named_modules())
        with Hooks(layers, note), torch.no_grad():
            model(pictures)
        if outputs and outputs[0].ndim == 4 and map_form(outputs[0], pictures) is not None:
            raise ValueError(
                f"this network answers with pictures of shape {tuple(outputs[0].shape)}, not with one answer "
                "a picture: its answer is itself a map of where things are"
            )
        if not last:
            kinds = ", ".join(sorted({type(module).__name__ for module in layers.values()})[:8])
            raise ValueError(
                f"{type(model).__name__} has no feature map: no layer ({kinds}) gives values of shape N x C "
                "x height x width with more than one place, so there is nothing to draw over the picture. "
                "Transformers that pass on rows of tokens, and fully connected networks, have none"
            )
        name, values, channels_last = last[0]
        return cls(name, values.permute(0, 3, 1, 2) if channels_last else values, channels_last)


def map_form(values: Tensor, pictures: Tensor) -> str | None:
    """Whether values are a map of pictures, "NCHW" or "NHWC", told by the shape of the pictures."""
    if values.ndim != 4 or not values.is_floating_point():
        return None
    height, width = pictures.shape[2:]
    n, *sides = values.shape
    if n != len(pictures):
        return None

    def fits(rows: int, columns: int) -> bool:
        most = max(rows, columns) > 1
        return most and abs(rows * width - columns * height) <= max(height, width) * 1.01

    if fits(sides[1], sides[2]):
        return "NCHW"
    return "NHWC" if fits(sides[0], sides[1]) else None


@contextmanager
def watched(model: nn.Module, layer: str) -> Iterator[Callable[[], Tensor]]:
    """While inside, the network goes on from a copy of a layer's output for which gradients can be asked.

    Nothing before the layer needs gradients, so bodies may be frozen. Yields a function that gives the output
    of the latest run, as the layer gives it.

    Args:
        model: the network.
        layer: name of the layer.
    """
    kept: list[Tensor] = []

    def go_on(module: nn.Module, inputs: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            return output
        leaf = tensor.detach().clone().requires_grad_()
        kept[:] = [leaf]
        copy = leaf.clone()  # later layers may work in place
        return copy if isinstance(output, Tensor) else _replaced(output, tensor, copy)

    handle = model.get_submodule(layer).register_forward_hook(go_on)
    try:
        yield lambda: kept[0]
    finally:
        handle.remove()


def _replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same tuple, list or mapping with one tensor replaced."""
    if output is old:
        return new
    if isinstance(output, dict):
        return type(output)({key: _replaced(value, old, new) for key, value in output.items()})
    if isinstance(output, tuple | list):
        return type(output)([_replaced(value, old, new) for value in output])
    return output
