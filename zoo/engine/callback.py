"""The events of a fit and the base class of whatever listens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zoo.engine.state import State

EVENTS = (
    "before_fit",
    "before_epoch",
    "before_train",
    "before_batch",
    "after_predict",
    "after_loss",
    "after_backward",
    "before_step",
    "after_step",
    "after_batch",
    "cleanup_batch",
    "after_train",
    "before_validate",
    "after_validate",
    "after_epoch",
    "after_cycle",
    "cleanup_epoch",
    "after_fit",
    "cleanup_fit",
)


class CancelStep(Exception):
    """Raise in `before_step`: the weights stay, the gradients are dropped, the batch goes on."""


class CancelBatch(Exception):
    """Raise inside a batch: its remaining steps are skipped, the epoch goes on."""


class CancelEpoch(Exception):
    """Raise inside an epoch's training pass: the pass ends here, validation still runs."""


class CancelFit(Exception):
    """Raise anywhere in a fit: it ends here; `after_fit` and `cleanup_fit` still run."""


class Callback:
    """Listens to the events of a fit; override the methods you need.

    Every method gets the running `State` and may change it: `state.loss` before the backward pass, the
    gradients in `before_step`, the rates in `before_batch`. Raise `CancelStep`, `CancelBatch`,
    `CancelEpoch` or `CancelFit` to skip or stop. Within one event callbacks run by ascending `order`, equal
    ones in the order given. `cleanup_fit` always runs, also after an error.

    The batch events `before_batch`, `after_predict`, `after_loss` and `after_batch` also fire on validation
    batches: look at `state.training`.

    Attributes:
        order: position among the callbacks. The built-in ones lie between -100 and 100.
        event_orders: positions in single events, where they differ from `order`.
        in_finder: whether the callback belongs to the training step itself (clipping, precision, state
            resets), and so also runs inside the learning-rate finder and `predict`.
        in_graph: what becomes of it where `learn.cuda_graphs()` records the pass from `after_predict` to
            `after_backward`: "recorded", if it asks for operations of the device alone; "after", if it only
            looks and may do so once the pass is over; "no", the default, leaves the fit unrecorded if it
            listens there.

    Example:
        >>> class StopEarly(Callback):
        ...     def after_batch(self, state):
        ...         if state.training and state.step >= 100:
        ...             raise CancelFit
    """

    order: int = 0
    event_orders: Mapping[str, int] = {}
    in_finder: bool = False
    in_graph: str = "no"

    def before_fit(self, state: State) -> None: ...
    def before_epoch(self, state: State) -> None: ...
    def before_train(self, state: State) -> None: ...
    def before_batch(self, state: State) -> None: ...
    def after_predict(self, state: State) -> None: ...
    def after_loss(self, state: State) -> None: ...
    def after_backward(self, state: State) -> None: ...
    def before_step(self, state: State) -> None: ...
    def after_step(self, state: State) -> None: ...
    def after_batch(self, state: State) -> None: ...
    def cleanup_batch(self, state: State) -> None: ...
    def after_train(self, state: State) -> None: ...
    def before_validate(self, state: State) -> None: ...
    def after_validate(self, state: State) -> None: ...
    def after_epoch(self, state: State) -> None: ...
    def after_cycle(self, state: State) -> None: ...
    def cleanup_epoch(self, state: State) -> None: ...
    def after_fit(self, state: State) -> None: ...
    def cleanup_fit(self, state: State) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What must be kept for the callback to go on after a restart (JSON-able values and tensors)."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


def callback_list(callbacks: Iterable[Callback]) -> list[Callback]:
    """A list of callbacks of its own.

    Raises:
        TypeError: for a single callback, or something that is no list of them.

    Example:
        >>> callback_list(Callback())
        Traceback (most recent call last):
        ...
        TypeError: callbacks must be a list, such as callbacks=[Callback()]
    """
    if isinstance(callbacks, Callback):
        raise TypeError(f"callbacks must be a list, such as callbacks=[{type(callbacks).__name__}()]")
    if isinstance(callbacks, type) and issubclass(callbacks, Callback):
        raise TypeError(f"callbacks must be a list of objects, such as callbacks=[{callbacks.__name__}()]")
    try:
        listed = list(callbacks)
    except TypeError:
        raise TypeError(f"callbacks must be a list of callbacks, got {callbacks!r}") from None
    for callback in listed:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must be zoo Callback objects, got {type(callback).__name__}: {callback!r}"
            )
    return listed


class Dispatcher:
    """The overridden methods of a list of callbacks, sorted once per event; an event nobody listens to costs
    nothing.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        given = callback_list(callbacks)
        self.callbacks: Sequence[Callback] = sorted(given, key=lambda callback: callback.order)
        self._listeners: dict[str, list[Callable[[State], None]]] = {
            event: [
                getattr(callback, event)
                for callback in sorted(given, key=lambda one: one.event_orders.get(event, one.order))
                if getattr(type(callback), event) is not getattr(Callback, event)
            ]
            for event in EVENTS
        }

    def __call__(self, event: str, state: State) -> None:
        for listener in self._listeners[event]:
            listener(state)

    def every(self, event: str, state: State) -> None:
        """Call all listeners even if some raise; the first error is raised at the end, later ones noted on
        it.
        """
        first: BaseException | None = None
        for listener in self._listeners[event]:
            try:
                listener(state)
            except BaseException as error:
                if first is None:
                    first = error
                else:
                    first.add_note(f"then, in {event}: {type(error).__name__}: {error}")
        try:
            if first is not None:
                raise first
        finally:
            del first  # its traceback holds this frame: without this they would keep each other alive

    def listeners(self, event: str) -> list[Callable[[State], None]]:
        """The bound methods that will be called on `event`, in order."""
        return list(self._listeners[event])
