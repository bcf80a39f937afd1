"""From an optimizer class or function and the parameters of layer groups to a torch optimizer."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zoo.engine.layer_groups import LayerGroup
from zoo.errors import some

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)


FUSED_ON = {"cpu", "cuda", "mps"}
"""Devices for which torch has fused optimizers that are faster than its others."""


@dataclass(frozen=True)
class Part:
    """Parameters of one layer group that are treated alike.

    Attributes:
        owner: number of the layer group.
        params: the parameters.
        decays: whether weight decay reaches them.
    """

    owner: int
    params: list[nn.Parameter]
    decays: bool = True


@dataclass(frozen=True)
class Place:
    """What one param group of the torch optimizer stands for.

    Attributes:
        owner: number of its layer group.
        decays: whether weight decay reaches it.
        own_decay: what the optimizer gave it.
        scale: its rate as a share of the layer group's; not 1 where a function gave its groups several, or
            where the optimizer makes another rate of the one that it is given.
    """

    owner: int
    decays: bool
    own_decay: float
    scale: float


def parts_of(groups: Sequence[LayerGroup], decay_bias_and_norm: bool) -> list[Part]:
    """The parameters of layer groups; biases and those of norm layers apart where they do not decay."""
    parts = []
    for owner, group in enumerate(groups):
        plain = set() if decay_bias_and_norm else _bias_and_norm(group)
        decaying = [param for param in group.params if id(param) not in plain]
        rest = [param for param in group.params if id(param) in plain]
        parts += [
            Part(owner, params, decays) for params, decays in ((decaying, True), (rest, False)) if params
        ]
    if not parts:
        raise ValueError("there are no parameters to train")
    return parts


def make_optimizer(
    opt_fn: Callable[..., Any], parts: Sequence[Part], lrs: Sequence[float]
) -> tuple[Any, list[Place], bool]:
    """The optimizer, what its param groups stand for, and whether its fused kernel was chosen here.

    A class (also as `functools.partial`) gets torch's param groups, one for every part. A function gets all
    parameters as one flat list, and may make groups of its own: one that reaches into several layer groups is
    split, its options are kept.

    Args:
        opt_fn: the class or function.
        parts: which parameters there are.
        lrs: the first rate of each layer group.
    """
    inner, keywords = unwrapped(opt_fn)
    named = _arguments(inner)
    wanted: dict[str, Any] = {}
    if "lr" in named and "lr" not in keywords:
        wanted["lr"] = max(lrs) or 1e-3  # some optimizers refuse 0; the real rates are written next
    if not isinstance(inner, type):
        opt = opt_fn([param for part in parts for param in part.params], **wanted)
    else:
        if inner.__module__.startswith(("torch.optim", "zoo.engine")) and _may_fuse(named, keywords, parts):
            wanted["fused"] = True
        given = parts[0].params if len(parts) == 1 else [{"params": part.params} for part in parts]
        try:
            opt = opt_fn(given, **wanted)
        except ValueError as error:
            if len(parts) == 1 or "per-parameter options" not in str(error):
                raise
            raise ValueError(_one_group(inner.__name__, parts)) from error
    if not hasattr(opt, "param_groups") or not hasattr(opt, "step"):
        raise TypeError(
            f"opt_fn must give an optimizer with param_groups and step(), got {type(opt).__name__} from "
            f"{getattr(opt_fn, '__name__', opt_fn)!r}"
        )
    given_rate = wanted.get("lr") if isinstance(inner, type) else None
    return opt, _places(opt, parts, given_rate), "fused" in wanted


def unwrapped(opt_fn: Any) -> tuple[Any, dict[str, Any]]:
    """What is inside of `functools.partial`s, and their keywords."""
    keywords: dict[str, Any] = {}
    while hasattr(opt_fn, "func") and hasattr(opt_fn, "keywords"):
        keywords = {**opt_fn.keywords, **keywords}
        opt_fn = opt_fn.func
    return opt_fn, keywords


def check_opt_fn(opt_fn: Any) -> Any:
    """An optimizer class or function, as it is.

    Raises:
        TypeError: for an optimizer that is made already, or anything that cannot be called.
    """
    if hasattr(opt_fn, "param_groups") and not isinstance(opt_fn, type):
        kind = type(opt_fn).__name__
        raise TypeError(
            f"opt_fn makes the optimizer of each learner, so it must be a class or a function, got a ready "
            f"{kind}: pass {kind} itself, or functools.partial({kind}, ...) for options; rates go to fit"
        )
    if not callable(opt_fn):
        raise TypeError(
            "opt_fn must be an optimizer class (such as torch.optim.SGD) or a function of parameters, got "
            f"{opt_fn!r}"
        )
    return opt_fn


def default_rate(opt_fn: Any) -> float | None:
    """The rate that an optimizer suggests for itself, if it does."""
    inner, keywords = unwrapped(opt_fn)
    rate = keywords.get("lr", getattr(_arguments(inner).get("lr"), "default", None))
    return float(rate) if isinstance(rate, int | float) else None


def averages_itself(opt: Any) -> bool:
    """Whether an optimizer keeps other weights for training than for answers, as schedule-free ones do."""
    return callable(getattr(opt, "train", None)) and callable(getattr(opt, "eval", None))


def decays_itself(opt: Any) -> bool:
    """Whether weight decay is left to the optimizer.

    Of torch's own optimizers those that decouple it decay by themselves, such as AdamW. Optimizers of other
    packages always do where they know of a decay: it may be part of their rule (LARS), and where the rate is
    a factor of a learned step (Prodigy) nobody else can know how much to decay.
    """
    if type(opt).step.__module__.startswith("torch.optim"):
        return isinstance(opt, _DECOUPLED) or any(g.get("decoupled_weight_decay") for g in opt.param_groups)
    return averages_itself(opt) or any("weight_decay" in group for group in opt.param_groups)


_DECOUPLED = tuple(
    getattr(torch.optim, name) for name in ("AdamW", "Adafactor", "Muon") if hasattr(torch.optim, name)
)


def has_sparse_gradient(opt: Any) -> bool:
    """Whether some parameter has a gradient of an `nn.Embedding(sparse=True)` or the like."""
    return any(
        param.grad is not None and param.grad.layout is not torch.strided
        for group in opt.param_groups
        for param in group["params"]
    )


def _bias_and_norm(group: LayerGroup) -> set[int]:
    plain = {
        id(param)
        for module in group.modules
        for layer in module.modules()
        if isinstance(layer, _NORMS)
        for param in layer.parameters()
    }
    return plain | {id(param) for param in group.params if param.ndim <= 1}


def _arguments(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C
        return {}


def _may_fuse(named: Mapping[str, Any], keywords: dict[str, Any], parts: Sequence[Part]) -> bool:
    """Whether a class has a fused kernel for these parameters, and nobody asked for another."""
    params = [param for part in parts for param in part.params]
    kinds = {param.device.type for param in params}
    return (
        "fused" in named
        and not {"fused", "foreach", "capturable", "differentiable"} & set(keywords)
        and all(param.is_floating_point() for param in params)
        and len(kinds) == 1
        and kinds <= FUSED_ON
    )


def _places(opt: Any, parts: Sequence[Part], given_rate: float | None) -> list[Place]:
    """Split the param groups that reach into several parts, and say what each stands for."""
    part_of = {id(param): number for number, part in enumerate(parts) for param in part.params}
    split: list[tuple[int, dict[str, Any]]] = []
    for group in opt.param_groups:
        inside: dict[int, list[nn.Parameter]] = {}
        for param in group["params"]:
            if id(param) not in part_of:
                raise ValueError("opt_fn made an optimizer of parameters that the model does not have")
            inside.setdefault(part_of[id(param)], []).append(param)
        if len(inside) == 1:
            split.append((next(iter(inside)), group))
        else:
            split += [(number, {**group, "params": params}) for number, params in inside.items()]
    if len(split) != len(opt.param_groups):
        if hasattr(opt, "_params"):  # LBFGS
            raise ValueError(_one_group(type(opt).__name__, parts))
        opt.param_groups[:] = [group for _, group in split]
    _warn_of_the_rest(opt, parts)
    return _described(split, parts, given_rate)


def _one_group(kind: str, parts: Sequence[Part]) -> str:
    return (
        f"{kind} takes all parameters as one group, but there are {len(parts)}: give the learner one group, "
        "layer_groups=[[model]]"
    )


def _described(
    split: Sequence[tuple[int, dict[str, Any]]], parts: Sequence[Part], given_rate: float | None
) -> list[Place]:
    rates: dict[int, float] = {}
    decaying: set[int] = set()
    for number, group in split:
        owner = parts[number].owner
        rates[owner] = given_rate or max(rates.get(owner, 0.0), float(group.get("lr", 0.0)))
        if group.get("weight_decay"):
            decaying.add(owner)
    places = []
    for number, group in split:
        owner, decay = parts[number].owner, float(group.get("weight_decay") or 0.0)
        # a group without decay beside one with: that is what the function made them for
        decays = parts[number].decays and (decay > 0 or owner not in decaying)
        scale = float(group.get("lr", 0.0)) / rates[owner] if rates[owner] else 1.0
        if scale == 0:
            warnings.warn(
                f"opt_fn made a group of {len(group['params'])} parameters with a rate of 0 beside one with "
                f"{rates[owner]:g}: ratios are kept, so they will not train",
                stacklevel=6,
            )
        places.append(Place(owner, decays, decay, scale))
    return places


def _warn_of_the_rest(opt: Any, parts: Sequence[Part]) -> None:
    held = {id(param) for group in opt.param_groups for param in group["params"]}
    params = [param for part in parts for param in part.params if param.requires_grad]
    left = [param for param in params if id(param) not in held]
    if left:
        shapes = some(str(tuple(param.shape)) for param in left)
        warnings.warn(
            f"the optimizer that opt_fn made leaves out {len(left)} parameters (of shapes {shapes}): they "
            "will not train",
            stacklevel=5,
        )
