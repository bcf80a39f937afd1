"""What a learner on a pretrained body does by itself: where its head starts, which statistics stay."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.data.loaders.balanced import BalancedPlan
from zoo.data.loaders.batches import device_batches
from zoo.data.loaders.seeding import preserve_rng
from zoo.distributed import group as distributed
from zoo.engine.make_optimizer import unwrapped
from zoo.engine.modes import preserve_modes
from zoo.engine.named_optimizers import name_of_optimizer, optimizer_of_name
from zoo.engine.optimizer import LayerOptimizer
from zoo.engine.relative_adamw import RelativeAdamW
from zoo.inspect.lr_curve import LRFinderResult
from zoo.storage.archive import Archive
from zoo.training.logistic import weights_in_loss
from zoo.training.recipes import check_fine_tune, with_listed
from zoo.vision.data.loaders import picture_loader
from zoo.vision.models.head_start import layers_of, start_head
from zoo.vision.models.readable import body_of
from zoo.vision.models.transfer import DampedLinear, TransferModel
from zoo.vision.sizes import SizedLearner, Sizes

log = logging.getLogger(__name__)

START_ROWS = 5_000
"""A head starts from logistic regression by itself where there are at most so many training pictures; with
more, its steps are many enough."""

STARTED_RATE = 0.01
"""The largest rate that the finder suggests for a head that begins as logistic regression. What it would
suggest for 100 to 1,000 rows of two data sets with two bodies lost up to 17 points where it was larger."""

TUNED_RATE, TUNED_RATIO = 1e-2, 10.0
"""What `fine_tune` uses for damped heads on bodies that change in relative steps: chosen on one half of the
training photos of cats and dogs (100 and 1,000 of them, 96 pixels; judged on the other half)."""

PLAIN_RATE, PLAIN_RATIO = 1e-3, 100.0

FEW_ROWS = 2_000
"""`fine_tune` keeps the statistics of the body's batch norm by itself where there are at most so many."""


