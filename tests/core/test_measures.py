"""Metrics in a fit: refused before it where they cannot work, and no end of it where one epoch has none."""

import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, fbeta_score, log_loss, matthews_corrcoef, precision_score, recall_score
from torch import nn

import zoo
from tests.core.helpers import digits_data, digits_learner
from zoo import Learner, ModelData, TensorLoader, fit
from zoo.metrics import (
    MisfitError,
    Summed,
    accuracy,
    accuracy_thresh,
    auc,
    batch_mean,
    best_threshold,
    error_rate,
    f1,
    fbeta,
    mae,
    mcc,
    metric_list,
    mse,
    precision,
    r2,
    recall,
    rmse,
    sklearn_metric,
    streaming,
    top_k_accuracy,
)


def in_batches(metric, preds, targets, size=7):
    meter = streaming(metric)
    for start in range(0, len(targets), size):
        meter.update(preds[start : start + size], targets[start : start + size])
    return meter.compute()


def in_parts(metric, preds, targets):
    """As two processes would count it that saw some of the rows each."""
    halves = []
    for rows in (slice(0, 20), slice(20, None)):
        meter = streaming(metric)
        meter.update(preds[rows], targets[rows])
        halves.append(meter.sums())
    meter = streaming(metric)
    meter.combine(halves)
    return meter.compute()


# -- what metrics take


@pytest.mark.parametrize("form", [torch.tensor, np.array, list], ids=["tensor", "numpy", "list"])
def test_every_metric_takes_tensors_arrays_and_lists(form):
    scores, classes = [[0.1, 2.0, 0.3], [3.0, 0.2, 0.1], [0.5, 0.1, 0.4]], [1, 0, 2]
    for metric in (accuracy, top_k_accuracy(2), f1, mcc, auc, sklearn_metric(f1_score, average="macro")):
        assert float(metric(form(scores), form(classes))) > 0
    assert float(error_rate(form(scores), form(classes))) == pytest.approx(1 / 3)
    labels = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    for metric in (fbeta(), accuracy_thresh(), f1, precision, recall):
        assert float(metric(form(scores), form(labels))) > 0
    for metric in (rmse, mae, mse, r2):
        assert math.isfinite(metric(form([1.0, 2.0, 4.0]), form([1.5, 2.0, 3.0])))


def test_numbers_keep_their_precision_whatever_holds_them():
    base = np.array([1e9, 1e9 + 1, 1e9 + 2])
    assert mse(base + 0.125, base) == pytest.approx(1 / 64)
    assert rmse(np.float16([1.0]), [2]) == 1.0


def test_probabilities_are_not_squashed_twice():
    probs, truth = torch.tensor([[0.9, 0.01, 0.01, 0.01]]), torch.tensor([[1.0, 0, 0, 0]])
    assert float(fbeta()(probs, truth)) == float(fbeta(sigmoid=False)(probs, truth)) == 1.0
    assert float(fbeta()(probs.logit(), truth)) == 1.0
    assert float(accuracy_thresh()(probs, truth)) == 1.0
    softmax = torch.tensor([[0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.5, 0.2, 0.3]])
    classes = torch.tensor([0, 0, 1, 2])
    given = sklearn_metric(log_loss)(softmax, classes)
    assert given == pytest.approx(log_loss(classes, softmax))
    assert auc(softmax, classes) == pytest.approx(auc(softmax.log(), classes))


def test_what_may_be_scores_or_logarithms_is_not_guessed():
    with pytest.raises(ValueError, match=r"no prediction is above 0.*learn.score"):
        fbeta()([[-0.1, -2.0]], [[1, 0]])
    assert float(fbeta(sigmoid=True)([[-0.1, -2.0]], [[1, 0]])) == 1.0


def test_in_a_fit_outputs_are_scores_whatever_their_range():
    """Raw scores that all lie in [0, 1] would look like probabilities, also to a metric that calls
    another.
    """
    x = torch.rand(20, 3)
    y = (torch.arange(60).reshape(20, 3) % 3 == 0).float()
    data = ModelData(None, TensorLoader(x, y, bs=5))
    data.task = "multilabel"
    learn = Learner(data, nn.Identity(), device="cpu", metrics=[fbeta(), lambda p, t: fbeta()(p, t)])
    expected = fbeta_score(y, x.sigmoid() > 0.2, beta=2, average="samples")
    found = learn.evaluate()
    assert found["f2"] == pytest.approx(expected)
    assert found["<lambda>"] == pytest.approx(expected)
    assert expected != pytest.approx(float(fbeta()(x, y)))


