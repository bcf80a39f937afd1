"""The tensors of a module: the names under which files keep them, and how they are put back."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def own_names(module: nn.Module, names: list[str]) -> list[str]:
    """Names as the raw module gives them, without the prefixes of `torch.compile`, `DataParallel` and
    `DistributedDataParallel`, whose wrappers may stand anywhere inside.

    Example:
        >>> net = nn.Sequential(nn.DataParallel(nn.Linear(1, 1)))
        >>> own_names(net, list(net.state_dict()))
        ['0.weight', '0.bias']
    """
    places = [
        (f"{place}.{inner}.".removeprefix("."), f"{place}.".removeprefix("."))
        for place, part in module.named_modules()
        if (inner := _inner(part)) is not None
    ]
    for wrapped, raw in sorted(places, key=lambda pair: -len(pair[0])):
        names = [raw + name[len(wrapped) :] if name.startswith(wrapped) else name for name in names]
    return names


def matched(tensors: Mapping[str, Any], expected: list[str]) -> dict[str, Any]:
    """Tensors of a file under the names that a model expects, where the file has the prefixes of a wrapped
    model and they would fit without; under their own where two of them would have the same without.

    Args:
        tensors: by the names of the file.
        expected: the model's own names.
    """
    wanted = set(expected)
    found = {}
    for name, value in tensors.items():
        bare = name.replace("_orig_mod.", "")
        options = (name, bare, bare.removeprefix("module."))
        found[next((one for one in options if one in wanted), name)] = value
    return found if len(found) == len(tensors) else dict(tensors)


def with_later(module: nn.Module, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors of a file with those that a module has got since older versions wrote theirs.

    A module declares them in `added_later`, a dict from the name of a tensor to the number that all of it
    stood for before it was there.

    Args:
        module: may be wrapped.
        tensors: by the module's own names.

    Example:
        >>> class Scaled(nn.Linear):
        ...     added_later = {"scale": 1.0}
        ...     def __init__(self):
        ...         super().__init__(1, 1)
        ...         self.register_buffer("scale", torch.tensor(0.5))
        >>> with_later(nn.Sequential(Scaled()), {"0.weight": torch.ones(1, 1)})
        {'0.weight': tensor([[1.]]), '0.scale': tensor(1.)}
    """
    later = {
        f"{place}.{name}".removeprefix("."): torch.full_like(getattr(part, name), value, device="cpu")
        for place, part in module.named_modules()
        for name, value in getattr(part, "added_later", {}).items()
    }
    names = own_names(module, list(later))
    missing = dict(zip(names, later.values(), strict=True))
    return {**tensors, **{own: value for own, value in missing.items() if own not in tensors}}


def holds(own: Tensor, value: Tensor) -> bool:
    """Whether a tensor can take the values of another one, in its own format: rounding is no loss, but for
    whole numbers and truth values; infinity in the place of a number, and a lost imaginary part, are.
    """
    if own.dtype == value.dtype or is_lazy(own):
        return True
    if value.is_complex() and not own.is_complex():
        if bool(value.imag.count_nonzero()):
            return False
        value = value.real
    if own.is_complex() and not value.is_complex():
        return True
    there = value.to(own.dtype)
    if value.dtype.is_complex or (value.is_floating_point() and own.is_floating_point()):
        wide = torch.complex128 if value.is_complex() else torch.float64
        return torch.equal(there.to(wide).isfinite(), value.to(wide).isfinite())
    return torch.equal(there.to(value.dtype), value)


