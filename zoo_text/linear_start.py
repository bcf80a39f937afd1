"""A classifier begins as a linear model on words, pairs of words, and the vectors of whole texts."""

from __future__ import annotations

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engine.modes import preserve_modes
from zoo.training.logistic import weights_in_loss
from zoo_text.data.ngrams import CountedNGrams
from zoo_text.data.padded_batches import SortedBatches, TextLoader
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.linear import FOLDS
from zoo_text.tokens.vocab import PADDING_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

log = logging.getLogger("zoo")

STRENGTH = 20.0
"""Inverse strength of the penalty (scikit-learn's `C`) on rows of length 1. Between 10 and 30 the accuracies
for 100 to 20,000 labelled film reviews differed by 0.2 points at most; with 3 they were up to a point worse
from 2,000 labels on (training reviews)."""

RIDGE = 1.0
"""Penalty of ridge regression, where values are predicted."""

_MANY, _MOST_TRIED = 5000, 10  # texts from which on, and outputs beyond which, only the factor 1 is tried

TRUST = 5000
"""What the network adds is multiplied by the square of texts / (texts + 5,000). Unscaled, it lost 0.3 to 2.2
points of the start with 100 labelled film reviews, and scaled by 0.09 up to 0.5 points with 500 (rate 1e-2,
draws of training reviews); with 5,000 labels it gained 0.3."""

FEWEST = 10
"""Texts; with fewer the models without a fold are no use."""


