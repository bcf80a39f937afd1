"""Training steps recorded once as CUDA graphs and replayed, for steps that are bound by launching operations.

A step becomes two graphs: forward pass, loss and backward pass, and the update. Between them gradients are
there as always, so that clipping and whatever else listens to an update goes on.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zoo.data.answers.nested import leaves, map_tensors
from zoo.engine.callback import Callback
from zoo.engine.closures import needs_closure
from zoo.engine.sparse import sparse_tables
from zoo.engine.state import State
from zoo.errors import some

log = logging.getLogger("zoo")

WARM_UP = 3
"""Steps that run as usual before one is recorded: libraries choose their kernels in them."""
MOST_SHAPES = 4
"""Shapes of batches that are recorded; each keeps the memory of a whole pass."""

_OF_TORCH = frozenset(vars(nn.Module()))  # parameters and buffers among them, which are written in place

Signature = tuple[Any, ...]


class Recording(Protocol):
    """Work on a device that was recorded and can be run again, on the same memory."""

    def record(self, work: Callable[[], None]) -> None:
        """Record what `work` asks of the device; nothing runs."""

    def replay(self) -> None:
        """Run it."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run work as usual, as it has to be run before it is recorded."""


@functools.cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """One for all warm-ups and recordings: every stream that multiplies matrices keeps its workspace."""
    return torch.cuda.Stream(device)


