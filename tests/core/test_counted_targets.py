"""Which targets a metric and the validation loss count, and where the classes stand: as the loss has it."""

import math
from functools import partial, wraps

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score
from torch import Tensor, nn

from zoo import Learner, ModelData, TensorLoader
from zoo.losses import CrossEntropyFlat, MSEFlat, counted_by, ignored_by
from zoo.metrics import (
    MisfitError,
    Perplexity,
    Summed,
    accuracy,
    accuracy_thresh,
    auc,
    batch_mean,
    error_rate,
    f1,
    fbeta,
    mcc,
    sklearn_metric,
    streaming,
    top_k_accuracy,
)
from zoo_tabular.metrics import average_precision

BY_CLASS = ["accuracy", "error_rate", "f1", "precision", "recall", "mcc", "perplexity", "auc"]


def padded(ignored: int = -100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores of 3 classes, shape (40, 6, 3), and targets, of each row of which another share is padding."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(40, 6, 3, generator=generator)
    targets = torch.randint(0, 3, (40, 6), generator=generator)
    targets[torch.arange(6) >= 1 + torch.arange(40)[:, None] % 6] = ignored
    targets[8:16] = ignored  # a batch without any
    return scores, targets


def evaluated(scores: Tensor, targets: Tensor, loss, metrics=BY_CLASS, size: int = 8) -> dict[str, float]:
    data = ModelData(None, TensorLoader(scores, targets, bs=size))
    return Learner(data, nn.Identity(), device="cpu", loss_fn=loss, metrics=metrics).evaluate()


# -- targets that do not count


@pytest.mark.parametrize("ignored", [-100, 7], ids=["default", "own"])
def test_targets_that_the_loss_leaves_out_count_in_no_metric(ignored):
    scores, targets = padded(ignored)
    kept = targets != ignored
    loss = CrossEntropyFlat(ignore_index=ignored)
    found = evaluated(scores, targets, loss)
    alone = evaluated(scores[kept], targets[kept], CrossEntropyFlat(), size=1000)
    assert list(found) == list(alone)
    assert found == pytest.approx(alone, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["valid_loss"]), rel=1e-5)


@pytest.mark.parametrize(
    "metric", [accuracy, error_rate, top_k_accuracy(2), f1, mcc, auc, average_precision, Perplexity],
    ids=lambda metric: metric.__name__,
)  # fmt: skip
def test_called_by_hand_targets_of_minus_100_do_not_count(metric):
    scores, targets = padded()
    kept = targets != -100

    def value(preds, truth):
        if not isinstance(metric, type):
            return float(metric(preds, truth))
        meter = metric()
        meter.update(preds, truth)
        return meter.compute()

    assert value(scores, targets) == pytest.approx(value(scores[kept], targets[kept]), rel=1e-6)


def test_bytes_are_compared_as_the_numbers_they_are():
    scores = torch.eye(200)
    assert accuracy(scores, torch.arange(200, dtype=torch.uint8)).item() == 1.0  # 156 is -100 modulo 256
    assert auc(scores, np.arange(200, dtype=np.uint8)) == 1.0


@pytest.mark.filterwarnings("ignore:the metric .* could not be computed")
def test_where_no_target_counts_there_is_no_value():
    scores, targets = padded()
    found = evaluated(scores[8:16], targets[8:16], CrossEntropyFlat(), ["accuracy", "error_rate", "auc"])
    assert all(math.isnan(value) for value in found.values())
    assert math.isnan(accuracy(scores[8:16], targets[8:16]).item())


def test_the_score_of_predictions_leaves_out_what_the_loss_leaves_out():
    scores, targets = padded(ignored=0)
    loss = CrossEntropyFlat(ignore_index=0)
    data = ModelData(None, TensorLoader(scores, targets, bs=8))
    learn = Learner(data, nn.Identity(), device="cpu", loss_fn=loss, metrics=BY_CLASS)
    wanted = learn.evaluate()
    del wanted["valid_loss"]
    assert learn.score(*learn.predict_with_targs()) == pytest.approx(wanted, rel=1e-5)


