"""AdamW for tables of which a batch reads a few rows: a step costs what the batch does, not the table."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zoo.engine.sparse import sparse_tables

_OWN = "decayed"  # what the state of a table has and that of other parameters has not
_MARKS = {_OWN: torch.float64, "seen": torch.int64}
_AVERAGES = ("step", "exp_avg", "exp_avg_sq")
# without the hooks that torch wraps around it, which would run twice
_dense_step: Callable[[torch.optim.AdamW], Any] = inspect.unwrap(torch.optim.AdamW.step)


class RowAdamW(torch.optim.AdamW):
    """AdamW that updates the rows of the batch only, where a gradient is sparse.

    For tables made by `nn.Embedding(..., sparse=True)`. Parameters with ordinary gradients take the steps of
    `torch.optim.AdamW`. Of a table

    - a row moves when it has a gradient, and stands still in between, as in `torch.optim.SparseAdam`. Its
      first average (momentum) is one of its own gradients: it does not fade while the row waits, and what is
      missing in it at the beginning is made up for by their number. So a gradient moves its row as far as
      AdamW's does in all the steps in which it fades away.
    - the second average is that of AdamW, for which a row that waits has the gradient zero: it fades, and
      what is missing is made up for by the number of all steps. So rare rows take larger steps than others,
      as in AdamW, and a rate means what it means there.
    - weight decay (decoupled, Loshchilov & Hutter 2019) reaches all rows in every step, and is applied when
      a row is next read: by the product of all `1 - lr * weight_decay` since then, whatever the schedule has
      made of the rates. So it is the decay of AdamW for rows whose gradient is zero.

    Where every row is in every batch it is `torch.optim.AdamW`. In a fit of this library rows are brought up
    to date before a model reads them (`watch`), and all of them before anybody looks at the weights
    (`settle`). In a loop of your own do so too.

    Args:
        params: as of `torch.optim.AdamW`.
        lr: the rate.
        betas: of the averages.
        eps: added to the root of the second one.
        weight_decay: decoupled.
        maximize: go up instead of down.
        fused: of parameters with ordinary gradients, see `torch.optim.AdamW`.

    Raises:
        ValueError: for options of `torch.optim.AdamW` that tables do not know (`amsgrad`, `differentiable`,
            `capturable`).

    Example:
        >>> table = nn.Embedding(1000, 2, sparse=True)
        >>> _ = nn.init.ones_(table.weight)
        >>> opt = RowAdamW(table.parameters(), lr=0.1, weight_decay=0.1)
        >>> for row in (3, 4):
        ...     opt.zero_grad()
        ...     torch.autograd.backward(table(torch.tensor([row])).sum())
        ...     opt.step()
        >>> opt.settle()
        >>> [round(x, 4) for x in table.weight[[3, 4, 5], 0].tolist()]
        [0.8811, 0.8387, 0.9801]
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize, fused=fused)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        for name in ("amsgrad", "differentiable", "capturable"):
            if isinstance(param_group, dict) and param_group.get(name):
                raise ValueError(f"RowAdamW has no {name} for rows of tables: leave it out")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update.

        Args:
            closure: gives the loss and its gradients; evaluated first.

        Returns:
            The loss of the closure.

        Raises:
            ValueError: for a gradient that is sparse in more than its rows.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        params = [(param, group) for group in self.param_groups for param in group["params"]]
        tables = [(param, param.grad, group) for param, group in params if self._by_rows(param)]
        for param, _, _ in tables:
            param.grad = None
        try:
            _dense_step(self)
        finally:
            for param, grad, _ in tables:
                param.grad = grad
        # set by whoever found a gradient that must not be applied; the fused kernels look at it too
        skip = getattr(self, "found_inf", None)
        if skip is None or not bool(skip):
            for param, grad, group in tables:
                self._update(param, grad, group)
        return loss

    @torch.no_grad()
    def settle(self, param: Tensor | None = None, rows: Tensor | None = None) -> None:
        """Applies the weight decay that rows have coming.

        Args:
            param: of one table only; by default of all.
            rows: of these rows only (a row may come twice); by default of all.
        """
        for table, state in self._tables():
            if (param is not None and table is not param) or not state["log_decay"]:
                continue
            if rows is not None:
                at = rows.reshape(-1).long()
                lag = state["log_decay"] - state[_OWN].index_select(0, at)
                table.index_copy_(0, at, table.index_select(0, at).mul_(_column(lag.exp_(), table)))
                state[_OWN].index_fill_(0, at, state["log_decay"])
            else:
                table.mul_(_column((state["log_decay"] - state[_OWN]).exp(), table))
                state[_OWN].zero_()
                state["log_decay"] = 0.0

    def settle_for_now(self) -> Callable[[], None]:
        """Settles everything, for somebody who looks at the weights in the middle of training.

        Returns:
            What puts everything back as it was: the way there rounds, and looking shall leave no trace.
        """
        kept = [
            (table, table.detach().clone(), state, state["log_decay"], state[_OWN].clone())
            for table, state in self._tables()
            if state["log_decay"]
        ]
        self.settle()

        @torch.no_grad()
        def put_back() -> None:
            for table, weights, state, log_decay, decayed in kept:
                table.copy_(weights)
                state["log_decay"] = log_decay
                state[_OWN].copy_(decayed)

        return put_back

    def watch(self, model: nn.Module) -> list[RemovableHandle]:
        """Brings rows up to date before the model reads them, and whole tables before its `state_dict()`.

        Args:
            model: those of its `nn.Embedding(sparse=True)` and `nn.EmbeddingBag(sparse=True)` count whose
                weights are among the parameters.

        Returns:
            Handles; `handle.remove()` ends it.
        """
        held = {id(param) for group in self.param_groups for param in group["params"]}
        handles = []
        for module in sparse_tables(model):
            if id(module.weight) in held:
                handles.append(module.register_forward_pre_hook(self._before_lookup, with_kwargs=True))
                handles.append(module.register_state_dict_pre_hook(self._before_saving))
        return handles

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        params = [param for group in self.param_groups for param in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for param, number in zip(params, numbers, strict=True):
            saved = state_dict["state"].get(number, {})
            for name in _MARKS.keys() & saved.keys():  # torch has rounded them to the format of the weights
                self.state[param][name] = saved[name].to(param.device, _MARKS[name], copy=True)

    def _by_rows(self, param: Tensor) -> bool:
        return param.grad is not None and (param.grad.is_sparse or _OWN in self.state.get(param, ()))

    def _tables(self) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        return ((param, state) for param, state in self.state.items() if _OWN in state)

    def _before_lookup(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows = args[0] if args else kwargs.get("input")
        if isinstance(rows, Tensor):
            self.settle(module.weight, rows)

    def _before_saving(self, module: Any, *_: Any) -> None:
        self.settle(module.weight)

    def _begin(self, param: Tensor) -> dict[str, Any]:
        """The state of a table; of one that had ordinary gradients until now with its averages.

        Of each row: `step`, how many gradients it had; `seen`, in which step the last one; `decayed`, the
        logarithm of the decay until it was last brought up to date. Of the table: `steps` and `log_decay`.
        """
        state: dict[str, Any] = self.state[param]
        state["steps"] = int(state.get("step", 0))
        state["step"] = torch.full((len(param),), float(state["steps"]), device=param.device)
        state["seen"] = torch.full((len(param),), state["steps"], device=param.device)
        for name in ("exp_avg", "exp_avg_sq"):
            if name not in state:
                state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
        state["log_decay"] = 0.0
        state[_OWN] = torch.zeros(len(param), dtype=torch.float64, device=param.device)
        return state

    def _update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """A step of one table."""
        rows, values = rows_of(grad)
        state = self.state[param] if _OWN in self.state.get(param, ()) else self._begin(param)
        rate, (beta1, beta2) = float(group["lr"]), map(float, group["betas"])
        decay = rate * group["weight_decay"]
        if decay >= 1:  # turns the weights around, as it does in AdamW; a product of such has no logarithm
            self.settle(param)
            param.mul_(1 - decay)
            decay = 0.0
        own, marks = param.index_select(0, rows), state[_OWN]
        if state["log_decay"]:
            own *= _column((state["log_decay"] - marks.index_select(0, rows)).exp_(), own)
        if decay:
            state["log_decay"] += math.log1p(-decay)
            own *= 1 - decay
        if state["log_decay"]:
            marks.index_fill_(0, rows, state["log_decay"])
        values = -values if group["maximize"] else values
        counts, average, square = (state[name].index_select(0, rows) for name in _AVERAGES)
        state["steps"] += 1
        waited = (state["steps"] - state["seen"].index_select(0, rows)).double()
        state["seen"].index_fill_(0, rows, state["steps"])
        counts += 1
        average.lerp_(values, 1 - beta1)
        square.mul_(_column(beta2**waited, own)).addcmul_(values, values, value=1 - beta2)
        for name, now in zip(_AVERAGES, (counts, average, square), strict=True):
            state[name].index_copy_(0, rows, now)
        size = _column(rate / (1 - beta1 ** counts.double()), own)
        root = (1 - beta2 ** state["steps"]) ** 0.5
        own.addcdiv_(average.mul_(size), square.sqrt_().div_(root).add_(group["eps"]), value=-1)
        param.index_copy_(0, rows, own)


def rows_of(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows a gradient reaches, each once and in order, and their gradients.

    Args:
        grad: sparse in its rows, or an ordinary one, which reaches all.

    Raises:
        ValueError: if it is sparse in more.

    Example:
        >>> table = nn.Embedding(5, 1, sparse=True)
        >>> torch.autograd.backward(table(torch.tensor([4, 1, 4])).sum())
        >>> [part.tolist() for part in rows_of(table.weight.grad)]
        [[1, 4], [[1.0], [2.0]]]
    """
    if not grad.is_sparse:
        return torch.arange(len(grad), device=grad.device), grad
    if grad.sparse_dim() != 1:
        raise ValueError(
            f"a gradient of shape {tuple(grad.shape)} is sparse in {grad.sparse_dim()} dimensions: RowAdamW "
            "takes those that are sparse in their rows, as nn.Embedding(sparse=True) makes them"
        )
    grad = grad.coalesce()
    return grad.indices()[0], grad.values()


def settle(opt: Any) -> None:
    """Brings the weights of an optimizer up to date, if it is one that puts something off.

    Args:
        opt: any optimizer, or a `LayerOptimizer` of it.
    """
    inner = getattr(opt, "opt", opt)
    if isinstance(inner, RowAdamW):
        inner.settle()


def _column(factors: Tensor, like: Tensor) -> Tensor:
    """One number a row, to be multiplied with rows."""
    return factors.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
