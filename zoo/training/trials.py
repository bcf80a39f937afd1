"""What a learner tries out on itself, and leaves no trace of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo.callbacks.progress import find_cell, progress_bar
from zoo.callbacks.scheduling import Scheduler
from zoo.data.loaders.batches import batch_count
from zoo.distributed import group as distributed
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import Rates
from zoo.inspect.lr_curve import LRFinderResult
from zoo.schedules import RangeTest
from zoo.training.fitting import Fitting
from zoo.training.lr_finder import RangeTestRecorder, check_range, no_trace

if TYPE_CHECKING:
    from zoo.inspect.operations import Operations
    from zoo.training.batch_size import BatchSizeResult


class Trials(Fitting):
    """The part of a `Learner` that finds out about rates, batch sizes and operations by training a little."""

    def lr_find(
        self,
        start_lr: Rates = 1e-7,
        end_lr: float = 10.0,
        *,
        num_it: int = 100,
        linear: bool = False,
    ) -> LRFinderResult:
        """Raise the rate at every batch and record the loss, to find a good rate; leaves no trace.

        Weights, optimizer, running statistics, generators and the order of the data are afterwards exactly as
        before, also after Ctrl-C or an error, so that a following `fit` is bit-identical to one without the
        finder. Small data are passed over as often as needed. The test ends early when the loss exceeds four
        times its lowest value.

        Args:
            start_lr: the first rate, of the last layer group; given one rate a group, or a slice, the groups
                keep that ratio.
            end_lr: the last group's final rate.
            num_it: number of steps.
            linear: raise the rate linearly instead of by a constant factor.

        Returns:
            Rates, losses and suggestions; `.plot()` draws them, as does `learn.sched.plot()`.
        """
        self._require_training_data()
        starts = self.groups.spread(start_lr, "start_lr")
        check_range(min(starts), starts[-1], end_lr, num_it)
        self.groups.check(self.model)
        ratios = [start / starts[-1] for start in starts]
        wraps = -(-num_it // (batch_count(self.data.train_dl) or 1))
        shown = self.progress and distributed.is_main()
        with (
            no_trace(self),
            progress_bar(num_it, "lr_find", cell=find_cell() if shown else None, shown=shown) as bar,
        ):
            found = RangeTestRecorder(num_it, on_step=bar.update)
            schedule = RangeTest(num_it, starts[-1], end_lr, linear)
            loop = self._loop(
                [found, Scheduler(schedule, ratios), *self._step_callbacks(self.clip)], metrics=()
            )
            loop.state.opt = self._finder_optimizer(ratios)
            loop.fit(wraps, validate=False)
        result = LRFinderResult(found.lrs, found.losses, linear, loop.state.interrupted)
        self.sched.finder = result
        return result

    def find_batch_size(
        self,
        start: int | None = None,
        max_bs: int | None = None,
        *,
        apply: bool = False,
        seconds: float = 30.0,
    ) -> BatchSizeResult:
        """The largest batch size that trains in the memory there is, by doubling and bisecting; leaves no
        trace.

        Every size is tried with real training steps (forward and backward pass, optimizer, the learner's
        precision and callbacks), but at a learning rate of zero; weights, optimizer, generators, data and
        history are afterwards exactly as before. On the CPU, where running out of memory would end the
        process, a size that will not fit by what smaller ones took is not tried.

        Args:
            start: the first size tried; the training loader's by default.
            max_bs: try none above; by default the number of training rows is the limit.
            apply: go on with a training loader of the size found; otherwise the data stay as they are.
            seconds: when trying a size took longer than this, no larger one is tried.

        Returns:
            `.bs`, a multiple of 8 (or 1, 2, 4), `.suggested` with some to spare, `.limit`, what ended the
            search, `.tried` with the peak memory of each size; print it.

        Raises:
            TypeError: if the loader's batch size cannot be changed.
            torch.OutOfMemoryError: if not even the smallest batch fits.
        """
        from zoo.training.batch_size import find_batch_size

        return find_batch_size(self, start, max_bs, apply=apply, seconds=seconds)

    def count_operations(
        self, callbacks: Iterable[Callback] = (), *, n: int = 4, skip: int = 2
    ) -> Operations:
        """What a training step asks of the device, counted on a few steps that leave no trace; print it.

        On a GPU it names each operation for which the host would wait until the device is done, as
        `loss.item()` in a callback, and each tensor that lies on the wrong device, with the line that asked
        for it. Kernels times what launching one takes is the least time of a step where nothing else is slow.

        Args:
            callbacks: listeners besides the learner's own.
            n: steps counted.
            skip: steps before them, in which an optimizer makes its averages.

        Returns:
            Operations by name, kernels, arithmetic and memory traffic, waits and strays.

        Example:
            >>> import torch, zoo
            >>> from torch import nn
            >>> loader = zoo.TensorLoader(torch.ones(64, 3), torch.ones(64, 1), bs=8)
            >>> learn = zoo.Learner(zoo.ModelData(loader), nn.Linear(3, 1), device="cpu", precision="fp32")
            >>> found = learn.count_operations()
            >>> found.calls["addmm"], found.rows
            (4, 32)
        """
        from zoo.training.counting import count_operations

        return count_operations(self, callbacks, n, skip)
