"""Importing this module registers all networks of this domain, so that archives can name them."""

from zoo.vision.models import detection, fast_net, ladder, resnet_small, transfer, unet, wide_resnet

__all__ = ["detection", "fast_net", "ladder", "resnet_small", "transfer", "unet", "wide_resnet"]
