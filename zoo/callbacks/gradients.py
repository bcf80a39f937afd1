"""What happens to gradients between the backward pass and the update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.engine.callback import Callback
from zoo.engine.closures import needs_closure
from zoo.engine.sparse import gradient_numbers
from zoo.engine.state import State


class ClipGradients(Callback):
    """Scales the gradients down so that their joint L2 norm is at most `max_norm` (Pascanu et al. 2013)."""

    order = 50
    in_finder = True

    def __init__(self, max_norm: float) -> None:
        if not max_norm > 0:
            raise ValueError(f"clip: the largest gradient norm must be positive, got {max_norm}")
        self.max_norm = max_norm

    def before_fit(self, state: State) -> None:
        if needs_closure(state.opt):
            kind = type(getattr(state.opt, "opt", state.opt)).__name__
            raise ValueError(
                f"clip: {kind} makes the gradients itself, several times a step, so that none can be clipped "
                "before it: leave clip out"
            )

    def before_step(self, state: State) -> None:
        params = [
            param for group in state.opt.param_groups for param in group["params"] if param.grad is not None
        ]
        if not any(param.grad.is_sparse for param in params):
            torch.nn.utils.clip_grad_norm_(params, self.max_norm)
            return
        grads = [gradient_numbers(param) for param in params]
        share = self.max_norm / (torch.nn.utils.get_total_norm(grads) + 1e-6)
        for grad in grads:
            grad.mul_(share.to(grad.device).clamp(max=1.0))


class Accumulate(Callback):
    """Updates the weights every `n` batches, with the gradient that one batch of all their rows would give.

    Every batch counts by its rows, so a short one is no exception, and what is left at an epoch's end is
    applied there. Clipping and gradient scaling see the accumulated gradient. The recorder, the learning-rate
    finder and the progress bar show the loss of each batch; rates are those of the batch that completes the
    update. Two things are not those of the large batch: batch norm uses the statistics of each small batch,
    and a loss that leaves out part of the targets (`ignore_index`) is averaged by rows, not by targets.

    Args:
        n: batches an update.

    Example:
        >>> import zoo
        >>> from torch import nn
        >>> loader = zoo.TensorLoader(torch.ones(8, 2), torch.ones(8, 1), bs=2)
        >>> net = nn.Linear(2, 1)
        >>> opt = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> rows = zoo.fit(net, zoo.ModelData(loader), 1, opt, nn.MSELoss(), callbacks=[Accumulate(4)])
    """

    order = -70
    event_orders = {"after_loss": 96}  # weighs all that others add to the loss
    in_finder = True

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"Accumulate: n must be a whole number of batches, at least 1, got {n!r}")
        self.n = n
        self._first = self._rows = 0  # of the update's first batch, of all its batches so far

    def before_fit(self, state: State) -> None:
        self._first = self._rows = 0
        if self.n > 1 and needs_closure(state.opt):
            kind = type(getattr(state.opt, "opt", state.opt)).__name__
            raise ValueError(
                f"Accumulate: {kind} evaluates the loss of a batch itself, so that gradients of several "
                "batches cannot be added up: use another optimizer, or larger batches"
            )

    def after_loss(self, state: State) -> None:
        if state.training and state.pending and state.rows != self._first:
            state.loss = weigh(state.loss, state.rows / self._first)

    def after_backward(self, state: State) -> None:
        if state.pending == 1:  # also after a batch whose gradients were dropped
            self._first = self._rows = 0
        self._first = self._first or state.rows
        self._rows += state.rows
        if state.pending < self.n:
            state.update_due = False

    def before_step(self, state: State) -> None:
        if self._rows == self._first:
            return
        grads = [
            gradient_numbers(param)
            for group in state.opt.param_groups
            for param in group["params"]
            if param.grad is not None
        ]
        torch._foreach_mul_(grads, self._first / self._rows)

    def state_dict(self) -> dict[str, Any]:
        return {"n": self.n, "first": self._first, "rows": self._rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["n"] != self.n:
            raise ValueError(
                f"the checkpoint accumulated over {state['n']} batches, this fit asks for "
                f"Accumulate({self.n}): give the same to go on, or resume=False to train anew"
            )
        self._first, self._rows = state["first"], state["rows"]


class _Weighed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, weight: float | Tensor) -> Tensor:
        ctx.weight = weight
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] * ctx.weight, None


def weigh(loss: Tensor, weight: float | Tensor) -> Tensor:
    """The same loss, whose gradients are `weight` times as large.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> loss = weigh(2 * x, 10.0)
        >>> loss.item(), torch.autograd.grad(loss, x)[0].item()
        (6.0, 20.0)
    """
    return _Weighed.apply(loss, weight)  # pyright: ignore[reportReturnType]
