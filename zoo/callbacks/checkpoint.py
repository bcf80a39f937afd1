"""Checkpoints inside a fit, and going on from one as if nothing had happened."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.callbacks.layer_statistics import LayerStatistics
from zoo.data.loaders.batches import begins_anywhere
from zoo.data.loaders.seeding import loader_generators, rng_state, set_rng_state
from zoo.distributed import group as distributed
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.storage.mapping import Described, describe, first_rows
from zoo.storage.module_state import (
    has_extra_state,
    holds,
    make_room,
    matched,
    own_names,
    tensors_of,
    unmade,
    with_later,
)

if TYPE_CHECKING:
    from zoo.storage.resume import Run

log = logging.getLogger("zoo")


class Checkpoint(Callback):
    """Writes everything that a fit needs to go on, every so many batches; restores it when told to resume.

    A checkpoint holds weights and buffers, the optimizer's averages, gradients that wait for an update, the
    history, the state of every callback and generator, and the position. Since the order of the data is a
    pure function of seed and epoch, a fit that goes on from it gives, on the CPU, bit for bit what an
    uninterrupted one gives. Plain torch loaders are passed over up to the position.

    Args:
        run: the fit, and what it goes on from.
        arguments: what was asked for, by name; kept so that a fit with other arguments is refused later.
        callbacks: the listeners of the fit, whose states are kept.
    """

    order = 1000

    def __init__(self, run: Run, arguments: dict[str, Any], callbacks: Iterable[Callback]) -> None:
        self.run, self.arguments, self.callbacks = run, arguments, list(callbacks)
        self.saved = run.saved
        self._fresh = run.saved is None
        self._at_end = False
        self._at_epoch_start: dict[str, Any] = {}
        self._mapping: Described = {}
        self._rows: str | None = None

    def before_fit(self, state: State) -> None:
        self._mapping = describe(state.data)  # once a fit: there may be millions of ids
        self._rows = first_rows(state.data.train_dl)
        if self.saved is not None:
            restore_learner(state.learner, self.saved)
            for name, value in self.saved["position"].items():
                setattr(state, name, value)

    def before_train(self, state: State) -> None:
        loader = state.data.train_dl
        if self.saved is None:
            generators = [generator.get_state() for generator in loader_generators(loader)]
            self._at_epoch_start = {"rng": rng_state(), "loader": generators}
            return
        saved, self.saved = self.saved, None
        own = saved["processes"][distributed.rank()]
        self._at_epoch_start = own["epoch_start"]
        state.row.update(saved["row"])
        state.pending = saved["pending"]
        params = tensors_of(state.model)
        for name, grad in matched(own["grads"], list(params)).items():
            params[name].grad = _as_gradient(grad).to(params[name].device)
        load_states(self.callbacks, own["callbacks"])
        if begins_anywhere(loader):
            set_rng_state(own["rng"])
        else:
            for generator, value in zip(loader_generators(loader), own["epoch_start"]["loader"], strict=True):
                generator.set_state(value)
            set_rng_state(own["epoch_start"]["rng"])
            state.loader = _GoOn(state.loader, state.start_batch, own["rng"])

    def after_batch(self, state: State) -> None:
        if self.run.every is None or not state.training:
            return
        done = state.batches_before + state.batch_index + 1
        if done % self.run.every == 0:
            self._write(state, done)

    def after_fit(self, state: State) -> None:
        self._at_end = True

    def cleanup_fit(self, state: State) -> None:
        # the end is what the others leave behind: momenta put back, averages given up
        if self._at_end and not state.interrupted and self.run.every is not None:
            self._write(state, None)
        self.saved, self._at_epoch_start = None, {}

    def _write(self, state: State, batches: int | None) -> None:
        own: dict[str, Any] = {"rng": rng_state(), "epoch_start": self._at_epoch_start, "grads": {}}
        own["callbacks"] = states_of(self.callbacks)
        own["loader"] = [generator.get_state() for generator in loader_generators(state.data.train_dl)]
        if state.pending:
            own["grads"] = {
                name: _as_kept(tensor.grad.detach().cpu())
                for name, tensor in tensors_of(state.model).items()
                if tensor.is_leaf and tensor.grad is not None
            }
        processes = distributed.all_objects(own)
        if distributed.is_main():
            position = ("first_epoch", "epoch", "batches_before", "step")
            tree = {
                **learner_state(state.learner),
                "arguments": self.arguments,
                "mapping": self._mapping,
                "first rows": self._rows,
                "complete": batches is None,
                "written": time.strftime("%Y-%m-%d %H:%M:%S"),
                "position": {name: getattr(state, name) for name in position}
                | {"start_batch": state.batch_index + 1},
                "n_batches": state.n_batches,
                "row": state.row,
                "pending": state.pending,
                "processes": processes,
            }
            if self.run.folder.write(tree, self.run.number, batches, anew=self._fresh):
                self._fresh = False
        distributed.barrier()


def _as_kept(grad: Tensor) -> Tensor | dict[str, Any]:
    """A gradient as files can hold it."""
    if not grad.is_sparse:
        return grad
    parts = {"indices": grad._indices(), "values": grad._values(), "size": list(grad.shape)}
    return {**parts, "is_coalesced": grad.is_coalesced()}


def _as_gradient(kept: Tensor | dict[str, Any]) -> Tensor:
    """The inverse of `_as_kept`."""
    return kept if isinstance(kept, Tensor) else torch.sparse_coo_tensor(**kept, check_invariants=True)


def learner_state(learner: Any) -> dict[str, Any]:
    """What a learner is made of, apart from its data: tensors, optimizer, history."""
    loss = learner.loss_fn
    return {
        "model": tensors_of(learner.model),
        "unmade": unmade(learner.model),
        "loss": tensors_of(loss) if isinstance(loss, nn.Module) else {},
        "extra": {name: part.get_extra_state() for name, part in _extra_states(learner.model)},
        "opt": learner.opt.state_dict(),
        "history": learner.history,
        "seed": getattr(learner.data.train_dl, "seed", None),
    }


def restore_learner(learner: Any, saved: dict[str, Any]) -> None:
    """The inverse of `learner_state`, in place.

    Raises:
        ValueError: if the checkpoint is of another model; nothing is changed then.
    """
    modules = [(learner.model, saved["model"], saved.get("unmade", []))]
    if isinstance(learner.loss_fn, nn.Module):
        modules.append((learner.loss_fn, saved["loss"], []))
    fitting = [(module, _fitting(module, tensors, empty), empty) for module, tensors, empty in modules]
    with torch.no_grad():
        for module, tensors, empty in fitting:
            make_room(module, tensors, empty)
            for name, tensor in tensors_of(module).items():
                tensor.copy_(tensors[name])
    places = dict(_extra_states(learner.model))
    for place, value in matched(saved["extra"], list(places)).items():
        places[place].set_extra_state(value)
    learner.opt.load_state_dict(saved["opt"])
    learner.history[:] = [dict(row) for row in saved["history"]]
    restore_order(learner.data.train_dl, saved)


def restore_end(learner: Any, saved: dict[str, Any], callbacks: Iterable[Callback]) -> None:
    """Everything is as at the end of the fit that the checkpoint completes.

    Args:
        learner: the learner.
        saved: the checkpoint.
        callbacks: those that go on listening to later fits.
    """
    restore_learner(learner, saved)
    learner.model.eval()
    own = saved["processes"][distributed.rank()]
    # statistics of layers are taken down anew by every fit, which also says what the layers are
    lasting = [callback for callback in callbacks if not isinstance(callback, LayerStatistics)]
    load_states(lasting, own["callbacks"], all_there=False)
    for generator, value in zip(
        loader_generators(learner.data.train_dl), own.get("loader", ()), strict=False
    ):
        generator.set_state(value)
    set_rng_state(own["rng"])


def restore_order(loader: Any, saved: dict[str, Any]) -> None:
    """Let a loader whose order is a pure function of its seed have the checkpoint's."""
    if saved["seed"] is not None and hasattr(loader, "seed"):
        loader.seed = saved["seed"]


