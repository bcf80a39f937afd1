"""The loop without a learner: any module, any optimizer, any loss function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.callbacks.distributed import process_callbacks
from zoo.callbacks.first_batch import FirstBatch
from zoo.callbacks.recorder import Recorder
from zoo.distributed.group import is_main
from zoo.engine.callback import Callback, callback_list
from zoo.engine.loop import Loop
from zoo.engine.state import State
from zoo.metrics import metric_list

log = logging.getLogger("zoo")


def fit(
    model: nn.Module,
    data: Any,
    n_epochs: int,
    opt: Any,
    loss_fn: Callable[..., Tensor],
    metrics: Sequence[Any] = (),
    callbacks: Iterable[Callback] = (),
) -> list[dict[str, Any]]:
    """Train any module with any torch optimizer and any loss function.

    It prints nothing; `callbacks=[zoo.callbacks.Progress()]` shows the bar and the epoch table of a learner.
    The model is trained where it lies; batches are moved to it. Repeated calls go on from where the last one
    ended, since all state lies in the model and the optimizer; change rates in between with `set_lrs`.

    Args:
        model: any module; called with the inputs of a batch. Of what it returns the predictions are the
            member `logits`, if there is one (a named tuple, dict or dataclass), else the first member of a
            tuple; callbacks find the rest in `state.extras`. Anything else goes to the loss as it is.
        data: an object with `train_dl` and `valid_dl` (or `None`), such as `ModelData`.
        n_epochs: passes over the training data.
        opt: a torch optimizer, or a `LayerOptimizer`.
        loss_fn: `(predictions, targets) -> scalar tensor`.
        metrics: functions `(predictions, targets) -> number` of the whole validation set, streaming objects,
            or names such as "accuracy".
        callbacks: listeners; the list is not changed.

    Returns:
        One dict an epoch: `epoch`, `train_loss` (smoothed), `valid_loss`, each metric by name, `seconds`.

    Raises:
        TypeError: for what cannot be a metric or a callback; before anything is trained.
        NonFiniteLossError: if the loss becomes NaN or infinite; the weights are then those before that batch.

    Example:
        >>> from zoo import ModelData, TensorLoader
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = nn.Linear(1, 1)
        >>> opt = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loader = TensorLoader(x, 3 * x, bs=16)
        >>> rows = fit(model, ModelData(loader, loader), 20, opt, nn.functional.mse_loss)
        >>> rows[-1]["valid_loss"] < rows[0]["valid_loss"]
        True
    """
    param = next(model.parameters(), None)
    device = torch.device("cpu") if param is None else param.device
    state = State(model, data, opt, loss_fn, device, metrics=metric_list(metrics))
    state.first_epoch = getattr(data.train_dl, "next_epoch", 0)
    given = callback_list(callbacks)
    recorder = [] if any(isinstance(callback, Recorder) for callback in given) else [Recorder()]
    rows = Loop(state, [*process_callbacks(), *recorder, FirstBatch(), *given]).fit(n_epochs)
    if hasattr(data.train_dl, "next_epoch"):
        data.train_dl.next_epoch = state.first_epoch + n_epochs
    tell_if_interrupted(state)
    return rows


def tell_if_interrupted(state: State) -> None:
    """One line after Ctrl-C."""
    if state.interrupted and is_main():
        log.warning("interrupted in epoch %d; weights and history are kept", state.epoch)
