"""SSDlite on MobileNetV3, with a backbone that takes a classifier's weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models.detection import _utils
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead

_SIZE = (320, 320)


def ssdlite320(num_classes: int, **options: Any) -> SSD:
    """SSDlite (Sandler et al. 2018) on MobileNetV3-large (Howard et al. 2019), with random weights.

    As torchvision's `ssdlite320_mobilenet_v3_large`, but always with the full backbone: torchvision halves
    the channels of its last layers where it is given no weights itself, so that a file's would not fit.

    Args:
        num_classes: with the background.
        options: of torchvision's `SSD`.
    """
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    layers = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm).features
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.03)
    ends = [i for i, block in enumerate(layers) if getattr(block, "_is_cn", False)]
    backbone = SSDLiteFeatureExtractorMobileNet(layers, ends[-1], norm)
    with torch.no_grad():
        channels = _utils.retrieve_out_channels(backbone, _SIZE)
    anchors = DefaultBoxGenerator([[2, 3] for _ in channels], min_ratio=0.2, max_ratio=0.95)
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), num_classes, norm)
    defaults = {"nms_thresh": 0.55, "topk_candidates": 300}
    return SSD(backbone, anchors, _SIZE, num_classes, head=head, **(defaults | options))
