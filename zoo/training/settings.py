"""The settings of a learner: checked when it is made, and whenever they are set later."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.data.loaders.seeding import checked_seed
from zoo.engine.callback import Callback, callback_list
from zoo.engine.layer_groups import LayerGroups
from zoo.engine.make_optimizer import check_opt_fn
from zoo.engine.optimizer import LayerOptimizer
from zoo.sealed import Sealed


class Settings(Sealed):
    """The part of a `Learner` that looks at what is set; every `_checked_{name}` gives what is kept."""

    device: torch.device
    opt: LayerOptimizer | None
    groups: LayerGroups
    opt_fn: Callable[..., torch.optim.Optimizer]
    _metrics: Callable[[Any], list[Any]]

    settings_elsewhere = {
        **dict.fromkeys(("crit", "criterion", "loss", "loss_func"), "it is called loss_fn"),
        **dict.fromkeys(("optimizer", "opt_func", "optim"), "set opt_fn to an optimizer class"),
        **dict.fromkeys(("lr", "lrs", "max_lr"), "rates are given to fit"),
        **dict.fromkeys(("cbs", "callback_fns"), "it is called callbacks"),
        **dict.fromkeys(("dls", "dbunch", "loaders"), "it is called data"),
        **dict.fromkeys(("weight_decay", "wds"), "it is called wd"),
        "model_dir": "files are kept under path / 'models'",
        "layer_groups": "give them when the learner is made",
        "reg_fn": "only learners of language models have one",
    }
    settled = {"device": "give device= then, where weights and averages are put"}

    def _checked_opt_fn(self, opt_fn: Any) -> Any:
        if getattr(self, "opt", None) is not None and opt_fn is not self.opt_fn:
            self.opt = None  # the next fit makes the new one
        return check_opt_fn(opt_fn)

    def _checked_opt(self, opt: Any) -> Any:
        if opt is not None and not isinstance(opt, LayerOptimizer):
            raise TypeError(f"learn.opt is made by fits: set opt_fn, for example to {type(opt).__name__}")
        return opt

    def _checked_loss_fn(self, loss_fn: Any) -> Any:
        if isinstance(loss_fn, nn.Module):
            if any(param.requires_grad for param in loss_fn.parameters()):
                raise ValueError(
                    "the loss has parameters of its own, which would not train: make it part of the model, "
                    "or freeze them with requires_grad_(False)"
                )
            loss_fn.to(self.device)
        return loss_fn

    def _checked_metrics(self, metrics: Any) -> list[Any]:
        return self._metrics(metrics)

    def _checked_callbacks(self, callbacks: Any) -> list[Callback]:
        return callback_list(callbacks)

    def _checked_clip(self, clip: Any) -> Any:
        if clip is not None and not (_is_number(clip) and clip > 0):
            raise ValueError(f"clip is the largest norm of the gradients, above 0, or None; got {clip!r}")
        return clip

    def _checked_wd(self, wd: Any) -> Any:
        if wd is not None:
            self.groups.spread(wd, "weight decay")
        return wd

    def _checked_seed(self, seed: Any) -> Any:
        return checked_seed(seed)

    def _checked_progress(self, progress: Any) -> bool:
        if not isinstance(progress, bool | int):
            raise TypeError(f"progress is True or False, got {progress!r}")
        return bool(progress)

    def _checked_groups(self, groups: Any) -> LayerGroups:
        if not isinstance(groups, LayerGroups):
            raise TypeError("learn.groups are LayerGroups: give layer_groups= when the learner is made")
        return groups

    def _checked_data(self, data: Any) -> Any:
        if not hasattr(data, "train_dl") or not hasattr(data, "valid_dl"):
            raise TypeError(
                f"data must be a ModelData (or have train_dl and valid_dl), got {type(data).__name__}: "
                "use ModelData(train_dl, valid_dl)"
            )
        return data

    def _checked_path(self, path: str | Path) -> Path:
        return Path(path)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