@torch.no_grad()
def start_linear(
    model: Any, loader: Any, loss_fn: Any, task: str, counted: CountedNGrams | None = None
) -> bool:
    """Let a new classifier answer as linear models on its training texts do: logistic regression on words and
    pairs of words weighted by naive Bayes (Wang & Manning 2012) beside the vectors of whole texts, of several
    classes each against the others; of values ridge regression. The last layer of the network's head begins
    with zeros, and what it adds later is scaled down where texts are few.

    Args:
        model: a `TextClassifier`; others, and those without `LinearScores`, stay as they are.
        loader: the training texts.
        loss_fn: of the learner; its class weights count. For classes and labels a loss that is no cross
            entropy leaves the model as it is; for values any loss begins with squared errors.
        task: of the data.
        counted: the words and pairs of (some of) the training texts; of another number than the model's, or
            where the model has no folds, it stays as it is.

    Returns:
        Whether the model begins there.
    """
    if not isinstance(model, TextClassifier) or not isinstance(loader, TextLoader):
        return False
    linear, last = model.linear, model.head[-1]
    if linear is None or not isinstance(last, nn.Linear):
        return False
    if not linear.folds or linear.n_grams != (0 if counted is None else len(counted.keys)):
        return False
    rows = np.arange(loader.n_rows) if counted is None else counted.rows
    if len(rows) < FEWEST:
        return False
    targets = loader.targets.cpu()[torch.from_numpy(rows)]
    counts = np.ones(targets.shape)
    if task != "regression":
        found = weights_in_loss(loss_fn, targets, last.out_features)
        if found is None or not bool(found.any()):
            log.info("the classifier does not begin as a linear model: its loss is no cross entropy")
            return False
        counts = found.double().numpy()
    texts = loader.texts().chosen(rows)
    # as `LinearScores.fold`, to which a written "<pad>" is padding
    read = np.where(texts.ids == PADDING_ID, 0, texts.ids)
    sums = np.concatenate([[0], np.cumsum(read, dtype=np.int64)])
    folds = (sums[texts.offsets[1:]] - sums[texts.offsets[:-1]]) % FOLDS
    if len(np.unique(folds)) < 2:
        return False
    vectors = document_rows(model, loader)[rows] if linear.features else np.empty((len(rows), 0))
    if counted is not None:
        linear.keys.copy_(torch.from_numpy(counted.keys))
    held = None if counted is None else counted.held

    def without(fold: int, factor: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Weights, bias, and the loss on the texts that were left out."""
        kept, out = folds != fold, np.flatnonzero(folds == fold)
        part, rest = (
            _Part(None if held is None else held[some], vectors[some], factor)
            for some in (np.flatnonzero(kept), out)
        )
        weight, bias = _fitted(part, targets.numpy()[kept], counts[kept], last.out_features, task)
        scores = torch.from_numpy(rest.scores(weight, bias))
        return weight, bias, _loss(scores, targets[out], torch.from_numpy(counts[out]), task)

    from threadpoolctl import threadpool_limits

    found, least = [], math.inf
    # the solver lets other threads run; those of its linear algebra only wait for each other
    with threadpool_limits(1), ThreadPoolExecutor(torch.get_num_threads()) as workers:
        for factor in _factors(len(rows), linear.features, linear.n_grams, last.out_features):
            these = list(workers.map(partial(without, factor=factor), range(FOLDS)))
            loss = sum(each[2] for each in these)
            if loss < least or not found:
                found, least = these, loss
    for fold, (weight, bias, _) in enumerate(found):
        linear.weight[1 + fold] = torch.from_numpy(weight).float()
        linear.bias[1 + fold] = torch.from_numpy(bias).float()
    linear.weight[0], linear.bias[0] = linear.weight[1:].mean(0), linear.bias[1:].mean(0)
    linear.trust.fill_((loader.n_rows / (loader.n_rows + TRUST)) ** 2)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    log.info("the classifier begins as a linear model of %d words and pairs", linear.n_grams)
    return True


def document_rows(model: TextClassifier, loader: TextLoader) -> np.ndarray:
    """The vectors of whole texts in the order of the rows, (texts, features), float64."""
    if model.document is None:
        raise ValueError("the model has no vectors of whole texts")
    texts = loader.texts()
    batches = SortedBatches([texts[row] for row in range(len(texts))])
    device = model.document.weight.device
    with preserve_modes(model):
        found = [model.document(ids.to(device)).cpu() for ids, _ in batches]
    return torch.cat(found)[torch.argsort(batches.order)].double().numpy()


def _factors(n: int, features: int, n_grams: int, n_out: int) -> list[float]:
    """What vectors of whole texts may be multiplied by, of which the best for texts that were left out is
    taken: the larger, the less the penalty holds them back. Few labels tell little of single words, and much
    of vectors that come from texts of the same kind; those of other texts may tell nothing.
    """
    if not features or not n_grams or n >= _MANY or n_out > _MOST_TRIED:
        return [1.0]
    return [2.0 if n >= 1000 else 4.0, 1.0, 0.0]


def _loss(scores: Tensor, targets: Tensor, counts: Tensor, task: str) -> float:
    """Of all rows together."""
    if task == "regression":
        return float((scores - targets.reshape(scores.shape)).square().sum())
    if targets.ndim == 2:
        each = F.binary_cross_entropy_with_logits(scores, targets.to(scores), reduction="none")
    else:
        each = F.cross_entropy(scores, targets.where(counts > 0, 0), reduction="none")
    return float((each * counts).sum())


class _Part:
    """Some training rows.

    Args:
        held: 1 where a text holds a word or pair, sparse; None for none.
        vectors: of the whole texts, (rows, features).
        factor: see `_factors`.
    """

    def __init__(self, held: csr_matrix | None, vectors: np.ndarray, factor: float = 1.0) -> None:
        self.held, self.n, self.factor = held, len(vectors), factor
        self.vectors = vectors * factor
        self.n_grams = 0 if held is None else int(held.get_shape()[1])  # words and pairs
        if held is not None:
            self.scale = 1 / np.sqrt(np.maximum(np.asarray(held.sum(1)).ravel(), 1))

    def inputs(self, ratio: np.ndarray) -> csr_matrix:
        """Words and pairs multiplied by `ratio`, beside the vectors."""
        from scipy.sparse import csr_matrix, diags, hstack

        if self.held is None:
            return csr_matrix(self.vectors)
        words = self.held.copy()
        words.data = ratio[words.indices]
        return csr_matrix(hstack([diags(self.scale) @ words, csr_matrix(self.vectors)]))

    def scores(self, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Of weights and biases of `LinearScores`, (rows, outputs)."""
        told = self.vectors @ weight[self.n_grams :] / (self.factor or 1.0)
        if self.held is not None:
            told = told + self.scale[:, None] * (self.held @ weight[: self.n_grams])
        return told + bias

    def weights(self, found: np.ndarray, ratio: np.ndarray) -> np.ndarray:
        """Of `LinearScores`, from the coefficients of `inputs(ratio)`."""
        words = len(found) - self.vectors.shape[1]
        return np.concatenate([found[:words] * ratio[:words], found[words:] * self.factor])


def _fitted(
    part: _Part, targets: np.ndarray, counts: np.ndarray, n_out: int, task: str
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (words, pairs and features, outputs) and biases (outputs,)."""
    weight, bias = np.zeros((part.n_grams + part.vectors.shape[1], n_out)), np.zeros(n_out)
    if task == "regression":
        from sklearn.linear_model import Ridge

        ones = np.ones(part.n_grams)
        found = Ridge(RIDGE, solver="sparse_cg").fit(part.inputs(ones), targets.reshape(part.n, -1))
        coefficients = np.asarray(found.coef_).reshape(n_out, -1)
        columns = [part.weights(row, ones) for row in coefficients]
        return np.stack(columns, 1), np.asarray(found.intercept_).reshape(-1)
    if targets.ndim == 2:
        for label in range(n_out):
            weight[:, label], bias[label] = _one(part, targets[:, label] > 0.5, counts[:, label])
    elif n_out == 2:
        column, offset = _one(part, targets == 1, counts)
        weight[:], bias[:] = np.stack([-column, column], 1) / 2, np.array([-offset, offset]) / 2
    else:
        for number in range(n_out):
            weight[:, number], bias[number] = _one(part, targets == number, counts)
    return weight, bias


def _one(part: _Part, mine: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias of a class against all others; without examples on either side only the logarithm of
    its odds, one text added to each side.
    """
    kept = counts > 0
    own, others = (float(counts[kept & side].sum()) for side in (mine, ~mine))
    if not own or not others:
        return np.zeros(part.n_grams + part.vectors.shape[1]), math.log((own + 1) / (others + 1))
    from sklearn.linear_model import LogisticRegression

    ratio = np.ones(part.n_grams)
    if part.held is not None:
        seen, missed = (1 + part.held.T @ (counts * side) for side in (mine, ~mine))
        ratio = np.log(seen / seen.sum()) - np.log(missed / missed.sum())
        ratio /= max(1e-6, math.sqrt(float(np.mean(np.square(ratio[part.held.indices])))))
    inputs = part.inputs(ratio)
    model = LogisticRegression(C=STRENGTH, solver="liblinear", tol=1e-2)
    model.fit(inputs[kept], mine[kept], sample_weight=counts[kept] / counts[kept].mean())
    return part.weights(np.ravel(model.coef_), ratio), float(np.ravel(model.intercept_)[0])
