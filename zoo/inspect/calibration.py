"""Probabilities that mean what they say: a temperature, and a threshold for each of several labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import some
from zoo.inspect.plots import figure
from zoo.losses import Activation, ignored_by
from zoo.storage.archive import ArchiveError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15  # as in Guo et al. 2017
FEW_ROWS = 200
FEW_POSITIVES = 5
"""A label that fewer rows have keeps the threshold 0.5: so few rank high by chance, and whatever threshold
gathers them sets the label on most rows."""


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be trusted.

    Attributes:
        nll: mean negative log-likelihood in nats, of a row (classes) or of a yes/no decision (labels).
        ece: expected calibration error (Guo et al. 2017): the mean distance between confidence and accuracy
            over bins of equal width, weighted by their rows.
        counts, confidence, accuracy: of each bin; confidence and accuracy of an empty one are 0.
    """

    nll: float
    ece: float
    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]

    @classmethod
    def of(cls, nll: float, confidence: Tensor, right: Tensor, bins: int = BINS) -> Reliability:
        """What confidences and outcomes tell.

        Args:
            nll: their negative log-likelihood.
            confidence: probabilities, shape (n,).
            right: 1 where what was that probable is so, else 0; shape (n,).
            bins: how many, of equal width, each with its upper end.

        Example:
            >>> confidence = torch.tensor([0.9, 0.9, 0.6, 0.6])
            >>> round(Reliability.of(0.0, confidence, torch.tensor([1, 1, 1, 0])).ece, 4)  # (0.1 + 0.1) / 2
            0.1
        """
        confidence, right = confidence.double(), right.double()
        place = (torch.ceil(confidence * bins) - 1).clamp(0, bins - 1).long()
        counts = torch.bincount(place, minlength=bins)
        sums = [torch.bincount(place, weights=values, minlength=bins) for values in (confidence, right)]
        means = [total / counts.clamp(min=1) for total in sums]
        ece = ((means[0] - means[1]).abs() * counts).sum().item() / max(1, len(place))
        return cls(nll, ece, tuple(counts.tolist()), tuple(means[0].tolist()), tuple(means[1].tolist()))