class FineTuning(SizedLearner):
    """The part of a `ConvLearner` that concerns a pretrained body and its new head.

    Attributes:
        head_start: whether a new head begins its first fit as logistic regression on the activations of the
            training pictures: True, False, or None for where it pays (see `ConvLearner.pretrained`).
    """

    head_start: bool | None = None
    _new_head: str | None = None  # what the head holds while it is new
    _begun: tuple[Any, dict[str, Tensor]] | None = None  # a new model and its data, and how the head begins
    _told_of_start: str | None = None  # why a new head does not begin there
    _statistics_chosen = False
    _body_is_random = False  # and nobody chose an optimizer for it

    def _keep_folded_statistics(self) -> None:
        """Keep the statistics of the body's batch norm where they stand in the convolutions."""
        body = body_of(self.model)
        if not self._statistics_chosen and body is not None and statistics_are_folded(body):
            self.groups.bn_freeze(True)

    def load(self, name: str | Path) -> Self:
        """As `Learner.load`. A learner that has random weights and has not trained yet goes on from the
        loaded ones as from published ones: with `RelativeAdamW` where no optimizer was chosen.
        """
        super().load(name)
        if self._body_is_random and self.opt is None:
            self.opt_fn, self._body_is_random = RelativeAdamW, False
        self._keep_folded_statistics()
        return self

    def _export_config(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "optimizer": name_of_optimizer(self.opt_fn),
            "frozen": [group.frozen for group in self.groups],
            "fresh": [group.fresh for group in self.groups],
            "keeps_statistics": self.groups.keeps_statistics,
            "statistics_chosen": self._statistics_chosen,
            "clip": None if self.clip is None else float(self.clip),
            "wd": None if self.wd is None else self.groups.spread(self.wd, "weight decay"),
        }
        return {**super()._export_config(), "training": told}

    @classmethod
    def from_archive(cls, archive: Archive, device: str | torch.device | None = None) -> Self:
        """The learner of a read archive; it trains on as the exported one would, but for what is code: an
        optimizer of another package, a loss function, metrics, layer groups that the model does not name.
        """
        learn = super().from_archive(archive, device)
        learn._train_as_told(archive.config.get("training", {}))
        return learn

    def _train_as_told(self, told: Mapping[str, Any]) -> None:
        """Take up what `_export_config` told; older archives say nothing."""
        named = told.get("optimizer")
        opt_fn = None if named is None else optimizer_of_name(named)
        if opt_fn is not None:
            self.opt_fn = opt_fn
        elif body_of(self.model) is not None:
            self.opt_fn = RelativeAdamW  # its weights are trained
        if len(told.get("frozen", ())) == len(self.groups):
            for group, frozen, fresh in zip(self.groups, told["frozen"], told["fresh"], strict=True):
                group.fresh = bool(fresh)
                for param in group.params:
                    param.requires_grad_(param.requires_grad and not frozen)
            self.wd = told["wd"]
        self.clip = told.get("clip")
        if told:
            self.groups.bn_freeze(bool(told["keeps_statistics"]))
            self._statistics_chosen = bool(told["statistics_chosen"])
        else:
            self._keep_folded_statistics()

    def _checked_head_start(self, head_start: Any) -> bool | None:
        if head_start is not None and not isinstance(head_start, bool):
            raise TypeError(
                f"head_start is True, False, or None to start the head where it pays, got {head_start!r}"
            )
        return head_start

    def bn_freeze(self, on: bool) -> None:
        """Keep the running statistics of all groups but the last fixed, even where they are trained.

        From the start it is on where the weights have batch norm that is folded into the convolutions: to
        estimate its statistics anew would undo what the body knows.
        """
        self._statistics_chosen = True
        super().bn_freeze(on)

    def fine_tune(
        self,
        epochs: int,
        lr: float | None = None,
        *,
        freeze_epochs: int = 1,
        lr_mult: float | None = None,
        sizes: Sizes | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Fit a pretrained model to new data: the head alone, then everything, with graded rates.

        As `Learner.fine_tune`, and with up to 2,000 training pictures the statistics of the body's batch norm
        are kept, as after `bn_freeze(True)`: few batches estimate them badly. `bn_freeze(False)` before the
        call lets them move.

        Args:
            epochs: of the second stage.
            lr: rate of the head; by default 0.01 for the standard head of classes, labels and values, whose
                steps are damped, where `RelativeAdamW` trains (the default of pretrained bodies); with
                another optimizer or head 0.001. In the second stage the groups train at `lr / 2 / lr_mult`
                to `lr / 2`.
            freeze_epochs: of the first stage; 0 leaves it out.
            lr_mult: by default 10 where the body changes in steps of a share of its size (`RelativeAdamW`),
                otherwise 100.
            sizes: sizes of pictures by epoch of the second stage, as of `fit_one_cycle`; the first stage has
                the size with which the second begins.
            options: as in `Learner.fine_tune`.
        """
        lr_chosen, mult_chosen = self._rates_to_tune()
        lr = lr_chosen if lr is None else lr
        options = with_listed(options)
        options["lr_mult"] = mult_chosen if lr_mult is None else lr_mult
        check_fine_tune(self, epochs, lr, freeze_epochs, **options)
        sizes = self._sizes_to_tune(sizes, epochs)
        if not self._statistics_chosen and isinstance(self.model, TransferModel):
            rows = _rows(self.data)
            if 0 < rows <= FEW_ROWS:
                super().bn_freeze(True)
                self._tell(f"{rows:,} training pictures: the statistics of the body's batch norm are kept")
        return super().fine_tune(epochs, lr, freeze_epochs=freeze_epochs, sizes=sizes, **options)

    def _rates_to_tune(self) -> tuple[float, float]:
        """The rate of the head, and how much smaller that of the first groups is."""
        if not self._trains_by_shares():
            return PLAIN_RATE, PLAIN_RATIO
        damped = any(isinstance(module, DampedLinear) for module in self.model.modules())
        return (TUNED_RATE if damped else PLAIN_RATE), TUNED_RATIO

    def _trains_by_shares(self) -> bool:
        """Whether the optimizer is a `RelativeAdamW`; one that a function makes is made to see."""
        inner = unwrapped(self.opt_fn)[0]
        if isinstance(inner, type):
            return issubclass(inner, RelativeAdamW)
        if self.opt is not None:
            return isinstance(self.opt.opt, RelativeAdamW)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit tells again
            return isinstance(LayerOptimizer(self.opt_fn, self.groups, PLAIN_RATE).opt, RelativeAdamW)

    def lr_find(self, *given: Any, **options: Any) -> LRFinderResult:
        """As `Learner.lr_find`; a new head is tried from where its first fit will begin.

        There it is near its best, and with few pictures the loss of the training goes on to fall at rates
        that carry the head away from it: no suggestion is then above 0.01.
        """
        if not self._head_may_start():
            return super().lr_find(*given, **options)
        head, new = self.model.get_submodule("head"), self._new_head
        before = _copied(head)
        self._start_new_head()
        try:
            found = replace(super().lr_find(*given, **options), largest=STARTED_RATE)
        finally:
            head.load_state_dict(before)
            self._new_head = new
        self.sched.finder = found
        return found

    def _run(self, *given: Any, **options: Any) -> list[dict[str, Any]]:
        self._start_new_head()
        return super()._run(*given, **options)

    def _head_is_new(self) -> None:
        """Remember what the head holds before it has been trained."""
        model = self.model
        if isinstance(model, TransferModel) and model.pooled and layers_of(model.head):
            self._new_head = _digest(model.head)

    @torch.no_grad()
    def _start_new_head(self) -> None:
        """Start a head that is still new, where it pays: one pass over the pictures without augmentation."""
        data, model = self.data, self.model
        if not self._head_may_start() or not isinstance(model, TransferModel):
            return
        new = _digest(model), data, data.train_dl, data.tfms, self._loss_weights()
        if self._begun is not None and self._begun[0] == new:
            model.head.load_state_dict(self._begun[1])
            self._new_head = self._begun = None
            return
        if self._new_features:
            features, targets = data.train_dl.tensors
        else:
            check = getattr(data, "check_files", None)
            if check is not None:
                check()
            plain = data.trn_ds.with_tfm(data.tfms[1].without_augmentation())
            loader = picture_loader(plain, data.bs, num_workers=data.num_workers, seed=0)
            rows: list[tuple[Tensor, Tensor]] = []
            with preserve_modes(model), preserve_rng():
                model.eval()
                for pictures, answers in device_batches(loader, self.device, training=False):
                    rows.append((model.features(pictures).float().cpu(), answers.cpu()))
            features, targets = map(torch.cat, zip(*rows, strict=True))
        weights = weights_in_loss(self.loss_fn, targets.cpu(), data.c)
        plan = getattr(data.train_dl, "plan", None)
        if weights is not None and isinstance(plan, BalancedPlan):
            drawn = torch.from_numpy(plan.row_weights()).float()
            weights = weights * (drawn if weights.ndim == 1 else drawn[:, None])
        start_head(model.head, features, targets, weights)
        self._new_head, self._begun = None, (new, _copied(model.head))
        self._tell(f"the head starts from logistic regression on {len(targets):,} pictures")

    def _loss_weights(self) -> list[float] | None:
        """What a target of each class or label counts in the loss; None for a loss that is no cross entropy
        known here.
        """
        data = self.data
        each = torch.arange(data.c) if data.task == "classification" else torch.ones(1, data.c)
        found = weights_in_loss(self.loss_fn, each, data.c)
        return None if found is None else found.flatten().tolist()

    @property
    def _new_features(self) -> bool:
        """Whether the head is trained from cached activations."""
        return getattr(self, "_features", None) is not None

    def _tell(self, what: str) -> None:
        log.info(what)
        if self.progress and distributed.is_main():
            print(what, flush=True)

    def _head_may_start(self) -> bool:
        """Whether the head still has its random weights, and shall start elsewhere."""
        data = self.data
        if self._new_head is None or self.head_start is False:
            return False
        if getattr(data, "task", None) not in ("classification", "multilabel"):
            return False
        rows = _rows(data)
        if min(rows, getattr(data.train_dl, "bs", 2)) < 2 or (self.head_start is None and rows > START_ROWS):
            return False
        head = self.model.get_submodule("head")
        if _digest(head) != self._new_head:
            self._new_head = None
            return False
        counts = self._loss_weights()
        why = None
        if not all(param.requires_grad for param in head.parameters()):
            why = "some of its weights are frozen"
        elif counts is None:
            why = f"the loss is none of zoo's or torch's cross entropies, but {_named(self.loss_fn)}"
        elif not any(counts):
            why = "no class counts in the loss"
        if why is not None and why != self._told_of_start:
            self._told_of_start = why
            self._tell(f"the head does not start from logistic regression: {why}")
        return why is None


def _named(function: Any) -> str:
    inner = unwrapped(function)[0]
    return getattr(inner, "__name__", type(inner).__name__)


def statistics_are_folded(body: nn.Module) -> bool:
    """Whether all batch norm layers of a body have the mean 0 and the variance 1 (less an epsilon), and are
    trained: they were folded into the convolutions before them, as converters to formats for phones do.

    Example:
        >>> body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> statistics_are_folded(body)  # new, not folded
        False
        >>> _ = nn.init.normal_(body[1].bias)
        >>> statistics_are_folded(body)
        True
    """
    norms = [m for m in body.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    known = [(m.running_mean, m.running_var) for m in norms]
    return any(norm.bias is not None and bool(norm.bias.any()) for norm in norms) and all(
        mean is not None and var is not None and not mean.any() and bool(((var - 1).abs() < 1e-4).all())
        for mean, var in known
    )


def _rows(data: Any) -> int:
    """Training pictures; 0 where they cannot be counted or are not there."""
    pictures = getattr(data, "trn_ds", None)
    return 0 if pictures is None else len(pictures)


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _digest(module: nn.Module) -> str:
    """A hash of all parameters and buffers but the count of batches."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
