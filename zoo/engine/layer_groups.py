"""Ordered groups of layers: freezing, and one value per group out of a number, a sequence or a slice."""

from __future__ import annotations

import numbers
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from zoo.engine.modes import train_mode
from zoo.errors import some

Rates = float | Sequence[float] | np.ndarray | slice
GroupSpec = Mapping[str, Any] | Sequence[Any] | Callable[[nn.Module], Any]


class HasRates(Protocol):
    """An optimizer with a rate and a weight decay per group."""

    @property
    def lrs(self) -> list[float]: ...
    @property
    def wds(self) -> list[float]: ...


def _nothing() -> None:
    return None


@dataclass
class LayerGroup:
    """A named part of a model.

    Attributes:
        name: of the group.
        modules: what is in it.
        params: their parameters, those of groups before it left out.
        shared: those left out; they have the rate of the group before it, and train whenever this group does.
        fresh: whether its weights are new in a model of which others are trained; a `RelativeAdamW` takes
            steps of the full size there.
    """

    name: str
    modules: list[nn.Module]
    params: list[nn.Parameter]
    fresh: bool = False
    shared: list[nn.Parameter] = field(default_factory=list)

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

    @property
    def n_layers(self) -> int:
        """How many of its modules have parameters of their own."""
        layers = {id(layer): layer for module in self.modules for layer in module.modules()}
        return sum(next(layer.parameters(recurse=False), None) is not None for layer in layers.values())

    @property
    def has_statistics(self) -> bool:
        """Whether it has layers with running statistics, such as batch norm."""
        layers = (layer for module in self.modules for layer in module.modules())
        return any(map(_has_statistics, layers))

    def __repr__(self) -> str:
        return (
            f"LayerGroup({self.name!r}, layers={self.n_layers}, parameters={self.n_params:,}, "
            f"trainable={self.trainable})"
        )


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

    A parameter shared by two groups, such as the tied weights of a language model, has the rate of the first
    and trains when either does.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> print(LayerGroups(net, {"body": net[0], "head": net[1]}))
        group   layers  parameters  trainable
        0 body       1           9  yes
        1 head       1           4  yes

        With normalisation layers it also tells whether their running statistics move in training, and once
        there is an optimizer its current rates and weight decays:

        >>> import torch
        >>> from zoo import LayerOptimizer
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        >>> groups = LayerGroups(net, {"body": net[:2], "head": net[2]})
        >>> opt = LayerOptimizer(torch.optim.SGD, groups, slice(0.001, 0.1), wds=0.01)
        >>> groups.show_rates_of(opt)  # a learner does this
        >>> groups.freeze()
        >>> print(groups)
        group   layers  parameters  trainable  batch norm     lr    wd
        0 body       2          15  no         fixed       0.001  0.01
        1 head       1           4  yes        -             0.1  0.01
    """

    def __init__(self, model: nn.Module, spec: GroupSpec | None = None) -> None:
        parts: Any = spec
        if spec is None:
            declared: Any = getattr(model, "layer_groups", None)
            parts = declared() if callable(declared) else {"model": model}
        elif callable(spec) and not isinstance(spec, nn.Module):
            parts = spec(model)
        if isinstance(parts, str) or not isinstance(parts, Iterable):
            raise TypeError(
                "layer_groups must be {name: modules or pattern}, a list with one entry a group, or a "
                f"function of the model that returns either; got {parts!r}"
            )
        named = dict(parts) if isinstance(parts, Mapping) else {f"group{i}": p for i, p in enumerate(parts)}
        self._groups = _assign(model, {name: _modules(model, name, part) for name, part in named.items()})
        self._bn_frozen = False
        self._optimizer: Callable[[], HasRates | None] = _nothing

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
        if isinstance(n, bool) or not isinstance(n, numbers.Integral):
            raise TypeError(f"freeze_to takes a whole number, the number of a layer group, got {n!r}")
        if not -count <= n < count:
            raise ValueError(
                f"freeze_to({n}): this model has {count} layer group{'s' * (count > 1)} "
                f"({', '.join(self.names)}); "
                f"use a number from {-count} to {count - 1}"
            )
        trained = {id(param) for group in self[n % count :] for param in (*group.params, *group.shared)}
        for group in self:
            for param in group.params:
                train = id(param) in trained
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

    @property
    def keeps_statistics(self) -> bool:
        """What `bn_freeze` was told."""
        return self._bn_frozen

    def bn_freeze(self, on: bool) -> None:
        """Keep (`True`) the running statistics of all normalisation layers but the last group's, frozen or
        not.
        """
        self._bn_frozen = on

    def train_mode(self, model: nn.Module) -> None:
        """`model.train()`, except that running statistics of frozen groups and layers stay fixed."""
        train_mode(model)
        for index, group in enumerate(self):
            if self._keeps_statistics(index):
                for module in group.modules:
                    for layer in module.modules():
                        if _has_statistics(layer):
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
            ends = [_number(end, rates, what) for end in (rates.start, rates.stop) if end is not None]
            if rates.start is None:
                values = [rates.stop / 10] * (count - 1) + [rates.stop]
            elif min(ends) <= 0:
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
            values = [_number(rate, rates, what) for rate in rates]
            if len(values) != count:
                raise ValueError(
                    f"{what}: got {len(values)} values for {count} layer group{'s' * (count > 1)} "
                    f"({', '.join(self.names)}); give one number, {count} numbers, or a slice"
                )
        else:
            values = [_number(rates, rates, what)] * count
        for value in values:
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{what}: values must be finite and not negative, got {value}")
        return [float(value) for value in values]

    def show_rates_of(self, optimizer: HasRates) -> None:
        """Tell the rates and decays of this optimizer whenever the groups are printed, while it lives."""
        self._optimizer = weakref.ref(optimizer)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_optimizer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._optimizer = lambda: None  # an optimizer that is copied along shows itself again

    def _keeps_statistics(self, index: int) -> bool:
        """Whether training leaves the running statistics of a group as they are."""
        last = len(self) - 1
        return self[index].frozen or (self._bn_frozen and (index < last or last == 0))

    def __repr__(self) -> str:
        groups, optimizer = list(self), self._optimizer()
        columns: list[list[str]] = [
            ["group", *(f"{index} {group.name}" for index, group in enumerate(groups))],
            ["layers", *(str(group.n_layers) for group in groups)],
            ["parameters", *(f"{group.n_params:,}" for group in groups)],
            ["trainable", *(group.trainable for group in groups)],
        ]
        if any(group.has_statistics for group in groups):
            kept = [self._keeps_statistics(index) for index in range(len(groups))]
            told = ["fixed" if k else "moves" for k in kept]
            cells = [text if group.has_statistics else "-" for group, text in zip(groups, told, strict=True)]
            columns.append(["batch norm", *cells])
        if optimizer is not None:
            columns.append(["lr", *(f"{lr:.3g}" for lr in optimizer.lrs)])
            columns.append(["wd", *(f"{wd:.3g}" for wd in optimizer.wds)])
        right = {"layers", "parameters", "lr", "wd"}
        padded = []
        for column in columns:
            width = max(map(len, column))
            padded.append([c.rjust(width) if column[0] in right else c.ljust(width) for c in column])
        return "\n".join("  ".join(cells).rstrip() for cells in zip(*padded, strict=True))


def _number(value: Any, rates: Any, what: str) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what}: a number, a sequence or a slice was expected, got {rates!r}")
    return float(value)


def _has_statistics(layer: nn.Module) -> bool:
    return getattr(layer, "running_mean", None) is not None


def _modules(model: nn.Module, name: str, part: Any) -> list[nn.Module]:
    if isinstance(part, str):
        try:
            pattern = re.compile(rf"(?:{part})(?:\.|$)")
        except re.error as error:
            raise ValueError(f"layer group {name!r}: {part!r} is no regular expression: {error}") from error
        modules = [
            module
            for place, module in model.named_modules()
            if pattern.match(place)
            and (next(module.parameters(recurse=False), None) is not None or _has_statistics(module))
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
        params, shared = [], []
        for module in modules:
            for param in [module] if isinstance(module, nn.Parameter) else module.parameters():
                if id(param) not in names:
                    raise ValueError(f"layer group {name!r} holds a parameter that the model does not have")
                if id(param) not in taken:
                    taken.add(id(param))
                    params.append(param)
                elif all(param is not own for own in params):
                    shared.append(param)
        inside = [m for m in modules if isinstance(m, nn.Module)]
        groups.append(LayerGroup(name, inside, params, shared=shared))
    left = [name for key, name in names.items() if key not in taken]
    if left:
        raise ValueError(
            f"these parameters belong to no layer group: {some(left)}; add their modules to one of "
            f"{list(named)}"
        )
    return groups
