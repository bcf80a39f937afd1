"""Several processes train one model as one process would: each on its share of every batch."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.loaders.seeding import mix_seeds, rng_state, set_rng_state, set_seed
from zoo.data.loaders.shards import Shards, fingerprint, one_a_row, shares
from zoo.distributed import group as distributed
from zoo.distributed.global_norm import GlobalBatchNorm
from zoo.distributed.rows import average_rows
from zoo.engine.callback import Callback, CancelBatch, CancelEpoch, CancelFit, CancelStep
from zoo.engine.closures import needs_closure
from zoo.engine.sparse import sparse_tables
from zoo.engine.state import State
from zoo.metrics import LazyScores, Summed

_BUCKET = 1 << 23  # numbers exchanged at once: enough to keep a network busy, little memory
_MANY = 1 << 22  # numbers a batch that are not worth sending
_SIGNALS = (CancelStep, CancelBatch, CancelEpoch, CancelFit)


def process_callbacks() -> list[Callback]:
    """What a pass over data needs when several processes share it; nothing with one process."""
    if distributed.world_size() == 1:
        return []
    shared = Processes()
    return [shared, WeighRows(shared)]


class Processes(Callback):
    """Makes a fit or an evaluation in several processes equal to one in a single process.

    Every process takes its share of the rows of every batch. Losses, gradients, batch-norm statistics and
    validation predictions are brought together, so that every process sees those of the whole batch, decides
    alike and ends up with the same weights. An error in one process ends all.

    Predictions of a validation that are millions of numbers a batch, or only computed as they are read, as
    those of a language model, stay where they are if all metrics are sums over rows: these sums are added up
    at the end.

    Attributes:
        weight: by how much the gradient of this process's mean loss counts in the mean over processes.
    """

    order = -110
    in_finder = True

    def __init__(self) -> None:
        self.weight = 1.0
        self._fitting = False
        self._views: dict[int, Shards] = {}
        self._view: Shards | None = None
        self._rows = 0
        self._adds_up: bool | None = None
        self._norm = GlobalBatchNorm()
        self._outer: BaseException | None = None
        self._generation = -1

    # -- a fit

    def before_fit(self, state: State) -> None:
        self._begin()
        self._fitting = True
        if needs_closure(state.opt):
            raise ValueError(
                f"{type(getattr(state.opt, 'opt', state.opt)).__name__} evaluates the loss by itself, which "
                "several processes cannot do in step: use another optimizer, or one process"
            )
        share_seed(state.data.train_dl)
        _compare(
            {
                "model": _shapes(state.model),
                "epochs": (state.first_epoch, state.n_epochs),
                **{f"training {key}": value for key, value in fingerprint(state.data.train_dl).items()},
                **{f"validation {key}": value for key, value in fingerprint(state.data.valid_dl).items()},
            }
        )
        distributed.broadcast(_tensors(state.model))
        _own_generators()

    def before_train(self, state: State) -> None:
        self._share_out(state, state.loader)
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in state.model.modules()):
            state.forward_context = _Within(self._norm, state.forward_context)

    def after_train(self, state: State) -> None:
        self._view = None
        if isinstance(state.forward_context, _Within):
            state.forward_context = state.forward_context.inner
        # statistics that a layer of the user's own gathers are those of its own rows
        distributed.broadcast(buffer for buffer in state.model.buffers() if buffer.is_floating_point())

    def after_epoch(self, state: State) -> None:
        state.row.update(distributed.from_main(state.row))

    def after_fit(self, state: State) -> None:
        set_rng_state(distributed.from_main(rng_state()))

    def cleanup_fit(self, state: State) -> None:
        self._tell(KeyboardInterrupt() if state.interrupted else sys.exc_info()[1])
        self._fitting, self._view = False, None
        self._views.clear()
        if isinstance(state.forward_context, _Within):
            state.forward_context = state.forward_context.inner

    # -- a batch

    def before_batch(self, state: State) -> None:
        if self._view is None:
            return
        self._rows = self._view.sizes.pop(state.batch_index)
        own = shares(self._rows, self._view.world)[self._view.rank]
        self._norm.counts = own > 0
        self.weight = own * self._view.world / self._rows
        state.rows = state.rows // max(own, 1) * self._rows

    def after_predict(self, state: State) -> None:
        if state.training or self._view is None:
            return
        counts = shares(self._rows, self._view.world)
        local = max(counts[self._view.rank], 1)
        if self._adds_up is None:
            many = isinstance(state.preds, LazyScores) or (
                isinstance(state.preds, Tensor) and state.preds.numel() // local * self._rows > _MANY
            )
            self._adds_up = many and all(isinstance(meter, Summed) for meter in state.meters)
            self._adds_up = self._adds_up and len(state.meters) > 0
        if self._adds_up:
            if not self.weight:
                raise CancelBatch
            return
        state.preds = _whole(state.preds, counts, local)
        state.target = _whole(state.target, counts, local)

    def after_loss(self, state: State) -> None:
        if not state.training or self._view is None:
            return
        loss = state.loss.detach()
        own = loss.float() * self.weight if self.weight else torch.zeros_like(loss, dtype=torch.float32)
        value = distributed.all_reduce_sum(own.clone()) / self._view.world
        state.loss = _Replace.apply(state.loss, value.to(loss.dtype), 1.0)

    def before_step(self, state: State) -> None:
        params = [
            param for group in state.opt.param_groups for param in group["params"] if param.requires_grad
        ]
        tables = {id(table.weight) for table in sparse_tables(state.model)}
        average_gradients(param for param in params if id(param) not in tables)
        average_rows(param for param in params if id(param) in tables)

    def cleanup_batch(self, state: State) -> None:
        if self._view is not None:
            self._tell(sys.exc_info()[1])

    # -- an evaluation

    def before_validate(self, state: State) -> None:
        if getattr(state.loader, "undivided", False):  # given to this process alone
            self._view = None
            return
        if not self._fitting:
            self._begin()
            _compare({"model": _shapes(state.model), **fingerprint(state.loader)})
            distributed.broadcast(_tensors(state.model))
        self._adds_up = None
        self._share_out(state, state.loader)

    def after_validate(self, state: State) -> None:
        self._view = None
        if self._adds_up:
            everyone = distributed.all_objects(([meter.sums() for meter in state.meters], state.failed))
            state.failed = set().union(*(failed for _, failed in everyone))
            for meter, *parts in zip(state.meters, *(sums for sums, _ in everyone), strict=True):
                meter.combine(parts)

    # -- helpers

    def _begin(self) -> None:
        self._outer = sys.exc_info()[1]
        self._generation = distributed.generation()
        distributed.meet()

    def _share_out(self, state: State, loader: Any) -> None:
        view = self._views.get(id(loader))
        if view is None or view.loader is not loader:
            view = self._views[id(loader)] = Shards(loader)
        state.loader = self._view = view

    def _tell(self, error: BaseException | None) -> None:
        """Tell the other processes of an error, once."""
        if error is None or error is self._outer or isinstance(error, _SIGNALS):
            return
        if self._generation == distributed.generation():
            self._generation = -1
            distributed.fail(error)


class WeighRows(Callback):
    """Weighs the gradient of a process's loss by its share of the rows, after all that adds to the loss."""

    order = 95
    in_finder = True

    def __init__(self, shared: Processes) -> None:
        self.shared = shared

    def after_loss(self, state: State) -> None:
        if state.training and self.shared.weight != 1:
            state.loss = _Replace.apply(state.loss, state.loss.detach(), self.shared.weight)


