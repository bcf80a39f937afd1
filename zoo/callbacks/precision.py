"""Mixed precision: the forward pass in a shorter number format, the weights in float32."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo.callbacks.gradients import weigh
from zoo.data.loaders.device import computes_in
from zoo.engine.callback import Callback, CancelStep
from zoo.engine.closures import needs_closure
from zoo.engine.finite import NonFiniteLossError
from zoo.engine.state import State

log = logging.getLogger("zoo")

_SWITCHES = {torch.bfloat16: "to_bf16", torch.float16: "to_fp16"}
_MISSING = {  # how torch and its CPU kernels say that an operation does not exist in a format
    torch.bfloat16: ("not implemented for 'BFloat16'", "could not create a primitive"),
    torch.float16: ("not implemented for 'Half'", "could not create a primitive"),
}


class Autocast(Callback):
    """Runs forward passes and the loss under `torch.autocast`; predictions are made float32 before the loss,
    also inside dicts, lists and tuples. `state.extras` stay in the shorter format.

    bfloat16 has the range of float32 and needs nothing else. In float16 small gradients would vanish, so the
    backward pass runs with gradients that are larger by a factor, and they are divided by it before anything
    looks at them (loss scaling: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2). When
    gradients overflow, that update is left out and the factor halved; after 2,000 updates without overflow
    it is doubled. The factor lives on from fit to fit. On a GPU fused optimizers leave such an update out by
    themselves, and the host hears of it at the end of the epoch, without waiting in between.

    Recurrent layers run in float32 where the device has no kernels for them in the format.

    Args:
        dtype: `torch.bfloat16` or `torch.float16`.
        training_only: evaluate and predict in float32, so that answers are the same on every device.

    Attributes:
        skipped: updates left out in the latest fit.

    Example:
        >>> with Autocast(torch.bfloat16).context("cpu"):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """

    order = -60
    # the loss is scaled when everybody has seen it, the gradients are put right before anybody sees them
    event_orders = {"after_loss": 100, "before_step": -80}
    in_finder = True
    patience = 20
    smallest = 2.0**-20
    in_graph = "recorded"

    def __init__(self, dtype: torch.dtype = torch.bfloat16, *, training_only: bool = False) -> None:
        if dtype not in _SWITCHES:
            raise ValueError(f"Autocast: dtype must be torch.bfloat16 or torch.float16, got {dtype}")
        self.dtype = dtype
        self.training_only = training_only
        self.skipped = 0
        self._in_a_row = 0
        self._scaler: torch.amp.GradScaler | None = None
        self._skips: _Skips | None = None  # where the device leaves updates out
        self._kept: dict[str, Any] = {}

    @contextlib.contextmanager
    def context(self, device_type: str) -> Iterator[None]:
        """The context in which a forward pass runs in this format."""
        with torch.autocast(device_type, dtype=self.dtype):
            if computes_in(device_type, self.dtype, recurrent=True):
                yield
            else:
                with RecurrentInFloat32(device_type):
                    yield

    def answer_context(self, device_type: str) -> contextlib.AbstractContextManager:
        """The context of forward passes that evaluate or predict."""
        return contextlib.nullcontext() if self.training_only else self.context(device_type)

    def before_fit(self, state: State) -> None:
        self._switch(state)
        self.skipped = self._in_a_row = 0
        if self.dtype != torch.float16:
            return
        if needs_closure(state.opt):
            raise ValueError(
                f"{type(_inner(state.opt)).__name__} evaluates the loss itself, which does not go together "
                "with the gradient scaling of float16: use to_bf16() or to_fp32()"
            )
        if self._scaler is None:
            self._scaler = torch.amp.GradScaler(state.device.type)
            if self._kept:
                self._scaler.load_state_dict(self._kept)
            self._scaler.scale(torch.ones((), device=state.device))  # makes the tensor that is the scale
        fused = getattr(_inner(state.opt), "_step_supports_amp_scaling", False)
        self._skips = _Skips(state.device) if fused and state.device.type != "cpu" else None

    def before_validate(self, state: State) -> None:
        if state.forward_context is contextlib.nullcontext:  # an evaluation outside of a fit
            self._switch(state)

    def after_predict(self, state: State) -> None:
        state.preds = _widened(state.preds, self.dtype)

    def after_loss(self, state: State) -> None:
        if state.training and self._scaler is not None:
            state.loss = weigh(state.loss, self._scaler.scale(torch.ones((), device=state.loss.device)))

    def before_step(self, state: State) -> None:
        scaler, optimizer = self._scaler, _inner(state.opt)
        if scaler is None or not _has_gradients(optimizer):
            return
        scaler.unscale_(optimizer)
        if self._skips is not None:
            self._skips.note(scaler, optimizer)
            scaler.update()
            scaler._scale.clamp_(min=self.smallest)  # type: ignore[union-attr]
            return
        before = scaler.get_scale()
        scaler.update()
        if scaler.get_scale() >= before:
            self._in_a_row = 0
            return
        if before / 2 < self.smallest:
            scaler.update(self.smallest)
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row == self.patience:
            self._warn(self._in_a_row, scaler)
        raise CancelStep

    @staticmethod
    def _warn(in_a_row: int, scaler: torch.amp.GradScaler) -> None:
        log.warning(
            "float16: %d updates in a row were left out because their gradients overflowed (the scale "
            "of the loss is down to %g): use to_bf16() or to_fp32(), a lower learning rate, or look for "
            "huge values in the data",
            in_a_row,
            scaler.get_scale(),
        )

    def after_train(self, state: State) -> None:
        if self._skips is None or self._scaler is None:
            return
        self.skipped, self._in_a_row, longest = self._skips.read()
        if longest >= self.patience:
            self._warn(longest, self._scaler)

    def cleanup_batch(self, state: State) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _MISSING[self.dtype]):
            error.add_note(
                f"this operation does not exist in {self.dtype} on the {state.device.type}; the model runs "
                f"in that format since {self._chosen_by}: use "
                f"{'to_bf16() or ' if self.dtype == torch.float16 else ''}to_fp32()"
            )
        if isinstance(error, NonFiniteLossError) and self.dtype == torch.float16:
            error.add_note(
                "the model runs in float16 since learn.to_fp16(), which has no numbers above 65,504: if the "
                "loss is finite after to_bf16() or to_fp32(), values inside the model are larger than that"
            )

    def cleanup_fit(self, state: State) -> None:
        torch.clear_autocast_cache()
        if self._skips is not None:
            self.skipped, self._in_a_row, _ = self._skips.read()
            self._skips = None

    def state_dict(self) -> dict[str, Any]:
        if self.dtype != torch.float16:
            return {}
        scale = dict(self._kept) if self._scaler is None else self._scaler.state_dict()
        return {"scaler": scale, "skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not state:
            return
        self.skipped, self._in_a_row, self._kept = state["skipped"], state["in_a_row"], dict(state["scaler"])
        if not self._kept:  # from before the first fit
            self._scaler = None
        elif self._scaler is not None:
            self._scaler.load_state_dict(self._kept)

    @property
    def _chosen_by(self) -> str:
        return "precision='auto'" if self.training_only else f"learn.{_SWITCHES[self.dtype]}()"

    def _switch(self, state: State) -> None:
        kind = state.device.type

        def context() -> contextlib.AbstractContextManager:
            return self.context(kind) if state.training else self.answer_context(kind)

        state.forward_context = context


class _Skips:
    """Updates that a fused optimizer leaves out, counted on the device.

    Args:
        device: of the fit.
    """

    def __init__(self, device: torch.device) -> None:
        self._found = torch.zeros((), device=device)
        self._counts = torch.zeros(3, device=device)  # in all, in a row now, the longest row of the epoch

    def note(self, scaler: torch.amp.GradScaler, optimizer: Any) -> None:
        """Let the optimizer leave out its next update if its gradients overflowed."""
        (overflow,) = scaler._found_inf_per_device(optimizer).values()
        before = getattr(optimizer, "found_inf", None)  # of the guard against losses that are no numbers
        torch.maximum(overflow, self._found.zero_() if before is None else before, out=self._found)
        optimizer.found_inf = self._found
        total, row, longest = self._counts.unbind()
        total.add_(overflow)
        row.add_(1).mul_(overflow)
        torch.maximum(longest, row, out=longest)

    def read(self) -> tuple[int, int, int]:
        """Updates left out: in this fit, in a row until now, in the longest row since this was read last."""
        total, row, longest = (int(count) for count in self._counts.tolist())
        self._counts[2].zero_()
        return total, row, longest


_RECURRENT = {
    *(torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu),
    *(torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell),
}


class RecurrentInFloat32(TorchFunctionMode):
    """Inside, recurrent kernels run in float32 whatever autocast says, where its format has none.

    Args:
        device_type: of the tensors, as for `torch.autocast`.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.device_type = device_type

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in _RECURRENT:
            return func(*args, **(kwargs or {}))
        with torch.autocast(self.device_type, enabled=False):
            short = torch.get_autocast_dtype(self.device_type)
            return func(*_widened(args, short), **_widened(kwargs or {}, short))


def _widened(part: Any, dtype: torch.dtype) -> Any:
    """Tensors of this format in float32, also inside dicts, lists and tuples."""
    if isinstance(part, Tensor):
        return part.float() if part.dtype == dtype else part
    if type(part) is dict:
        return {name: _widened(value, dtype) for name, value in part.items()}
    if type(part) in (list, tuple):
        return type(part)(_widened(value, dtype) for value in part)
    return part


def _inner(opt: Any) -> torch.optim.Optimizer:
    return getattr(opt, "opt", opt)


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(param.grad is not None for group in optimizer.param_groups for param in group["params"])
