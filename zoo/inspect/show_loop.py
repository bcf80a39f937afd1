"""The events of a fit in their order, with the callbacks that listen to each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zoo.engine.callback import Callback, Dispatcher
from zoo.engine.layer_groups import LayerGroups
from zoo.engine.loop import Loop
from zoo.schedules import Constant, Schedule

# indented as the loop nests; a line without an underscore names a level
_PLAN = """\
before_fit
every epoch
  before_epoch
  training
    before_train
    every batch
      before_batch
      after_predict
      after_loss
      after_backward
      when an update is due
        before_step
        after_step
      after_batch
      cleanup_batch
    after_train
  validation
    before_validate
    every batch
      before_batch
      after_predict
      after_loss
      after_batch
      cleanup_batch
    after_validate
  when a cycle is done
    after_cycle
  after_epoch
  cleanup_epoch
after_fit
cleanup_fit"""


class Fits(Protocol):
    """What is needed of a learner to know who would listen."""

    groups: LayerGroups
    data: Any
    metrics: list[Any]
    clip: float | None

    def _listeners(
        self, schedule: Schedule, lrs: Sequence[float], callbacks: Iterable[Callback], clip: float | None
    ) -> list[Callback]: ...

    def _loop(self, callbacks: Iterable[Callback], metrics: Sequence[Any]) -> Loop: ...


@dataclass(frozen=True)
class LoopLine:
    """One line of the loop.

    Attributes:
        level: how deep it is nested, from 0.
        text: the event, or what a level is.
        is_event: which of the two.
        listeners: position and name of the callbacks that listen, in the order in which they are called.
    """

    level: int
    text: str
    is_event: bool
    listeners: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class LoopListing:
    """The events of a fit and who listens; prints as an indented list."""

    lines: list[LoopLine]

    @property
    def events(self) -> list[str]:
        """The events in their order, those of a batch once for training and once for validation."""
        return [line.text for line in self.lines if line.is_event]

    def __repr__(self) -> str:
        heads = ["  " * line.level + line.text + ("" if line.is_event else ":") for line in self.lines]
        wide = max(len(head) for head, line in zip(heads, self.lines, strict=True) if line.is_event)
        return "\n".join(
            f"{head:<{wide}}  {', '.join(f'{name} ({order})' for order, name in line.listeners)}".rstrip()
            for head, line in zip(heads, self.lines, strict=True)
        )


def show_loop(learn: Fits, callbacks: Iterable[Callback] = ()) -> LoopListing:
    """What `learn.fit(..., callbacks=callbacks)` would call, and when.

    Example:
        >>> import torch, zoo
        >>> loader = zoo.TensorLoader(torch.ones(4, 1), torch.ones(4, 1), bs=2)
        >>> learn = zoo.Learner(zoo.ModelData(loader), torch.nn.Linear(1, 1), device="cpu", progress=False)
        >>> print("\\n".join(str(show_loop(learn)).splitlines()[:8]))
        before_fit            Recorder (-100), Scheduler (-50), FirstBatch (0), FiniteGuard (90)
        every epoch:
          before_epoch
          training:
            before_train      OptimizerModes (-100), FirstBatch (0), FiniteGuard (90)
            every batch:
              before_batch    FirstBatch (-1000), Scheduler (-50)
              after_predict   FirstBatch (1000)
    """
    lrs = [0.0] * len(learn.groups)
    listeners = learn._listeners(Constant(1), lrs, callbacks, learn.clip)
    return listing(learn._loop(listeners, learn.metrics).emit, validates=learn.data.valid_dl is not None)


def listing(emit: Dispatcher, *, validates: bool) -> LoopListing:
    """The events of a loop that calls `emit`.

    Args:
        emit: what calls the callbacks.
        validates: whether there are validation data.
    """
    lines: list[LoopLine] = []
    skipped = 0
    for raw in _PLAN.splitlines():
        text = raw.strip()
        level = (len(raw) - len(text)) // 2
        if skipped and level > skipped:
            continue
        skipped = level if text == "validation" and not validates else 0
        if skipped:
            continue
        if "_" not in text:
            lines.append(LoopLine(level, text, is_event=False))
            continue
        called = (method.__self__ for method in emit.listeners(text))  # pyright: ignore[reportFunctionMemberAccess]
        named = tuple((one.event_orders.get(text, one.order), type(one).__name__) for one in called)
        lines.append(LoopLine(level, text, is_event=True, listeners=named))
    return LoopListing(lines)
