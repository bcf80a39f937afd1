"""Looking at what layers give while a model runs: forward hooks that are always removed again."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, overload

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zoo.errors import did_you_mean, some

Layers = str | nn.Module | Iterable[str | nn.Module]


def first_tensor(output: Any) -> Tensor | None:
    """The first tensor of a layer's output: of a tuple, a list or a dict the first one inside.

    Example:
        >>> import torch
        >>> first_tensor((None, (torch.ones(2), torch.zeros(3))))
        tensor([1., 1.])
    """
    if isinstance(output, Tensor):
        return output
    parts: Iterable[Any] = ()
    if isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, tuple | list):
        parts = output
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)


def find_layers(model: nn.Module, layers: Layers) -> dict[str, nn.Module]:
    """Layers of a model by name, in the order asked for.

    Args:
        model: the model whose `named_modules()` are searched.
        layers: a layer's name, a regular expression that whole names match, a module of the model, or
            several of these.

    Raises:
        ValueError: if a name, a pattern or a module is not found in the model.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> list(find_layers(net, r"[02]")), list(find_layers(net, ["1", net[0]]))
        (['0', '2'], ['1', '0'])
    """
    names = {id(module): name or type(model).__name__ for name, module in model.named_modules()}
    found: dict[str, nn.Module] = {}
    if not isinstance(layers, str | nn.Module | Iterable):
        raise TypeError(f"layers must be names, patterns or modules, got {type(layers).__name__}")
    for part in [layers] if isinstance(layers, str | nn.Module) else layers:
        if isinstance(part, nn.Module):
            if id(part) not in names:
                raise ValueError(f"this {type(part).__name__} is no layer of the {type(model).__name__}")
            found[names[id(part)]] = part
            continue
        if not isinstance(part, str):
            raise TypeError(f"layers must be names, patterns or modules, got {type(part).__name__}")
        present = dict(model.named_modules())
        chosen = (
            [part] if part in present else [name for name in present if name and re.fullmatch(part, name)]
        )
        if not chosen:
            raise ValueError(
                f"no layer of the {type(model).__name__} has the name {part!r}"
                f"{did_you_mean(part, present)}; its layers: {some(name for name in present if name)}"
            )
        found.update((name, present[name]) for name in chosen)
    return found


def leaf_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers in which numbers are made: those with parameters of their own, and the activation functions.

    Example:
        >>> list(leaf_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(0.1))))
        ['0', '1']
    """
    return {
        name or type(model).__name__: module
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        or type(module).__module__ == nn.ReLU.__module__
    }


