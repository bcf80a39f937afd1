"""Models that start from published weights, from what a user writes: body, weights and what is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.loaders.seeding import seeded
from zoo.vision.models.architectures import arch_name
from zoo.vision.models.detection import Detector, detector
from zoo.vision.models.points import points_model
from zoo.vision.models.shapes import check_size
from zoo.vision.models.transfer import TransferModel, head_dropouts, transfer_model, with_custom_head
from zoo.vision.models.unet import UNet, UNetOptions, unet
from zoo.vision.models.weights import load_body_weights, published_weights, read_state_dict

HEAD_DAMPING = 0.03
"""Of new heads, see `DampedLinear`; chosen by `benchmarks/small_pictures.py`."""

Weights = str | PathLike[str] | Mapping[str, Tensor] | None


def model_for(
    head: Literal["pooled", "points", "map", "boxes"],
    arch: Callable[..., Any] | str,
    n_out: int,
    channels: int,
    *,
    scale: int = 1,
    ps: float | Sequence[float] | None = None,
    xtra_fc: Sequence[int] | None = None,
    custom_head: nn.Module | None = None,
    bn_final: bool = False,
    weights: Weights = "default",
    sz: int | tuple[int, int] | None = None,
    seed: int | None = None,
) -> nn.Module:
    """The model that a kind of target needs: a vector a picture, places in it, a map of its pixels, or boxes.

    Args:
        head: what the target needs.
        arch: an architecture; for boxes a detector of `zoo.vision.models.detection.BACKBONES`.
        n_out: outputs a picture, a pixel or a box.
        channels: of the pictures.
        scale: of a map: its sides in those of the picture.
        ps: as of `pretrained_model`, as are the arguments below; of pooled heads.
        xtra_fc: likewise.
        custom_head: likewise.
        bn_final: likewise.
        weights: "default", a file, a state dict, or None for random weights.
        sz: of the pictures in pixels.
        seed: of the new weights.

    Raises:
        ValueError: arguments of a pooled head for another one, and as `pretrained_model`.
    """
    of_points = {"xtra_fc": xtra_fc, "custom_head": custom_head, "bn_final": bn_final or None}
    if head == "points" and all(value is None for value in of_points.values()):
        return pretrained_points(arch, n_out // 2, channels, ps=ps, weights=weights, sz=sz, seed=seed)
    if head in ("pooled", "points"):
        return pretrained_model(
            arch, n_out, channels, ps=ps, xtra_fc=xtra_fc, custom_head=custom_head, bn_final=bn_final,
            weights=weights, sz=sz, seed=seed,
        )  # fmt: skip
    given = {"ps": ps, "xtra_fc": xtra_fc, "custom_head": custom_head, "bn_final": bn_final or None}
    of_pooled = [name for name, value in given.items() if value is not None]
    kind = "a map of its pixels (masks, pictures)" if head == "map" else "boxes"
    if of_pooled:
        raise ValueError(
            f"{of_pooled[0]} is of heads that give one answer a picture; these data ask for {kind}: leave it "
            "out"
        )
    if head == "map":
        return pretrained_unet(arch, n_out, channels, weights=weights, sz=sz, seed=seed, scale=scale)
    name = arch if isinstance(arch, str) else getattr(arch, "__name__", repr(arch))
    return pretrained_detector(name, n_out, channels, weights=weights, seed=seed)


def pretrained_model(
    arch: Callable[..., Any] | str,
    n_classes: int,
    channels: int,
    *,
    ps: float | Sequence[float] | None = None,
    xtra_fc: Sequence[int] | None = None,
    custom_head: nn.Module | None = None,
    bn_final: bool = False,
    weights: Weights = "default",
    sz: int | tuple[int, int] | None = None,
    seed: int | None = None,
) -> TransferModel:
    """A body with weights, and a new head; see `ConvLearner.pretrained` for the arguments.

    Args:
        arch: see `zoo.vision.models.architectures.arch_name`.
        n_classes: outputs.
        channels: of the pictures.
        ps: dropout of the head.
        xtra_fc: hidden layers of the head.
        custom_head: a head in the place of the standard one.
        bn_final: whether batch norm without much inertia (momentum 0.01) follows the last layer.
        weights: "default", a file, a state dict, or None for random weights.
        sz: of the pictures in pixels, where it is known, to be checked against what the body can read.
        seed: of the new weights.

    Raises:
        TypeError: an argument is not of the kind that is asked for.
        ValueError: unknown or unsupported architecture, weights that do not fit it, or pictures that are too
            small for it.
        ModuleNotFoundError: an architecture of timm, which is not installed.
        FileNotFoundError: no such weights file.
        OSError: the weights could not be downloaded.
    """
    name = arch_name(arch)
    with seeded(seed):
        model = _with_new_head(name, n_classes, channels, ps, xtra_fc, custom_head, bn_final)
    _give_weights(model.body, name, channels, weights, sz)
    return model


def pretrained_points(
    arch: Callable[..., Any] | str,
    n_points: int,
    channels: int = 3,
    *,
    ps: float | Sequence[float] | None = None,
    weights: Weights = "default",
    sz: int | tuple[int, int] | None = None,
    seed: int | None = None,
) -> TransferModel:
    """A body with weights, and a new head that looks where points are.

    Args:
        arch: see `zoo.vision.models.architectures.arch_name`.
        n_points: how many points.
        channels: of the pictures.
        ps: dropout of the head's one layer; default 0.25.
        weights: "default", a file, a state dict, or None for random weights.
        sz: of the pictures in pixels, where it is known, to be checked against what the body can read.
        seed: of the new weights.

    Raises:
        Exception: as `pretrained_model`.
    """
    name = arch_name(arch)
    with seeded(seed):
        model = points_model(name, n_points, channels, head_dropouts(0.25 if ps is None else ps, 1)[0])
    _give_weights(model.body, name, channels, weights, sz)
    return model


def pretrained_unet(
    arch: Callable[..., Any] | str,
    n_out: int,
    channels: int = 3,
    *,
    weights: Weights = "default",
    sz: int | tuple[int, int] | None = None,
    seed: int | None = None,
    **options: Unpack[UNetOptions],
) -> UNet:
    """A U-Net whose body has published weights.

    Args:
        arch: see `zoo.vision.models.architectures.arch_name`.
        n_out: outputs a pixel.
        channels: of the pictures.
        weights: "default", a file, a state dict, or None for random weights.
        sz: of the pictures in pixels, where it is known, to be checked against what the body can read.
        seed: of the new weights.
        options: of `zoo.vision.models.unet.unet`.

    Raises:
        Exception: as `pretrained_model`.
    """
    name = arch_name(arch)
    with seeded(seed):
        model = unet(name, n_out, channels, **options)
    _give_weights(model.encoder.body, name, channels, weights, sz)
    return model


def pretrained_detector(
    arch: str,
    n_classes: int,
    channels: int = 3,
    *,
    weights: Weights = "default",
    max_detections: int = 100,
    min_score: float = 0.05,
    seed: int | None = None,
) -> Detector:
    """A detector whose backbone has the weights of a classifier.

    Args:
        arch: one of `zoo.vision.models.detection.BACKBONES`.
        n_classes: classes of things.
        channels: of the pictures.
        weights: of the classifier that the backbone was cut from: "default", a file, a state dict, or None
            for random weights.
        max_detections: the most detections a picture.
        min_score: detections below it are left out.
        seed: of the new weights.

    Raises:
        Exception: as `pretrained_model`.
    """
    with seeded(seed):
        model = detector(arch, n_classes, channels, max_detections=max_detections, min_score=min_score)
    given = _state_of(model.backbone, weights)
    if given is not None:
        model.load_backbone(*given)
    return model


@torch.no_grad()
def start_at_zero(head: nn.Module) -> None:
    """Scale the last layer of a new head down, in place, so that it says nearly 0 before it is trained.

    Numbers that are learned with mean 0, or as places in [-1, 1], then begin at their middle; with outputs of
    deviation 1 and more the first steps would only make them small. Weights of 0 would tell the layers before
    nothing.

    Args:
        head: of `make_head`; of one that ends with batch norm the scale of that is made small.

    Example:
        >>> from zoo.vision.models.transfer import make_head
        >>> head = make_head(8, 2).eval()
        >>> start_at_zero(head)
        >>> bool(head(torch.ones(1, 8)).abs().max() < 0.2)
        True
    """
    last = [m for m in head.modules() if isinstance(m, nn.Linear | nn.BatchNorm1d)][-1]
    last.weight.mul_(0.01)


def _give_weights(
    body: nn.Sequential, name: str, channels: int, weights: Weights, sz: int | tuple[int, int] | None
) -> None:
    """Check that a body can read the pictures, and load what it shall begin with."""
    if sz is not None:
        check_size(body, name, sz, channels)
    given = _state_of(name, weights)
    if given is not None:
        load_body_weights(body, given[0], channels, given[1])


def _state_of(name: str, weights: Weights) -> tuple[dict[str, Tensor], str] | None:
    """A state dict and what it is called in errors; `None` for random weights."""
    if weights is None:
        return None
    if not isinstance(weights, str | PathLike | Mapping):
        raise TypeError(
            f"weights must be 'default', a file, a state dict or None for random weights, got {weights!r}"
        )
    if isinstance(weights, Mapping):
        return dict(weights), "weights"
    state = published_weights(name) if weights == "default" else read_state_dict(weights)
    return state, f"weights file {weights}"


def _with_new_head(
    name: str,
    n_classes: int,
    channels: int,
    ps: float | Sequence[float] | None,
    xtra_fc: Sequence[int] | None,
    custom_head: nn.Module | None,
    bn_final: bool,
) -> TransferModel:
    if custom_head is not None:
        if ps is not None or xtra_fc is not None or bn_final:
            raise ValueError("custom_head replaces the standard head: leave out ps, xtra_fc and bn_final")
        return with_custom_head(name, custom_head, channels)
    layers = [512] if xtra_fc is None else _numbers(xtra_fc, "xtra_fc", "layer sizes, e.g. [128]", whole=True)
    dropout = ps
    if ps is not None:
        values = _numbers([ps] if np.ndim(ps) == 0 else ps, "ps", "one dropout probability or a list of them")
        dropout = values[0] if np.ndim(ps) == 0 else values
    return transfer_model(name, n_classes, channels, layers, dropout, bn_final, damping=HEAD_DAMPING)


def _numbers(values: Any, name: str, what: str, *, whole: bool = False) -> list[Any]:
    """Plain Python numbers from a list or array of numbers."""
    plain = None if np.ndim(values) != 1 or isinstance(values, str | dict) else [*values]
    kinds = int | np.integer if whole else int | float | np.number
    if plain is None or any(isinstance(v, bool) or not isinstance(v, kinds) for v in plain):
        raise TypeError(f"{name} takes {what}, got {values!r}")
    return [int(v) if whole else float(v) for v in plain]
