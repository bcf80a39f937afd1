"""The operations of a learner's training step, counted on a few steps that leave no trace."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from zoo.callbacks.recorder import Recorder
from zoo.callbacks.scheduling import Scheduler
from zoo.data.model_data import ModelData
from zoo.engine.callback import Callback, callback_list
from zoo.engine.optimizer import LayerOptimizer
from zoo.engine.state import State
from zoo.inspect.operations import OperationCounter, Operations
from zoo.schedules import Constant
from zoo.training.fitting import Fitting, positive
from zoo.training.lr_finder import no_trace


class _Switch(Callback):
    """Lets a counter run in the batches, but for the first ones, which make an optimizer's averages."""

    event_orders = {"before_batch": -1000, "cleanup_batch": 1000}

    def __init__(self, counter: OperationCounter, skip: int) -> None:
        self.counter, self.skip = counter, skip

    def before_batch(self, state: State) -> None:
        self.counter.on = state.batch_index >= self.skip

    def cleanup_batch(self, state: State) -> None:
        if self.counter.on:
            self.counter.found.steps += 1
            self.counter.found.rows += state.rows
        self.counter.on = False


class _First:
    """The first batches of a loader; all else is the loader's own."""

    def __init__(self, loader: Any, n: int) -> None:
        self._loader, self._n = loader, n

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(itertools.chain.from_iterable(itertools.repeat(self._loader)), self._n)


def count_operations(learn: Fitting, callbacks: Iterable[Callback], n: int, skip: int) -> Operations:
    """See `Learner.count_operations`."""
    positive(n=n)
    learn._require_training_data()
    learn.groups.check(learn.model)
    counter = OperationCounter(learn.device)
    counter.on = False
    rate = 1e-4
    with no_trace(learn):
        lasting = (one for one in callback_list(learn.callbacks) if not one.in_finder)
        listeners = [
            Recorder(), Scheduler(Constant(n + skip), [rate] * len(learn.groups)),
            *learn._step_callbacks(learn.clip), *lasting, *callback_list(callbacks), _Switch(counter, skip),
        ]  # fmt: skip
        loop = learn._loop(listeners, metrics=())
        loop.state.data = ModelData(_First(learn.data.train_dl, n + skip))
        loop.state.opt = LayerOptimizer(learn.opt_fn, learn.groups, rate, learn.wd)
        with counter:
            loop.fit(1, validate=False)
    return counter.found