class Hooks(Sequence[RemovableHandle]):
    """Forward hooks on several layers, a sequence of torch's handles.

    They are removed by `remove()`, at the end of a `with` block (also after an error), when one of them can't
    be laid, and at last when nobody holds this object any more (so `on_output` should not hold it).

    Args:
        layers: modules by name.
        on_output: called as `on_output(name, output)` whenever one of them has run; its answer is ignored, so
            that nothing changes what the model computes.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> with Hooks({"first": net[0]}, lambda name, output: print(name, tuple(output.shape))):
        ...     answer = net(torch.ones(4, 2))
        first (4, 3)
        >>> answer = net(torch.ones(4, 2))
    """

    def __init__(self, layers: Mapping[str, nn.Module], on_output: Callable[[str, Any], None]) -> None:
        self.names = list(layers)
        self._handles: list[RemovableHandle] = []
        self._finalizer = weakref.finalize(self, _remove, self._handles)
        try:
            for name, module in layers.items():
                if not isinstance(module, nn.Module):
                    raise TypeError(f"hooks are laid on modules, got {type(module).__name__} for {name!r}")
                self._handles.append(module.register_forward_hook(_hook(name, on_output)))
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take the hooks off the model; a second time does nothing."""
        _remove(self._handles)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __len__(self) -> int:
        return len(self._handles)

    @overload
    def __getitem__(self, index: int) -> RemovableHandle: ...
    @overload
    def __getitem__(self, index: slice) -> list[RemovableHandle]: ...
    def __getitem__(self, index: int | slice) -> RemovableHandle | list[RemovableHandle]:
        return self._handles[index]

    def __iter__(self) -> Iterator[RemovableHandle]:
        return iter(self._handles)


class SaveFeatures(Hooks):
    """Keeps what layers give.

    Args:
        where: a module, several modules, or a model (or `Learner`) in which `layers` are looked up.
        layers: a name, a regular expression that whole names match, or several of these, such as `"body"` or
            `r"layer\\d"`. Without it the modules of `where` themselves (of a learner, its model).
        detach: whether to cut the values off the graph (and copy them, since a later layer may work in
            place). `False` gives the very tensors of the graph, for gradients with respect to them.
        cpu: whether to move them to the CPU.
        keep: `"last"` keeps the latest batch, `"all"` a list of the batches since the beginning or `clear()`.

    Of an output that is no tensor the first tensor inside is kept.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> with SaveFeatures(net, "1") as saved:
        ...     answer = net(torch.ones(4, 2))
        >>> saved.features.shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        where: Any,
        layers: str | Iterable[str | nn.Module] | None = None,
        *,
        detach: bool = True,
        cpu: bool = False,
        keep: Literal["last", "all"] = "last",
    ) -> None:
        if keep not in ("last", "all"):
            raise ValueError(f'keep must be "last" or "all", got {keep!r}')
        if cpu and not detach:
            raise ValueError("cpu=True copies the values off their device, so it needs detach=True")
        found, self._single = _targets(where, layers)
        store: dict[str, list[Tensor]] = {name: [] for name in found}
        self._store, self._keep = store, keep

        def save(name: str, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                raise TypeError(f"the layer {name!r} gives no tensor but {type(output).__name__}")
            if detach:
                value = tensor.detach()
                tensor = value.cpu() if cpu and value.device.type != "cpu" else value.clone()
            if keep == "last":
                store[name].clear()
            store[name].append(tensor)

        super().__init__(found, save)

    @property
    def features(self) -> Any:
        """What the layers gave: of one layer its value, of several a list of values in the order of `names`.

        A value is a tensor, or with `keep="all"` a list with one tensor a batch.

        Raises:
            ValueError: if a layer has not run yet.
        """
        silent = [name for name, kept in self._store.items() if not kept]
        if silent and self._keep == "last":
            raise ValueError(f"these layers have not run since: {some(silent)}; call the model first")
        values = [list(kept) if self._keep == "all" else kept[-1] for kept in self._store.values()]
        return values[0] if self._single else values

    def clear(self) -> None:
        """Forget what was kept."""
        for kept in self._store.values():
            kept.clear()


def _targets(where: Any, layers: Any) -> tuple[dict[str, nn.Module], bool]:
    """Modules by name, and whether a single one was meant."""
    if not isinstance(where, nn.Module) and isinstance(getattr(where, "model", None), nn.Module):
        where = where.model
    if layers is not None:
        if not isinstance(where, nn.Module):
            raise TypeError(f"layers are looked up in a model or a learner, got {type(where).__name__}")
        found = find_layers(where, layers)
        return found, isinstance(layers, str | nn.Module) and len(found) == 1
    if isinstance(where, nn.Module):
        return {type(where).__name__: where}, True
    if isinstance(where, str) or not isinstance(where, Iterable):
        raise TypeError(f"give a module, several modules, or a model and layer names; got {where!r}")
    return {f"{number} {type(module).__name__}": module for number, module in enumerate(where)}, False


def _hook(name: str, on_output: Callable[[str, Any], None]) -> Callable[[nn.Module, Any, Any], None]:
    def call(module: nn.Module, inputs: Any, output: Any) -> None:
        on_output(name, output)

    return call


def _remove(handles: list[RemovableHandle]) -> None:
    while handles:
        handles.pop().remove()