class CudaGraph:
    """`torch.cuda.CUDAGraph` as a `Recording`."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], None]) -> None:
        side = _side_stream(torch.cuda.current_device())
        # the thread of a loader may go on with its own copies meanwhile
        with torch.cuda.graph(self._graph, stream=side, capture_error_mode="thread_local"):
            work()

    def replay(self) -> None:
        self._graph.replay()

    def warm_up(self, work: Callable[[], None]) -> None:
        side, main = _side_stream(torch.cuda.current_device()), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            work()
        main.wait_stream(side)


RECORDINGS: dict[str, Callable[[], Recording]] = {"cuda": CudaGraph}
"""How work is recorded, by type of device."""


class _Pass:
    """The recorded forward and backward pass of batches of one shape."""

    def __init__(self, recording: Recording, state: State, record: Callable[[], None]) -> None:
        self.recording = recording
        self.given = map_tensors(Tensor.clone, (state.inputs, state.target))
        inputs, target = state.inputs, state.target
        state.inputs, state.target = self.given
        try:
            recording.record(record)
        finally:
            state.inputs, state.target = inputs, target
        self.preds, self.extras, self.loss = state.preds, state.extras, state.loss
        self.update: _Update | None = None  # the one that reads these gradients
        self.gradients = [(p, p.grad) for p in state.model.parameters() if p.grad is not None]

    def replay(self, state: State) -> None:
        for own, new in zip(leaves(self.given), leaves((state.inputs, state.target)), strict=True):
            own.copy_(new)
        for param, gradient in self.gradients:
            param.grad = gradient
        self.recording.replay()
        # what the next batch is written over is not handed out
        state.preds, state.extras = map_tensors(_copy, (self.preds, self.extras))
        state.loss = _copy(self.loss)


class _Update:
    """The recorded update of an optimizer whose settings, rates apart, stay as they are."""

    def __init__(
        self, recording: Recording, opt: Any, step: Callable[[], None], device: torch.device
    ) -> None:
        self.recording = recording
        self.groups = opt.param_groups
        self.settings = settings_of(opt)
        self.rates = [float(group["lr"]) for group in self.groups]
        self._given = [torch.tensor(rate, device=device) for rate in self.rates]
        with self._capturable():
            recording.record(step)

    @contextlib.contextmanager
    def _capturable(self) -> Iterator[None]:
        kept = [(group["lr"], group.get("capturable")) for group in self.groups]
        for group, rate in zip(self.groups, self._given, strict=True):
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = True
        try:
            yield
        finally:
            for group, (rate, capturable) in zip(self.groups, kept, strict=True):
                group["lr"] = rate
                if capturable is not None:
                    group["capturable"] = capturable

    def replay(self) -> None:
        rates = [float(group["lr"]) for group in self.groups]
        if rates != self.rates:
            for given, rate in zip(self._given, rates, strict=True):
                given.fill_(rate)
            self.rates = rates
        self.recording.replay()


class CudaGraphs(Callback):
    """Records the training step of a fit and replays it, batch by batch.

    What cannot be recorded runs as usual: batches of another shape (a last, smaller one), models that carry a
    state from batch to batch, callbacks that take part between forward and backward pass, optimizers whose
    momentum is moved by the schedule (their update alone), several processes. The first reason is warned of
    once a fit. A recorded pass does the same again whatever the values are: a model whose Python code decides
    by random numbers or by data must not be recorded.

    Attributes:
        replayed: training batches of the latest fit whose forward and backward pass was replayed.
        updates: its updates that were replayed.
    """

    order = -105
    event_orders = {"before_train": 1000}
    in_finder = True

    def __init__(self) -> None:
        self.replayed = self.updates = 0
        self._reset()

    def _reset(self) -> None:
        self._passes: dict[Signature, _Pass] = {}
        self._seen: dict[Signature, int] = {}
        self._layout: Signature = ()
        self._reason: str | None = None  # why nothing is recorded, "" if it is
        self._told = False
        self._no_update = False
        self._current: _Pass | None = None

    def before_fit(self, state: State) -> None:
        self._reset()
        self.replayed = self.updates = 0
        kind = RECORDINGS.get(state.device.type)
        if kind is None:
            return  # the switch has told
        self._kind = kind
        state.run_gradients, state.run_step = self._gradients, self._step
        self._no_update = not _can_record(state.opt)

    def before_train(self, state: State) -> None:
        """What was recorded holds as long as the same weights train in the same way."""
        layout = _layout(state.model)
        if layout != self._layout:
            self._passes, self._seen, self._layout = {}, {}, layout

    def cleanup_fit(self, state: State) -> None:
        self._reset()

    def _gradients(self, loop: Any) -> None:
        state: State = loop.state
        self._current = None
        if self._reason is None:
            self._reason = self._hindered(loop)
        if self._reason:
            self._stop(state, self._reason)
            loop.gradients()
            return
        shape = _shape((state.inputs, state.target))
        found = self._passes.get(shape)
        if found is None:
            if len(self._passes) >= MOST_SHAPES or len(self._seen) >= 16 * MOST_SHAPES:
                loop.gradients()
                return
            # what the step before left would keep parts of its backward pass alive
            state.preds, state.extras, state.loss = None, (), None
            seen = self._seen[shape] = self._seen.get(shape, 0) + 1
            if seen <= WARM_UP:
                self._watched(loop)
                return
            with _noted():
                found = _Pass(self._kind(), state, lambda: loop.gradients(_recorded(loop)))
            self._passes[shape] = found
        found.replay(state)
        for event in ("after_predict", "after_loss"):
            for listener in loop.emit.listeners(event):
                if _role(listener) == "after":
                    listener(state)
        self._current = found
        self.replayed += 1

    def _watched(self, loop: Any) -> None:
        """A pass as usual, after which it is known whether the model keeps something from batch to batch."""
        model = loop.state.model
        before = _attributes(model)
        self._kind().warm_up(loop.gradients)
        after = _attributes(model)
        changed = [name for name, (_, now) in after.items() if name not in before or before[name][1] != now]
        if changed:
            self._stop(loop.state, f"the model keeps {some(changed, 3)} from batch to batch")

    def _step(self, loop: Any) -> None:
        opt = getattr(loop.state.opt, "opt", loop.state.opt)
        if self._current is None or self._no_update:
            loop.step()
            return
        update = self._current.update
        if update is None:
            if not loop.state.step:  # an optimizer makes its averages in the first update
                loop.step()
                return
            _counters_to(opt, loop.state.device)
            with _noted():
                update = _Update(self._kind(), opt, loop.step, loop.state.device)
            self._current.update = update
        elif settings_of(opt) != update.settings:
            self._no_update = True
            self._tell(
                "the schedule moves the momentum, so only forward and backward passes are replayed "
                "(fit_one_cycle(moms=None) leaves it alone)"
            )
            loop.step()
            return
        update.replay()
        self.updates += 1

    def _hindered(self, loop: Any) -> str:
        """Why this fit cannot be recorded, if it cannot."""
        others = {
            type(listener.__self__).__name__
            for event in ("after_predict", "after_loss", "after_backward")
            for listener in loop.emit.listeners(event)
            if _role(listener) == "no"
        }
        if others:
            return f"{some(sorted(others))} takes part between forward and backward pass"
        if needs_closure(loop.state.opt):
            return "the optimizer runs the forward pass itself"
        if any(sparse_tables(loop.state.model)):
            return "tables with sparse gradients are updated by rows, which the host has to know"
        return ""

    def _stop(self, state: State, reason: str) -> None:
        self._tell(f"{reason}, so steps run as usual")
        state.run_gradients, state.run_step = methodcaller("gradients"), methodcaller("step")

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            log.warning("cuda_graphs: %s", reason)


@contextlib.contextmanager
def _noted() -> Iterator[None]:
    """Errors of a recording tell how to go on without."""
    try:
        yield
    except Exception as error:
        error.add_note(
            "while the step was recorded as a CUDA graph: this model, loss or optimizer does something that "
            "cannot be recorded; run the script again without cuda_graphs(), as the recording may have left "
            "the device's generator in disorder"
        )
        raise


def settings_of(opt: Any) -> list[dict[str, Any]]:
    """What a recorded update was made with: all settings but the rate, and which gradients it reads."""
    skipped = ("lr", "params", "capturable")
    return [
        {
            **{name: value for name, value in group.items() if name not in skipped},
            "gradients": [id(param.grad) for param in group["params"]],
        }
        for group in opt.param_groups
    ]


def _can_record(opt: Any) -> bool:
    """Whether the update of an optimizer can be recorded: of torch's own those that count on the device."""
    inner = getattr(opt, "opt", opt)
    if not type(inner).step.__module__.startswith("torch.optim") or needs_closure(opt):
        return False
    groups = inner.param_groups
    if isinstance(inner, torch.optim.SGD):  # its other kernels take the rate as a number of the host
        return all(group.get("fused") for group in groups)
    adams = isinstance(inner, torch.optim.Adam | torch.optim.AdamW)
    return "capturable" in inner.defaults and (adams or all(group.get("foreach") for group in groups))


