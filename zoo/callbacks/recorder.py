"""Keeps losses, rates and momenta of a fit, and draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.engine.arrivals import Arrival
from zoo.engine.callback import Callback
from zoo.engine.state import State

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.inspect.lr_curve import LRFinderResult


class Recorder(Callback):
    """The curves of the latest fit.

    Attributes:
        losses: training loss of every batch (floats; taken from the device once an epoch).
        smooth_losses: the same, smoothed with 0.98 and debiased (Kingma & Ba 2015).
        lrs, momenta: rate and momentum of the last layer group at every batch.
        valid_losses: pairs (batches done, validation loss).
        finder: what the latest `lr_find` found, or `None`.
    """

    order = -100
    in_finder = False
    beta = 0.98
    in_graph = "after"

    def __init__(self) -> None:
        self.finder: LRFinderResult | None = None
        self._reset()

    def _reset(self) -> None:
        self.losses: list[float] = []
        self.smooth_losses: list[float] = []
        self.lrs: list[float] = []
        self.momenta: list[float] = []
        self.valid_losses: list[tuple[int, float]] = []
        self._pending: list[Any] = []
        self._sent: Arrival | None = None
        self._average = 0.0

    def before_fit(self, state: State) -> None:
        self._reset()

    def after_loss(self, state: State) -> None:
        if state.training:
            self._pending.append(state.loss_value)

    def after_batch(self, state: State) -> None:
        if state.training:
            group = state.opt.param_groups[-1]
            self.lrs.append(float(group["lr"]))
            self.momenta.append(group["betas"][0] if "betas" in group else group.get("momentum", 0.0))

    def after_train(self, state: State) -> None:
        self.flush()
        state.row["train_loss"] = self.smooth_losses[-1] if self.smooth_losses else float("nan")

    def after_epoch(self, state: State) -> None:
        if "valid_loss" in state.row:
            self.valid_losses.append((len(self.losses), state.row["valid_loss"]))

    def cleanup_fit(self, state: State) -> None:
        self.flush()

    def flush(self) -> None:
        """Take the losses that still lie on the device."""
        self._take()
        self._send()
        self._take()

    def _send(self) -> None:
        if self._pending:
            self._sent = Arrival(torch.stack([loss.reshape(()).float() for loss in self._pending]))
            self._pending.clear()

    def _take(self) -> None:
        sent, self._sent = self._sent, None
        for loss in [] if sent is None else sent.read().tolist():
            self.losses.append(loss)
            self._average = self.beta * self._average + (1 - self.beta) * loss
            self.smooth_losses.append(self._average / (1 - self.beta ** len(self.losses)))

    def state_dict(self) -> dict[str, Any]:
        self.flush()
        curves = ("losses", "smooth_losses", "lrs", "momenta")
        return {
            **{name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in curves},
            "valid_losses": list(self.valid_losses),
            "average": self._average,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._reset()
        for name in ("losses", "smooth_losses", "lrs", "momenta"):
            setattr(self, name, state[name].tolist())
        self.valid_losses = [(int(step), loss) for step, loss in state["valid_losses"]]
        self._average = state["average"]

    @property
    def latest_loss(self) -> float:
        """The smoothed training loss so far; on a GPU of what has arrived, nobody waits for the rest."""
        if self._sent is None:
            self._send()
        if self._sent is not None and self._sent.here():
            self._take()
        return self.smooth_losses[-1] if self.smooth_losses else float("nan")

    def plot(self, skip_start: int = 0, skip_end: int = 0) -> Figure:
        """Loss against learning rate, after `lr_find`.

        Args:
            skip_start, skip_end: steps left out at the ends of the curve.
        """
        if self.finder is None:
            raise ValueError(
                "sched.plot() draws the learning-rate finder's curve: call learn.lr_find() first"
            )
        return self.finder.plot(skip_start, skip_end)

    def plot_lr(self) -> Figure:
        """Rate and momentum of the last layer group against iterations."""
        from zoo.inspect.plots import curves

        self._need_fit("plot_lr")
        return curves([("learning rate", self.lrs), ("momentum", self.momenta)], x_label="iteration")

    def plot_loss(self, skip_start: int = 0) -> Figure:
        """Smoothed training loss against iterations, with the validation losses.

        Args:
            skip_start: first iterations left out, whose loss may set the scale.
        """
        from zoo.inspect.lr_curve import shown_part
        from zoo.inspect.plots import losses

        self._need_fit("plot_loss")
        shown_part(self.smooth_losses, skip_start)
        return losses(self.smooth_losses, self.valid_losses, skip_start=skip_start)

    def _need_fit(self, what: str) -> None:
        if not self.losses:
            raise ValueError(f"sched.{what}() draws the latest fit: call learn.fit(...) first")
