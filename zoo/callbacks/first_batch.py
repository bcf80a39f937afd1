"""Looks at the first batch of a fit, so that what must fail does so before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data.answers.nested import detached, map_tensors
from zoo.data.answers.outputs import predictions_are
from zoo.data.loaders.seeding import preserve_rng
from zoo.engine.callback import Callback
from zoo.engine.measures import meaning_of, noted
from zoo.engine.state import State
from zoo.errors import some
from zoo.losses import activation_of
from zoo.metrics import MisfitError, module_of, named_meters, sklearn_metric
from zoo.metrics.meters import innermost, is_meter

# what torch pairs by broadcasting
_PAIRING = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
_PAIRING_MODULES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
# what outputs stand for where there is one a class
_SCORES = {"classification": ("softmax", "exp"), "multilabel": ("sigmoid", "probability")}
_MISTAKES = (TypeError, AttributeError, NameError, ImportError, SyntaxError, NotImplementedError)


class FirstBatch(Callback):
    """Tries the metrics on the first training batch's real outputs, and looks at the shapes of the loss.

    Runs nothing but the metrics themselves, once, on copies: no data is read and no model run for it. What
    says nothing about the validation set, such as a batch with one class only, is left for the validation.
    Streaming objects are not tried, as they would count it.

    Raises:
        MisfitError: predictions and targets that a metric, or torch's loss, cannot pair; scores of a model
            for another number of classes than the data have.
        TypeError, AttributeError, ...: errors in a metric's own code.
        ValueError: a loader without a length that yields no batches.
    """

    event_orders = {"before_batch": -1000, "after_predict": 1000}
    in_graph = "after"

    def __init__(self) -> None:
        self._target: Any = None
        self._due = self._empty = False

    def before_fit(self, state: State) -> None:
        self._due = True

    def before_train(self, state: State) -> None:
        self._empty = not state.n_batches

    def before_batch(self, state: State) -> None:
        if state.training:
            self._empty = False
        if self._due and state.training:
            self._target = state.target  # as the data give it: callbacks may mix it with others

    def after_predict(self, state: State) -> None:
        if not self._due or not state.training:
            return
        self._due, target, self._target = False, self._target, None
        if not isinstance(state.preds, Tensor | Mapping | tuple | list):
            return  # a model's own object, which has no scores while it trains
        if isinstance(state.preds, Tensor):
            self._check_classes(state)
            self._check_loss(state)
        metrics = state.metrics if state.data.valid_dl is not None else ()
        for name, metric in zip(named_meters(metrics), metrics, strict=True):
            if not is_meter(metric) and not isinstance(metric, type):
                self._try(state, name, metric, target)

    def after_train(self, state: State) -> None:
        if self._empty:
            raise ValueError(
                f"the training loader yielded no batches in epoch {state.epoch}: an iterator is used up "
                "after "
                "one pass, give an iterable that begins anew every time"
            )

    def cleanup_fit(self, state: State) -> None:
        self._due, self._target = False, None

    @staticmethod
    def _check_loss(state: State) -> None:
        loss = innermost(state.loss_fn)
        target = state.target
        pairs = any(loss is one for one in _PAIRING) or type(loss) in _PAIRING_MODULES
        if pairs and isinstance(target, Tensor) and state.preds.shape != target.shape:
            raise MisfitError(
                f"the loss would pair every prediction with every target: predictions of shape "
                f"{tuple(state.preds.shape)}, targets of shape {tuple(target.shape)}; bring them to one "
                "shape, "
                "or use zoo.losses.MSEFlat() or L1Flat()"
            )

    @staticmethod
    def _check_classes(state: State) -> None:
        """A model with outputs for other classes than the data's would train, and answer what has no name."""
        classes = getattr(state.data, "classes", None)
        task = getattr(state.data, "task", None)
        if task not in _SCORES or not isinstance(classes, list | tuple):
            return
        meaning = activation_of(state.loss_fn)  # of losses that are known; others may read what they like
        if meaning.kind not in _SCORES[task] or state.preds.ndim < 2:
            return
        found = state.preds.shape[meaning.axis]
        if found == 1 and task == "classification":  # the loss tells, or two classes have one score
            return
        if found != len(classes):
            what = "classes" if task == "classification" else "labels"
            raise MisfitError(
                f"the model gives {found} scores, the data have {len(classes)} {what} ({some(classes, 5)}): "
                f"its last layer needs {len(classes)} outputs"
            )

    @staticmethod
    def _try(state: State, name: str, metric: Any, target: Any) -> None:
        if module_of(metric).startswith("sklearn."):
            metric = sklearn_metric(metric)
        # as the validation gives them: on the CPU where it keeps them, and in float32 where training is in
        # less
        adds_up = getattr(metric, "is_row_mean", False) or hasattr(innermost(metric), "streamed")
        preds, given = map_tensors(
            _copy if adds_up else lambda part: _copy(detached(part)), (state.preds, target)
        )
        try:
            with (
                torch.no_grad(),
                preserve_rng(),
                predictions_are(meaning_of(state.loss_fn, activation_of(state.loss_fn, state.data))),
                noted(name),
            ):
                value = metric(preds, given)
                if isinstance(value, Tensor) and value.numel() != 1:
                    raise TypeError(f"it returned a tensor of shape {tuple(value.shape)}")
                if not hasattr(value, "__float__"):
                    raise TypeError(f"it returned {type(value).__name__}")
        except (MisfitError, *_MISTAKES):
            raise
        except Exception:  # of this batch, perhaps; the validation will tell
            return
        state.worked.add(name)


def _copy(part: Tensor) -> Tensor:
    half = part.dtype in (torch.bfloat16, torch.float16)
    return part.detach().float() if half else part.detach().clone()
