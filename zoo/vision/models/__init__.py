"""Small networks for small pictures."""

from zoo.vision.models.resnet_small import ResNetSmall as ResNetSmall
