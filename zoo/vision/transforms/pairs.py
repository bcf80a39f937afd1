"""The (train, valid) pair of transforms, from channel statistics or a pretrained architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, get_args

import numpy as np

from zoo.errors import did_you_mean
from zoo.vision.models.architectures import pretraining_preset
from zoo.vision.transforms.augment import RandomCall, RandomTransform
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.view import CropMode, PadMode

Stats: TypeAlias = tuple[Sequence[float], Sequence[float]]


imagenet_stats: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the RGB channels of ImageNet, for values in [0, 1]."""


def tfms_from_stats(
    stats: Stats,
    sz: int | tuple[int, int],
    *,
    aug_tfms: Sequence[RandomTransform | Callable[[Any], Any]] | None = None,
    max_zoom: float | None = None,
    pad: int = 0,
    pad_mode: PadMode = "reflect",
    crop: CropMode | None = None,
    interpolation: str = "bilinear",
    value_range: tuple[float, float] | None = None,
) -> tuple[ImageTransform, ImageTransform]:
    """The (train, valid) pair of transforms for given channel statistics.

    Validation pictures are scaled so that the shorter side is `sz`, then cropped in the centre.

    Args:
        stats: (means, standard deviations) of the channels for values in [0, 1].
        sz: side of the square result in pixels, or (height, width).
        aug_tfms: random transforms of training pictures, e.g. `transforms_side_on`, your own
            `RandomTransform` objects, or callables such as torchvision's transforms.
        max_zoom: training pictures are enlarged by a factor drawn from [1, max_zoom] before the crop.
        pad: pixels added to each side of training pictures before the crop (4 is usual for 32x32).
        pad_mode: "reflect", "constant" (black) or "edge".
        crop: "random" or "center" crops of training pictures (default: random if anything else is random or
            padded); "squash" or "letterbox" use the whole picture, in validation too.
        interpolation: "bilinear", "bicubic" or "nearest".
        value_range: the values that are black and white in pictures of more than 8 bits and of floats, the
            same for all pictures of a set, such as (0, 4095); None takes what the files declare.

    Returns:
        A pair of `ImageTransform`; each can be called on one picture.

    >>> train, valid = tfms_from_stats(imagenet_stats, 32, max_zoom=1.1)
    >>> valid(np.zeros((40, 60, 3), np.uint8)).shape
    torch.Size([3, 32, 32])
    """
    size = _check_size(sz)
    mean, std = (tuple(float(v) for v in values) for values in stats)
    if len(mean) != len(std) or not mean or min(std) <= 0:
        raise ValueError(f"stats must be (means, stds) of equal length with positive stds, got {stats}")
    if max_zoom is not None and max_zoom < 1:
        raise ValueError(f"max_zoom must be at least 1, got {max_zoom}")
    if pad < 0:
        raise ValueError(f"pad must be at least 0 pixels, got {pad}")
    for name, value, options in (
        ("crop", crop, [*get_args(CropMode), None]),
        ("pad_mode", pad_mode, list(get_args(PadMode))),
        ("interpolation", interpolation, ["bilinear", "bicubic", "nearest"]),
    ):
        if value not in options:
            hint = did_you_mean(str(value), [o for o in options if o])
            raise ValueError(f"{name}={value!r} is not one of {options}{hint}")
    augment = tuple(_as_random(t) for t in _listed(aug_tfms))
    if crop is None:
        crop = "random" if augment or pad or (max_zoom or 1) > 1 else "center"
    valid = ImageTransform(
        size, mean, std, interpolation, crop="center" if crop == "random" else crop, value_range=value_range
    )
    train = replace(
        valid, augment=augment, max_zoom=float(max_zoom or 1.0), pad=pad, pad_mode=pad_mode, crop=crop
    )
    return train, valid


def tfms_from_model(
    arch: Callable[..., Any] | str,
    sz: int | tuple[int, int],
    *,
    aug_tfms: Sequence[RandomTransform | Callable[[Any], Any]] | None = None,
    max_zoom: float | None = None,
    pad: int = 0,
    pad_mode: PadMode = "reflect",
    crop: CropMode | None = None,
    value_range: tuple[float, float] | None = None,
) -> tuple[ImageTransform, ImageTransform]:
    """Like `tfms_from_stats`, with the statistics and interpolation the architecture was pretrained with.

    Args:
        arch: a torchvision constructor such as `torchvision.models.resnet34`, or its name.
        sz: side of the square result in pixels, or (height, width).
        aug_tfms: see `tfms_from_stats`, as are the remaining arguments.
        max_zoom: likewise.
        pad: likewise.
        pad_mode: likewise.
        crop: likewise.
        value_range: likewise.

    >>> train, valid = tfms_from_model("efficientnet_b0", 224)
    >>> valid.interpolation
    'bicubic'
    """
    mean, std, interpolation = pretraining_preset(arch)
    return tfms_from_stats(
        (mean, std),
        sz,
        aug_tfms=aug_tfms,
        max_zoom=max_zoom,
        pad=pad,
        pad_mode=pad_mode,
        crop=crop,
        interpolation=interpolation,
        value_range=value_range,
    )