def _counters_to(opt: Any, device: torch.device) -> None:
    for values in opt.state.values():
        if isinstance(values.get("step"), Tensor):
            values["step"] = values["step"].to(device)


def _recorded(loop: Any) -> Callable[[str, State], None]:
    """Calls the listeners whose work is part of the recording."""

    def emit(event: str, state: State) -> None:
        for listener in loop.emit.listeners(event):
            if _role(listener) == "recorded":
                listener(state)

    return emit


def _role(listener: Any) -> str:
    """What the class that wrote this method says of it; a subclass that overrides it speaks for itself."""
    kinds = type(listener.__self__).__mro__
    owner = next(kind for kind in kinds if listener.__name__ in vars(kind))
    return vars(owner).get("in_graph", "no")


def _copy(part: Tensor) -> Tensor:
    return part.detach().clone()


def _shape(part: Any) -> Signature:
    return tuple((tuple(t.shape), t.dtype, t.stride()) for t in leaves(part))


def _layout(model: nn.Module) -> Signature:
    params = tuple((p.data_ptr(), p.requires_grad) for p in model.parameters())
    return params, tuple(b.data_ptr() for b in model.buffers()), tuple(m.training for m in model.modules())


def _attributes(model: nn.Module) -> dict[str, tuple[list[Tensor], Any]]:
    """What modules keep in plain attributes: their tensors, and what changes where these or a number do."""
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    found = {}
    for place, module in model.named_modules():
        for name, value in vars(module).items():
            if name in _OF_TORCH:
                continue
            tensors = [tensor for tensor in leaves(value) if id(tensor) not in own]
            if tensors or isinstance(value, bool | int | float):
                number = None if tensors else value
                state = [(id(tensor), tensor._version) for tensor in tensors], number
                found[f"{place}.{name}".lstrip(".")] = tensors, state  # kept, so that ids stay unique
    return found
