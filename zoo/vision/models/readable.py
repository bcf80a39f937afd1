"""Whether a model can read pictures of another size, before a fit finds out."""

from __future__ import annotations

from torch import nn

from zoo.vision.models.detection import Detector
from zoo.vision.models.shapes import check_size, run_shapes
from zoo.vision.models.transfer import TransferModel
from zoo.vision.models.unet import UNet


def body_of(model: nn.Module) -> nn.Module | None:
    """The part of a model of `ConvLearner.pretrained` that published weights are for; None for other
    networks."""
    if isinstance(model, TransferModel):
        return model.body
    if isinstance(model, UNet):
        return model.encoder.body
    return model.net.backbone if isinstance(model, Detector) else None


def check_new_size(
    model: nn.Module, size: int | tuple[int, int], old: tuple[int, int], channels: int
) -> None:
    """Refuse a size of pictures that a model cannot read, where it reads another one.

    Of networks whose code is not of this library nothing is known without running them.

    Args:
        model: of a learner.
        size: side in pixels, or (height, width).
        old: height and width that it reads.
        channels: of the pictures.

    Raises:
        ValueError: naming the smallest size.

    Example:
        >>> from zoo.vision import FastNet
        >>> check_new_size(FastNet(2), 2, (32, 32), 3)
        Traceback (most recent call last):
        ValueError: FastNet needs pictures of at least 9 pixels, sz is 2
    """
    part = model if body_of(model) is None else body_of(model)
    if isinstance(model, Detector) or part is None or not type(model).__module__.startswith("zoo."):
        return
    try:
        run_shapes(part, channels, *old)
    except Exception:  # then this says nothing of the new size
        return
    spec = getattr(model, "model_spec", None)
    name = str(spec.args.get("arch", type(model).__name__)) if spec is not None else type(model).__name__
    square = isinstance(size, tuple) and size[0] == size[1]
    check_size(part, name, size[0] if square else size, channels)  # type: ignore[index]