def test_scikit_learn_functions_do_not_see_what_does_not_count():
    scores, targets = padded(ignored=5)
    kept = targets != 5
    given = [
        sklearn_metric(f1_score, average="macro"),
        log_loss,
        sklearn_metric(roc_auc_score, multi_class="ovr"),
    ]
    found = evaluated(scores, targets, CrossEntropyFlat(ignore_index=5), given)
    probs, truth = scores[kept].double().softmax(-1), targets[kept]
    assert found["f1_score"] == pytest.approx(f1_score(truth, probs.argmax(1), average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(truth, probs), rel=1e-5)
    assert found["roc_auc_score"] == pytest.approx(roc_auc_score(truth, probs, multi_class="ovr"), rel=1e-5)


# -- batches of different length


def ragged() -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(3)
    return [(torch.randn(4, n, 5), torch.randint(0, 5, (4, n))) for n in (2, 20, 3)]


def flat(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return (
        torch.cat([scores.reshape(-1, scores.shape[-1]) for scores, _ in rows]),
        torch.cat([targets.reshape(-1, *targets.shape[2:]) for _, targets in rows]),
    )


def streamed(metric, rows) -> float:
    meter = streaming(metric)
    for preds, targets in rows:
        meter.update(preds, targets)
    return float(meter.compute())


@pytest.mark.parametrize("metric", [accuracy, error_rate, top_k_accuracy(2), f1], ids=lambda m: m.__name__)
def test_batches_of_unlike_length_give_the_value_of_all_their_tokens(metric):
    rows = ragged()
    assert isinstance(streaming(metric), Summed)
    assert streamed(metric, rows) == pytest.approx(float(metric(*flat(rows))), rel=1e-6)


@pytest.mark.parametrize("metric", [accuracy_thresh(), fbeta(1, 0.5)], ids=lambda m: m.__name__)
def test_labels_of_batches_of_unlike_length_give_the_value_of_all(metric):
    rows = [(scores, (scores + torch.randn_like(scores) > 0).float()) for scores, _ in ragged()]
    assert streamed(metric, rows) == pytest.approx(float(metric(*flat(rows))), rel=1e-6)


def test_fbeta_of_steps_is_that_of_all_steps_as_rows():
    torch.manual_seed(0)
    scores, truth = torch.rand(40, 7, 5), (torch.rand(40, 7, 5) > 0.5).long()
    expected = fbeta(1, 0.5)(scores.reshape(-1, 5), truth.reshape(-1, 5)).item()
    assert fbeta(1, 0.5)(scores, truth).item() == pytest.approx(expected)


LOSSES = {
    "flat": CrossEntropyFlat(ignore_index=0),
    "flat weighted": CrossEntropyFlat(weight=torch.tensor([1.0, 9, 0.1, 1, 2])),
    "smooth": CrossEntropyFlat(weight=torch.tensor([1.0, 9, 0.1, 1, 2]), label_smoothing=0.2),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_the_validation_loss_is_that_of_all_tokens_at_once(kind):
    rows, loss = ragged(), LOSSES[kind]
    learn = Learner(ModelData(rows, rows), nn.Identity(), device="cpu", loss_fn=loss)
    assert learn.evaluate()["valid_loss"] == pytest.approx(loss(*flat(rows)).item(), rel=1e-6)


WEIGHT = torch.tensor([1.0, 9, 0.1, 1, 2])
OF_TORCH = {
    "cross entropy": nn.CrossEntropyLoss(),
    "weighted": nn.CrossEntropyLoss(WEIGHT),
    "ignoring": nn.CrossEntropyLoss(WEIGHT, ignore_index=1, label_smoothing=0.1),
    "likelihood": nn.NLLLoss(WEIGHT, ignore_index=1),
    "function": F.cross_entropy,
    "partial": partial(F.cross_entropy, weight=WEIGHT, ignore_index=2),
    "partial likelihood": partial(F.nll_loss, weight=WEIGHT),
}


@pytest.mark.parametrize("kind", OF_TORCH)
def test_the_validation_loss_does_not_depend_on_the_batch_size(kind):
    torch.manual_seed(0)
    loss, scores, targets = OF_TORCH[kind], torch.randn(60, 5).log_softmax(1), torch.arange(60) % 13 % 5
    expected = loss(scores, targets).item()
    for size in (1, 7, 60):
        assert evaluated(scores, targets, loss, [], size)["valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_losses_that_are_no_means_over_classes_are_weighed_by_rows():
    class Own(nn.CrossEntropyLoss):
        def forward(self, preds, targets):
            return super().forward(preds, targets) * 2

    targets = torch.tensor([0, 1, -100])
    for loss in (MSEFlat(), Own(), nn.CrossEntropyLoss(reduction="sum"), lambda p, t: p.sum()):
        assert counted_by(loss, targets) is None
    assert counted_by(nn.CrossEntropyLoss(), targets.float()) is None
    assert counted_by(nn.CrossEntropyLoss(), (targets, targets)) is None
    assert counted_by(partial(F.cross_entropy, ignore_index=1), targets).item() == 2
    assert ignored_by(partial(F.cross_entropy, ignore_index=1)) == 1


def test_shares_of_classes_are_weighed_by_rows():
    torch.manual_seed(0)
    scores, shares = torch.randn(50, 5), torch.rand(50, 5).softmax(1)
    found = evaluated(scores, shares, nn.CrossEntropyLoss(WEIGHT), [], 7)
    assert found["valid_loss"] == pytest.approx(nn.CrossEntropyLoss(WEIGHT)(scores, shares).item(), rel=1e-5)


def test_a_function_around_a_metric_is_called_itself():
    @wraps(accuracy)
    def mine(preds, targets):
        return accuracy(preds, targets) / 2

    scores, targets = flat(ragged())
    assert streamed(mine, [(scores, targets)]) == pytest.approx(accuracy(scores, targets).item() / 2)
    chosen = accuracy_thresh(0.3)
    chosen.__name__ = "acc_30"
    assert streaming(chosen).name == "acc_30"


def test_a_mean_of_rows_by_hand_is_weighed_by_rows():
    @batch_mean
    def own(preds, targets):
        return preds.mean()

    assert streamed(own, [(torch.ones(3, 1), torch.zeros(3)), (torch.zeros(1, 1), torch.zeros(1))]) == 0.75


# -- where the classes stand


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 16, 4), (3, 2, 9)])
def test_maps_of_classes_are_measured_along_the_axis_of_the_loss(shape):
    torch.manual_seed(0)
    x = torch.randn(12, *shape)
    y = (x + torch.randn_like(x)).argmax(1)
    y[:, 0, 0] = -100
    rows = x.movedim(1, -1).reshape(-1, shape[0]), y.reshape(-1)
    for loss in (nn.CrossEntropyLoss(), F.cross_entropy, CrossEntropyFlat(axis=1)):
        found = evaluated(x, y, loss, [*BY_CLASS, log_loss, average_precision], 5)
        alone = evaluated(*rows, nn.CrossEntropyLoss(), [*BY_CLASS, log_loss, average_precision], 1000)
        assert found == pytest.approx(alone, rel=1e-4)
    found = evaluated(x.log_softmax(1), y, nn.NLLLoss(), ["accuracy", "perplexity"], 5)
    assert found["accuracy"] == pytest.approx(alone["accuracy"])
    data = ModelData(None, TensorLoader(x, y, bs=5))
    learn = Learner(
        data, nn.Identity(), device="cpu", loss_fn=nn.CrossEntropyLoss(), metrics=["accuracy", "f1"]
    )
    wanted = {name: alone[name] for name in ("accuracy", "f1")}
    assert learn.score(*learn.predict_with_targs()) == pytest.approx(wanted, rel=1e-5)


def test_by_hand_the_axis_of_the_classes_is_the_one_that_fits_the_targets():
    y = torch.randint(0, 3, (4, 8, 6))
    x = F.one_hot(y, 3).movedim(-1, 1).float()
    for metric in (accuracy, f1, auc, sklearn_metric(f1_score, average="macro")):
        assert float(metric(x, y)) == 1.0
        assert float(metric(x.movedim(1, -1), y)) == 1.0
        assert float(metric(x.movedim(1, -1), y.flatten())) == 1.0
    with pytest.raises(MisfitError, match=r"\(4, 8, 3\) do not fit targets of shape \(8, 4\)"):
        accuracy(torch.randn(4, 8, 3), torch.zeros(8, 4).long())  # as many, and yet others


def test_a_loss_that_flattens_by_itself_may_have_classes_last():
    class Flattens(nn.CrossEntropyLoss):
        def forward(self, preds, targets):
            return super().forward(preds.reshape(-1, preds.shape[-1]), targets.reshape(-1))

    torch.manual_seed(0)
    x = torch.randn(9, 5, 3)
    assert evaluated(x, x.argmax(-1), Flattens(), ["accuracy", "f1"])["f1"] == 1.0


def test_average_precision_of_two_classes_leaves_targets_out():
    scores, targets = padded()
    pair, targets = scores[..., :2], targets.where(targets != 2, -100)
    kept = targets != -100
    ranked = (pair[..., 1] - pair[..., 0])[kept]
    assert average_precision(pair, targets) == pytest.approx(average_precision_score(targets[kept], ranked))
