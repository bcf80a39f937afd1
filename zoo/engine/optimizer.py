"""The optimizer over layer groups: a rate and a decoupled weight decay per group."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.engine.layer_groups import LayerGroup, LayerGroups, Rates


class LayerOptimizer:
    """Any torch optimizer over layer groups, with decoupled weight decay.

    Weight decay never enters the gradient averages: before the update each weight is multiplied by `1 - lr *
    wd` (AdamW, Loshchilov & Hutter 2019), whatever the optimizer. `AdamW` does this itself; for the others it
    is done here.

    Args:
        opt_class: a torch optimizer class, or a function `(param_groups) -> optimizer` such as a
            `functools.partial`.
        groups: `LayerGroups`, or a list with one entry a group (a module, or a list of modules).
        lrs: a number, one number a group, or a slice.
        wds: likewise; by default what the optimizer itself was given (or gives itself).
        decay_bias_and_norm: whether biases and the parameters of normalisation layers decay too.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> opt = LayerOptimizer(torch.optim.SGD, [net[0], net[1]], [0.01, 0.1], wds=0.01)
        >>> opt.lrs
        [0.01, 0.1]
    """

    def __init__(
        self,
        opt_class: Callable[..., torch.optim.Optimizer],
        groups: LayerGroups | Sequence[Any],
        lrs: Rates,
        wds: Rates | None = None,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        if not isinstance(groups, LayerGroups):
            holder = nn.ModuleList(
                m for part in groups for m in ([part] if isinstance(part, nn.Module) else part)
            )
            groups = LayerGroups(holder, groups)
        self.groups = groups
        parts = [
            (index, part) for index, group in enumerate(groups) for part in _parts(group, decay_bias_and_norm)
        ]
        self._owner = [index for index, _ in parts]
        first = groups.spread(lrs)
        self.opt = _build(opt_class, [params for _, (params, _) in parts], [first[i] for i in self._owner])
        self._native_decay = isinstance(self.opt, torch.optim.AdamW)
        for param_group, (_, (_, decays)) in zip(self.opt.param_groups, parts, strict=True):
            param_group["decays"] = decays
        self.own_wds = [0.0] * len(groups)
        for owner, param_group in zip(self._owner, self.opt.param_groups, strict=True):
            self.own_wds[owner] = float(param_group.get("weight_decay", 0.0))
        self._wds = list(self.own_wds)
        self.set_lrs(lrs)
        self.set_wds(self.own_wds if wds is None else wds)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The torch optimizer's param groups (two for a layer group that has parameters without decay)."""
        return self.opt.param_groups

    @property
    def lrs(self) -> list[float]:
        """The current rate of each layer group, earliest first."""
        found: dict[int, float] = dict(
            zip(self._owner, (float(g["lr"]) for g in self.param_groups), strict=True)
        )
        return [found.get(index, 0.0) for index in range(len(self.groups))]

    @property
    def wds(self) -> list[float]:
        """The weight decay of each layer group, earliest first."""
        return list(self._wds)

    def set_lrs(self, lrs: Rates) -> None:
        """Give every layer group its rate: a number, one number a group, or a slice."""
        self._write_lrs(self.groups.spread(lrs))

    def _write_lrs(self, lrs: Sequence[float]) -> None:
        for owner, param_group in zip(self._owner, self.opt.param_groups, strict=True):
            param_group["lr"] = lrs[owner]

    def set_wds(self, wds: Rates) -> None:
        """Give every layer group its weight decay."""
        self._wds = self.groups.spread(wds, "weight decay")
        for owner, param_group in zip(self._owner, self.opt.param_groups, strict=True):
            decay = self._wds[owner] if param_group["decays"] else 0.0
            if self._native_decay:
                param_group["weight_decay"] = decay
            else:
                param_group["decoupled_decay"] = decay
                if "weight_decay" in param_group:
                    param_group["weight_decay"] = 0

    def set_momentum(self, momentum: float) -> None:
        """Set the momentum, or the first beta of Adam-like optimizers; optimizers without either are left
        alone.
        """
        for param_group in self.opt.param_groups:
            if "betas" in param_group:
                param_group["betas"] = (momentum, *param_group["betas"][1:])
            elif param_group.get("momentum"):
                param_group["momentum"] = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        """Decay, then update; parameters without a gradient are left alone."""
        if not self._native_decay:
            # set by whoever found a gradient that must not be applied; the fused kernels look at it too
            skip = getattr(self.opt, "found_inf", None)
            for param_group in self.opt.param_groups:
                decay = float(param_group["lr"]) * param_group["decoupled_decay"]
                decaying = (
                    [param for param in param_group["params"] if param.grad is not None] if decay else []
                )
                if decaying:
                    torch._foreach_mul_(decaying, 1 - decay if skip is None else 1 - decay * (1 - skip))
        if closure is None:
            self.opt.step()
        else:
            self.opt.step(closure)

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self.opt.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"opt": self.opt.state_dict(), "wds": list(self._wds)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.opt.load_state_dict(state["opt"])
        _keep_formats(self.opt, state["opt"])
        align_layouts(self.opt)
        self._wds = list(state["wds"])

    def __repr__(self) -> str:
        return f"{type(self.opt).__name__}(lrs={self.lrs}, wds={self.wds})"


