"""Areas under curves, which need all rows at once."""

from __future__ import annotations

from typing import Any

from zoo.data.answers.rankings import rankings


def auc(preds: Any, targets: Any) -> float:
    """Area under the ROC curve: of two classes, or the mean of those of several classes or labels.

    Of more than two classes, each is told from all others by its probability (the softmax of scores; rows
    that sum to 1 are probabilities already), and those that occur among the targets count alike (one-vs-rest,
    macro average); several labels count alike too. The scikit-learn function gives the same where every class
    occurs. NaN, with a warning, where nothing is to be told apart because all targets are equal.

    Args:
        preds: scores of the positive class, shape (rows,) or (rows, 1), or of all classes, shape
            (rows, classes), or of several labels, shape (rows, labels). Of more dimensions see `accuracy`.
        targets: class numbers, shape (rows,), or 0 and 1 in the shape of several labels. The class number
            -100, or the `ignore_index` of the loss, does not count.

    Example:
        >>> auc([[3.0, 1, 0], [2, 1, 0], [0, 0, 1], [0, 1, 0]], [0, 0, 2, 1])
        1.0
    """
    from sklearn.metrics import roc_auc_score

    parts = [roc_auc_score(truth, scores) for scores, truth in rankings(preds, targets, "auc")]
    return float(sum(parts) / len(parts))
