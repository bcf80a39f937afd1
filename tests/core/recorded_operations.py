"""What a CUDA graph does, on the processor: operations are recorded once and run again on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.inspect.operations import _is_view


class RecordedOperations:
    """A recording as of `zoo.engine.cuda_graphs`.

    While it is recorded the work runs, unlike on a GPU; what it changes in place is put back, so that nothing
    has happened until `replay`.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Any, tuple, dict[str, Any], Any]] = []

    def record(self, work: Callable[[], None]) -> None:
        calls, changed = self._calls, {}

        class Record(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
                kwargs = kwargs or {}
                # running statistics are changed although the schema does not say so
                if func._schema.is_mutable or "batch_norm" in func.overloadpacket.__name__:
                    for part in tree_leaves((args, kwargs)):
                        if isinstance(part, Tensor) and id(part) not in changed:
                            changed[id(part)] = part, part.detach().clone()
                output = func(*args, **kwargs)
                calls.append((func, args, kwargs, output))
                return output

        state = torch.get_rng_state()
        with Record():
            work()
        torch.set_rng_state(state)
        with torch.no_grad():
            for tensor, value in changed.values():
                tensor.data.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, output in self._calls:
            again = func(*args, **kwargs)
            if _is_view(func) or func._schema.is_mutable:
                continue
            for kept, new in zip(tree_leaves(output), tree_leaves(again), strict=True):
                if isinstance(kept, Tensor) and kept is not new:
                    kept.data.copy_(new)

    def warm_up(self, work: Callable[[], None]) -> None:
        work()
