"""The optimizer over layer groups: a rate and a decoupled weight decay per group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.engine.closures import evaluate_first, evaluated, needs_closure
from zoo.engine.layer_groups import LayerGroups, Rates
from zoo.engine.make_optimizer import (
    averages_itself,
    check_opt_fn,
    decays_itself,
    has_sparse_gradient,
    make_optimizer,
    parts_of,
)
from zoo.engine.relative_adamw import RelativeAdamW
from zoo.engine.row_adamw import RowAdamW


class LayerOptimizer:
    """Any torch optimizer over layer groups, with decoupled weight decay.

    Weight decay never enters the gradient averages: before the update each weight is multiplied by `1 - lr *
    wd` (AdamW, Loshchilov & Hutter 2019), whichever of torch's optimizers it is, or of ours. Those of other
    packages that know of a weight decay apply it by their own rule.

    Args:
        opt_class: an optimizer class, such as `torch.optim.SGD` or a `functools.partial` of it, or a function
            `(parameters) -> optimizer` of the list of all parameters, which may make param groups of its own.
        groups: `LayerGroups`, a list with one entry a group (a module, or a list of modules), or a module as
            the only group.
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
        groups: LayerGroups | Sequence[Any] | nn.Module,
        lrs: Rates,
        wds: Rates | None = None,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        check_opt_fn(opt_class)
        if isinstance(groups, nn.Module):
            groups = [groups]
        if not isinstance(groups, LayerGroups):
            holder = nn.ModuleList(
                m for part in groups for m in ([part] if isinstance(part, nn.Module) else part)
            )
            groups = LayerGroups(holder, groups)
        self.groups = groups
        parts = parts_of(list(groups), decay_bias_and_norm)
        self.opt, places, self._chose_fused = make_optimizer(opt_class, parts, groups.spread(lrs))
        self._places = places
        self.owners = [place.owner for place in places]
        self._native_decay = decays_itself(self.opt)
        for param_group, place in zip(self.opt.param_groups, places, strict=True):
            param_group["decays"] = place.decays
        self._wds: list[float] = []
        self._mark_fresh()
        self._hook()
        self.set_lrs(lrs)
        self.set_wds(wds)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The torch optimizer's param groups (several for a layer group of which a part does not decay)."""
        return self.opt.param_groups

    @property
    def lrs(self) -> list[float]:
        """The current rate of each layer group, earliest first."""
        return self._by_layer([float(group["lr"]) for group in self.param_groups])

    @property
    def wds(self) -> list[float]:
        """The weight decay of each layer group, earliest first."""
        return list(self._wds)

    def _by_layer(self, values: Sequence[float]) -> list[float]:
        """One value a layer group, the largest, out of one a param group."""
        found: dict[int, float] = {}
        for owner, value in zip(self.owners, values, strict=True):
            found[owner] = max(value, found.get(owner, value))
        return [found.get(index, 0.0) for index in range(len(self.groups))]

    def set_lrs(self, lrs: Rates) -> None:
        """Give every layer group its rate: a number, one number a group, or a slice.

        Where the optimizer function gave its own param groups several rates, their ratios are kept.
        """
        values = self.groups.spread(lrs)
        for place, param_group in zip(self._places, self.opt.param_groups, strict=True):
            write_rate(param_group, values[place.owner] * place.scale)

    def set_wds(self, wds: Rates | None) -> None:
        """Give every layer group its weight decay; with `None` that of the optimizer itself.

        Raises:
            ValueError: if the optimizer averages the weights and takes no decay from outside.
        """
        own = [place.own_decay for place in self._places]
        self._wds = self._by_layer(own) if wds is None else self.groups.spread(wds, "weight decay")
        decays = (
            own
            if wds is None
            else [self._wds[place.owner] if place.decays else 0.0 for place in self._places]
        )
        for decay, place, param_group in zip(decays, self._places, self.opt.param_groups, strict=True):
            decay = decay if place.decays else 0.0
            if not self._native_decay:
                param_group["decoupled_decay"] = decay
                if "weight_decay" in param_group:
                    param_group["weight_decay"] = 0
            elif "weight_decay" in param_group:
                param_group["weight_decay"] = decay
            elif decay:
                raise ValueError(
                    f"{type(self.opt).__name__} takes no weight decay from outside: give it in opt_fn"
                )

    def set_momentum(self, momentum: float) -> None:
        """Set the momentum, or the first beta of Adam-like optimizers.

        Optimizers without either are left alone, and those that average the weights by means of it.
        """
        if averages_itself(self.opt):
            return
        for param_group in self.opt.param_groups:
            if "betas" in param_group:
                param_group["betas"] = (momentum, *param_group["betas"][1:])
            elif param_group.get("momentum"):
                param_group["momentum"] = momentum

    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        """Decay, then update; parameters without a gradient are left alone.

        Args:
            closure: gives the loss and its gradients; evaluated before anything changes, by LBFGS and the
                like as often as they need.
        """
        if closure is not None and not needs_closure(self):
            closure = evaluated(closure)
        if self._chose_fused and not isinstance(self.opt, RowAdamW) and has_sparse_gradient(self.opt):
            self._give_up_fused()
        if not self._hooked and not self._native_decay:
            _decay_before(self.opt)
        if closure is not None:
            self.opt.step(closure)
            return
        try:
            self.opt.step()
        except (TypeError, AssertionError) as error:
            if "NoneType" in str(error) or "closure" in str(error):
                error.add_note(
                    f"{type(self.opt).__name__}.step seems to need a closure: where its argument has no "
                    "default it is given the loss of the batch as one"
                )
            raise
        except RuntimeError as error:
            if "sparse" in str(error) and has_sparse_gradient(self.opt):
                error.add_note("opt_fn=zoo.RowAdamW takes sparse gradients: it updates the rows of the batch")
            raise

    def _mark_fresh(self) -> None:
        """Have a `RelativeAdamW` take full steps in groups that are new."""
        for param_group, place in zip(self.opt.param_groups, self._places, strict=True):
            fresh = isinstance(self.opt, RelativeAdamW) and self.groups[place.owner].fresh
            if fresh and not self.opt.has_own_share(param_group):
                param_group["share"] = None

    def _hook(self) -> None:
        """Have the torch optimizer decay before each of its steps, so that `opt.opt.step()` does too.

        Wrappers that only look like one decay in our `step`.
        """
        # torch's mark on a class whose step calls the hooks
        self._hooked = isinstance(self.opt, torch.optim.Optimizer) and hasattr(type(self.opt).step, "hooked")
        if self._hooked and not self._native_decay:
            self.opt.register_step_pre_hook(_decay_first)

    def _give_up_fused(self) -> None:
        """Fused kernels take no sparse gradients; nobody asked for them, so the plain ones go on."""
        self._chose_fused = False
        for param_group in self.opt.param_groups:
            param_group["fused"] = False
        self.opt._step_supports_amp_scaling = False

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for param_group in self.opt.param_groups:
            for param in param_group["params"]:
                param.grad = None

    def holds(self, groups: LayerGroups) -> bool:
        """Whether all parameters of the groups that train are in it."""
        held = {id(param) for param_group in self.opt.param_groups for param in param_group["params"]}
        return all(id(param) in held for group in groups for param in group.params if param.requires_grad)

    def state_dict(self) -> dict[str, Any]:
        if not hasattr(self.opt, "state_dict"):
            raise TypeError(
                f"{type(self.opt).__name__} has no state_dict(), so its averages cannot be kept: a fit with "
                "it has no checkpoints"
            )
        layouts = [list(param.stride()) for group in self.param_groups for param in group["params"]]
        return {"opt": self.opt.state_dict(), "wds": list(self._wds), "layouts": layouts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        homes = {name: value.device for name, value in _own_state(self.opt).items()}
        self.opt.load_state_dict(state["opt"])
        for name, value in _own_state(self.opt).items():
            self.opt.state[name] = value.to(homes.get(name, value.device))
        _keep_formats(self.opt, state["opt"])
        align_layouts(self.opt, state.get("layouts"))
        self._wds = list(state["wds"])

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hook()  # torch's optimizers leave their hooks behind when they are copied
        self.groups.show_rates_of(self)

    def __repr__(self) -> str:
        return f"{type(self.opt).__name__}(lrs={self.lrs}, wds={self.wds})"


def _decay_first(opt: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The hook of a torch optimizer that does not decay by itself."""
    given = evaluate_first(opt, args, kwargs)
    _decay_before(opt)
    return given


@torch.no_grad()
def _decay_before(opt: Any) -> None:
    """The decoupled decay of a step that is about to be made."""
    # set by whoever found a gradient that must not be applied; the fused kernels look at it too
    skip = getattr(opt, "found_inf", None)
    for param_group in opt.param_groups:
        decay, rate = param_group.get("decoupled_decay", 0.0), param_group["lr"]
        decaying = [param for param in param_group["params"] if param.grad is not None] if decay else []
        decay = rate * decay  # a tensor where the rate is one
        if decaying:
            torch._foreach_mul_(decaying, 1 - decay if skip is None else 1 - decay * (1 - skip))


def _keep_formats(opt: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Counters, masks and sums in double precision stay what they are; torch casts them like the weights."""
    params = [param for group in opt.param_groups for param in group["params"]]
    if "param_groups" not in saved:  # of a wrapper with a form of its own
        return
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    for param, number in zip(params, numbers, strict=True):
        for name, value in saved["state"].get(number, {}).items():
            own = opt.state[param].get(name) if param in opt.state else None
            if isinstance(value, Tensor) and isinstance(own, Tensor) and own.dtype != value.dtype:
                opt.state[param][name] = value.to(own.device, copy=True)


def align_layouts(opt: torch.optim.Optimizer, layouts: list[list[int]] | None = None) -> None:
    """Put an optimizer's averages into the memory layout of their parameters.

    Fused kernels go through both in the order of memory: averages in the plain layout of a parameter in the
    channels-last layout would silently belong to other weights. Where a parameter has the layout it had when
    the state was taken, its state stays as it is: matrices of another meaning may have the parameter's shape.

    Args:
        opt: its state is changed.
        layouts: strides of the parameters when the state was taken, in the order of the groups.
    """
    params = [param for group in opt.param_groups for param in group["params"]]
    elementwise = type(opt).step.__module__.startswith("torch.optim")  # whatever has a parameter's shape
    known = bool(layouts) and len(layouts or ()) == len(params) and not elementwise
    then = dict(zip(params, layouts or (), strict=True)) if known else {}
    for param, values in opt.state.items():
        if not isinstance(values, dict) or list(getattr(param, "stride", list)()) == then.get(param):
            continue
        for name, value in values.items():
            same = isinstance(value, Tensor) and isinstance(param, Tensor) and value.shape == param.shape
            if same and value.stride() != param.stride():
                values[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def write_rate(param_group: dict[str, Any], rate: float) -> None:
    """Set the rate of one param group, in place where it is a tensor (for compiled and captured steps)."""
    if isinstance(param_group.get("lr"), Tensor):
        param_group["lr"].fill_(rate)
    else:
        param_group["lr"] = rate


def _own_state(opt: torch.optim.Optimizer) -> dict[Any, Tensor]:
    """Tensors that an optimizer keeps for itself, under names instead of parameters, as MADGRAD does."""
    return {key: value for key, value in opt.state.items() if isinstance(value, Tensor)}


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
        write_rate(param_group, lr)
