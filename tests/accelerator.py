"""An accelerator that is none: tensors say that they lie on a device, and the processor computes them.

Values are those of the CPU, to the bit; what a real device would refuse (tensors of two devices in one
operation) is refused, what it would make the host wait for can be counted. torch knows one such device a
process, so this runs in a process of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "faraway"


class FarTensor(Tensor):
    """A tensor that says it is on the accelerator; its values are a tensor of the CPU."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        made = Tensor._make_wrapper_subclass(
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip
        made.near = near
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {NAME} tensor to numpy: use .cpu() first")

    def __repr__(self) -> str:
        return f"FarTensor({self.near})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []


class _Generator(torch.Generator):
    """Draws on the processor, whatever the device."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        return super().__new__(cls, device="cpu" if _is_far(device) else device)


class Accelerator(TorchDispatchMode):
    """While it is on, tensors can be made on the device "faraway"."""

    def __enter__(self) -> Accelerator:
        if torch._C._get_privateuse1_backend_name() != NAME:
            _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
            torch.Generator = _Generator  # type: ignore[misc]
        return super().__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_far(kwargs.get("device")) or any(
            isinstance(x, FarTensor) for x in tree_leaves((args, kwargs))
        ):
            return _compute(func, args, kwargs)
        return func(*args, **kwargs)


def _is_far(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _compute(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The operation on the processor; what it gives lies where a device would put it."""
    name, leaves = func.overloadpacket.__name__, tree_leaves((args, kwargs))
    far = {id(leaf.near): leaf for leaf in leaves if isinstance(leaf, FarTensor)}
    lonely = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, FarTensor) and x.ndim]
    if far and lonely and name not in ("_to_copy", "copy_", *_BY_HOST):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cpu and {NAME}")
    near_args, near_kwargs = tree_map(_near, (args, kwargs))
    if name in _CELLS:
        output = _CELLS[name](*near_args, **near_kwargs)
    else:
        output = func(*near_args, **near_kwargs)
    if name == "_local_scalar_dense":
        return output
    asked = kwargs.get("device")
    there = bool(far) if asked is None else _is_far(asked)
    if (
        asked is not None
        and isinstance(output, Tensor)
        and any(output is leaf for leaf in tree_leaves(near_args))
    ):
        output = output.clone()
    if name == "copy_":
        return args[0]
    return tree_map(
        lambda part: (
            far.get(id(part), FarTensor(part) if there else part) if isinstance(part, Tensor) else part
        ),
        output,
    )


_BY_HOST = ("index", "index_put_", "_index_put_impl_")  # take indices of the host as well


def _near(part: Any) -> Any:
    if isinstance(part, FarTensor):
        return part.near
    return torch.device("cpu") if isinstance(part, torch.device) and part.type == NAME else part


# -- the cell of an LSTM, which a device computes as one operation and a processor does not know


def _cell(gates: Tensor, hidden: Tensor, c: Tensor, b_ih: Any, b_hh: Any) -> tuple[Tensor, Tensor]:
    total = gates + hidden + (0 if b_ih is None else b_ih + b_hh)
    i, f, g, o = total.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _lstm_cell(gates: Tensor, hidden: Tensor, c: Tensor, b_ih: Any = None, b_hh: Any = None) -> tuple:
    h, after = _cell(gates, hidden, c, b_ih, b_hh)
    return h, after, gates + hidden + (0 if b_ih is None else b_ih + b_hh)


def _lstm_cell_backward(
    grad_h: Any, grad_c: Any, before: Tensor, after: Tensor, workspace: Tensor, has_bias: bool
) -> tuple:
    i, f, g, o = workspace.chunk(4, 1)
    i, f, g, o, bent = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), after.tanh()
    by_h = torch.zeros_like(after) if grad_h is None else grad_h
    by_c = by_h * o * (1 - bent**2) + (0 if grad_c is None else grad_c)
    parts = (
        by_c * g * i * (1 - i),
        by_c * before * f * (1 - f),
        by_c * i * (1 - g**2),
        by_h * bent * o * (1 - o),
    )
    by_gates = torch.cat(parts, 1)
    return by_gates, by_c * f, by_gates.sum(0) if has_bias else None


_CELLS = {
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}
