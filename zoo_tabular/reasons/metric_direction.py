"""Whether a high value of a metric is good, as its name tells. No torch here."""

from __future__ import annotations

import re
from typing import Any

LOWER_AT_THE_END = ("loss", "error", "errors", "deviance", "entropy")
LOWER = (
    *LOWER_AT_THE_END,
    "mse",
    "rmse",
    "mae",
    "mape",
    "smape",
    "msle",
    "rmsle",
    "rmspe",
    "perplexity",
    "brier",
)
HIGHER = (
    *("accuracy", "acc", "auc", "auroc", "f1", "f2", "fbeta", "precision", "recall", "score", "corrcoef"),
    *("kappa", "jaccard", "iou", "dice", "correlation", "mcc"),
)  # fmt: skip
SHARE_EXPLAINED = ("r2", "d2")  # scores whatever error they are made of, such as d2_log_loss_score


def higher_is_better(metric: Any, name: str) -> bool | None:
    """Whether high values of a metric are good; None where its name does not tell.

    An attribute `higher_is_better` of the metric counts first, as objects of torchmetrics have it. A name
    that ends in "loss", "error", "deviance" or "entropy" is one of what should be low, such as
    `brier_score_loss`; other names go by the known words in them, and must not hold words of both kinds.

    Args:
        metric: a metric of any kind.
        name: what it is called, `zoo.metrics.metric_name(metric)`.

    Example:
        >>> higher_is_better(None, "matthews_corrcoef"), higher_is_better(None, "brier_score_loss")
        (True, False)
        >>> higher_is_better(None, "profit") is None
        True
    """
    told = getattr(metric, "higher_is_better", None)
    if isinstance(told, bool):
        return told
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").split("_")
    if not words or "neg" in words or "negative" in words:
        return None
    if words[-1] in LOWER_AT_THE_END:
        return False
    if any(word in SHARE_EXPLAINED for word in words):
        return True
    high = any(word in HIGHER or re.fullmatch(r"f\d+(\.\d+)?", word) for word in words)
    low = any(word in LOWER for word in words)
    return None if high == low else high