def state_of(module: nn.Module) -> dict[str, Any]:
    """`module.state_dict()` under the raw module's own names."""
    state = module.state_dict()
    return dict(zip(own_names(module, list(state)), state.values(), strict=True))


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by their own names, also those that a `state_dict` leaves out."""
    found = [*module.named_parameters(), *module.named_buffers()]
    return dict(
        zip(own_names(module, [name for name, _ in found]), (value for _, value in found), strict=True)
    )


def unmade(module: nn.Module) -> list[str]:
    """Names of the buffers that are registered and hold nothing yet."""
    return [name for name, holder, own in _buffers(module) if holder._buffers[own] is None]


def make_room(module: nn.Module, tensors: Mapping[str, Any], empty: list[str] | None = None) -> None:
    """Let a module take tensors: buffers that hold nothing are made, those that share their memory with
    themselves (`expand`) get their own, and those that held nothing hold nothing again.

    Args:
        module: changed in its buffers only.
        tensors: by own names, what will be put in.
        empty: names of buffers that held nothing; `None` if that is not known.
    """
    for name, holder, own in _buffers(module):
        buffer = holder._buffers[own]
        value = tensors.get(name)
        if buffer is None and isinstance(value, Tensor):
            holder._buffers[own] = torch.empty_like(value, device=_device(module))
        elif buffer is not None and value is not None and not is_lazy(buffer) and overlaps(buffer):
            holder._buffers[own] = buffer.clone(memory_format=torch.contiguous_format)
        elif buffer is not None and empty is not None and name in empty:
            holder._buffers[own] = None


def write(tensor: Tensor, value: Tensor) -> None:
    """`tensor.copy_(value)`, also where values of the tensor share their memory, as after `expand`: the value
    has to repeat itself in the same way there."""
    for place, (stride, size) in enumerate(zip(tensor.stride(), tensor.shape, strict=True)):
        if stride == 0 and size > 1:
            tensor, value = tensor.narrow(place, 0, 1), value.narrow(place, 0, 1)
    tensor.copy_(value)


@contextlib.contextmanager
def preserve_tensors(*modules: nn.Module, on_host: bool = False, weights: bool = True) -> Iterator[None]:
    """Whatever happens inside, the modules have afterwards the same parameters and buffers with the same
    values, also where one was bound to another tensor, made or dropped; and the extra state they had.

    Args:
        modules: with all modules inside.
        on_host: keep the copies in the host's memory.
        weights: also keep the values of parameters; not needed where nothing is trained.
    """
    parts = {id(part): part for module in modules for part in module.modules()}.values()
    holders: list[dict[str, Any]] = [holder for part in parts for holder in (part._parameters, part._buffers)]
    bound = [(holder, dict(holder)) for holder in holders]
    tensors = {id(t): t for _, held in bound for t in held.values() if t is not None}
    kept = [
        (tensor, tensor.detach().to("cpu" if on_host else tensor.device, copy=True))
        for tensor in tensors.values()
        if not is_lazy(tensor) and (weights or not isinstance(tensor, nn.Parameter))
    ]
    extra = [(part, copy.deepcopy(part.get_extra_state())) for part in parts if has_extra_state(part)]
    try:
        yield
    finally:
        with torch.no_grad():
            for holder, held in bound:
                holder.clear()
                holder.update(held)
            for tensor, value in kept:
                write(tensor, value)
        for part, state in extra:
            part.set_extra_state(state)


def has_extra_state(part: nn.Module) -> bool:
    """Whether a module keeps something besides tensors and says so."""
    return type(part).get_extra_state is not nn.Module.get_extra_state


def overlaps(tensor: Tensor) -> bool:
    """Whether values of a tensor share their memory, as after `expand`, so that it cannot be written to."""
    return any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))


def _inner(part: nn.Module) -> str | None:
    if isinstance(part, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module"
    return "_orig_mod" if "_orig_mod" in part._modules else None


def _buffers(module: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Own name, holder and its name there of every buffer, also of those that hold nothing."""
    found = [
        (f"{place}.{own}".removeprefix("."), part, own)
        for place, part in module.named_modules()
        for own in part._buffers
    ]
    names = own_names(module, [name for name, _, _ in found])
    yield from ((name, part, own) for name, (_, part, own) in zip(names, found, strict=True))


def _device(module: nn.Module) -> torch.device:
    found = next((t for t in (*module.parameters(), *module.buffers())), None)
    return torch.device("cpu") if found is None else found.device
