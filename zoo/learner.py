"""The `Learner`: data, model, layer groups, loss and metrics under one fit API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.callbacks.recorder import Recorder
from zoo.callbacks.saving import SaveBest, SaveCycles
from zoo.data.loaders.device import resolve_device
from zoo.engine.callback import Callback, callback_list
from zoo.engine.layer_groups import GroupSpec, LayerGroups, Rates
from zoo.engine.optimizer import LayerOptimizer
from zoo.inspect.calibration import Calibration
from zoo.inspect.looking import Looking
from zoo.losses import Activation, default_loss
from zoo.schedules import Constant, CosineRestarts, OneCycle, cycle_lengths, three_momenta
from zoo.storage.archive import Archive
from zoo.storage.registry import build_model
from zoo.storage.resume import FitCounter
from zoo.storage.weights import load_weights
from zoo.training.fitting import check_order, positive
from zoo.training.own_schedule import own_schedule
from zoo.training.recipes import fine_tune
from zoo.training.settings import Settings
from zoo.training.switches import Precision, Switches
from zoo.training.trials import Trials


class Learner(Settings, Trials, Switches, Looking):
    """Trains a model on data, explains itself, predicts, saves.

    Args:
        data: loaders and preprocessing; any `ModelData`.
        model: any module. It is moved to the device and kept as `learn.model`, unwrapped.
        opt_fn: a torch optimizer class or a function of param groups; AdamW (fused where possible) by
            default.
        loss_fn: `(predictions, targets) -> scalar`; chosen from the data by default.
        metrics: functions `(predictions, targets) -> number`, streaming objects or names such as "f1"; the
            data's own by default.
        layer_groups: `{name: modules}`, a list of groups, or a function of the model; asked of the model by
            default.
        callbacks: listeners of every fit.
        device: "cuda", "mps", "cpu", ...; the best of the machine by default.
        wd: decoupled weight decay; a number, one a group, or a slice; by default the optimizer's own (0.01
            for AdamW).
        clip: largest gradient norm, or `None`.
        path: where files are kept; the data's path by default.
        precision: number format of the forward passes. "auto" trains in bfloat16 where the device computes in
            it, else in float32, and predicts in float32; "fp32", "bf16" and "fp16" mean what
            `to_fp32`, `to_bf16` and `to_fp16` do.
        seed: fixes the random numbers of every fit and the order of the training data, so that equal fits
            of equal models give equal results.
        progress: whether fits print their epoch table and bar.

    Attributes:
        groups: the layer groups; print them.
        history: one dict an epoch over all fits.
        sched: the recorder, for plots of the latest fit and of the finder.
        opt: the `LayerOptimizer`, made at the first fit; its averages live on over fits.

    Example:
        >>> import zoo
        >>> zoo.set_seed(0)
        >>> x = torch.randn(256, 4)
        >>> loader = zoo.TensorLoader(x, (x.sum(1) > 0).long(), bs=32, shuffle=True)
        >>> learn = Learner(zoo.ModelData(loader, loader), nn.Linear(4, 2), device="cpu", progress=False)
        >>> rows = learn.fit(0.1, 2, cycle_len=1)
        >>> rows[-1]["valid_loss"] < 0.3
        True
    """

    def __init__(
        self,
        data: Any,
        model: nn.Module,
        *,
        opt_fn: Callable[..., torch.optim.Optimizer] | None = None,
        loss_fn: Callable[..., Tensor] | None = None,
        metrics: Sequence[Any] | None = None,
        layer_groups: GroupSpec | None = None,
        callbacks: Iterable[Callback] = (),
        device: str | torch.device | None = None,
        wd: Rates | None = None,
        clip: float | None = None,
        path: str | Path | None = None,
        precision: Precision = "auto",
        seed: int | None = None,
        progress: bool = True,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch module, got {type(model).__name__}")
        self.device = resolve_device(device)
        self.data = data
        self.model = model.to(self.device)
        self.groups = LayerGroups(model, layer_groups)
        self.opt_fn = torch.optim.AdamW if opt_fn is None else opt_fn
        self.loss_fn = default_loss(data) if loss_fn is None else loss_fn
        listed: Any = (_default_metrics(data) if metrics is None else metrics, callbacks)
        self.metrics, self.callbacks = listed  # checked as they are set
        self.wd, self.clip, self.seed, self.progress = wd, clip, seed, progress
        self.path = Path(path if path is not None else getattr(data, "path", None) or ".")
        self.opt: LayerOptimizer | None = None
        self.history: list[dict[str, Any]] = []
        self.sched = Recorder()
        self._fits = FitCounter()
        self._switch_precision(precision)
        self._activation: Activation | None = None

    # -- training
    # --------------------------------------------------------------------------------------------------

    def fit(
        self,
        lrs: Rates,
        n_cycle: int,
        *,
        wds: Rates | None = None,
        cycle_len: int | None = None,
        cycle_mult: int = 1,
        schedule: Any = None,
        cycle_save_name: str | None = None,
        best_save_name: str | None = None,
        metrics: Sequence[Any] | None = None,
        callbacks: Iterable[Callback] = (),
        clip: float | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
    ) -> list[dict[str, Any]]:
        """Train at a constant rate, with warm restarts (SGDR) when `cycle_len` is given, or along a schedule.

        Args:
            lrs: a number, one number a layer group (earliest first), `slice(lo, hi)` or `slice(hi)`. With
                `cycle_len` the rate at the start of each cycle, from which a cosine falls to 0 within the
                cycle.
            n_cycle: without `cycle_len` the number of epochs, with it the number of cycles.
            wds: weight decay of this fit, like `lrs`.
            cycle_len: epochs of the first cycle.
            cycle_mult: every cycle is this many times as long as the one before.
            schedule: how the rates move instead. A function of the fit's progress (0 at its first batch,
                below 1 at its last) that gives a factor of the rates, such as `lambda progress: 1 - progress`
                or `zoo.schedules.Cosine(1, 0)`; a list of phases, such as
                `[(1, Linear(0.01, 1)), (9, Cosine(1, 0))]`; a class of `zoo.schedules`; a scheduler class of
                torch or a function `optimizer -> scheduler` (stepped once an epoch; OneCycleLR and CyclicLR
                after every batch).
            cycle_save_name: save the weights at each cycle's end as `{name}_cyc_0`, `_cyc_1`, ...
            best_save_name: save the weights under this name whenever the validation loss is the lowest so
                far.
            metrics: of this fit instead of the learner's.
            callbacks: listeners of this fit only.
            clip: largest gradient norm in this fit.
            checkpoint_every: write a checkpoint after every so many batches, and one at the end, into
                `path/models/checkpoints`; the newest two are kept.
            resume: go on from the newest checkpoint of this fit, if there is one: run the same script again
                after whatever ended it, and it gives what an uninterrupted run gives. Fits of a script that
                were complete are not run again, their end is restored.

        Returns:
            One dict an epoch of this fit, as in `learn.history`.

        Raises:
            ValueError: if the number of rates is not the number of groups, or a count is not positive.

        Example: `fit(lr, 3, cycle_len=1, cycle_mult=2)` trains 1 + 2 + 4 = 7 epochs.
        """
        check_order(lrs, n_cycle, "fit takes the rate first: fit(1e-2, 3)", self.opt_fn)
        if schedule is not None and cycle_len is not None:
            raise ValueError("cycle_len makes the schedule of warm restarts: give it or schedule=, not both")
        if cycle_len is None and cycle_mult != 1:
            raise ValueError("cycle_mult lengthens cycles: give cycle_len as well")
        positive(n_cycle=n_cycle, cycle_len=1 if cycle_len is None else cycle_len, cycle_mult=cycle_mult)
        self._require_training_data()
        run = self._plan(checkpoint_every, resume)
        lengths = [n_cycle] if cycle_len is None else cycle_lengths(n_cycle, cycle_len, cycle_mult)
        n_epochs = sum(lengths)
        steps = self._steps_per_epoch(
            n_epochs, run.first_epoch, needed=schedule is not None or cycle_len is not None
        )
        if schedule is not None:
            plan = own_schedule(schedule, steps, self.groups.spread(lrs))
        elif cycle_len is None:
            plan = Constant(sum(steps) or 1)
        else:
            epochs = iter(steps)
            plan = CosineRestarts(tuple(sum(next(epochs) for _ in range(length)) for length in lengths))
        extra: list[Callback] = callback_list(callbacks)
        if cycle_save_name is not None:
            if cycle_len is None:
                raise ValueError("cycle_save_name saves at cycle ends: give cycle_len as well")
            extra.append(SaveCycles(cycle_save_name))
        if best_save_name is not None:
            extra.append(SaveBest(best_save_name))
        return self._run(lrs, n_epochs, plan, run, wds=wds, metrics=metrics, callbacks=extra, clip=clip)

    def fit_one_cycle(
        self,
        n_epochs: int,
        max_lr: Rates,
        *,
        pct_start: float = 0.25,
        div_factor: float = 25.0,
        moms: tuple[float, float, float] | tuple[float, float] | None = (0.95, 0.85, 0.95),
        wds: Rates | None = None,
        best_save_name: str | None = None,
        metrics: Sequence[Any] | None = None,
        callbacks: Iterable[Callback] = (),
        clip: float | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
    ) -> list[dict[str, Any]]:
        """Train with the 1cycle policy: warm-up to `max_lr`, then annealing; momentum mirrors the rate.

        Args:
            n_epochs: length of the cycle.
            max_lr: the largest rate; a number, one number a group, or a slice.
            pct_start: share of the run that warms up.
            div_factor: the first rate is `max_lr / div_factor`.
            moms: momentum at the start, at the peak, at the end (the start's, if only two are given); `None`
                leaves the optimizer's own.
            wds, best_save_name, metrics, callbacks, clip, checkpoint_every, resume: as in `fit`.
        """
        check_order(
            max_lr, n_epochs, "fit_one_cycle takes the epochs first: fit_one_cycle(3, 1e-2)", self.opt_fn
        )
        positive(n_epochs=n_epochs)
        self._require_training_data()
        run = self._plan(checkpoint_every, resume)
        n_steps = sum(self._steps_per_epoch(n_epochs, run.first_epoch))
        schedule = OneCycle(n_steps, pct_start, div_factor, moms=three_momenta(moms))
        extra = [
            *callback_list(callbacks),
            *([SaveBest(best_save_name)] if best_save_name is not None else []),
        ]
        return self._run(
            max_lr, n_epochs, schedule, run, wds=wds, metrics=metrics, callbacks=extra, clip=clip
        )

    def fine_tune(
        self, epochs: int, lr: float, *, freeze_epochs: int = 1, **options: Any
    ) -> list[dict[str, Any]]:
        """Fit a pretrained model to new data: the head alone, then everything, with graded rates.

        First the last layer group trains for `freeze_epochs` with the body frozen, at rates that rise to
        `lr`. Then all groups train for `epochs` in one cycle, the last group at up to `lr / 2`, the first at
        `lr_mult` times less, those between in geometric steps (Howard & Ruder 2018, sections 3.2 and 3.3).

        Args:
            epochs: of the second stage.
            lr: rate of the last group.
            freeze_epochs: of the first stage; 0 leaves it out.
            options: `lr_mult` (100), `pct_start` (0.3) and `div_factor` (5) of the second stage; all others
                as for `fit_one_cycle`, in both stages, but for the `sizes` of pictures: they are by the
                epochs of the second stage, and the first has the size with which the second begins.

        Returns:
            One dict an epoch of both stages; a first stage that ends early (Ctrl-C, a callback) ends both.

        Raises:
            ValueError: if the model has a single layer group, or an argument makes no sense.
        """
        return fine_tune(self, epochs, lr, freeze_epochs=freeze_epochs, **options)

    def _unfreeze_all(self) -> None:
        """Train all groups, whatever that takes."""
        self.unfreeze()

    @classmethod
    def from_archive(cls, archive: Archive, device: str | torch.device | None = None) -> Self:
        """The learner of a read archive."""
        data = cls.data_class.from_state(archive.preprocess, archive.arrays)
        model = build_model(archive.config["model"]["name"], archive.config["model"]["args"])
        load_weights(model, archive.tensors, "the archive")
        learn = cls(data, model, device=device)
        learn._activation = Activation(**archive.config["activation"])
        if "calibration" in archive.config:  # older archives have none
            learn.calibration = Calibration.from_dict(archive.config["calibration"])
        learn.trained_as = archive.config.get("record")
        learn.model.eval()
        return learn


def _default_metrics(data: Any) -> list[Any]:
    return data.default_metrics() if hasattr(data, "default_metrics") else []
