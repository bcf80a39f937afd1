"""Losses that take predictions and targets of any matching rank, and know what their outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data.answers.gathering import widened
from zoo.data.answers.outputs import IGNORED
from zoo.data.loaders.seeding import preserve_generators, preserve_rng


@dataclass(frozen=True)
class Activation:
    """How raw model outputs become probabilities (or stay values), and the logarithms of those.

    Args:
        kind: "softmax", "sigmoid", "exp" (outputs are log-probabilities), "probability" (outputs are
            probabilities) or "identity" (outputs are values; their logarithm is not taken).
        axis: the dimension of the classes, for "softmax".
        temperature: what scores are divided by first (see `Learner.calibrate`); 1 leaves them as they are.

    Example:
        >>> import torch
        >>> Activation("softmax")(torch.zeros(1, 2)).tolist()
        [[0.5, 0.5]]
    """

    kind: str = "identity"
    axis: int = -1
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("softmax", "sigmoid", "exp", "probability", "identity"):
            raise ValueError(f"unknown activation {self.kind!r}")
        if not self.temperature > 0:
            raise ValueError(f"the temperature of an activation must be above 0, got {self.temperature!r}")

    def scores(self, outputs: Tensor) -> Tensor:
        """Outputs as they are, at least float32; with a temperature, the scores or log-probabilities that it
        makes."""
        outputs = widened(outputs)
        if self.temperature == 1 or self.kind == "identity":
            return outputs
        if self.kind == "probability":
            return (outputs.logit(1e-7) / self.temperature).sigmoid()
        divided = outputs / self.temperature
        return divided.log_softmax(self.axis) if self.kind == "exp" else divided

    def __call__(self, outputs: Tensor) -> Tensor:
        """Probabilities, or the values themselves; float32, or float64 as they are."""
        outputs = self.scores(outputs)
        if self.kind == "softmax":
            return outputs.softmax(self.axis)
        if self.kind == "sigmoid":
            return outputs.sigmoid()
        return outputs.exp() if self.kind == "exp" else outputs

    def log(self, outputs: Tensor) -> Tensor:
        """Log-probabilities, or the values themselves; float32, or float64 as they are."""
        outputs = self.scores(outputs)
        if self.kind == "softmax":
            return outputs.log_softmax(self.axis)
        if self.kind == "sigmoid":
            return F.logsigmoid(outputs)
        return outputs.log() if self.kind == "probability" else outputs


def as_outputs(answers: Tensor, activation: Activation | str, log: bool | None = None) -> Tensor:
    """Probabilities, or their logarithms, as outputs of a model with this activation.

    Args:
        answers: what the activation, or its `log`, gave.
        activation: one with probabilities, or its kind; its temperature is undone.
        log: whether they are logarithms; `None` looks at the signs.

    Raises:
        ValueError: for values that are neither, or not what `log` says; and where all are 0, which may be
            probabilities or their logarithms, if `log` does not say it.

    Example:
        >>> import torch
        >>> as_outputs(torch.tensor([0.5, 0.75]), "sigmoid").exp().round(decimals=4).tolist()
        [1.0, 3.0]
    """
    activation = Activation(activation) if isinstance(activation, str) else activation
    kind, temperature = activation.kind, activation.temperature
    answers = widened(answers)
    low, high = (float(value) for value in answers.aminmax()) if answers.numel() else (0.0, 0.0)
    slack = 1e-4  # of rounding
    if not ((low >= -slack and high <= 1 + slack) or high <= slack):
        raise ValueError(
            f"these are neither probabilities nor their logarithms: values from {low:.4g} to {high:.4g}; raw "
            "outputs are no answers of a learner: give them to the metrics themselves"
        )
    if log is None and answers.numel() and -slack <= low <= high <= 0:
        if low == 0:
            raise ValueError(
                "all predictions are 0, which are probabilities of what never is, or logarithms of those of "
                "what always is: say log=False or log=True"
            )
        log = True
    is_log = low < -slack if log is None else log
    if (is_log and high > slack) or (not is_log and low < -slack):
        raise ValueError(
            f"log={log}, but these are {'probabilities' if is_log else 'logarithms'}: log={not log}"
        )
    if kind == "sigmoid":  # in float64, where a probability near 1 still has a logarithm of its absence
        chances = (answers.double().exp() if is_log else answers.double()).clamp(1e-30, 1 - 1e-15)
        return (torch.logit(chances) * temperature).to(answers.dtype)
    if kind == "probability":
        chances = answers.exp() if is_log else answers
        return chances if temperature == 1 else (chances.logit(1e-7) * temperature).sigmoid()
    logs = answers if is_log else answers.clamp(min=1e-30).log()
    if temperature == 1:
        return logs
    return (logs * temperature).log_softmax(activation.axis)


class CrossEntropyFlat(nn.Module):
    """Cross entropy in nats over class scores, whatever the number of other dimensions.

    Args:
        axis: the dimension of the classes in the predictions: -1 for rows and sequences, 1 for images of
            scores.
        weight: one weight a class, a tensor or a list of numbers.
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016).
        ignore_index: targets that do not count.

    Shape:
        predictions (..., classes), targets (...) or flattened; result: a scalar.

    Example:
        >>> import torch
        >>> loss = CrossEntropyFlat()
        >>> round(loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)).item(), 4)
        1.3863
    """

    def __init__(
        self,
        axis: int = -1,
        *,
        weight: Tensor | Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.axis, self.label_smoothing, self.ignore_index = axis, label_smoothing, ignore_index
        self.activation = Activation("softmax", axis)
        self.weight: Tensor | None
        if weight is not None and not isinstance(weight, Tensor):
            try:
                weight = torch.as_tensor(weight, dtype=torch.float32)
            except (TypeError, ValueError, RuntimeError):
                raise TypeError(
                    f"weight takes one number a class, got {weight!r}; the data know those that balance: "
                    "weight=data.class_weights()"
                ) from None
        self.register_buffer("weight", weight)

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        scores = preds if preds.ndim == 2 and self.axis in (-1, 1) else preds.movedim(self.axis, -1)
        flat = scores if scores.ndim == 2 else scores.reshape(-1, scores.shape[-1])
        labels = targets if targets.ndim == 1 else targets.reshape(-1)
        if flat.shape[1] == 1:
            raise ValueError(
                "cross entropy needs one score a class, but this model has a single output: for numbers "
                "(also "
                "whole ones) pass loss_fn=MSEFlat(), for yes or no BCEWithLogitsFlat(), both of zoo.losses"
            )
        if len(flat) != len(labels):
            raise ValueError(
                f"cross entropy: predictions of shape {tuple(preds.shape)} hold {len(flat)} rows of scores, "
                f"targets of shape {tuple(targets.shape)} hold {len(labels)} labels"
            )
        if not labels.is_floating_point():
            labels = labels.long()
        else:
            raise TypeError(f"cross entropy needs integer class numbers as targets, got {targets.dtype}")
        try:
            return F.cross_entropy(
                flat.float(),
                labels,
                self.weight,
                ignore_index=self.ignore_index,
                label_smoothing=self.label_smoothing,
            )
        except IndexError:  # of the CPU alone; a GPU stops by itself
            odd = labels[((labels < 0) | (labels >= flat.shape[1])) & (labels != self.ignore_index)]
            if not len(odd):
                raise
            raise IndexError(
                f"cross entropy: {len(odd)} of {len(labels)} targets are no class number from 0 to "
                f"{flat.shape[1] - 1}, such as {int(odd[0])}; if these do not count, pass "
                f"ignore_index={int(odd[0])}"
            ) from None

    def counted(self, targets: Tensor) -> Tensor | None:
        """What the mean is over: how many targets count, or what they weigh together."""
        return _counted(targets, self.weight, self.ignore_index)


class _Elementwise(nn.Module):
    """Pairs every prediction with one target, so that (N, 1) against (N,) never broadcasts to (N, N)."""

    name = "loss"
    activation = Activation("identity")

    def _pairs(self, preds: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if preds.numel() != targets.numel():
            raise ValueError(
                f"{self.name}: predictions of shape {tuple(preds.shape)} and targets of shape "
                f"{tuple(targets.shape)} "
                "do not hold the same number of values"
            )
        values = preds.reshape(-1)
        if values.dtype not in (torch.float32, torch.float64):
            values = values.float()
        return values, targets.reshape(-1).to(values.dtype)


class _Numbers(_Elementwise):
    """A mean over differences, of which those to missing targets may be left out.

    Args:
        skip_missing: targets that are NaN do not count.
    """

    def __init__(self, skip_missing: bool = False) -> None:
        super().__init__()
        self.skip_missing = skip_missing

    def _mean(self, preds: Tensor, targets: Tensor, of: Callable[..., Tensor]) -> Tensor:
        values, wanted = self._pairs(preds, targets)
        if not self.skip_missing:
            return of(values, wanted)
        missing = wanted.isnan()
        there, known = values.masked_fill(missing, 0), wanted.masked_fill(missing, 0)
        return of(there, known, reduction="sum") / (~missing).sum().clamp(min=1)

    def counted(self, targets: Tensor) -> Tensor | None:
        """What the mean is over, where it is not over all."""
        return (~targets.isnan()).sum() if self.skip_missing else None


class MSEFlat(_Numbers):
    """Mean squared error.

    Args:
        skip_missing: targets that are NaN do not count.

    Example:
        >>> loss = MSEFlat(skip_missing=True)
        >>> loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, float("nan")]])).item()
        4.0
    """

    name = "mean squared error"

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return self._mean(preds, targets, F.mse_loss)


class L1Flat(_Numbers):
    """Mean absolute error.

    Args:
        skip_missing: targets that are NaN do not count.

    Example:
        >>> loss = L1Flat(skip_missing=True)
        >>> loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, float("nan")]])).item()
        2.0
    """

    name = "mean absolute error"

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return self._mean(preds, targets, F.l1_loss)


class BCEWithLogitsFlat(_Elementwise):
    """Binary cross entropy in nats on scores; the targets are 0 or 1 (or shares between)."""

    name = "binary cross entropy"
    activation = Activation("sigmoid")

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(*self._pairs(preds, targets))


_BY_TASK: dict[Any, Callable[[], Any]] = {
    "classification": CrossEntropyFlat,
    "sequence": CrossEntropyFlat,
    "multilabel": BCEWithLogitsFlat,
    "regression": MSEFlat,
}


def default_loss(data: Any) -> Callable:
    """The loss that fits the data: by its task, else by the type of the first targets.

    Integer targets mean classes (cross entropy), others a regression (mean squared error).
    """
    chosen = data.default_loss() if hasattr(data, "default_loss") else None
    if chosen is not None:
        return chosen
    if getattr(data, "task", None) in _BY_TASK:
        return _BY_TASK[data.task]()
    loader = data.train_dl if data.train_dl is not None else data.valid_dl
    if loader is None:
        return MSEFlat()
    if hasattr(loader, "tensors"):
        target = loader.tensors[-1]
    else:
        with preserve_rng(), preserve_generators(loader):
            target = next(iter(loader))[-1]
    if not isinstance(target, Tensor):
        raise ValueError(f"no default loss for targets of type {type(target).__name__}: pass loss_fn=...")
    return MSEFlat() if target.is_floating_point() else CrossEntropyFlat()


_KNOWN: tuple[tuple[type[nn.Module], Callable, Activation], ...] = (
    (nn.CrossEntropyLoss, F.cross_entropy, Activation("softmax", 1)),
    (nn.NLLLoss, F.nll_loss, Activation("exp", 1)),
    (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits, Activation("sigmoid")),
    (nn.BCELoss, F.binary_cross_entropy, Activation("probability")),
    (nn.MSELoss, F.mse_loss, Activation("identity")),
    (nn.L1Loss, F.l1_loss, Activation("identity")),
    (nn.SmoothL1Loss, F.smooth_l1_loss, Activation("identity")),
    (nn.HuberLoss, F.huber_loss, Activation("identity")),
    (nn.PoissonNLLLoss, F.poisson_nll_loss, Activation("identity")),
    (nn.GaussianNLLLoss, F.gaussian_nll_loss, Activation("identity")),
    (nn.MultiLabelSoftMarginLoss, F.multilabel_soft_margin_loss, Activation("sigmoid")),
)


def activation_of(loss_fn: Any, data: Any = None) -> Activation:
    """What the outputs of a model trained with `loss_fn` mean.

    A loss of this module or of torch tells. For any other function the data's task decides; without one the
    outputs are taken as they are.
    """
    loss_fn, _ = _inside(loss_fn)
    chosen = getattr(loss_fn, "activation", None)
    if isinstance(chosen, Activation):
        return chosen
    for cls, function, activation in _KNOWN:
        if isinstance(loss_fn, cls) or loss_fn is function:
            return activation
    task = getattr(data, "task", None)
    return _BY_TASK[task]().activation if task in _BY_TASK else Activation()


def ignored_by(loss_fn: Any) -> int:
    """The class number of targets that a loss leaves out: its `ignore_index`, else -100.

    Example:
        >>> ignored_by(nn.CrossEntropyLoss(ignore_index=0)), ignored_by(nn.MSELoss())
        (0, -100)
    """
    loss, options = _inside(loss_fn)
    found = options.get("ignore_index", getattr(loss, "ignore_index", None))
    return found if isinstance(found, int) else IGNORED


def takes_logarithms(loss_fn: Any) -> bool:
    """Whether a loss of numbers takes the logarithm of what is predicted, as torch's Poisson loss does.

    Example:
        >>> takes_logarithms(nn.PoissonNLLLoss()), takes_logarithms(nn.PoissonNLLLoss(log_input=False))
        (True, False)
    """
    loss, options = _inside(loss_fn)
    if not isinstance(loss, nn.PoissonNLLLoss) and loss is not F.poisson_nll_loss:
        return False
    return bool(options.get("log_input", getattr(loss, "log_input", True)))


def counted_by(loss_fn: Any, targets: Any) -> Tensor | None:
    """What the mean that a loss gives is over: how many targets count, or what they weigh together.

    Known of cross entropy and negative log-likelihood, of torch and of this module, and of losses with a
    method `counted(targets)`.

    Args:
        loss_fn: any loss.
        targets: of one batch.

    Returns:
        A scalar on the targets' device; `None` where the mean is over rows, as far as is known.

    Example:
        >>> weight = torch.tensor([0.5, 2.0])
        >>> counted_by(nn.CrossEntropyLoss(weight), torch.tensor([0, 1, 1, -100])).item()
        4.5
    """
    loss, options = _inside(loss_fn)
    if not isinstance(targets, Tensor):
        return None
    if hasattr(loss, "counted"):
        return loss.counted(targets)
    if loss not in (F.cross_entropy, F.nll_loss) and getattr(type(loss), "forward", None) not in _CLASS_MEANS:
        return None
    if options.get("reduction", getattr(loss, "reduction", "mean")) != "mean":
        return None
    return _counted(targets, options.get("weight", getattr(loss, "weight", None)), ignored_by(loss_fn))


_CLASS_MEANS = (nn.CrossEntropyLoss.forward, nn.NLLLoss.forward)


def _counted(targets: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor | None:
    if targets.is_floating_point():  # shares of classes, which torch averages over rows
        return None
    labels = targets.long()
    counts = labels != ignore_index
    if weight is None:
        return counts.sum()
    return (weight.float()[labels.where(counts, 0)] * counts).sum()


def _inside(loss_fn: Any) -> tuple[Any, dict[str, Any]]:
    """The loss inside `functools.partial`s, and the options that they set; outer ones win."""
    options: dict[str, Any] = {}
    while hasattr(loss_fn, "func") and hasattr(loss_fn, "keywords"):
        options = {**loss_fn.keywords, **options}
        loss_fn = loss_fn.func
    return loss_fn, options
