"""What training asks of a device: operations, those that the host waits for, and the least time of a step."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# the host must know a value, or a number of rows, before it can go on
_WAITING = {
    *("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "nonzero_numpy", "masked_select", "argwhere"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
    *("bincount", "_linalg_check_errors"),
}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}  # by a mask: its marks are counted first
_COPIES = {"_to_copy", "copy_", "_copy_from"}
_NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh"}
_GATHERS = {"embedding", "index_select", "index", "gather", "embedding_dense_backward"}  # touch few rows

LAUNCH_SECONDS = 5e-6
"""What the host takes to launch one kernel on a GPU, about."""


@dataclass(frozen=True)
class Spot:
    """An operation that deserves a look, and the line that asked for it.

    Attributes:
        operation: its name, and why it is here.
        where: file, line and code, the nearest that is not torch's own.
    """

    operation: str
    where: str

    def __str__(self) -> str:
        return f"{self.operation} at {self.where}"


@dataclass
class Operations:
    """What was asked of a device, added up over `steps` steps.

    Attributes:
        steps: training steps.
        rows: rows of their batches.
        calls: operations by name.
        kernels: those that launch something, so neither views nor bare allocations.
        flops: multiplications and additions of matrix products and convolutions.
        traffic: bytes read and written, each operand once.
        waits: operations for which the host waits until the device is done; only known off the CPU.
        strays: operations that mix tensors of the host with the device's, or make tensors on the host.
    """

    steps: int = 0
    rows: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    kernels: int = 0
    flops: int = 0
    traffic: int = 0
    waits: list[Spot] = field(default_factory=list)
    strays: list[Spot] = field(default_factory=list)

    def least_seconds(
        self, flops_per_second: float, bytes_per_second: float, launch: float = LAUNCH_SECONDS
    ) -> dict[str, float]:
        """The least time of a step if one thing alone took time: launching, arithmetic, or memory.

        Args:
            flops_per_second: of the device, in the number format of the training.
            bytes_per_second: of its memory.
            launch: seconds a kernel.

        Example:
            >>> Operations(steps=2, kernels=80, flops=10**9, traffic=10**8).least_seconds(1e12, 1e12)
            {'launches': 0.0002, 'arithmetic': 0.0005, 'memory': 5e-05}
        """
        steps = max(1, self.steps)
        return {
            "launches": self.kernels / steps * launch,
            "arithmetic": self.flops / steps / flops_per_second,
            "memory": self.traffic / steps / bytes_per_second,
        }

    def __repr__(self) -> str:
        steps = max(1, self.steps)
        lines = [
            f"a step of {self.rows // steps:,} rows: {sum(self.calls.values()) / steps:,.0f} operations, "
            f"{self.kernels / steps:,.0f} kernels, {self.flops / steps / 1e6:,.1f} MFLOP, "
            f"{self.traffic / steps / 1e6:,.1f} MB"
        ]
        lines += [f"{count / steps:>8,.1f}  {name}" for name, count in self.calls.most_common(12)]
        for title, spots in (("waits for the device", self.waits), ("not on the device", self.strays)):
            lines += [f"{title}: {spot}" for spot in dict.fromkeys(spots)]
        return "\n".join(lines)


class OperationCounter(TorchDispatchMode):
    """Counts the operations dispatched inside while `on`, also those of the backward pass.

    Args:
        device: of the training; operations on the host alone are counted only if this is the CPU.

    Example:
        >>> with OperationCounter("cpu") as counter:
        ...     _ = (torch.ones(2, 3) @ torch.ones(3, 4)).relu().T
        >>> counter.found.kernels, counter.found.flops
        (4, 48)
    """

    def __init__(self, device: str | torch.device) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.found = Operations()
        self.on = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        output = func(*args, **kwargs)
        if self.on:
            self._count(func, args, kwargs, output)
        return output

    def _count(self, func: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        kinds = {tensor.device.type for tensor in (*given, *made)}
        if name.startswith("_record_function") or (kinds and self.device.type not in kinds):
            if self.device.type != "cpu" and not given and made:
                self._stray(f"{name}: made on the {made[0].device.type}")
            return
        found = self.found
        found.calls[name] += 1
        if self.device.type != "cpu":
            self._look(name, args, kwargs, given, made)
        if name in _NO_KERNEL or _is_view(func):
            return
        found.kernels += 1
        moved = made if name in _GATHERS else [*given, *made]
        found.traffic += sum(tensor.numel() * tensor.element_size() for tensor in moved) * (
            2 if name in _GATHERS else 1
        )
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            found.flops += int(formula(*args, **kwargs, out_val=output))

    def _look(
        self, name: str, args: tuple, kwargs: dict[str, Any], given: list[Tensor], made: list[Tensor]
    ) -> None:
        there = [tensor for tensor in given if tensor.device.type == self.device.type]
        if name in _COPIES:
            ends = {tensor.device.type for tensor in (*given, *made)}
            waits = not (kwargs.get("non_blocking") or (name == "copy_" and args[2:3] == (True,)))
            if len(ends) > 1 and waits:
                towards = made[0].device.type if made else self.device.type
                self._wait(f"{name} to the {towards}")
            return
        unsized = name == "repeat_interleave" and kwargs.get("output_size") is None
        if there and (name in _WAITING or unsized or (name in _INDEXED and _has_mask(args))):
            self._wait(name)
        if there and any(tensor.device.type == "cpu" and tensor.ndim for tensor in given):
            self._stray(f"{name}: of tensors on two devices")

    def _wait(self, operation: str) -> None:
        self.found.waits.append(Spot(operation, self._asker()))

    def _stray(self, operation: str) -> None:
        self.found.strays.append(Spot(operation, self._asker()))

    def _asker(self) -> str:
        """The nearest line of the stack that is neither torch's nor ours."""
        for frame, line in traceback.walk_stack(sys._getframe(1)):
            file = frame.f_code.co_filename
            if file != __file__ and str(Path(torch.__file__).parent) not in file and file[:1] != "<":
                return f"{'/'.join(Path(file).parts[-3:])}:{line} ({frame.f_code.co_name})"
        on_main = threading.current_thread() is threading.main_thread()
        return "unknown" if on_main else "the backward pass"


def _is_view(func: Any) -> bool:
    """Whether an operation gives another look at a tensor's memory, and no kernel runs."""
    infos: Iterator[Any] = (returned.alias_info for returned in func._schema.returns)
    return func.overloadpacket.__name__ in ("detach", "_unsafe_view", "alias") or any(
        info is not None and not info.is_write for info in infos
    )


def _has_mask(args: tuple) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) for part in indices)
