"""Bodies: classifiers without their pooling and last layers, by name."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from zoo.inspect.hooks import Hooks
from zoo.vision.models.architectures import OWN, TIMM
from zoo.vision.models.channels import replace_first_conv
from zoo.vision.models.efficientnet_lite import efficientnet_lite0
from zoo.vision.models.shapes import run_zeros
from zoo.vision.models.timm_body import timm_body
from zoo.vision.models.vit_body import build_vit

HEAD_NAMES = frozenset({"avgpool", "classifier", "fc", "head", "heads"})
AUXILIARY_NAMES = frozenset({"aux1", "aux2", "AuxLogits"})
_WITH_AUXILIARIES = {"googlenet", "inception_v3"}
_PROBE_SIDES = (96, 224, 256, 320, 384, 512, 600)


def build_body(name: str, c_in: int = 3) -> nn.Sequential:
    """The part of a classifier before its pooling, with random weights; parameter names stay as published.

    Pictures N x c_in x H x W become a feature map N x C x h x w. The units of a body (see `body_units`) are
    in order from input to output. Transformers whose tokens lie on a grid give that grid; their class token
    works inside and is left out of the map, and position embeddings follow the size of the picture.

    Args:
        name: an architecture, as `zoo.vision.models.architectures.arch_name` writes it.
        c_in: channels of the pictures; the first convolution is adapted.
    """
    if name in OWN:
        return efficientnet_lite0(c_in)
    if name.startswith(TIMM):
        return timm_body(name.removeprefix(TIMM), c_in)
    body = build_vit(name) if name.startswith("vit_") else _cut(name)
    if c_in != 3:
        replace_first_conv(body, c_in)
    return body


def _cut(name: str) -> nn.Sequential:
    plain: dict[str, Any] = {"weights": None}
    if name in _WITH_AUXILIARIES:
        plain |= {"aux_logits": False, "init_weights": False}
    kept: OrderedDict[str, nn.Module] = OrderedDict()
    if name in _WITH_AUXILIARIES:
        kept["rescale"] = SymmetricScale()
    for child_name, child in torchvision.models.get_model(name, **plain).named_children():
        if child_name in HEAD_NAMES:
            break
        kept[child_name] = child
    if name.startswith("densenet"):
        kept["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(kept)


def wants_channels_last(body: nn.Module) -> bool:
    """Whether a body has depthwise convolutions, which run faster in channels-last layout."""
    return any(isinstance(m, nn.Conv2d) and 1 < m.groups == m.in_channels for m in body.modules())


class SymmetricScale(nn.Module):
    """Pictures normalised with ImageNet's statistics on the scale [-1, 1], which the published weights of
    googlenet and inception_v3 read (torchvision's `transform_input`).

    More than three channels are scaled as the colours in turn; a single one by the mean of the colours.
    """

    means, stds = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def forward(self, pictures: Tensor) -> Tensor:
        """N x channels x H x W in, the same shape out."""
        n = pictures.shape[1]
        means, stds = (
            torch.tensor(v, dtype=pictures.dtype, device=pictures.device) for v in (self.means, self.stds)
        )
        if n == 1:
            means, stds = means.mean(0, keepdim=True), stds.mean(0, keepdim=True)
        means, stds = (v.repeat(-(-n // 3))[:n, None, None] for v in (means, stds))
        return (pictures * stds + means - 0.5) / 0.5


def body_units(body: nn.Sequential) -> list[Any]:
    """The steps of a body in order: its children, plain sequences opened once.

    A body that does not run its children one after the other names its units itself (`units()`); parameters
    of its own are then among them.
    """
    own = getattr(body, "units", None)
    if own is not None:
        return own()
    units: list[nn.Module] = []
    for child in body.children():
        units += list(child.children()) if type(child) is nn.Sequential else [child]
    return units


def probe(body: nn.Sequential, c_in: int, size: int = 96) -> tuple[int, int]:
    """Channels of the feature map, and the number of the first unit that works at a stride above 8.

    The units (see `body_units`) before that one form the early body, the rest the late body.
    """
    units = body_units(body)
    own = getattr(body, "early_units", None)
    named = {str(n): unit for n, unit in enumerate(units) if own is None}
    sides: list[int] = []

    def remember(name: str, output: Tensor) -> None:
        sides.append(min(output.shape[-2:]))

    side, features = size, None
    for side in [size, *(s for s in _PROBE_SIDES if s > size)]:
        sides.clear()
        try:
            with Hooks(named, remember):
                features = run_zeros(body, c_in, side, side)
            break
        except Exception:
            if side == max(size, _PROBE_SIDES[-1]):
                raise
    if features is None:
        raise AssertionError("a shape or an error")
    if own is not None:
        return features.shape[1], own
    late = [i for i, at in enumerate(sides) if at * 8 < side]
    cut = late[0] if late and 0 < late[0] < len(units) else max(1, len(units) // 2)
    return features.shape[1], cut
