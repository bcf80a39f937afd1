"""The models that one would try first: constants, and linear models on rows of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.answers.gathering import widened
from zoo.data.loaders.seeding import preserve_generators, preserve_rng

LINEAR_ROWS = 20_000  # training rows that a linear model looks at
TASKS = ("classification", "multilabel", "regression")


@dataclass(frozen=True)
class QuickModel:
    """A model that is fitted in seconds, to compare a network with.

    Attributes:
        name: in words, such as "gradient boosting".
        answers: fits to the training rows and answers every validation row, in order: log-probabilities of
            shape (rows, classes), logits of shape (rows, labels), or values in the units in which the network
            learns, of shape (rows, outputs).
        note: what one should know about it, such as that it looked at some of the rows only.
    """

    name: str
    answers: Callable[[], Tensor]
    note: str = ""


@dataclass(frozen=True)
class FitRows:
    """Training and validation rows of a quick model.

    Attributes:
        task: "classification", "multilabel" or "regression".
        inputs, valid_inputs: the inputs of training and validation rows, one array each.
        targets: of the training rows: class numbers (rows,), else values of shape (rows, outputs).
        n_out: classes, labels or targets.
        weights: how much each training row counts, 1 on average; `None` where all count alike.
        note: whether these are all training rows.
    """

    task: str
    inputs: tuple[np.ndarray, ...]
    valid_inputs: tuple[np.ndarray, ...]
    targets: np.ndarray
    n_out: int
    weights: np.ndarray | None = None
    note: str = ""

    @property
    def outputs(self) -> np.ndarray:
        """The targets with one column an output; those of classes are one column of class numbers."""
        return self.targets.reshape(len(self.targets), -1)

    def constant(self) -> QuickModel:
        """The answer that needs no inputs: the mean, or the shares of the classes."""
        return QuickModel("class shares" if self.task != "regression" else "mean", self._constant)

    def _constant(self) -> Tensor:
        weights = np.ones(len(self.targets)) if self.weights is None else self.weights
        if self.task == "classification":
            shares = np.bincount(self.targets, weights=weights, minlength=self.n_out)
            row = log_probabilities(shares / shares.sum())
        else:
            row = np.average(self.outputs.astype("float64"), axis=0, weights=weights)
            row = logits(row) if self.task == "multilabel" else row
        return torch.from_numpy(np.tile(row.astype("float32"), (len(self.valid_inputs[0]), 1)))


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, of which none is below 1e-7: a class that a sample lacks may occur."""
    clipped = np.maximum(np.asarray(probabilities, dtype="float64"), 1e-7)
    return np.log(clipped / clipped.sum(-1, keepdims=True))


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, kept away from 0 and 1 by 1e-7."""
    clipped = np.clip(np.asarray(probabilities, dtype="float64"), 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


def check_task(data: Any, task: str | None) -> str:
    """The task that a quick model would learn, or a clear line where there is none."""
    if task not in TASKS:
        raise ValueError(
            f"baseline(): no quick model is known for the task {task!r} of {type(data).__name__}; there are "
            f"some for {', '.join(TASKS)}"
        )
    if data.train_dl is None or data.valid_dl is None:
        kind = "training" if data.train_dl is None else "validation"
        raise ValueError(f"baseline(): a quick model needs {kind} rows, and these data have none")
    return task


def rows_of(loader: Any, most: int | None = None) -> tuple[Tensor, ...]:
    """The rows of a loader on the CPU, in their order; at most `most` of them, drawn at random.

    Rows that are streamed are the first ones of an epoch, which shuffles them. The loader, its generators and
    those of torch are afterwards as before.
    """
    tensors = getattr(loader, "tensors", None)
    if tensors is not None:
        n = len(tensors[0])
        if most is None or n <= most:
            return tuple(part.cpu() for part in tensors)
        drawn = np.random.default_rng(0).choice(n, most, replace=False)
        drawn.sort()
        rows = torch.from_numpy(drawn)
        return tuple(part[rows.to(part.device)].cpu() for part in tensors)
    epoch = getattr(loader, "epoch", 0)
    batches: list[tuple[Tensor, ...]] = []
    count = 0
    with preserve_rng(), preserve_generators(loader):
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(0)
        try:
            for batch in loader:
                batches.append(tuple(part.cpu() for part in batch))
                count += len(batch[-1])
                if most is not None and count >= most:
                    break
        finally:
            if hasattr(loader, "set_epoch"):
                loader.set_epoch(epoch)
    return tuple(torch.cat(column)[:most] for column in zip(*batches, strict=True))


def targets_of(loader: Any) -> Tensor:
    """The targets of a loader's rows on the CPU, in the order of the rows, in which `predict` answers."""
    kept = getattr(loader, "targets", None)  # of loaders whose batches come in another order
    return kept.cpu() if isinstance(kept, Tensor) else rows_of(loader)[-1]


def as_array(part: Tensor) -> np.ndarray:
    """Values of a tensor; formats shorter than float32, which numpy may not know, as float32."""
    part = part.detach().cpu()
    return (widened(part) if part.is_floating_point() else part).numpy()


def told_rows(used: int, loader: Any) -> str:
    """A note that a model looked at some of the rows only; empty where it saw all."""
    total = getattr(loader, "n_rows", used)
    return f"fitted to {used:,} of {total:,} training rows" if used < total else ""


