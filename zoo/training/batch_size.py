"""The largest batch size that trains in the memory there is."""

from __future__ import annotations

import contextlib
import numbers
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from zoo.data.loaders.batches import n_rows
from zoo.data.loaders.dataset_loader import DatasetLoader
from zoo.data.model_data import ModelData
from zoo.distributed.group import world_size
from zoo.engine.memory import HostMemory, is_out_of_memory, release
from zoo.engine.optimizer import LayerOptimizer
from zoo.training.fitting import Fitting
from zoo.training.lr_finder import no_trace


@dataclass(frozen=True)
class Trial:
    """One size that was tried.

    Attributes:
        bs: rows a batch.
        ok: whether training steps of that size fit.
        peak: most bytes of the device in use at once; `None` off CUDA, and where the size did not fit.
    """

    bs: int
    ok: bool
    peak: int | None = None


@dataclass(frozen=True)
class BatchSizeResult:
    """What `find_batch_size` found.

    Attributes:
        bs: the largest size that fits.
        limit: what stopped the search: "memory", "rows" (more would be more than there are), "max_bs" or
            "time" (the largest size took too long to try a larger one).
        tried: every size tried, in that order.

    Example:
        >>> found = BatchSizeResult(96, "memory", [Trial(64, True), Trial(128, False), Trial(96, True)])
        >>> print(found)
        largest batch size: 96 (limit: memory); with some to spare: 80
           bs  fits
           64  yes
           96  yes
          128  no
    """

    bs: int
    limit: str
    tried: list[Trial] = field(default_factory=list)

    @property
    def suggested(self) -> int:
        """`bs` with a tenth or more to spare, for memory that others take or that fragments in long fits."""
        return floor_size(max(1, int(0.9 * self.bs))) if self.limit == "memory" else self.bs

    def __repr__(self) -> str:
        spare = f"; with some to spare: {self.suggested}" if self.limit == "memory" else ""
        measured = any(trial.peak is not None for trial in self.tried)
        lines = [f"largest batch size: {self.bs} (limit: {self.limit}){spare}"]
        lines.append(f"{'bs':>5}  fits" + ("  peak MiB" if measured else ""))
        for trial in sorted(self.tried, key=lambda trial: trial.bs):
            peak = "" if trial.peak is None else f"{trial.peak / 2**20:,.0f}"
            lines.append(f"{trial.bs:>5}  {'yes' if trial.ok else 'no':<4}  {peak:>8}".rstrip())
        return "\n".join(lines)


def floor_size(n: int) -> int:
    """The largest of 1, 2, 4 and the multiples of 8 that is at most `n`.

    Example:
        >>> [floor_size(n) for n in (1, 3, 7, 8, 50)]
        [1, 2, 4, 8, 48]
    """
    return n // 8 * 8 if n >= 8 else 1 << (n.bit_length() - 1)


