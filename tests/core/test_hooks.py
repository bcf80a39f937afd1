import gc

import pytest
import torch
from torch import nn

from tests.core.helpers import DigitsNet, digits, digits_learner
from zoo.inspect.hooks import Hooks, SaveFeatures, find_layers


def n_hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_the_features_are_what_the_layer_gives():
    net = DigitsNet().eval()
    x = digits()[0][:8]
    with SaveFeatures(net.middle) as saved:
        preds = net(x)
        assert n_hooks(net) == 1
    assert n_hooks(net) == 0
    assert torch.equal(net.head(saved.features), preds)
    assert not saved.features.requires_grad
    net(x[:3])
    assert len(saved.features) == 8  # removed hooks keep nothing new


def test_layers_are_chosen_by_name_by_pattern_and_by_module_of_a_learner():
    learn = digits_learner()
    x = digits()[0][:4]
    learn.model.eval()
    with (
        SaveFeatures(learn, "head") as one,
        SaveFeatures(learn, [r"body\.\d", learn.model.middle]) as several,
    ):
        learn.model(x)
    assert one.features.shape == (4, 10)
    assert several.names == ["body.0", "body.1", "body.2", "body.3", "middle"]
    assert [tuple(value.shape) for value in several.features] == [(4, 32)] * 5
    with SaveFeatures([learn.model.body, learn.model.head]) as two:
        learn.model(x)
    assert [len(value[0]) for value in two.features] == [32, 10]


def test_all_batches_of_a_prediction_are_kept_and_forgotten():
    learn = digits_learner()
    with SaveFeatures(learn, "middle", keep="all", cpu=True) as saved:
        learn.predict()
        assert [len(part) for part in saved.features] == [256, 256, 85]
        saved.clear()
        assert saved.features == []


class Odd(nn.Module):
    """Gives tuples, dicts and nothing, and works in place."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4)
        self.linear = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.idle = nn.Linear(1, 1)

    def forward(self, x):
        return {"state": None, "out": self.relu(self.linear(self.rnn(x)[0]))}


def test_tuples_dicts_and_layers_that_work_in_place():
    net = Odd()
    x = torch.randn(5, 2, 3)
    with SaveFeatures(net, ["rnn", "linear"]) as saved, SaveFeatures(net) as whole:
        out = net(x)["out"]
    assert torch.equal(saved.features[0], net.rnn(x)[0])
    assert torch.equal(saved.features[1], net.linear(net.rnn(x)[0]))
    assert saved.features[1].min() < 0 <= out.min()
    assert torch.equal(whole.features, out)


def test_gradients_with_respect_to_a_layer():
    net = DigitsNet().eval()
    with SaveFeatures(net, "body", detach=False) as saved:
        score = net(digits()[0][:2])[:, 3].sum()
    (gradient,) = torch.autograd.grad(score, saved.features)
    assert gradient.shape == (2, 32)
    assert gradient.abs().sum() > 0


def test_hooks_go_after_an_error_and_with_their_owner():
    net = DigitsNet().eval()
    with pytest.raises(RuntimeError), SaveFeatures(net, r".+"):
        net(torch.zeros(1, 3))
    assert n_hooks(net) == 0
    held = SaveFeatures(net, r".+")
    assert n_hooks(net) == len(held) == 10
    del held
    gc.collect()
    assert n_hooks(net) == 0
    held = SaveFeatures(net.head)
    held.remove()
    held.remove()
    assert n_hooks(net) == len(held) == 0


def test_hooks_that_cannot_all_be_laid_leave_none():
    net = DigitsNet()
    with pytest.raises(TypeError, match="got str for 'b'"):
        Hooks({"a": net.head, "b": "head"}, print)
    assert n_hooks(net) == 0


def test_hooks_are_a_sequence_of_handles_that_change_nothing():
    net = DigitsNet().eval()
    x = digits()[0][:2]
    expected = net(x)
    seen = []
    with Hooks(find_layers(net, ["body", "head"]), lambda name, output: seen.append(name) or 0) as hooks:
        assert torch.equal(net(x), expected)
        assert len(hooks) == len(list(hooks)) == len(hooks[:]) == 2
        hooks[0].remove()
        net(x)
    assert seen == ["body", "head", "head"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("headd",), {}, ValueError, r"no layer .* 'headd' \(did you mean 'head'\?\); its layers: body"),
        ((nn.Linear(1, 1),), {}, ValueError, "no layer of the DigitsNet"),
        ((3,), {}, TypeError, "names, patterns or modules, got int"),
        (([3],), {}, TypeError, "names, patterns or modules, got int"),
        (("head",), {"keep": "some"}, ValueError, "keep must be"),
        (("head",), {"cpu": True, "detach": False}, ValueError, "detach=True"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, options, error, message):
    net = DigitsNet()
    with pytest.raises(error, match=message):
        SaveFeatures(net, *arguments, **options)
    assert n_hooks(net) == 0


def test_a_layer_that_has_not_run_and_one_without_tensors():
    net = Odd()
    with SaveFeatures(net, "idle") as saved:
        net(torch.randn(1, 1, 3))
        with pytest.raises(ValueError, match="have not run since: idle"):
            _ = saved.features
    nothing = Nothing()
    with SaveFeatures(nothing), pytest.raises(TypeError, match="'Nothing' gives no tensor but int"):
        nothing(1)
    with pytest.raises(TypeError, match="give a module"):
        SaveFeatures("head")
    with pytest.raises(TypeError, match="looked up in a model"):
        SaveFeatures([net], "rnn")


class Nothing(nn.Module):
    def forward(self, x):
        return x