def class_row_weights(targets: np.ndarray, class_weights: Tensor | None) -> np.ndarray | None:
    """How much rows count where their classes do not count alike; 1 on average."""
    if class_weights is None:
        return None
    weights = class_weights.detach().cpu().double().numpy()[targets]
    return weights / weights.mean()


def linear_models(data: Any, task: str | None, class_weights: Tensor | None = None) -> list[QuickModel]:
    """Constants and linear models for rows that are one vector of numbers, in memory.

    Training rows of negative class numbers, which losses leave out, are left out. Targets that are shares of
    the classes count as so many rows of each class, weighted by its share.

    Args:
        data: loaders of (inputs, target), the inputs of shape (rows, features).
        task: what the targets mean.
        class_weights: how much the rows of each class count.

    Raises:
        ValueError: for other data; the line says what to do.
    """
    task = check_task(data, task)
    inputs = [
        part for loader in (data.train_dl, data.valid_dl) for part in getattr(loader, "tensors", ())[:-1]
    ]
    if len(inputs) != 2 or any(part.ndim != 2 or not part.is_floating_point() for part in inputs):
        raise ValueError(
            f"baseline(): no quick model is known for {type(data).__name__}: linear models take one input of "
            "shape (rows, features) of floats in a TensorLoader; for other data write a method "
            "quick_models() (see zoo.ModelData.quick_models)"
        )
    target = data.train_dl.tensors[-1]
    shares = target.shape[1] if target.ndim == 2 and target.is_floating_point() else 1
    expanded = task == "classification" and shares > 1
    train = rows_of(data.train_dl, max(1000, LINEAR_ROWS // shares) if expanded else LINEAR_ROWS)
    valid, note = rows_of(data.valid_dl), told_rows(len(train[1]), data.train_dl)
    inputs, targets, weights = as_array(train[0]), as_array(train[1]), None
    if expanded:
        n_out = shares
        row, targets, weights = _by_class(targets)
        inputs = inputs[row]
    elif task == "classification":
        targets = targets.reshape(-1).astype("int64")
        inputs, targets = inputs[targets >= 0], targets[targets >= 0]
        if not len(targets):
            raise ValueError("baseline(): no training row has a class (negative class numbers do not count)")
        names = getattr(data, "classes", None)
        n_out = len(names) if names else int(max(targets.max(), int(valid[1].max()))) + 1
    else:
        targets = targets.reshape(len(targets), -1)
        n_out = targets.shape[1]
    by_class = class_row_weights(targets, class_weights) if task == "classification" else None
    if by_class is not None:
        weights = by_class if weights is None else weights * by_class
    rows = FitRows(task, (inputs,), (as_array(valid[0]),), targets, n_out, weights, note)
    name = "ridge regression" if task == "regression" else "logistic regression"
    return [rows.constant(), QuickModel(name, lambda: _linear(rows), rows.note)]


def _by_class(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of classes as rows of one class each: of which row, the class, and a weight, 1 on average."""
    row, column = np.nonzero(shares > 0)
    weights = shares[row, column].astype("float64")
    return row, column, weights / weights.mean()


def _linear(rows: FitRows) -> Tensor:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(model: Any, target: np.ndarray) -> Any:
        steps = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), model)
        options = {} if rows.weights is None else {f"{steps.steps[-1][0]}__sample_weight": rows.weights}
        with warnings.catch_warnings():  # a baseline that is not quite at its optimum is one still
            warnings.filterwarnings("ignore", message=".*failed to converge.*")
            return steps.fit(rows.inputs[0].astype("float64"), target, **options)

    valid = rows.valid_inputs[0].astype("float64")
    if rows.task == "regression":
        # the strength with the smallest error of each row when it is left out
        values = fitted(RidgeCV(np.logspace(-1, 6, 15)), rows.outputs).predict(valid)
        return torch.from_numpy(values.reshape(len(valid), -1).astype("float32"))
    return class_answers(rows, lambda target: fitted(LogisticRegression(max_iter=300), target), (valid,))


def class_answers(rows: FitRows, fit: Callable[[np.ndarray], Any], valid: tuple[Any, ...]) -> Tensor:
    """Log-probabilities of classes, or logits of labels, each by a classifier of scikit-learn.

    Args:
        rows: what is learned from.
        fit: gives a classifier that was fitted to a target of shape (rows,).
        valid: the arguments of its `predict_proba`.
    """
    n = len(rows.valid_inputs[0])
    if rows.task == "classification":
        found = np.zeros((n, rows.n_out))
        present = np.unique(rows.targets)
        if len(present) == 1:
            found[:, present[0]] = 1.0
        else:
            model = fit(rows.targets)
            found[:, model.classes_] = model.predict_proba(*valid)
        return torch.from_numpy(log_probabilities(found).astype("float32"))
    columns = []
    for target in (rows.outputs > 0.5).T.astype("int64"):
        if target.min() == target.max():
            columns.append(np.full(n, float(target[0])))
        else:
            columns.append(fit(target).predict_proba(*valid)[:, 1])
    return torch.from_numpy(logits(np.stack(columns, 1)).astype("float32"))