@dataclass(frozen=True)
class Calibration:
    """What `learn.calibrate()` found; print it.

    Attributes:
        temperature: what scores are divided by: above 1 where the model was too sure.
        thresholds: of several labels, the probability from which each is set (best F1, see
            `best_thresholds`); else `None`.
        rows: how many rows it was found on.
        before, after: negative log-likelihood, expected calibration error and the bins on those rows.
    """

    temperature: float
    thresholds: tuple[float, ...] | None
    rows: int
    before: Reliability
    after: Reliability

    def __repr__(self) -> str:
        lines = [
            f"temperature {self.temperature:.4g}, found on {self.rows:,} rows",
            *(
                f"{name:<32}{getattr(self.before, key):.4f} -> {getattr(self.after, key):.4f}"
                for name, key in (("negative log-likelihood", "nll"), ("expected calibration error", "ece"))
            ),
        ]
        if self.thresholds is not None:
            lines.append(f"thresholds: {some((f'{value:.3f}' for value in self.thresholds), 10)}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """The reliability diagram before and after: how often what was said with a confidence was so."""
        drawn = figure(8.0, 4.0)
        for number, (title, found) in enumerate((("before", self.before), ("after", self.after)), 1):
            axis = drawn.add_subplot(1, 2, number)
            width = 1 / len(found.counts)
            edges = [i * width for i in range(len(found.counts))]
            axis.bar(edges, found.accuracy, width, align="edge", edgecolor="white", label="how often so")
            filled = [i for i, count in enumerate(found.counts) if count]
            axis.plot(
                [found.confidence[i] for i in filled], [found.accuracy[i] for i in filled], "o", color="C1"
            )
            axis.plot([0, 1], [0, 1], "--", color="grey")
            axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="how often so")
            axis.set_title(f"{title}: error {found.ece:.3f}")
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_dict` described.

        Raises:
            ArchiveError: if it makes no sense.
        """
        temperature, thresholds = float(state["temperature"]), state["thresholds"]
        if not (math.isfinite(temperature) and temperature > 0):
            raise ArchiveError(f"the calibration has the temperature {temperature}, which must be above 0")
        before, after = (
            Reliability(float(part["nll"]), float(part["ece"]), *(tuple(part[name]) for name in _BINNED))
            for part in (state["before"], state["after"])
        )
        kept = None if thresholds is None else tuple(map(float, thresholds))
        return cls(temperature, kept, int(state["rows"]), before, after)


_BINNED = ("counts", "confidence", "accuracy")


class Calibrates(Protocol):
    """What is needed of a learner to calibrate it."""

    data: Any
    loss_fn: Any
    calibration: Any
    _picked_by: str | None

    @property
    def activation(self) -> Activation: ...

    def _loader(self, is_test: bool) -> Any: ...

    def _outputs(self, loader: Any) -> tuple[Tensor, Any]: ...


def calibrate(learn: Calibrates, loader: Any = None) -> Calibration:
    """Finds temperature and thresholds of a learner; see `Looking.calibrate`."""
    activation = replace(learn.activation, temperature=1.0)
    task = getattr(learn.data, "task", None)
    if activation.kind == "identity" or task == "regression":
        raise ValueError(
            "calibrate() is for classifiers; this learner predicts values, whose errors evaluate() tells"
        )
    independent = activation.kind in ("sigmoid", "probability")
    if task == "sequence" or (task == "classification" and activation.kind == "probability"):
        raise ValueError(
            f"calibrate() needs one answer a row, as scores or logarithms; here the task is {task!r} and "
            f"outputs are of the kind {activation.kind!r}"
        )
    if loader is None and learn._picked_by is not None:
        warnings.warn(
            f"{learn._picked_by} chose weights by the validation rows, so probabilities look a little better "
            "on them than on others: calibrate(loader=...) takes rows that chose nothing",
            stacklevel=3,
        )
    outputs, targets = learn._outputs(learn._loader(is_test=False) if loader is None else loader)
    if targets is None:
        raise ValueError("calibrate() needs rows with targets")
    bad = outputs.isnan().reshape(len(outputs), -1).any(1)
    if bad.any():
        raise ValueError(
            f"calibrate(): the model gives NaN for {int(bad.sum())} of {len(outputs)} rows, the first is row "
            f"{int(bad.nonzero()[0])}: look for NaN in these inputs, or in its weights"
        )
    void = getattr(getattr(learn.data, "target", None), "ignored", None)
    left_out = [one for one in (ignored_by(learn.loss_fn), void) if one is not None]
    scores, truth = _flat(outputs.double(), targets, activation, independent, left_out)
    if not len(scores):
        raise ValueError(
            f"calibrate(): none of {targets.numel()} targets counts: all are below 0 or {some(left_out)}"
        )
    if len(scores) < FEW_ROWS:
        warnings.warn(
            f"calibrate(): {len(scores)} rows tell little about probabilities; {FEW_ROWS} or more are better",
            stacklevel=3,
        )
    temperature = fit_temperature(scores, truth)
    several = independent and task != "classification"
    thresholds = best_thresholds((scores / temperature).sigmoid(), truth) if several else None
    if thresholds is not None:
        _tell_few(learn.data, truth)
    return Calibration(
        temperature,
        thresholds,
        len(scores),
        reliability(scores, truth),
        reliability(scores / temperature, truth),
    )


def _flat(
    outputs: Tensor, targets: Tensor, activation: Activation, independent: bool, left_out: list[int]
) -> tuple[Tensor, Tensor]:
    """Scores of shape (rows, columns) and targets: class numbers (rows,), or 0 and 1 like the scores.

    Class numbers below 0 and those of `left_out` do not count.
    """
    if independent:
        scores = outputs.reshape(len(outputs), -1)
        scores = torch.logit(scores, 1e-7) if activation.kind == "probability" else scores
        return scores, targets.reshape(scores.shape).double()
    if targets.is_floating_point() and targets.shape == outputs.shape:
        raise ValueError(
            f"calibrate() needs one class a row; these targets, of shape {tuple(targets.shape)}, are shares "
            "of the classes: give rows with class numbers by calibrate(loader=...)"
        )
    scores = outputs.movedim(activation.axis, -1).reshape(-1, outputs.shape[activation.axis])
    truth = targets.reshape(-1).long()
    counts = (truth >= 0) & ~torch.isin(truth, torch.tensor(left_out))
    return scores[counts], truth[counts]


def negative_log_likelihood(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over rows of class scores, or over all decisions where `truth` has the shape of the scores."""
    if truth.shape == scores.shape:
        return F.binary_cross_entropy_with_logits(scores, truth)
    return F.cross_entropy(scores, truth)


def reliability(scores: Tensor, truth: Tensor) -> Reliability:
    """How far the probabilities of these scores can be trusted: of the likeliest class, or of every label."""
    nll = negative_log_likelihood(scores, truth).item()
    if truth.shape == scores.shape:
        return Reliability.of(nll, scores.sigmoid().flatten(), truth.flatten())
    confidence, best = scores.softmax(1).max(1)
    return Reliability.of(nll, confidence, best == truth)


def fit_temperature(scores: Tensor, truth: Tensor) -> float:
    """The number by which scores are divided so that their negative log-likelihood is lowest, by LBFGS.

    See Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        scores: of classes or labels, shape (rows, columns), float64.
        truth: class numbers (rows,), or 0 and 1 in the shape of the scores.

    Returns:
        Above 0; with a warning 1 where no number is best, because the model is right on every row or no
        better than chance.

    Example:
        >>> scores = torch.tensor([[4.0, 0], [4, 0], [4, 0], [0, 4]], dtype=torch.float64)  # 75 % are right
        >>> round(fit_temperature(scores, torch.tensor([0, 0, 0, 0])), 3)  # log 3 = 4 / temperature
        3.641
    """
    why = _no_temperature(scores, truth)
    if why is not None:
        warnings.warn(f"calibrate(): probabilities stay as they are, since the model {why}", stacklevel=4)
        return 1.0
    log_t = scores.std().log().detach().requires_grad_()  # a start that does not depend on their scale
    optimizer = torch.optim.LBFGS(
        [log_t], max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        loss = negative_log_likelihood(scores / log_t.exp(), truth)
        (log_t.grad,) = torch.autograd.grad(loss, log_t)
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[arg-type]
    return math.exp(float(log_t.detach()))


def _no_temperature(scores: Tensor, truth: Tensor) -> str | None:
    """Why the likelihood, which is concave in 1 / temperature, has no maximum at a finite one above 0."""
    if truth.shape == scores.shape:
        margins = (2 * truth - 1) * scores
        better = margins.mean()
    else:
        right = scores.gather(1, truth[:, None])
        margins, better = right - scores, (right.squeeze(1) - scores.mean(1)).mean()
    if not better > 0:
        return "is no better than chance on these rows"
    return "is right on every row" if bool((margins >= 0).all()) else None


def best_thresholds(probabilities: Tensor, truth: Tensor) -> tuple[float, ...]:
    """For each label the threshold with the best F1: in the middle between the probabilities that it parts.

    Where probabilities tell little, F1 is best when the label is set on all rows (Lipton et al. 2014,
    "Optimal Thresholding of Classifiers to Maximize F1 Measure"), which is no use. A label therefore keeps
    0.5 unless at least `FEW_POSITIVES` rows have it, these rank above the others by more than chance (two
    deviations of the rank-sum of Mann & Whitney 1947), and the best threshold that leaves out a row has a
    higher F1 than 0.5 and than the label on all rows.

    Args:
        probabilities: shape (rows, labels).
        truth: 0 and 1 in the same shape.

    Example:
        >>> probabilities = torch.tensor([0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.4, 0.4])[:, None]
        >>> best_thresholds(probabilities, torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])[:, None])
        (0.2,)
    """
    pairs = zip(probabilities.T.double(), truth.T.double(), strict=True)
    return tuple(_best_threshold(column, wanted) for column, wanted in pairs)


def _best_threshold(column: Tensor, wanted: Tensor) -> float:
    if wanted.sum() < FEW_POSITIVES or not _ranks_above_chance(column, wanted):
        return 0.5
    ranked, order = column.sort(descending=True)
    hits, chosen = wanted[order].cumsum(0), torch.arange(1, len(ranked) + 1, dtype=ranked.dtype)
    f1 = 2 * hits / (chosen + wanted.sum())
    at_half = int((column >= 0.5).sum())
    beaten = max(f1[-1].item(), f1[at_half - 1].item() if at_half else 0.0)
    f1 = f1[:-1].where(ranked[:-1] != ranked[1:], -1.0)  # equal probabilities cannot be parted
    best = int(f1.argmax())
    if not f1[best] > beaten:
        return 0.5
    least, below = ranked[best].item(), ranked[best + 1].item()
    middle = (least + below) / 2
    return next(one for one in (round(middle, 6), middle, least) if below < one <= least)


def _ranks_above_chance(column: Tensor, wanted: Tensor) -> bool:
    """Whether rows with the label have higher probabilities than the others, beyond two deviations."""
    _, place, counts = column.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[place]  # equal ones share theirs
    has, others = wanted.sum(), len(wanted) - wanted.sum()
    expected, deviation = has * (len(wanted) + 1) / 2, (has * others * (len(wanted) + 1) / 12).sqrt()
    return bool((ranks * wanted).sum() - expected > 2 * deviation)


def _tell_few(data: Any, truth: Tensor) -> None:
    names = getattr(data, "classes", None) or range(truth.shape[1])
    counted = zip(names, truth.sum(0).long().tolist(), strict=True)
    few = [f"{name!r} ({count})" for name, count in counted if count < FEW_POSITIVES]
    if few:
        warnings.warn(
            f"calibrate(): fewer than {FEW_POSITIVES} rows have the label {some(few)}, so its threshold "
            "stays 0.5; calibrate(loader=...) takes rows with more of them",
            stacklevel=4,
        )