def test_outputs_that_are_probabilities_are_known_by_the_loss():
    x, y = torch.rand(20, 3), (torch.rand(20, 3) > 0.5).float()
    data = ModelData(None, TensorLoader(x, y, bs=5))
    learn = Learner(data, nn.Identity(), device="cpu", loss_fn=nn.BCELoss(), metrics=[accuracy_thresh()])
    assert learn.evaluate()["accuracy_thresh"] == pytest.approx(
        float(((x > 0.5) == (y > 0.5)).float().mean())
    )


# -- values


def some_rows(classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(60, classes, generator=generator), torch.randint(
        0, classes, (60,), generator=generator
    )


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("classes", [2, 3, 9])
def test_counts_give_what_scikit_learn_gives(average, classes):
    preds, targets = some_rows(classes)
    guessed = preds.argmax(1)
    for ours, theirs in ((precision, precision_score), (recall, recall_score), (f1, f1_score)):
        expected = theirs(targets, guessed, average=average, zero_division=0)
        metric = partial(ours, average=average)
        assert metric(preds, targets) == pytest.approx(expected)
        assert in_batches(metric, preds, targets) == pytest.approx(expected)
        assert in_parts(metric, preds, targets) == pytest.approx(expected)
    assert mcc(preds, targets) == pytest.approx(matthews_corrcoef(targets, guessed))
    assert in_parts(mcc, preds, targets) == pytest.approx(matthews_corrcoef(targets, guessed))


def test_two_classes_are_told_by_the_second_one():
    preds, targets = some_rows(2)
    expected = f1_score(targets, preds.argmax(1))
    assert f1(preds, targets) == pytest.approx(expected)
    one = preds[:, 1] - preds[:, 0]
    for shape in ((60,), (60, 1)):
        assert f1(one.reshape(shape), targets) == pytest.approx(expected)
        assert in_batches(mcc, one.reshape(shape), targets) == pytest.approx(
            matthews_corrcoef(targets, one > 0)
        )
    with pytest.raises(MisfitError, match="average='binary' is for two classes, there are 3"):
        f1(*some_rows(3), average="binary")


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_counts_of_several_labels_give_what_scikit_learn_gives(average):
    torch.manual_seed(0)
    scores, truth = torch.randn(60, 5), (torch.rand(60, 5) > 0.7).float()
    scores[:, 4], truth[:, 3] = -9.0, 0.0
    for ours, theirs in ((precision, precision_score), (recall, recall_score), (f1, f1_score)):
        expected = theirs(truth, scores > 0, average=average, zero_division=0)
        assert ours(scores, truth, average=average) == pytest.approx(expected)
        assert in_batches(partial(ours, average=average), scores, truth) == pytest.approx(expected)
    with pytest.raises(MisfitError, match="one class a row"):
        mcc(scores, truth)


def test_absent_classes_and_ignored_targets_do_not_count():
    preds, targets = some_rows(5)
    kept = targets < 3
    targets[~kept] = -100
    preds[:, 3:] = -9
    expected = f1_score(targets[kept], preds[kept].argmax(1), average="macro")
    assert f1(preds, targets) == pytest.approx(expected)
    with pytest.raises(ValueError, match="2 targets are none of the 5 classes"):
        f1(preds, targets.index_fill(0, torch.tensor([0, 1]), 7))
    with pytest.raises(ValueError, match=r"average must be one of .* got 'samples'.*fbeta\(beta=1\)"):
        f1(preds, targets, average="samples")


@pytest.mark.parametrize("metric", [rmse, mae, mse, r2, accuracy, error_rate, top_k_accuracy(2), f1, mcc])
def test_metrics_that_add_up_keep_no_outputs_and_give_the_whole_value(metric):
    preds, targets = some_rows(4)
    if metric in (rmse, mae, mse, r2):
        preds, targets = preds[:, :1] + 1e6, preds[:, 1] + 1e6
    assert isinstance(streaming(metric), Summed)
    expected = pytest.approx(float(metric(preds.double(), targets)), rel=1e-6)
    assert in_batches(metric, preds.double(), targets) == expected
    assert in_parts(metric, preds.double(), targets) == expected


def test_best_threshold_is_the_best_of_all():
    torch.manual_seed(0)
    truth = (torch.rand(40, 6) > 0.7).double()
    probs = (truth * 0.4 + torch.rand(40, 6).double() * 0.6).round(decimals=2)  # with ties
    truth[0] = 0
    best = best_threshold(probs, truth)
    tried = [float(fbeta(2, t)(probs, truth)) for t in np.linspace(0, 1, 2001)]
    assert best.score == pytest.approx(max(tried))
    assert float(fbeta(2, best.thresh)(probs, truth)) == pytest.approx(best.score)
    each = best_threshold(probs.numpy(), truth.numpy(), beta=1, per_class=True)
    for label in range(6):
        chosen = probs[:, label] > each.thresh[label]
        assert fbeta_score(truth[:, label], chosen, beta=1) == pytest.approx(each.score[label])
        sweep = [
            fbeta_score(truth[:, label], probs[:, label] > t, beta=1, zero_division=0)
            for t in np.linspace(0, 0.99, 100)
        ]
        assert each.score[label] >= max(sweep) - 1e-12
    with pytest.raises(ValueError, match="needs probabilities, got values from -2"):
        best_threshold([[-2.0]], [[1.0]])


# -- what is refused before a fit


REFUSED = {
    "uncalled": (accuracy_thresh, r"accuracy_thresh makes a metric.*\[accuracy_thresh\(\)\]"),
    "uncalled partial": (partial(fbeta, thresh=0.2), r"metrics=\[fbeta\(thresh=0.2\)\]"),
    "arity": (lambda preds: 0.0, r"cannot be called with \(predictions, targets\)"),
    "own factory": (lambda: accuracy, r"if it makes a metric, call it"),
    "no function": (3, "a metric is a function"),
    "none": (None, "a metric is a function"),
    "class": (dict, "got the class dict"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_be_no_metric_is_refused_before_the_fit(kind):
    metric, message = REFUSED[kind]
    learn = digits_learner()
    with pytest.raises(TypeError, match=message):
        learn.fit(0.01, 1, metrics=[metric])
    with pytest.raises(TypeError, match=message):
        digits_learner(metrics=[metric])
    with pytest.raises(TypeError, match=message):
        learn.evaluate(metrics=[metric])
    opt = torch.optim.SGD(learn.model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=message):
        zoo.fit(learn.model, learn.data, 1, opt, nn.functional.cross_entropy, [metric])
    assert learn.history == []


def test_a_single_metric_is_no_list():
    learn = digits_learner()
    with pytest.raises(TypeError, match=r"metrics must be a list, such as \[accuracy\]"):
        learn.metrics = accuracy  # type: ignore[assignment]


def test_metrics_go_by_name():
    learn = digits_learner(metrics=["accuracy", "f1", "error_rate", "mcc", "top_5_accuracy"])
    row = learn.fit(0.01, 1)[0]
    assert row["error_rate"] == pytest.approx(1 - row["accuracy"])
    assert row["f1"] == pytest.approx(learn.evaluate(metrics=[f1])["f1"])
    with pytest.raises(ValueError, match=r"no metric called 'acuracy' \(did you mean 'accuracy'\?\)"):
        digits_learner(metrics=["acuracy"])
    assert metric_list(["own"], {"own": rmse}) == [rmse]


@pytest.mark.parametrize("error", [TypeError, AttributeError, NameError])
def test_a_mistake_in_a_metric_is_told_in_the_first_batch(error):
    def mine(preds, targets):
        raise error("a mistake")

    learn = digits_learner()
    before = learn.model.head.weight.clone()
    with pytest.raises(error, match="a mistake"):
        learn.fit(0.01, 1, metrics=[mine])
    assert torch.equal(before, learn.model.head.weight)
    assert learn.history == []


def test_predictions_that_no_metric_could_compare_are_told_in_the_first_batch():
    learn = digits_learner()
    for metric in (accuracy_thresh(), rmse, fbeta()):
        with pytest.raises(MisfitError, match=r"fit|shape"):
            learn.fit(0.01, 1, metrics=[metric])
    assert learn.history == []


def test_the_first_look_changes_nothing():
    class Draws:
        def __call__(self, preds, targets):
            torch.rand(3)
            preds.zero_()
            return 0.0

    plain, looked = digits_learner(seed=3), digits_learner(seed=3, metrics=[Draws()])
    zoo.set_seed(1)
    plain.fit(0.01, 1)
    zoo.set_seed(1)
    looked.fit(0.01, 1)
    assert plain.sched.losses == looked.sched.losses


def test_torch_losses_do_not_pair_everything_with_everything():
    x = torch.rand(32, 2)
    data = ModelData(TensorLoader(x, x[:, 0], bs=8), TensorLoader(x, x[:, 0], bs=8))
    net = nn.Linear(2, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(MisfitError, match=r"predictions of shape \(8, 1\), targets of shape \(8,\)"):
        zoo.fit(net, data, 1, opt, nn.functional.mse_loss)


# -- a metric never ends a fit


def test_a_metric_that_one_epoch_has_no_value_for_is_nan_and_told_once():
    x = torch.randn(64, 4)
    y = (x.sum(1) > 0).long()
    data = ModelData(TensorLoader(x, y, bs=16), TensorLoader(x[y == 1], y[y == 1], bs=16))
    metric = sklearn_metric(log_loss, on="probs")
    learn = Learner(data, nn.Linear(4, 2), device="cpu", progress=False, metrics=[metric, accuracy])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        rows = learn.fit(0.1, 3)
    assert [math.isnan(row["log_loss"]) for row in rows] == [True] * 3
    assert all(math.isfinite(row["accuracy"]) for row in rows)
    assert [str(one.message) for one in told if "log_loss" in str(one.message)] == [
        "the metric 'log_loss' could not be computed and is NaN: ValueError: y_true contains only one label "
        "(1). Please provide the list of all expected class labels explicitly through the labels argument."
    ]


def test_a_metric_that_fails_in_one_batch_is_nan_for_the_epoch():
    @batch_mean
    def fussy(preds, targets):
        if len(preds) < 100:
            raise ValueError("too few")
        return 1.0

    learn = digits_learner()
    with pytest.warns(UserWarning, match="'fussy' could not be computed"):
        assert math.isnan(learn.evaluate(metrics=[fussy])["fussy"])  # 597 rows in batches of 256


# -- predictions that exist


def test_score_gives_what_evaluate_gives():
    learn = digits_learner()
    learn.fit(0.01, 1)
    wanted = {k: v for k, v in learn.evaluate(metrics=["accuracy", "f1", "auc"]).items() if k != "valid_loss"}
    preds, targets = learn.predict_with_targs()
    for given in (preds, np.exp(preds), torch.tensor(preds), preds.tolist(), learn.predict(log=False)):
        assert learn.score(given, targets, ["accuracy", "f1", "auc"]) == pytest.approx(wanted, rel=1e-5)
    assert learn.score(preds, targets, [accuracy], log=True)["accuracy"] == pytest.approx(wanted["accuracy"])
    with pytest.raises(ValueError, match="log=False, but these are logarithms"):
        learn.score(preds, targets, [accuracy], log=False)
    with pytest.raises(ValueError, match="neither probabilities nor their logarithms"):
        learn.score(preds + 5, targets, [accuracy])
    assert float(accuracy(*learn.predict_with_targs())) == pytest.approx(wanted["accuracy"])
    assert float(accuracy(*learn.predict_with_targs(log=False))) == pytest.approx(wanted["accuracy"])


def test_score_of_several_labels_takes_probabilities_and_their_logarithms():
    torch.manual_seed(0)
    x, y = torch.randn(40, 3), (torch.rand(40, 3) > 0.6).float()
    data = ModelData(None, TensorLoader(x, y, bs=9))
    data.task = "multilabel"
    learn = Learner(data, nn.Linear(3, 3), device="cpu", metrics=[fbeta(), auc])
    wanted = {k: v for k, v in learn.evaluate().items() if k != "valid_loss"}
    for log in (True, False):
        assert learn.score(*learn.predict_with_targs(log=log)) == pytest.approx(wanted)
    assert float(fbeta()(learn.predict_proba(), y)) == pytest.approx(wanted["f2"])


@pytest.mark.parametrize("kind", ["sigmoid", "softmax", "exp"])
def test_score_of_a_calibrated_learner_gives_what_evaluate_gives(kind):
    torch.manual_seed(0)
    scores = torch.randn(600, 3)
    sampled = (torch.rand(600, 3) < scores.sigmoid()).float()
    classes = torch.multinomial(scores.softmax(1), 1)[:, 0]
    x, y, loss, metric = {
        "sigmoid": (scores * 4, sampled, nn.BCEWithLogitsLoss(), fbeta()),
        "softmax": (scores * 4, classes, nn.CrossEntropyLoss(), sklearn_metric(log_loss)),
        "exp": ((scores * 4).log_softmax(1), classes, nn.NLLLoss(), sklearn_metric(log_loss)),
    }[kind]
    data = ModelData(None, TensorLoader(x, y, bs=50))
    data.task, data.classes = "multilabel" if kind == "sigmoid" else "classification", list("abc")
    learn = Learner(data, nn.Identity(), device="cpu", loss_fn=loss, metrics=[metric])
    wanted = {k: v for k, v in learn.evaluate().items() if k != "valid_loss"}
    assert learn.calibrate().temperature > 2
    for log in (True, False):
        assert learn.score(*learn.predict_with_targs(log=log)) == pytest.approx(wanted, rel=1e-4)
    both = zoo.Ensemble([learn])  # whose evaluation is of calibrated members
    wanted = {k: v for k, v in both.evaluate().items() if k != "valid_loss"}
    assert both.score(*both.predict_with_targs()) == pytest.approx(wanted, rel=1e-4)


def test_predictions_that_may_be_probabilities_or_logarithms_are_not_guessed():
    x, y = torch.full((5, 2), 200.0), torch.ones(5, 2)
    data = ModelData(None, TensorLoader(x, y, bs=5))
    data.task = "multilabel"
    learn = Learner(data, nn.Identity(), device="cpu", metrics=[accuracy_thresh()])
    logs = learn.predict()
    assert not logs.any()
    with pytest.raises(ValueError, match=r"all predictions are 0.*log=False or log=True"):
        learn.score(logs, y)
    assert learn.score(logs, y, log=True) == {"accuracy_thresh": 1.0}
    assert learn.score(logs, y, log=False) == {"accuracy_thresh": 0.0}
    assert learn.score(logs - 1e-6, y) == {"accuracy_thresh": 1.0}  # no probability is below 0
    assert learn.score(np.ones((5, 2)), y) == {"accuracy_thresh": 1.0}


def test_score_of_numbers_in_the_users_units_is_that_on_the_models_scale():
    class Logs(ModelData):
        task = "regression"

        def invert_target(self, values):
            return np.exp(values)

    class BackAndForth(Logs):
        def model_target(self, values):
            return np.log(values)

    x = torch.randn(40, 2)
    loader = TensorLoader(x, x.sum(1, keepdim=True), bs=16)
    learn = Learner(BackAndForth(None, loader), nn.Linear(2, 1), device="cpu", metrics=["rmse"])
    assert learn.score(*learn.predict_with_targs())["rmse"] == pytest.approx(
        learn.evaluate()["rmse"], rel=1e-5
    )
    learn = Learner(Logs(None, loader), nn.Linear(2, 1), device="cpu", metrics=["rmse"])
    with pytest.raises(TypeError, match="no model_target"):
        learn.score(*learn.predict_with_targs())


def test_whole_numbers_and_one_output_are_refused_with_the_way_out():
    x = torch.randn(64, 4)
    data = ModelData(TensorLoader(x, (3 * x.sum(1)).long(), bs=32))
    with pytest.raises(ValueError, match=r"single output: for numbers .* loss_fn=MSEFlat\(\)"):
        Learner(data, nn.Linear(4, 1), device="cpu", progress=False).fit(0.1, 1)


def test_raw_inputs_and_loaders_are_not_taken_for_a_switch():
    learn = digits_learner()
    for raw in ("cat.jpg", torch.zeros(2, 64), np.zeros(3), 1, digits_data().valid_dl):
        for method in (learn.predict, learn.predict_proba, learn.predict_with_targs):
            with pytest.raises(TypeError, match=r"predict_one\(raw\).*predict_batch\(items\).*loader="):
                method(raw)
    x = digits_data().valid_dl.tensors[0][:50]
    for loader in (TensorLoader(x, torch.zeros(50), bs=20), [(x[:30],), (x[30:],)]):
        found = learn.predict(loader=loader)
        assert np.allclose(found, learn.predict_array(x), atol=1e-6)
    both = zoo.Ensemble([learn, digits_learner()])
    assert np.allclose(both.predict(loader=TensorLoader(x, torch.zeros(50), bs=20)), found, atol=1e-5)
    assert np.allclose(np.exp(both.predict()), both.predict(log=False), atol=1e-6)
    assert np.allclose(both.predict_array(x, log=False), learn.predict_array(x, log=False), atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [F.mse_loss, F.l1_loss, nn.MSELoss(), nn.HuberLoss()],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_torch_losses_do_not_pair_everything_with_everything_without_validation_data(loss):
    x = torch.rand(32, 2)
    data = ModelData(TensorLoader(x, x[:, 0], bs=8))
    net = nn.Linear(2, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(MisfitError, match=r"predictions of shape \(8, 1\), targets of shape \(8,\)"):
        fit(net, data, 1, opt, loss)
