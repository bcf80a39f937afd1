"""The quick model beside the learner: same rows, same measures, no trace."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from tests.core.helpers import digits_learner, same, weights
from zoo import Learner, ModelData, TensorLoader
from zoo.inspect.baseline import as_outputs
from zoo.losses import Activation, MSEFlat
from zoo.metrics import accuracy, accuracy_thresh, rmse


def learner_of(x, y, n_out, **options) -> Learner:
    cut = len(x) * 2 // 3
    data = ModelData(
        TensorLoader(x[:cut], y[:cut], bs=32, shuffle=True, seed=1), TensorLoader(x[cut:], y[cut:])
    )
    return Learner(data, nn.Linear(x.shape[1], n_out), device="cpu", progress=False, **options)


def test_digits_by_logistic_regression_with_the_metrics_of_the_learner() -> None:
    learn = digits_learner(metrics=[accuracy])
    before, state = weights(learn.model), torch.get_rng_state()
    found = learn.baseline()
    assert found.name == "logistic regression"
    assert list(found.metrics) == list(learn.evaluate()) == ["valid_loss", "accuracy"]
    assert found.metrics["accuracy"] > 0.9
    assert found.learner.metrics == learn.evaluate()
    target = learn.predict_with_targs()[1]
    assert found.metrics["accuracy"] == pytest.approx((found.predictions.argmax(1) == target).mean())
    picked = found.predictions[range(len(target)), target]
    assert found.metrics["valid_loss"] == pytest.approx(-picked.mean(), rel=1e-5)
    assert same(before, weights(learn.model))
    assert torch.equal(state, torch.get_rng_state())
    shown = repr(found).splitlines()
    assert shown[0].split() == ["valid_loss", "accuracy", "seconds"]
    assert [line.rsplit(maxsplit=3)[0][:8] for line in shown[1:3]] == ["class sh", "logistic"]


def test_the_reference_is_the_share_of_the_training_classes() -> None:
    y = torch.tensor([0, 0, 1, 0] * 6)
    learn = learner_of(torch.randn(24, 2), y, 2)
    expected = -np.log([0.75, 0.25])[y[16:].numpy()].mean()
    assert learn.baseline().reference.metrics["valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_weights_of_classes_count_in_the_baseline_too() -> None:
    y = torch.tensor([0, 0, 0, 1] * 6)
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
    found = learner_of(torch.randn(24, 2), y, 2, loss_fn=weighted).baseline()
    assert found.reference.metrics["valid_loss"] == pytest.approx(np.log(2), rel=1e-5)


def test_regression_and_several_labels() -> None:
    x = torch.randn(300, 3)
    found = learner_of(x, x @ torch.tensor([1.0, -2.0, 0.5]), 1, metrics=[rmse]).baseline()
    assert found.name == "ridge regression"
    assert found.metrics["rmse"] < 0.05
    data = learner_of(x, (x[:, :2] > 0).float(), 2).data
    data.task = "multilabel"
    learn = Learner(data, nn.Linear(3, 2), metrics=[accuracy_thresh()], device="cpu", progress=False)
    assert learn.baseline().metrics["accuracy_thresh"] > 0.9


@pytest.mark.parametrize(
    ("loss", "make"),
    [
        (nn.NLLLoss(), lambda: nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1))),
        (nn.CrossEntropyLoss(), lambda: nn.Linear(3, 2)),
    ],
)
def test_outputs_mean_what_the_loss_takes_them_for(loss, make) -> None:
    x = torch.randn(200, 3)
    data = learner_of(x, (x[:, 0] > 0).long(), 2).data
    found = Learner(data, make(), loss_fn=loss, device="cpu", progress=False).baseline()
    assert 0 < found.metrics["valid_loss"] < 0.3


def test_two_classes_told_by_one_output() -> None:
    answers = torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
    found = as_outputs(answers, Activation("sigmoid"), "classification", torch.tensor([[1.0], [0.0]]))
    assert found.sigmoid().flatten().tolist() == pytest.approx([0.75, 0.1])


def test_data_without_a_quick_model_say_so() -> None:
    with pytest.raises(ValueError, match=r"shape \(rows, features\).*quick_models\(\)"):
        learner_of(torch.randn(12, 3, 2), torch.zeros(12), 1).baseline()
    learn = digits_learner()
    learn.data.valid_dl = None
    with pytest.raises(ValueError, match="needs validation rows"):
        learn.baseline()


def test_bfloat16_inputs_have_a_baseline_too() -> None:
    x = torch.randn(300, 3)
    learn = learner_of(x.bfloat16(), (x[:, 0] > 0).long(), 2, metrics=[accuracy])
    learn.model.bfloat16()
    assert learn.baseline().metrics["accuracy"] > 0.9


def test_rows_whose_targets_do_not_count_are_left_out() -> None:
    x = torch.randn(600, 3)
    y = (x[:, 0] > 0).long()
    y[::5] = -100
    found = learner_of(x, y, 2, loss_fn=nn.CrossEntropyLoss()).baseline()
    kept = y[:400][y[:400] >= 0]
    shares = torch.bincount(kept) / len(kept)
    valid = y[400:][y[400:] >= 0]
    assert found.reference.metrics["valid_loss"] == pytest.approx(
        -shares.log()[valid].mean().item(), rel=1e-3
    )
    assert found.metrics["valid_loss"] < 0.2
    with pytest.raises(ValueError, match="no training row has a class"):
        learner_of(x, torch.full((600,), -100), 2, loss_fn=nn.CrossEntropyLoss()).baseline()


def test_targets_that_are_shares_of_the_classes() -> None:
    x = torch.randn(600, 3)
    y = torch.stack([(2 * x[:, 0]), torch.zeros(600), x[:, 1]], 1).softmax(1)
    found = learner_of(x, y, 3, loss_fn=nn.CrossEntropyLoss()).baseline()
    mean = -(y[400:] * y[:400].mean(0).log()).sum(1).mean().item()
    least = -(y[400:] * y[400:].log()).sum(1).mean().item()
    assert found.reference.metrics["valid_loss"] == pytest.approx(mean, rel=1e-4)
    assert found.metrics["valid_loss"] == pytest.approx(least, rel=0.02)


def test_a_loss_that_does_not_tell_what_whole_numbers_mean_is_named() -> None:
    x = torch.randn(300, 3)
    y = (x[:, 0] > 0).long()
    loss = lambda preds, targets: nn.functional.cross_entropy(preds, targets)  # noqa: E731
    with pytest.raises(ValueError, match=r"does not tell what outputs mean.*set data.task"):
        learner_of(x, y, 2, loss_fn=loss).baseline()
    data = learner_of(x, y, 2).data
    data.task = "classification"
    told = Learner(data, nn.Linear(3, 2), loss_fn=loss, device="cpu", progress=False)
    assert told.baseline().metrics["valid_loss"] < 0.3
    values = learner_of(x, (3 * x[:, :1]).long(), 1, loss_fn=MSEFlat()).baseline()
    assert values.name == "ridge regression"


def counts_of_rows() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(600, 3)
    return x, torch.poisson((1 + x[:, :1]).exp())


def test_a_loss_of_logarithms_gets_the_logarithms_of_the_baselines_values() -> None:
    x, y = counts_of_rows()
    loss = nn.PoissonNLLLoss()
    learn = learner_of(x, y, 1, loss_fn=loss, metrics=[rmse])
    learn.fit(0.02, 20)
    found = learn.baseline()
    mean, valid = y[:400].mean().log(), y[400:]
    assert found.reference.metrics["valid_loss"] == pytest.approx(
        loss(torch.full_like(valid, mean), valid).item(), rel=1e-4
    )
    logs = torch.from_numpy(found.predictions)
    assert found.metrics["valid_loss"] == pytest.approx(loss(logs, valid).item(), rel=1e-4)
    assert found.metrics["rmse"] == pytest.approx(float(rmse(logs, valid)), rel=1e-4)
    assert found.metrics["valid_loss"] < 0  # a line knows something of counts
    assert "logarithms" in found.note


def test_a_poisson_loss_of_rates_gets_the_values() -> None:
    x, y = counts_of_rows()
    plain = nn.PoissonNLLLoss(log_input=False)
    for loss in (plain, functools.partial(nn.functional.poisson_nll_loss, log_input=False)):
        found = learner_of(x, y, 1, loss_fn=loss).baseline()
        expected = plain(torch.full_like(y[400:], y[:400].mean()), y[400:]).item()
        assert found.reference.metrics["valid_loss"] == pytest.approx(expected, rel=1e-4)
        assert "logarithms" not in found.note