class _Replace(torch.autograd.Function):
    """Another value for a loss, whose gradient is multiplied by `weight`."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, value: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return value.reshape(loss.shape).clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] * ctx.weight, None, None


class _Within:
    """A forward context inside which batch norm is global."""

    def __init__(self, mode: GlobalBatchNorm, inner: Callable[[], Any]) -> None:
        self.mode = mode
        self.inner = inner.inner if isinstance(inner, _Within) else inner

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self.inner(), self.mode:
            yield


def average_gradients(params: Iterable[nn.Parameter]) -> None:
    """Every process gets the mean of all processes' gradients; a missing one counts as zero.

    Parameters without a gradient in any process stay without. Gradients of one number format travel together,
    a few million numbers at a time.

    Raises:
        ValueError: for a sparse gradient (those of tables: `average_rows`).
    """
    works: list[tuple[Any, Tensor, list[nn.Parameter]]] = []
    with distributed.exchange():
        for bucket in _buckets(param for param in params if param.requires_grad):
            present = bucket[0].new_tensor([param.grad is not None for param in bucket])
            parts = [
                param.new_zeros(param.numel()) if param.grad is None else param.grad.reshape(-1)
                for param in bucket
            ]
            flat = torch.cat([*parts, present])
            works.append((torch.distributed.all_reduce(flat, async_op=True), flat, bucket))
        for work, _, _ in works:
            work.wait()
    world = distributed.world_size()
    for _, flat, bucket in works:
        *means, present = flat.split([*(param.numel() for param in bucket), len(bucket)])
        for number, (param, mean) in enumerate(zip(bucket, means, strict=True)):
            if param.grad is not None:
                param.grad.copy_(mean.view_as(param)).div_(world)
            elif present[number]:
                param.grad = mean.view_as(param) / world


def _buckets(params: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one format and device, about `_BUCKET` numbers together."""
    open_ones: dict[tuple, list[nn.Parameter]] = {}
    sizes: Counter[tuple] = Counter()
    for param in params:
        if param.grad is not None and param.grad.is_sparse:
            raise ValueError(
                "a sparse gradient can be averaged over processes if nn.Embedding or nn.EmbeddingBag makes "
                "it, and this one is of something else: make it with sparse=False"
            )
        kind = (param.dtype, param.device)
        open_ones.setdefault(kind, []).append(param)
        sizes[kind] += param.numel()
        if sizes[kind] >= _BUCKET:
            sizes[kind] = 0
            yield open_ones.pop(kind)
    yield from open_ones.values()