def _keep_formats(opt: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Counters, masks and sums in double precision stay what they are; torch casts them like the weights."""
    params = [param for group in opt.param_groups for param in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    for param, number in zip(params, numbers, strict=True):
        for name, value in saved["state"].get(number, {}).items():
            own = opt.state[param].get(name)
            if isinstance(value, Tensor) and isinstance(own, Tensor) and own.dtype != value.dtype:
                opt.state[param][name] = value.to(own.device, copy=True)


def align_layouts(opt: torch.optim.Optimizer) -> None:
    """Put an optimizer's averages into the memory layout of their parameters.

    Fused kernels go through both in the order of memory: averages that come from a file (always in the plain
    layout) of a parameter in the channels-last layout would silently belong to other weights.
    """
    for param, values in opt.state.items():
        for name, value in values.items():
            same = isinstance(value, Tensor) and value.shape == param.shape
            if same and value.stride() != param.stride():
                values[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def set_lrs(opt: LayerOptimizer | torch.optim.Optimizer, lrs: Rates) -> None:
    """Change the rates of an optimizer between (or during) fits.

    Args:
        opt: a `LayerOptimizer`, or any torch optimizer, whose param groups then count as the groups.
        lrs: a number, one number a group, or, for a `LayerOptimizer`, a slice.

    Raises:
        ValueError: if the number of rates is not the number of groups.
    """
    if isinstance(opt, LayerOptimizer):
        opt.set_lrs(lrs)
        return
    count = len(opt.param_groups)
    values = [float(lrs)] * count if np.ndim(lrs) == 0 else [float(lr) for lr in lrs]  # type: ignore[arg-type, union-attr]
    if len(values) != count:
        raise ValueError(f"got {len(values)} rates for an optimizer with {count} param groups")
    for param_group, lr in zip(opt.param_groups, values, strict=True):
        if not (np.isfinite(lr) and lr >= 0):
            raise ValueError(f"rates must be finite and not negative, got {lr}")
        param_group["lr"] = lr


def needs_closure(opt: Any) -> bool:
    """Whether an optimizer's `step` cannot be called without a closure, as that of LBFGS."""
    return _takes_closure(type(getattr(opt, "opt", opt)))


@functools.cache
def _takes_closure(kind: type) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)


def _parts(group: LayerGroup, decay_bias_and_norm: bool) -> list[tuple[list[nn.Parameter], bool]]:
    """The parameters of a group, and whether they decay, as one or two torch param groups."""
    if decay_bias_and_norm:
        return [(group.params, True)] if group.params else []
    plain = {
        id(param)
        for module in group.modules
        for layer in module.modules()
        if isinstance(layer, _NORMS)
        for param in layer.parameters()
    }
    plain |= {id(param) for param in group.params if param.ndim <= 1}
    decaying = [param for param in group.params if id(param) not in plain]
    rest = [param for param in group.params if id(param) in plain]
    return [(params, decays) for params, decays in ((decaying, True), (rest, False)) if params]


def _build(opt_class: Callable[..., Any], parts: list[list[nn.Parameter]], lrs: list[float]) -> Any:
    """The torch optimizer, with its fused kernel where the device has one and nothing else was asked for."""
    if not parts:
        raise ValueError("there are no parameters to train")
    inner, keywords = opt_class, {}
    while hasattr(inner, "func") and hasattr(inner, "keywords"):  # functools.partial
        keywords = {**inner.keywords, **keywords}
        inner = inner.func
    named = inspect.signature(inner).parameters
    wanted: dict[str, Any] = {}
    if "lr" in named and "lr" not in keywords:
        wanted["lr"] = max(lrs) or 1e-3  # some optimizers refuse 0; the real rates are written next
    chosen = {"fused", "foreach", "capturable", "differentiable"} & set(keywords)
    if "fused" in named and not chosen and all(p.is_floating_point() for params in parts for p in params):
        kinds = {param.device.type for params in parts for param in params}
        if len(kinds) == 1 and kinds <= {"cpu", "cuda", "mps"}:
            wanted["fused"] = True
    if len(parts) == 1:
        return opt_class(parts[0], **wanted)
    return opt_class([{"params": params} for params in parts], **wanted)
