"""What a fit needs before its loop begins: the optimizer, the listeners, the checkpoint it goes on from."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from zoo.callbacks.checkpoint import Checkpoint, restore_end, restore_order
from zoo.callbacks.distributed import share_seed
from zoo.callbacks.first_batch import FirstBatch
from zoo.callbacks.progress import Progress
from zoo.callbacks.recorder import Recorder
from zoo.callbacks.saving import SaveBest
from zoo.callbacks.scheduling import Scheduler
from zoo.callbacks.stopping import EarlyStopping
from zoo.data.loaders.batches import batch_count
from zoo.data.loaders.seeding import mix_seeds, set_seed
from zoo.distributed import group as distributed
from zoo.engine.callback import Callback, callback_list
from zoo.engine.layer_groups import Rates
from zoo.engine.make_optimizer import default_rate
from zoo.engine.optimizer import LayerOptimizer
from zoo.predictor import Predictor
from zoo.schedules import Schedule
from zoo.storage.resume import FitCounter, Run
from zoo.training.bare_fit import tell_if_interrupted
from zoo.training.rows import EpochRows

_PLAIN = (bool, int, float, str)


class Fitting(Predictor):
    """The part of a `Learner` that turns a call of `fit` into a run of the loop."""

    opt_fn: Callable[..., torch.optim.Optimizer]
    wd: Rates | None
    clip: float | None
    seed: int | None
    progress: bool
    history: list[dict[str, Any]]
    sched: Recorder
    _fits: FitCounter

    def _run(
        self,
        lrs: Rates,
        n_epochs: int,
        schedule: Schedule,
        run: Run,
        *,
        wds: Rates | None,
        metrics: Sequence[Any] | None,
        callbacks: Iterable[Callback],
        clip: float | None,
    ) -> list[dict[str, Any]]:
        chosen = self._metrics(self.metrics if metrics is None else metrics)
        base = self.groups.spread(lrs)
        if wds is not None:
            self.groups.spread(wds, "weight decay")
        self.groups.check(self.model)
        self._seed_run()
        self._prepare_optimizer(base, wds)
        listeners = self._listeners(schedule, base, callbacks, self.clip if clip is None else clip)
        self._weights_changed("fit")
        watching = (one for one in listeners if isinstance(one, EarlyStopping | SaveBest))
        self._picked_by = next((type(one).__name__ for one in watching), self._picked_by)
        arguments = {
            "lrs": base,
            "weight decay": self.opt.wds,  # type: ignore[union-attr]
            "epochs": n_epochs,
            "schedule": repr(schedule),
            "optimizer": type(self.opt.opt).__name__,  # type: ignore[union-attr]
            "loss": _loss_name(self.loss_fn),
            "clip": self.clip if clip is None else clip,
            "precision": "float32" if self._autocast is None else str(self._autocast.dtype),
        }
        run.check(arguments, self.data)
        self._fits.begin(run)
        if run.saved is not None and run.saved["complete"]:
            lasting = [self.sched, *self.callbacks, *([] if self._autocast is None else [self._autocast])]
            restore_end(self, run.saved, lasting)
        else:
            if run.keeps:
                listeners.append(Checkpoint(run, arguments, listeners))
            loop = self._loop(listeners, metrics=chosen)
            loop.state.opt = self.opt
            loop.state.first_epoch = run.first_epoch
            loop.state.history = self.history
            loop.fit(n_epochs)
            tell_if_interrupted(loop.state)
            if loop.state.interrupted:
                return self._rows_since(run.first_epoch)
        self._fits.end(run)
        return self._rows_since(run.first_epoch)

    def _plan(self, checkpoint_every: int | None, resume: bool) -> Run:
        """The coming fit; the order of its data is from here on that of the checkpoint it goes on from."""
        if checkpoint_every is not None:
            positive(checkpoint_every=checkpoint_every)
        folder = self.path / "models" / "checkpoints" / type(self.model).__name__
        if self.seed is not None and hasattr(self.data.train_dl, "seed"):
            self.data.train_dl.seed = self.seed
        run = self._fits.plan(folder, self._first_epoch(), checkpoint_every, resume)
        if run.saved is not None:
            restore_order(self.data.train_dl, run.saved)
        if resume and self.progress and distributed.is_main():
            print(run.describe(), flush=True)
        return run

    def _listeners(
        self, schedule: Schedule, lrs: Sequence[float], callbacks: Iterable[Callback], clip: float | None
    ) -> list[Callback]:
        """All that listen to a fit, but for what the loop and checkpoints add."""
        given = [*callback_list(self.callbacks), *callback_list(callbacks)]
        own = [] if any(isinstance(one, Scheduler) for one in given) else [Scheduler(schedule, lrs)]
        return [
            self.sched,
            *own,
            *self._step_callbacks(clip),
            *([Progress()] if self.progress and distributed.is_main() else []),
            FirstBatch(),
            *(callback for callback in callback_list(self.callbacks) if not callback.in_finder),
            *callback_list(callbacks),
        ]

    def _first_epoch(self) -> int:
        return self.history[-1]["epoch"] + 1 if self.history else 0

    def _rows_since(self, epoch: int) -> list[dict[str, Any]]:
        return EpochRows(row for row in self.history if row["epoch"] >= epoch)

    def _prepare_optimizer(self, lrs: Sequence[float], wds: Rates | None) -> None:
        decay = self.wd if wds is None else wds
        if self.opt is not None and not self.opt.holds(self.groups):
            self.opt = None  # its function took what trained then, and more does now
        if self.opt is None:
            self.opt = LayerOptimizer(self.opt_fn, self.groups, lrs, decay)
            self.groups.show_rates_of(self.opt)
        else:
            self.opt.set_lrs(lrs)
            self.opt.set_wds(decay)

    def _finder_optimizer(self, lrs: Sequence[float]) -> LayerOptimizer:
        """An optimizer in the state of the learner's own, which stays as it is."""
        twin = LayerOptimizer(self.opt_fn, self.groups, lrs, self.wd)
        if self.opt is not None and hasattr(self.opt.opt, "state_dict"):
            twin.load_state_dict(copy.deepcopy(self.opt.state_dict()))
        return twin

    def _seed_run(self) -> None:
        """With a seed: a state of the generators that depends on it and on the epochs done."""
        if self.seed is not None:
            set_seed(mix_seeds(self.seed, len(self.history)) % 2**32)

    def _steps_per_epoch(self, n_epochs: int, first: int, *, needed: bool = True) -> list[int]:
        """Batches of each epoch; of a loader that does not tell none, unless they are needed."""
        loader = self.data.train_dl
        steps: list[int | None] = [batch_count(loader)] * n_epochs
        if None in steps:
            if needed:
                raise TypeError(
                    f"the training loader, a {type(loader).__name__}, has no length, which a schedule needs: "
                    "fit(lr, epochs) at a constant rate goes without, else give its data set a method __len__"
                )
            return []
        if not hasattr(loader, "set_epoch"):
            return steps  # type: ignore[return-value]
        steps = []
        for epoch in range(first, first + n_epochs):
            loader.set_epoch(epoch)
            steps.append(len(loader))
        loader.set_epoch(first)
        return steps  # type: ignore[return-value]

    def _require_training_data(self) -> None:
        if self.data.train_dl is None:
            raise ValueError(
                "this learner has no training data (a loaded learner has none): set learn.data to a "
                "ModelData first"
            )
        if isinstance(self.data.train_dl, Iterator):
            raise TypeError(
                f"the training loader, a {type(self.data.train_dl).__name__}, can be passed over once only: "
                "give "
                "an iterable that begins anew every epoch, such as a DataLoader or a list of batches"
            )
        if batch_count(self.data.train_dl) == 0:
            raise ValueError(
                "the training loader yields no batches: use a smaller batch size or drop_last=False"
            )
        share_seed(self.data.train_dl)


