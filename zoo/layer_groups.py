"""Ordered groups of layers: freezing, a rate and a weight decay per group, and the optimizer that carries
them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import some
from zoo.modes import train_mode

Rates = float | Sequence[float] | np.ndarray | slice
GroupSpec = Mapping[str, Any] | Sequence[Any] | Callable[[nn.Module], Any]


@dataclass
class LayerGroup:
    """A named part of a model."""

    name: str
    modules: list[nn.Module]
    params: list[nn.Parameter]

    @property
    def frozen(self) -> bool:
        """Whether none of its parameters trains."""
        return bool(self.params) and not any(param.requires_grad for param in self.params)

    @property
    def trainable(self) -> str:
        """One of yes, no, partly."""
        if self.frozen:
            return "no"
        return "yes" if all(param.requires_grad for param in self.params) else "partly"

    @property
    def n_params(self) -> int:
        return sum(param.numel() for param in self.params)


class LayerGroups(Sequence[LayerGroup]):
    """The groups of a model, ordered from its input to its output.

    Args:
        model: the model; with a method `layer_groups()` it declares its own groups.
        spec: `{name: module, modules or pattern}` (a pattern is a regular expression that layer names match
            from their start), a list with one entry a group (a module or a list of modules), or a
            function of the model that returns either. `None` asks the model, else makes one group of
            everything.

    Raises:
        ValueError: if a parameter belongs to no group (it is named).

    A parameter shared by two groups belongs to the first.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> print(LayerGroups(net, {"body": net[0], "head": net[1]}))
        group   parameters  trainable
        0 body           9  yes
        1 head           4  yes
    """

    def __init__(self, model: nn.Module, spec: GroupSpec | None = None) -> None:
        parts: Any = spec
        if spec is None:
            declared: Any = getattr(model, "layer_groups", None)
            parts = declared() if callable(declared) else {"model": model}
        elif callable(spec) and not isinstance(spec, nn.Module):
            parts = spec(model)
        named = dict(parts) if isinstance(parts, Mapping) else {f"group{i}": p for i, p in enumerate(parts)}
        self._groups = _assign(model, {name: _modules(model, name, part) for name, part in named.items()})
        self._bn_frozen = False

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: Any) -> Any:
        return self._groups[index]

    def __iter__(self) -> Iterator[LayerGroup]:
        return iter(self._groups)

    @property
    def names(self) -> list[str]:
        return [group.name for group in self]

    def freeze_to(self, n: int) -> None:
        """Freeze the groups before number `n` (negative counts from the end) and train the rest.

        Raises:
            ValueError: if there is no group `n`.
        """
        count = len(self)
        if not -count <= n < count:
            raise ValueError(
                f"freeze_to({n}): this model has {count} layer group{'s' * (count > 1)} "
                f"({', '.join(self.names)}); "
                f"use a number from {-count} to {count - 1}"
            )
        for index, group in enumerate(self):
            train = index >= n % count
            for param in group.params:
                param.requires_grad_(train)
                if not train:
                    param.grad = None

    def freeze(self) -> None:
        """Train only the last group."""
        if len(self) == 1:
            raise ValueError(
                "freeze(): this model has a single layer group, so nothing would be left to train; "
                "give the learner layer_groups={'body': ..., 'head': ...} first"
            )
        self.freeze_to(-1)

    def bn_freeze(self, on: bool) -> None:
        """Keep (`True`) the running statistics of all normalisation layers but the last group's, frozen or
        not.
        """
        self._bn_frozen = on

    def train_mode(self, model: nn.Module) -> None:
        """`model.train()`, except that running statistics of frozen groups and layers stay fixed."""
        train_mode(model)
        last = len(self) - 1
        for index, group in enumerate(self):
            if group.frozen or (self._bn_frozen and (index < last or last == 0)):
                for module in group.modules:
                    for layer in module.modules():
                        if getattr(layer, "running_mean", None) is not None:
                            layer.eval()

    def check(self, model: nn.Module) -> None:
        """Make sure that the groups hold all of the model's parameters and that some of them train.

        Raises:
            ValueError: naming parameters of layers that were put into the model after its groups were made.
        """
        held = {id(param) for group in self for param in group.params}
        strange = [name for name, param in model.named_parameters() if id(param) not in held]
        if strange:
            raise ValueError(
                f"the model has parameters that its layer groups do not know: {some(strange)}; "
                "layers were replaced after the learner was made, so make it anew"
            )
        if not any(param.requires_grad for group in self for param in group.params):
            raise ValueError(
                "nothing would train: every parameter is frozen; call unfreeze() or freeze_to(n)"
            )

    def spread(self, rates: Rates, what: str = "rates") -> list[float]:
        """One value per group out of a number, a sequence, or a slice.

        A number serves every group. `slice(lo, hi)` is spread geometrically from the first group to the last;
        `slice(hi)` gives the last group `hi` and the others `hi / 10`.

        Raises:
            ValueError: if a sequence has another length than there are groups, or a value is negative or not
                finite.
        """
        count = len(self)
        if isinstance(rates, slice):
            if rates.step is not None or rates.stop is None:
                raise ValueError(f"{what}: use slice(lo, hi) or slice(hi), got {rates}")
            if rates.start is None:
                values = [rates.stop / 10] * (count - 1) + [rates.stop]
            elif rates.start <= 0 or rates.stop <= 0:
                raise ValueError(
                    f"{what}: slice(lo, hi) is spread geometrically, so both must be positive, got {rates}"
                )
            else:
                values = list(np.geomspace(rates.start, rates.stop, count)) if count > 1 else [rates.stop]
        elif (
            isinstance(rates, Sequence | np.ndarray | Tensor)
            and not isinstance(rates, str)
            and np.ndim(rates)
        ):
            values = [float(rate) for rate in rates]
            if len(values) != count:
                raise ValueError(
                    f"{what}: got {len(values)} values for {count} layer group{'s' * (count > 1)} "
                    f"({', '.join(self.names)}); give one number, {count} numbers, or a slice"
                )
        else:
            try:
                values = [float(rates)] * count  # pyright: ignore[reportArgumentType]
            except (TypeError, ValueError):
                raise TypeError(
                    f"{what}: a number, a sequence or a slice was expected, got {rates!r}"
                ) from None
        for value in values:
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{what}: values must be finite and not negative, got {value}")
        return [float(value) for value in values]

    def __repr__(self) -> str:
        rows = [(f"{index} {group.name}", f"{group.n_params:,}", group) for index, group in enumerate(self)]
        wide = max(len("group"), *(len(name) for name, _, _ in rows))
        long = max(len("parameters"), *(len(size) for _, size, _ in rows))
        lines = [f"{'group':<{wide}}  {'parameters':>{long}}  trainable"]
        lines += [f"{name:<{wide}}  {size:>{long}}  {group.trainable}" for name, size, group in rows]
        return "\n".join(lines)


def _modules(model: nn.Module, name: str, part: Any) -> list[nn.Module]:
    if isinstance(part, str):
        modules = [
            module
            for place, module in model.named_modules()
            if re.match(rf"(?:{part})(?:\.|$)", place)
            and next(module.parameters(recurse=False), None) is not None
        ]
        if not modules:
            raise ValueError(
                f"layer group {name!r}: no layer with parameters has a name that matches {part!r}"
            )
        return modules
    modules = [part] if isinstance(part, nn.Module) else list(part)
    for module in modules:
        if not isinstance(module, nn.Module | nn.Parameter):
            raise TypeError(f"layer group {name!r} must hold modules, got {type(module).__name__}")
    return modules


def _assign(model: nn.Module, named: Mapping[str, list[nn.Module]]) -> list[LayerGroup]:
    names = {id(param): name for name, param in model.named_parameters()}
    taken: set[int] = set()
    groups = []
    for name, modules in named.items():
        params = []
        for module in modules:
            for param in [module] if isinstance(module, nn.Parameter) else module.parameters():
                if id(param) not in names:
                    raise ValueError(f"layer group {name!r} holds a parameter that the model does not have")
                if id(param) not in taken:
                    taken.add(id(param))
                    params.append(param)
        groups.append(LayerGroup(name, [m for m in modules if isinstance(m, nn.Module)], params))
    left = [name for key, name in names.items() if key not in taken]
    if left:
        raise ValueError(
            f"these parameters belong to no layer group: {some(left)}; add their modules to one of "
            f"{list(named)}"
        )
    return groups


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
        self._wds = list(state["wds"])

    def __repr__(self) -> str:
        return f"{type(self.opt).__name__}(lrs={self.lrs}, wds={self.wds})"


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
