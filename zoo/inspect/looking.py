"""What a learner tells about itself: its layers, its loop, its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.data.batches import first_batch, rows_text, split_batch
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import LayerGroups, Rates
from zoo.engine.traces import preserve_attributes
from zoo.inspect.show_loop import LoopListing, show_loop
from zoo.inspect.summary import Summary, summarize
from zoo.metrics import metric_name
from zoo.notebook import Quiet


class Looking(Quiet):
    """The part of a `Learner` that explains itself."""

    data: Any
    model: nn.Module
    device: torch.device
    groups: LayerGroups
    opt_fn: Callable[..., torch.optim.Optimizer]
    loss_fn: Callable[..., Tensor]
    metrics: list[Any]
    wd: Rates | None

    def summary(self) -> Summary:
        """Every layer with output shape (-1 is the batch), parameters and whether it trains; print it."""
        loader = self.data.train_dl if self.data.train_dl is not None else self.data.valid_dl
        if loader is None:
            raise ValueError("summary() runs one batch through the model, but this learner has no data")
        inputs, _ = split_batch(first_batch(loader, self.device, training=False))
        with preserve_attributes([self.model]):
            return summarize(self.model, inputs)

    def show_loop(self, callbacks: Iterable[Callback] = ()) -> LoopListing:
        """The events of a fit with these callbacks, and who listens to each in which order; print it."""
        return show_loop(cast(Any, self), callbacks)

    def __repr__(self) -> str:
        sizes = [
            f"{name} {rows_text(loader)}"
            for name in ("train", "valid", "test")
            if (loader := getattr(self.data, f"{name}_dl", None)) is not None
        ]
        optimizer = getattr(self.opt_fn, "__name__", None) or repr(self.opt_fn)
        loss = getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__)
        lines = [
            f"{type(self).__name__} of {type(self.model).__name__} on {self.device}",
            f"data: {', '.join(sizes) or 'none'} rows",
            f"loss: {loss}; optimizer: {optimizer}; weight decay: {self.wd}",
            f"metrics: {', '.join(metric_name(metric) for metric in self.metrics) or 'none'}",
            repr(self.groups),
        ]
        return "\n".join(lines)