def check_order(rates: Any, count: Any, order: str, opt_fn: Any) -> None:
    """Tell of a rate and a number of epochs that have changed places.

    Args:
        rates: the learning rates.
        count: the number of epochs or cycles.
        order: what to write.
        opt_fn: the optimizer; for some, such as Prodigy, a rate of 1 is the usual one.

    Raises:
        ValueError: if the number of epochs is a fraction.
    """
    if isinstance(count, float | slice):
        raise ValueError(f"{order}; got {count!r} as a number of epochs")
    whole = isinstance(rates, int | np.integer) and not isinstance(rates, bool)
    if whole and rates >= 1 and (default_rate(opt_fn) or 0) < 1:
        warnings.warn(
            f"{order}; this trains at a learning rate of {rates}: write {float(rates)} if that is meant",
            stacklevel=3,
        )


def _loss_name(loss: Any) -> str:
    """The function or class of a loss, also inside `functools.partial` with what it is given."""
    if isinstance(loss, functools.partial):
        given = [repr(value) for value in loss.args if isinstance(value, _PLAIN)]
        given += [f"{key}={value!r}" for key, value in loss.keywords.items() if isinstance(value, _PLAIN)]
        return f"{_loss_name(loss.func)}({', '.join(given)})"
    named = loss if hasattr(loss, "__qualname__") else type(loss)
    return f"{named.__module__}.{named.__qualname__}"


def positive(**counts: int) -> None:
    """Make sure that counts are whole numbers of at least 1, by name."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