def share_seed(loader: Any) -> None:
    """A loader whose order is a pure function of its seed gets the seed of process 0."""
    seed = distributed.from_main(getattr(loader, "seed", None))
    if seed is not None and hasattr(loader, "seed") and loader.seed != seed:
        loader.seed = seed


def _own_generators() -> None:
    """Processes draw different numbers from here on; process 0 draws what a single one would."""
    state = distributed.from_main(torch.get_rng_state().sum().item() + torch.initial_seed())
    if distributed.rank():
        set_seed(mix_seeds(int(state), distributed.rank()) % 2**32)


def _compare(own: dict[str, Any]) -> None:
    """Make sure that all processes do the same.

    Raises:
        ValueError: in all of them, naming the first difference.
    """
    everyone = distributed.all_objects(own)
    for name in own:
        values = [one.get(name) for one in everyone]
        different = next((number for number, value in enumerate(values) if value != values[0]), None)
        if different is None:
            continue
        what = f"{name}: {str(values[0])[:60]} in process 0, {str(values[different])[:60]} in {different}"
        raise ValueError(
            f"the processes differ in {what}; every process must make the same model of the same data: seed "
            "your split and whatever else is random before the fit (zoo.set_seed)"
        )


def _shapes(model: nn.Module) -> list[tuple]:
    return [
        (name, tuple(tensor.shape), str(tensor.dtype))
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    ]


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _whole(part: Any, counts: list[int], local: int) -> Any:
    """Predictions or targets of the whole batch."""
    if isinstance(part, Tensor):
        if part.ndim == 0:
            return part
        each = len(part) // local
        own = part[: each * counts[distributed.rank()]]
        return distributed.gather_rows(own, [each * count for count in counts])
    if isinstance(part, dict):
        return {key: _whole(value, counts, local) for key, value in part.items()}
    if isinstance(part, list) and any(distributed.all_objects(len(part) == local and one_a_row(part, local))):
        own = part[: counts[distributed.rank()]]
        return [row for rows in distributed.all_objects(own) for row in rows]
    if isinstance(part, tuple | list):
        members = [_whole(value, counts, local) for value in part]
        return type(part)(*members) if hasattr(part, "_fields") else type(part)(members)
    return part
