"""Names of architectures: torchvision's classifiers, timm's, and our own; what each one's weights expect."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torchvision

from zoo.errors import did_you_mean

TIMM = "timm/"
OWN = ("efficientnet_lite0",)
_LITE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")

REFUSED = {
    "maxvit_t": "its attention is laid out for pictures of 224 x 224 pixels only",
}


def torchvision_names() -> list[str]:
    """All classifiers of torchvision."""
    return torchvision.models.list_models(module=torchvision.models)


def import_timm(name: str) -> ModuleType:
    """The package timm, where it is installed.

    Args:
        name: of the architecture that is asked for, to be named in the error.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ModuleNotFoundError(
            f"architecture '{name}' is one of timm, which is not installed: pip install 'zoo[timm]'",
            name="timm",
        ) from None
    return timm


def arch_name(arch: Callable[..., Any] | str) -> str:
    """The name of an architecture given as constructor or name.

    A plain name means torchvision's classifier, then one of ours (`efficientnet_lite0`), then timm's; names
    of timm come back with "timm/" in front, which also chooses timm's version of a name that both have.

    Raises:
        ValueError: no such architecture, or one that has no feature map for pictures of any size.
        ModuleNotFoundError: a "timm/..." name, and timm is not installed.

    >>> arch_name(torchvision.models.resnet34), arch_name("efficientnet_lite0")
    ('resnet34', 'efficientnet_lite0')
    """
    name = arch if isinstance(arch, str) else getattr(arch, "__name__", repr(arch))
    if not isinstance(arch, str) and str(getattr(arch, "__module__", "")).startswith("timm."):
        name = TIMM + name
    known = [*torchvision_names(), *OWN]
    if name in REFUSED:
        raise ValueError(
            f"architecture '{name}' cannot be used as a body: {REFUSED[name]}; "
            "try swin_v2_t, a resnet, efficientnet, convnext, regnet or mobilenet"
        )
    if name in known:
        return name
    bare = name.removeprefix(TIMM)
    try:
        timm = import_timm(bare)
    except ModuleNotFoundError:
        if bare != name:
            raise
        timm = None
    offered = timm.list_models() if timm is not None else []
    if bare.partition(".")[0] in offered and (bare != name or isinstance(arch, str)):
        return TIMM + bare
    where = "one of torchvision's or timm's classifiers" if timm else "one of torchvision's classifiers"
    more = "" if timm else "; those of timm need it installed (pip install 'zoo[timm]')"
    raise ValueError(
        f"architecture '{name}' is not {where}{did_you_mean(name, [*known, *offered])}{more}; "
        "for your own model use ConvLearner.from_model_data(model, data) and tfms_from_stats(stats, sz)"
    )


def pretraining_preset(arch: Callable[..., Any] | str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Channel means, standard deviations and interpolation an architecture's published weights expect.

    >>> pretraining_preset("mobilenet_v2")[1:]
    ((0.229, 0.224, 0.225), 'bilinear')
    """
    name = arch_name(arch)
    if name in OWN:
        return _LITE
    if name.startswith(TIMM):
        config = import_timm(name).get_pretrained_cfg(name.removeprefix(TIMM))
        if config is None:
            raise ValueError(f"timm publishes no weights for {name}: use tfms_from_stats(stats, sz)")
        return tuple(config.mean), tuple(config.std), config.interpolation
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
    return tuple(preset.mean), tuple(preset.std), preset.interpolation.value
