"""Bodies from timm, the collection of image models (optional: ``pip install 'zoo[timm]'``)."""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.inspect.hooks import Hooks
from zoo.vision.models.architectures import import_timm
from zoo.vision.models.shapes import run_shapes

# Ways to ask for pictures of any size, by family; those that are not known there are a TypeError.
_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)


class TimmBody(nn.Sequential):
    """A model of timm without its pooling and classifier.

    Args:
        net: made with `num_classes=0`. It gives a feature map in either layout, or tokens on a grid, which
            timm itself lays out as a map.
        side: of a picture that it can read.
    """

    def __init__(self, net: nn.Module, c_in: int, side: int) -> None:
        super().__init__(OrderedDict(net=net))
        self.left_out: tuple[str, ...] = ()
        self.norms_maps = True
        self.layout = self._find_layout(net, c_in, side)
        self.left_out = self._leave_out_unused(c_in, side)

    @property
    def timm_net(self) -> Any:
        """timm's model."""
        return self[0]

    @staticmethod
    def _find_layout(net: Any, c_in: int, side: int) -> str:
        """How the map leaves the model: "first" or "last" (where the channels are) or "tokens"."""
        given = run_shapes(_Features(net), c_in, side, side)
        if not isinstance(given, Tensor) or given.ndim != 4:
            return "tokens"
        return "last" if given.shape[3] == net.num_features != given.shape[1] else "first"

    def _leave_out_unused(self, c_in: int, side: int) -> tuple[str, ...]:
        """Takes out the parts that only the classifier would use; their names."""
        used: set[str] = set()
        if self.layout == "tokens":
            try:
                run_shapes(self, c_in, side, side)
            except AssertionError:  # a few families give their maps without the last norm only
                self.norms_maps = False
        with Hooks(dict(self.timm_net.named_modules()), lambda name, _: used.add(name)):
            run_shapes(self, c_in, side, side)
        unused = []
        for name, child in self.timm_net.named_children():
            has_parameters = next(child.parameters(), None) is not None
            if has_parameters and not any(f"{place}.".startswith(f"{name}.") for place in used):
                setattr(self.timm_net, name, nn.Identity())
                unused.append(name)
        return tuple(unused)

    def forward(self, input: Tensor) -> Tensor:
        """N x channels x H x W -> N x C x h x w."""
        if self.layout == "tokens":
            return self._maps(input, indices=1)[-1]
        return self._as_map(self.timm_net.forward_features(input))

    def feature_maps(self, pictures: Tensor) -> list[Tensor]:
        """The last map of every resolution, finest first; the last of all is what `forward` gives."""
        if self.layout == "tokens":
            maps = self._maps(pictures)
        else:
            last, maps = self.timm_net.forward_intermediates(pictures, output_fmt="NCHW")
            maps = [*maps[:-1], self._as_map(last)]
        ends = [i for i, (a, b) in enumerate(itertools.pairwise(maps)) if a.shape[-1] != b.shape[-1]]
        return [maps[i] for i in [*ends, len(maps) - 1]]

    def _maps(self, pictures: Tensor, **options: Any) -> list[Tensor]:
        return self.timm_net.forward_intermediates(
            pictures, norm=self.norms_maps, output_fmt="NCHW", intermediates_only=True, **options
        )

    def _as_map(self, features: Tensor) -> Tensor:
        return features.permute(0, 3, 1, 2) if self.layout == "last" else features

    def adapt_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights as timm publishes them, without the classifier, under this body's names."""
        classifier = (self.timm_net.pretrained_cfg or {}).get("classifier") or ()
        names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        dropped = tuple(f"{name}." for name in (*names, *self.left_out))
        prefixed = all(name.startswith("net.") for name in state)
        return {
            name if prefixed else f"net.{name}": value
            for name, value in state.items()
            if not name.removeprefix("net.").startswith(dropped)
        }

    def units(self) -> list[Any]:
        """Parameters of the model itself, then its children in order, lists and sequences of them opened."""
        found: list[Any] = list(self.timm_net.parameters(recurse=False))
        for _, child in self._children():
            found.append(child)
        return found

    def _children(self) -> list[tuple[str, nn.Module]]:
        named: list[tuple[str, nn.Module]] = []
        for name, child in self.timm_net.named_children():
            opened = isinstance(child, nn.Sequential | nn.ModuleList)
            inner = [(f"{name}.{key}", part) for key, part in child.named_children()] if opened else []
            named += inner or [(name, child)]
        return named

    @property
    def early_units(self) -> int:
        """As many units as work at a stride of at most 8, or half of them where the model does not tell."""
        own, names = (
            len(list(self.timm_net.parameters(recurse=False))),
            [name for name, _ in self._children()],
        )
        infos = getattr(self.timm_net, "feature_info", None) or ()
        early = [str(info["module"]) for info in getattr(infos, "info", infos) if info["reduction"] <= 8]
        cut = max(
            (i + 1 for i, name in enumerate(names) for place in early if _within(name, place)), default=0
        )
        return own + cut if 0 < cut < len(names) else max(1, (own + len(names)) // 2)


def _within(name: str, place: str) -> bool:
    """Whether one of two layers lies within the other, or they are the same."""
    return f"{name}.".startswith(f"{place}.") or f"{place}.".startswith(f"{name}.")


class _Features(nn.Module):
    """The part of a model that `forward_features` runs, callable."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> Any:
        return self.net.forward_features(pictures)


def timm_body(name: str, c_in: int = 3) -> TimmBody:
    """A model of timm as a body, with random weights; it reads any size of picture if its family can.

    Args:
        name: as timm lists it.
        c_in: channels of the pictures.

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: the model gives no feature map.
    """
    timm, net = import_timm(name), None
    for options in _ANY_SIZE:
        with contextlib.suppress(TypeError):
            net = timm.create_model(name, pretrained=False, num_classes=0, in_chans=c_in, **options)
            break
    if net is None:
        net = timm.create_model(name, pretrained=False, num_classes=0, in_chans=c_in)
    if not hasattr(net, "forward_intermediates") or not hasattr(net, "forward_features"):
        raise ValueError(f"architecture 'timm/{name}' cannot be used as a body: it gives no feature maps")
    return TimmBody(net, c_in, max(net.pretrained_cfg["input_size"][1:]))
