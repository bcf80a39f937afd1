"""The quick models for texts: linear ones on words and pairs of words, as the network reads them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.quick_models import (
    FitRows,
    QuickModel,
    check_task,
    class_answers,
    class_row_weights,
    told_rows,
)
from zoo_text.data.ngrams import TOKENS, NGrams, some_rows
from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.text_ids import TextIds

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from zoo_text.data.labelled_data import TextData

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # of ridge regression


def text_models(data: TextData, task: str | None, class_weights: Tensor | None = None) -> list[QuickModel]:
    """Constants and linear models on words and pairs of words; see `ModelData.quick_models`.

    Logistic regression on TF-IDF, and on features weighted by naive Bayes (`NaiveBayesWeighted`), for values
    ridge regression on TF-IDF. The tokens are those that the network reads: its vocabulary, cut at
    `max_tokens`.

    Raises:
        ValueError: without training or validation texts.
    """
    task = check_task(data, task)
    for loader in (data.train_dl, data.valid_dl):
        if not isinstance(loader, TextLoader):
            raise ValueError(
                f"baseline(): the quick models for texts read a TextLoader, not a {type(loader).__name__}"
            )
    targets = data.train_dl.targets.cpu().numpy()
    n_out = len(data.classes) if data.classes else int(targets.reshape(len(targets), -1).shape[1])
    train, chosen = data.train_dl.texts(), None
    most = TOKENS // (n_out if task == "multilabel" or (task == "classification" and n_out > 2) else 1)
    if len(train.ids) > most:
        chosen = some_rows(train, most)
        train, targets = train.chosen(chosen), targets[chosen]
    counts = Counts(train, data.valid_dl.texts(), data.nt)
    by_class = class_row_weights(targets, class_weights) if task == "classification" else None
    numbers = (np.arange(len(train)),), (np.arange(data.valid_dl.n_rows),)
    note = told_rows(len(train), data.train_dl)
    rows = FitRows(task, *numbers, targets, n_out, by_class, note)
    if task == "regression":
        return [rows.constant(), QuickModel("TF-IDF + ridge regression", lambda: _ridge(rows, counts), note)]
    shared = "; ".join(part for part in (note, "words were counted for the model before") if part)
    return [
        rows.constant(),
        QuickModel("TF-IDF + logistic regression", lambda: _by_tfidf(rows, counts), note),
        QuickModel("naive Bayes n-grams + logistic regression", lambda: _by_bayes(rows, counts), shared),
    ]


@dataclass(frozen=True)
class Counts:
    """How often words and pairs of words occur in texts; counted once, when first asked for.

    Attributes:
        train, valid: the texts; columns are those of `train`.
        n_words: size of the vocabulary.
    """

    train: TextIds
    valid: TextIds
    n_words: int

    @cached_property
    def both(self) -> tuple[csr_matrix, csr_matrix]:
        """Of training and validation texts."""
        grams = NGrams(self.n_words)
        return grams.fit_transform(self.train), grams.transform(self.valid)


class NaiveBayesWeighted:
    """Logistic regression on the words and pairs that a text holds, each weighted by how much more often one
    class has it than the others (Wang & Manning 2012, "Baselines and Bigrams").

    The weight is the logarithm of the ratio of the shares, each count raised by one. Of more than two classes
    each is told from the others, and the probabilities are scaled to a sum of 1.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> x = csr_matrix(np.array([[1, 0, 1], [2, 0, 0], [0, 1, 1], [0, 3, 0]], np.float32))
        >>> model = NaiveBayesWeighted().fit(x, np.array([1, 1, 0, 0]))
        >>> model.predict_proba(x).argmax(1).tolist()
        [1, 1, 0, 0]
    """

    def fit(self, counts: csr_matrix, target: np.ndarray, weights: np.ndarray | None = None) -> Self:
        """Learns from counts of shape (texts, columns) and class numbers of shape (texts,)."""
        held = _held(counts)
        self.classes_ = np.unique(target)
        told = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        self._parts = [self._one(held, target == number, weights) for number in told]
        return self

    def _one(self, held: csr_matrix, mine: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, Any]:
        share = np.ones(len(mine)) if weights is None else weights
        own, other = (1 + held.T @ (share * part) for part in (mine, ~mine))
        ratio = (np.log(own / own.sum()) - np.log(other / other.sum())).astype(np.float32)
        return ratio, _logistic(1.0, _scaled(held, ratio), mine, weights)

    def predict_proba(self, counts: csr_matrix) -> np.ndarray:
        """Probabilities of shape (texts, classes)."""
        held = _held(counts)
        found = [model.predict_proba(_scaled(held, ratio))[:, 1] for ratio, model in self._parts]
        if len(found) == 1:
            return np.stack([1 - found[0], found[0]], 1)
        each = np.stack(found, 1)
        return each / each.sum(1, keepdims=True).clip(1e-12)


def _held(counts: csr_matrix) -> csr_matrix:
    """1 where a text holds a word or pair."""
    held = counts.copy()
    held.data = np.ones_like(held.data)
    return held


def _scaled(matrix: csr_matrix, factors: np.ndarray) -> csr_matrix:
    """Each column by its factor."""
    scaled = matrix.copy()
    scaled.data = matrix.data * factors[matrix.indices]
    return scaled


def _logistic(strength: float, inputs: csr_matrix, target: np.ndarray, weights: np.ndarray | None) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # a baseline that is not quite at its optimum is one still
        warnings.filterwarnings("ignore", message=".*failed to converge.*")
        return LogisticRegression(C=strength, max_iter=200).fit(inputs, target, sample_weight=weights)


class TfIdfWeighted:
    """Logistic regression on the words and pairs that a text holds, weighted by TF-IDF (sublinear counts).

    Args:
        counts: of shape (texts, columns), from which the weights are learned.
    """

    def __init__(self, counts: csr_matrix) -> None:
        from sklearn.feature_extraction.text import TfidfTransformer

        self._weighting = TfidfTransformer(sublinear_tf=True).fit(counts)

    def weighted(self, counts: csr_matrix) -> Any:
        """Counts as rows of length 1."""
        return self._weighting.transform(counts)

    def fit(self, counts: csr_matrix, target: np.ndarray, weights: np.ndarray | None = None) -> Self:
        """Learns from counts of shape (texts, columns) and class numbers of shape (texts,)."""
        self._model = _logistic(10.0, self.weighted(counts), target, weights)
        self.classes_ = self._model.classes_
        return self

    def predict_proba(self, counts: csr_matrix) -> np.ndarray:
        """Probabilities of shape (texts, classes)."""
        return self._model.predict_proba(self.weighted(counts))


def _by_bayes(rows: FitRows, counts: Counts) -> Tensor:
    train, valid = counts.both
    return class_answers(rows, lambda target: NaiveBayesWeighted().fit(train, target, rows.weights), (valid,))


def _by_tfidf(rows: FitRows, counts: Counts) -> Tensor:
    train, valid = counts.both
    return class_answers(rows, lambda target: TfIdfWeighted(train).fit(train, target, rows.weights), (valid,))


def _ridge(rows: FitRows, counts: Counts) -> Tensor:
    """Values by ridge regression, of the strength that is best for a tenth of the training texts."""
    from sklearn.linear_model import Ridge

    weighting = TfIdfWeighted(counts.both[0])
    train, valid = map(weighting.weighted, counts.both)
    targets = rows.outputs.astype("float64")
    held = np.random.default_rng(0).permutation(len(targets)) < len(targets) / 10
    strength = 1.0
    if 10 <= held.sum() < len(targets):
        errors = []
        for one in _STRENGTHS:
            model = Ridge(one, solver="sparse_cg").fit(train[~held], targets[~held])
            told = model.predict(train[held]).reshape(targets[held].shape)
            errors.append(float(np.square(told - targets[held]).mean()))
        strength = _STRENGTHS[int(np.argmin(errors))]
    values = Ridge(strength, solver="sparse_cg").fit(train, targets).predict(valid)
    return torch.from_numpy(np.asarray(values).reshape(len(rows.valid_inputs[0]), -1).astype("float32"))