def other_normalisation(tfm: ImageTransform, arch: Callable[..., Any] | str) -> str | None:
    """What to tell where pictures come to a network far from how those were on which it was pretrained.

    Statistics of one's own pictures are near enough: told are means that are apart by more than 0.1, and
    deviations by a factor of more than 1.5.

    Args:
        tfm: of the pictures.
        arch: as of `tfms_from_model`.

    Returns:
        None where they are near, or nothing is known of the architecture.

    Example:
        >>> train, valid = tfms_from_model("efficientnet_lite0", 64)
        >>> other_normalisation(valid, "efficientnet_lite0") is None
        True
        >>> other_normalisation(valid, "mobilenet_v2")[:56]
        'the pictures are normalised with the mean (0.5, 0.5, 0.5'
    """
    if not isinstance(tfm, ImageTransform):
        return None
    try:
        mean, std, _ = pretraining_preset(arch)
    except (ValueError, KeyError):
        return None
    given = (tfm.mean, tfm.std) if tfm.mean else ((0.0,), (1.0,))
    rows = [np.asarray(values, np.float64) for values in (*given, mean, std)]
    if len(rows[0]) != len(rows[2]):
        rows = [row.mean(keepdims=True) for row in rows]
    apart, factor = np.abs(rows[0] - rows[2]).max(), np.abs(np.log(rows[1] / rows[3])).max()
    if apart <= 0.1 and factor <= np.log(1.5):
        return None
    name = arch if isinstance(arch, str) else getattr(arch, "__name__", repr(arch))
    how = f"with {_described(*given)}" if tfm.mean else "not at all"
    return (
        f"the pictures are normalised {how}, those on which {name} was pretrained with "
        f"{_described(mean, std)}: give the data tfms=tfms_from_model({name!r}, sz), unless your weights "
        "were trained with other statistics"
    )


def _described(mean: Sequence[float], std: Sequence[float]) -> str:
    each = [", ".join(f"{value:.3g}" for value in values) for values in (mean, std)]
    return f"the mean ({each[0]}) and the deviation ({each[1]}) for values in [0, 1]"


def _check_size(sz: int | tuple[int, int]) -> tuple[int, int]:
    size = tuple(sz) if isinstance(sz, tuple | list) else (sz, sz)
    if any(isinstance(v, bool | np.bool_) for v in size):
        raise TypeError(f"sz takes a number of pixels or (height, width), got {sz!r}")
    if len(size) != 2 or any(not isinstance(v, int | np.integer) or v < 1 for v in size):
        raise ValueError(f"sz must be a positive number of pixels or (height, width), got {sz!r}")
    return int(size[0]), int(size[1])


def _listed(aug_tfms: Any) -> Iterable[Any]:
    """The transforms of `aug_tfms`.

    Raises:
        TypeError: it is no list.
    """
    if aug_tfms is None:
        return ()
    if isinstance(aug_tfms, str):
        known = f"transforms_{aug_tfms.removeprefix('transforms_')}"
        hint = (
            f"aug_tfms={known}, from zoo.vision, without quotes"
            if known in ("transforms_basic", "transforms_side_on", "transforms_top_down")
            else "such as transforms_side_on, of zoo.vision"
        )
        raise TypeError(f"aug_tfms takes a list of transforms, got the text {aug_tfms!r}: {hint}")
    if isinstance(aug_tfms, RandomTransform | type) or not isinstance(aug_tfms, Iterable):
        raise TypeError(f"aug_tfms takes a list of transforms, got {aug_tfms!r}: put it into [ ]")
    return aug_tfms


def _as_random(transform: RandomTransform | Callable[[Any], Any]) -> RandomTransform:
    if isinstance(transform, RandomTransform):
        return transform
    if callable(transform) and not isinstance(transform, type):
        return RandomCall(transform)
    raise TypeError(f"aug_tfms takes RandomTransform objects or callables, got {transform!r}")
