"""What the name of a metric tells of its direction."""

from __future__ import annotations

import pytest

from zoo_tabular.reasons.metric_direction import higher_is_better

HIGHER = [
    *("accuracy", "top_5_accuracy", "accuracy_thresh", "auc", "r2", "f2", "f0.5", "average_precision"),
    *("r2_score", "f1_score", "d2_log_loss_score", "d2_absolute_error_score", "matthews_corrcoef"),
    *("roc_auc_score", "explained_variance_score", "BinaryAccuracy", "R2Score", "MulticlassF1Score"),
]
LOWER = [
    *("mse", "rmse", "mae", "rmspe", "exp_rmspe", "perplexity", "log_loss", "brier_score_loss", "max_error"),
    *(
        "mean_squared_error",
        "mean_poisson_deviance",
        "mean_pinball_loss",
        "cross_entropy",
        "MeanSquaredError",
    ),
    *("CrossEntropyLoss", "hamming_loss", "label_ranking_loss", "Perplexity", "coverage_error"),
]
UNKNOWN = [
    "profit",
    "<lambda>",
    "brier_score",
    "neg_mean_squared_error",
    "scoreboard",
    "mae_score",
    "",
    "metric",
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [*((n, True) for n in HIGHER), *((n, False) for n in LOWER), *((n, None) for n in UNKNOWN)],
)
def test_names(name, expected) -> None:
    assert higher_is_better(None, name) is expected


def test_what_the_metric_says_itself_counts_first() -> None:
    class Score:
        higher_is_better = False

    assert higher_is_better(Score(), "score") is False
