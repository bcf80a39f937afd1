"""Convolutional bodies cut from torchvision classifiers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from zoo.engine.modes import preserve_modes
from zoo.errors import did_you_mean
from zoo.inspect.hooks import Hooks

HEAD_NAMES = frozenset({"avgpool", "classifier", "fc", "head", "heads"})
_UNSUPPORTED = {
    "inception_v3": "it has an auxiliary classifier in its middle",
    "googlenet": "it has auxiliary classifiers in its middle",
    "vit_": "it reads one fixed picture size and has no feature map",
    "maxvit_": "it reads one fixed picture size",
}


def arch_name(arch: Callable[..., Any] | str) -> str:
    """The torchvision name of an architecture given as constructor or name.

    >>> arch_name(torchvision.models.resnet34)
    'resnet34'
    """
    known = torchvision.models.list_models(module=torchvision.models)
    name = arch if isinstance(arch, str) else getattr(arch, "__name__", repr(arch))
    if name not in known:
        raise ValueError(
            f"architecture '{name}' is not one of torchvision's classifiers{did_you_mean(name, known)}; "
            f"for your own "
            "model use ConvLearner.from_model_data(model, data) and tfms_from_stats(stats, sz)"
        )
    return name


def pretraining_preset(arch: Callable[..., Any] | str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Channel means, standard deviations and interpolation an architecture's published weights expect."""
    preset = torchvision.models.get_model_weights(arch_name(arch)).DEFAULT.transforms()  # type: ignore[attr-defined]
    return tuple(preset.mean), tuple(preset.std), preset.interpolation.value


def build_body(name: str, c_in: int = 3) -> nn.Sequential:
    """The part of a classifier before its pooling, with random weights; parameter names stay torchvision's.

    Args:
        name: a torchvision architecture.
        c_in: channels of the pictures; the first convolution is adapted.
    """
    for prefix, reason in _UNSUPPORTED.items():
        if name.startswith(prefix):
            raise ValueError(
                f"architecture '{name}' cannot be cut into body and head: {reason}; "
                "try a resnet, efficientnet, convnext, regnet or mobilenet"
            )
    kept: OrderedDict[str, nn.Module] = OrderedDict()
    for child_name, child in torchvision.models.get_model(name, weights=None).named_children():
        if child_name in HEAD_NAMES:
            break
        kept[child_name] = child
    if name.startswith("densenet"):
        kept["relu"] = nn.ReLU(inplace=True)
    body = nn.Sequential(kept)
    if c_in != 3:
        _replace_first_conv(body, c_in)
    return body


def first_conv(body: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that reads the picture."""
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
    """
    if c_in == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-c_in // 3)
    return weight.repeat(1, repeats, 1, 1)[:, :c_in] * (3 / c_in)


def _replace_first_conv(body: nn.Module, c_in: int) -> None:
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
    )
    with torch.no_grad():
        new.weight.copy_(adapt_first_weight(old.weight, c_in))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    parent, _, leaf = name.rpartition(".")
    setattr(body.get_submodule(parent), leaf, new)


def probe(body: nn.Sequential, c_in: int, size: int = 96) -> tuple[int, int]:
    """Channels of the feature map, and the number of the first unit that works at a stride above 8.

    The units (see `body_units`) before that one form the early body, the rest the late body.
    """
    units = body_units(body)
    sides: list[int] = []

    def remember(name: str, output: Tensor) -> None:
        sides.append(min(output.shape[-2:]))

    named = {str(number): unit for number, unit in enumerate(units)}
    with Hooks(named, remember), torch.no_grad(), preserve_modes(body):
        features = body.eval()(torch.zeros(1, c_in, size, size))
    late = [i for i, side in enumerate(sides) if side * 8 < size]
    cut = late[0] if late and 0 < late[0] < len(units) else max(1, len(units) // 2)
    return features.shape[1], cut


def body_units(body: nn.Sequential) -> list[nn.Module]:
    """The steps of a body in order: its children, plain sequences opened once."""
    units: list[nn.Module] = []
    for child in body.children():
        units += list(child.children()) if type(child) is nn.Sequential else [child]
    return units