def states_of(callbacks: Iterable[Callback]) -> list[list[Any]]:
    """The states of callbacks, each with its class and its number among those of its class."""
    counts: Counter[str] = Counter()
    states: list[list[Any]] = []
    for callback in callbacks:
        kind = type(callback).__qualname__
        states.append([kind, counts[kind], callback.state_dict()])
        counts[kind] += 1
    return states


def load_states(callbacks: Iterable[Callback], states: list[list[Any]], *, all_there: bool = True) -> None:
    """Give callbacks back what `states_of` took; if they should all be there, tell of states that nobody is
    there for.
    """
    left = {(kind, number): state for kind, number, state in states}
    counts: Counter[str] = Counter()
    fresh = []
    for callback in callbacks:
        kind = type(callback).__qualname__
        if (kind, counts[kind]) not in left and callback.state_dict():
            fresh.append(kind)
        state = left.pop((kind, counts[kind]), None)
        counts[kind] += 1
        if state:
            callback.load_state_dict(state)
    if fresh and all_there:
        log.warning("the checkpoint has no state for %s, which begin anew here", ", ".join(fresh))
    gone = sorted({kind for (kind, _), state in left.items() if state})
    if gone and all_there:
        log.warning("the checkpoint has states of callbacks that this fit does not have: %s", ", ".join(gone))


class _GoOn:
    """A plain loader from a later batch on; the generators are then where they were."""

    def __init__(self, loader: Any, start: int, rng: dict[str, Any]) -> None:
        self.loader, self.start, self.rng = loader, start, rng

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(self.start):
            next(batches, None)
        set_rng_state(self.rng)
        yield from batches


def _extra_states(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that keep something besides tensors and say so (`get_extra_state`), by their own names."""
    found = [(name, part) for name, part in module.named_modules() if has_extra_state(part)]
    names = [name.removesuffix(".") for name in own_names(module, [f"{name}." for name, _ in found])]
    yield from ((name, part) for name, (_, part) in zip(names, found, strict=True))


def _fitting(module: nn.Module, tensors: dict[str, Tensor], empty: list[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the names of a module, checked to fit."""
    own = tensors_of(module)
    open_names = unmade(module)
    found = with_later(module, matched(tensors, [*own, *open_names]))
    wrong = sorted((own.keys() ^ found.keys()) - set(open_names) - set(empty))
    fits = (name for name in own if name in found)
    wrong += [n for n in fits if own[n].shape != found[n].shape or not holds(own[n], found[n])]
    if wrong:
        raise ValueError(
            f"the checkpoint is of another model than this {type(module).__name__}: they differ in "
            f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}; give this learner another path, or "
            "resume=False to train anew"
        )
    return found
