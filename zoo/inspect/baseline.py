"""The model that one would try first, beside the network, by the same measures on the same rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.data.quick_models import QuickModel, linear_models, targets_of
from zoo.engine.loop import Loop
from zoo.engine.state import State
from zoo.losses import Activation, activation_of, takes_logarithms


@dataclass(frozen=True)
class Scored:
    """What one model reached.

    Attributes:
        name: the model, in words.
        metrics: `valid_loss` and each metric by name, as `learn.evaluate()` gives them.
        seconds: that fitting and answering took; `None` for the learner itself.
        note: what one should know, such as that it looked at some of the rows only.
    """

    name: str
    metrics: dict[str, float]
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Baseline(Scored):
    """A quick model beside the learner; print it.

    Attributes:
        name, metrics, seconds, note: of the quick model.
        predictions: its answers for the validation rows, in the form of `learn.predict()`.
        reference: the answer that needs no inputs (the mean, or the shares of the classes).
        learner: what the learner reached on the same rows, as it was when `baseline()` was called.
        others: further quick models, where there are some.
    """

    predictions: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    reference: Scored | None = None
    learner: Scored | None = None
    others: tuple[Scored, ...] = ()

    def __repr__(self) -> str:
        rows = [row for row in (self.reference, *self.others, self, self.learner) if row is not None]
        columns = [*self.metrics, "seconds"]
        width = max(len(row.name) for row in rows)
        lines = [" " * width + "".join(f"{name:>{_wide(name)}}" for name in columns)]
        for row in rows:
            cells = [f"{row.metrics[name]:.5g}" for name in self.metrics]
            cells.append("" if row.seconds is None else f"{row.seconds:.1f}")
            told = "".join(f"{cell:>{_wide(name)}}" for name, cell in zip(columns, cells, strict=True))
            lines.append(f"{row.name:<{width}}{told}".rstrip())
        lines += [f"{row.name}: {row.note}" for row in rows if row.note]
        return "\n".join(lines)


class Judges(Protocol):
    """What is needed of a learner to judge another model as itself."""

    data: Any
    model: nn.Module
    device: torch.device
    loss_fn: Any
    metrics: list[Any]

    @property
    def activation(self) -> Activation: ...

    def evaluate(self, loader: Any = None, metrics: Sequence[Any] | None = None) -> dict[str, float]: ...

    def _answers(self, outputs: Tensor, *, log: bool) -> np.ndarray: ...


def baseline(learn: Judges, metrics: Sequence[Any] | None = None) -> Baseline:
    """Fits the quick models of a learner's data; see `Looking.baseline`."""
    data, chosen = learn.data, list(learn.metrics if metrics is None else metrics)
    task, models = quick_models(learn)
    valid = data.valid_dl
    target = targets_of(valid)
    found: list[tuple[Scored, Tensor]] = []
    for model in models:
        started = time.perf_counter()
        answers = as_outputs(model.answers(), learn.activation, task, target)
        note = model.note
        if takes_logarithms(learn.loss_fn):
            answers, note = _logarithms(answers, note)
        seconds = time.perf_counter() - started
        loader = TensorLoader(answers, target, bs=getattr(valid, "bs", None) or 1024)
        state = State(nn.Identity(), data, None, learn.loss_fn, learn.device, metrics=chosen)
        found.append((Scored(model.name, Loop(state).validate(loader), seconds, note), answers))
    best, outputs = found[-1]
    return Baseline(
        best.name, best.metrics, best.seconds, best.note, learn._answers(outputs, log=True), found[0][0],
        Scored("this learner", learn.evaluate(metrics=metrics)), tuple(scored for scored, _ in found[1:-1]),
    )  # fmt: skip


def quick_models(learn: Judges) -> tuple[str, list[QuickModel]]:
    """The task of a learner's data, and their quick models, the one without inputs first."""
    data, weights = learn.data, getattr(learn.loss_fn, "weight", None)
    weights = weights if isinstance(weights, Tensor) and weights.ndim == 1 else None
    task = getattr(data, "task", None) or _task(learn)
    make = getattr(data, "quick_models", None)
    return task, linear_models(data, task, weights) if make is None else make(task, weights)


@dataclass(frozen=True)
class ModelTask:
    """Stands for data of a task."""

    task: str


def _task(learn: Judges) -> str:
    """What the targets of plain loaders mean, by what the outputs mean and by the targets' type.

    Raises:
        ValueError: for whole numbers under a loss of which nothing is known: they may be classes or numbers.
    """
    kind = learn.activation.kind
    loader = learn.data.valid_dl if learn.data.valid_dl is not None else learn.data.train_dl
    tensors: Iterable[Tensor] = getattr(loader, "tensors", ())
    *_, target = [None, *tensors]
    if kind == "identity":
        # a loss of values is one of values whatever the task; of others the task would tell
        unknown = activation_of(learn.loss_fn, ModelTask("classification")).kind != "identity"
        if unknown and target is not None and not target.is_floating_point():
            raise ValueError(
                "baseline(): this loss does not tell what outputs mean, and targets that are whole numbers "
                "may be classes or numbers: set data.task to 'classification' or 'regression', or use a loss "
                "of torch or zoo.losses, such as nn.CrossEntropyLoss()"
            )
        return "regression"
    if kind in ("softmax", "exp"):
        return "classification"
    return "classification" if target is not None and not target.is_floating_point() else "multilabel"


def as_outputs(answers: Tensor, activation: Activation, task: str, target: Tensor) -> Tensor:
    """Answers of a quick model as the outputs of a network with this activation.

    Log-probabilities are scores of a softmax, and logits those of a sigmoid, as they are.

    Args:
        answers: as `QuickModel.answers` gives them.
        activation: what outputs mean.
        task: "classification", "multilabel" or "regression".
        target: of the same rows; one value a row for outputs of independent yes and no means that two classes
            are told by one output.

    Example:
        >>> answers = torch.tensor([[0.25, 0.75]]).log()
        >>> as_outputs(answers, Activation("probability"), "classification", torch.tensor([1]))
        tensor([[0.2500, 0.7500]])
    """
    kind = activation.kind
    if task == "classification" and kind == "sigmoid":
        odds = answers - torch.log1p(-answers.exp().clamp(max=1 - 1e-7))
        answers = odds[:, 1:] if odds.shape[1] == 2 else odds
    elif kind == "probability":
        answers = answers.exp() if task == "classification" else answers.sigmoid()
    return answers.reshape(target.shape) if answers.numel() == target.numel() else answers


def _logarithms(values: Tensor, note: str) -> tuple[Tensor, str]:
    """Values as a network gives them whose loss takes logarithms, and what one should know of it."""
    floor = max(_LEAST * float(values.mean()), 1e-6)
    told = f"judged by logarithms, as the loss takes them; values below {floor:.3g} count as that"
    return values.clamp(min=floor).log(), f"{note}; {told}" if note else told


_LEAST = 0.01  # of the mean, which a linear model may go below, and even below 0


def _wide(name: str) -> int:
    return max(12, len(name) + 2)