def find_batch_size(
    learn: Fitting,
    start: int | None = None,
    max_bs: int | None = None,
    *,
    apply: bool = False,
    seconds: float = 30.0,
) -> BatchSizeResult:
    """See `Learner.find_batch_size`."""
    if world_size() > 1:
        raise ValueError(
            "find_batch_size tries what fits into one process: run it in one; several have room for as many "
            "times the rows, and bs counts the rows of all"
        )
    learn._require_training_data()
    learn.groups.check(learn.model)
    for name, value in (("start", start), ("max_bs", max_bs)):
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise ValueError(f"find_batch_size: {name} must be a whole number of at least 1, got {value!r}")
    loader = learn.data.train_dl
    rows = getattr(loader, "max_bs", None) or n_rows(loader)
    if rows is None:
        if max_bs is None:
            raise ValueError(
                "find_batch_size: the training loader has no length, so say where to stop: max_bs=..."
            )
        rows = max_bs
    cap = floor_size(min(rows, rows if max_bs is None else max_bs))
    limit = "rows" if max_bs is None or rows <= max_bs else "max_bs"
    first = start if start is not None else getattr(loader, "bs", None) or getattr(loader, "batch_size", None)
    bs = min(cap, floor_size(first or 8))
    tried: list[Trial] = []
    host = HostMemory() if learn.device.type == "cpu" else None

    def fits(size: int) -> bool:
        if host is not None and host.expected(size) > host.free():
            tried.append(Trial(size, False))
            return False
        tried.append(_trial(learn, size))
        if host is not None:
            host.note(size)
        return tried[-1].ok

    good, bad = 0, None
    while good < cap and bad is None:  # upwards
        began = time.perf_counter()
        if not fits(bs):
            bad = bs
            continue
        good, bs = bs, min(cap, 2 * bs)
        if good < cap and time.perf_counter() - began > seconds:
            limit = "time"
            break
    while not good:  # downwards
        if bad == 1:
            raise torch.OutOfMemoryError(
                "find_batch_size: not even a single row fits: use a smaller model or smaller inputs"
            )
        bs = floor_size(bad // 2)  # type: ignore[operator]
        try:
            good, bad = (bs, bad) if fits(bs) else (0, bs)
        except ValueError as error:  # such as batch norm, which cannot learn from one row
            raise torch.OutOfMemoryError(
                f"find_batch_size: bs={bad} does not fit, less does not train: {error}"
            ) from error
    while bad is not None and (middle := floor_size((good + bad) // 2)) > good:
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    if apply:
        learn.data.train_dl = with_bs(loader, good)
        if hasattr(learn.data, "bs"):
            learn.data.bs = good
    return BatchSizeResult(good, limit if bad is None else "memory", tried)


def with_bs(loader: Any, bs: int, *, workers: bool = True) -> Any:
    """A loader of the same rows in batches of another size; the given one is not changed.

    Args:
        loader: one with a method `with_bs(bs)`, as all of this library have, or a plain torch `DataLoader`
            with a sampler.
        bs: rows a batch.
        workers: whether the new loader may use processes of its own, as the given one does.

    Raises:
        TypeError: for other loaders, which cannot be rebuilt.

    Example:
        >>> loader = DataLoader(torch.arange(10.0), batch_size=2)
        >>> len(with_bs(loader, 5)), loader.batch_size
        (2, 2)
    """
    if isinstance(loader, DatasetLoader):
        return loader.with_bs(bs, num_workers=None if workers else 0)
    if hasattr(loader, "with_bs"):
        return loader.with_bs(bs)
    if type(loader) is not DataLoader:
        raise TypeError(
            f"the batch size of a {type(loader).__name__} cannot be changed: give it a method with_bs(bs) "
            "that returns a loader of the same rows in batches of bs"
        )
    if loader.batch_size is None:
        raise TypeError(
            "the batch size of a DataLoader with a batch_sampler of its own cannot be changed: "
            "use one with batch_size and sampler (or shuffle)"
        )
    names = [
        "num_workers", "collate_fn", "pin_memory", "drop_last", "timeout", "worker_init_fn",
        "multiprocessing_context", "generator", "prefetch_factor", "persistent_workers",
    ]  # fmt: skip
    options = {name: getattr(loader, name) for name in names}
    if not isinstance(loader.dataset, IterableDataset):
        options["sampler"] = loader.sampler
    if not workers:
        options.update(num_workers=0, prefetch_factor=None, persistent_workers=False, timeout=0)
        options["multiprocessing_context"] = None
    return DataLoader(loader.dataset, batch_size=bs, **options)


class _Twice:
    """The first batch of a loader two times over, read once; all else is the loader's own.

    The second time round an optimizer has its averages, and what a batch needs is there in full.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._batch: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Any]:
        if self._batch is None:
            self._batch = next(iter(self._loader))
        yield self._batch
        yield self._batch


def _trial(learn: Fitting, bs: int) -> Trial:
    """Train with one size: two passes of two batches, with all that belongs to a training step."""
    cuda = learn.device.type == "cuda"
    loader = with_bs(learn.data.train_dl, bs, workers=False)
    if hasattr(loader, "longest"):
        loader = loader.longest()
    peak, interrupted = None, False
    with no_trace(learn, on_host=True), _parked(learn):
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(learn.device)
        try:
            interrupted = _steps(learn, _Twice(loader))
        except Exception as error:
            if not is_out_of_memory(error):
                error.add_note(f"while find_batch_size tried bs={bs}")
                raise
            release(error)
            return Trial(bs, False)
        if cuda:
            peak = torch.cuda.max_memory_allocated(learn.device)
    if interrupted:
        raise KeyboardInterrupt
    return Trial(bs, True, peak)


def _steps(learn: Fitting, loader: _Twice) -> bool:
    """Two passes at a rate of zero; whether Ctrl-C ended them.

    The optimizer makes its averages at the first update; float16 leaves the first ones out until its scale
    fits, so the passes are made again until none was left out.
    """
    opt = LayerOptimizer(learn.opt_fn, learn.groups, 0.0, learn.wd)
    for _ in range(20):
        loop = learn._loop(learn._step_callbacks(learn.clip), metrics=())
        loop.state.data, loop.state.opt = ModelData(loader), opt
        loop.fit(2, validate=False)
        if loop.state.interrupted:
            return True
        if not getattr(learn._autocast, "skipped", 0):
            break
    return False


@contextlib.contextmanager
def _parked(learn: Fitting) -> Iterator[None]:
    """The averages of the learner's own optimizer wait in the host's memory: a trial has its own."""
    state = {} if learn.opt is None or learn.device.type == "cpu" else learn.opt.opt.state
    homes = [
        (values, name, value.device)
        for values in state.values()
        for name, value in values.items()
        if isinstance(value, Tensor) and value.device.type != "cpu"
    ]
    for values, name, _ in homes:
        values[name] = values[name].cpu()
    try:
        yield
    finally:
        for values, name, device in homes:
            values[name] = values[name].to(device)
