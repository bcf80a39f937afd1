from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tests.core.helpers import DigitsNet, digits_learner, weights
from zoo import Callback, LayerOptimizer, set_lrs
from zoo.engine.layer_groups import LayerGroups


def test_a_number_a_sequence_and_slices_spread_over_the_groups():
    groups = LayerGroups(DigitsNet())
    assert groups.spread(0.1) == [0.1] * 3
    assert groups.spread([1, 2, 3]) == [1, 2, 3]
    assert groups.spread(np.array([1e-4, 1e-3, 1e-2])) == [1e-4, 1e-3, 1e-2]
    assert groups.spread(slice(1e-4, 1e-2)) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert groups.spread(slice(1e-2)) == pytest.approx([1e-3, 1e-3, 1e-2])


def test_wrong_rates_are_refused_with_the_group_names():
    groups = LayerGroups(DigitsNet())
    with pytest.raises(ValueError, match=r"got 2 values for 3 layer groups \(body, middle, head\)"):
        groups.spread([0.1, 0.2])
    with pytest.raises(ValueError, match="not negative"):
        groups.spread(-1.0)
    with pytest.raises(ValueError, match="finite"):
        groups.spread(float("nan"))
    with pytest.raises(TypeError, match="a number, a sequence or a slice"):
        groups.spread("fast")


def test_unmatched_parameters_are_named():
    net = DigitsNet()
    with pytest.raises(ValueError, match=r"no layer group: middle\.0\.weight"):
        LayerGroups(net, {"body": net.body, "head": net.head})


def test_freeze_to_counts_from_both_ends_and_refuses_the_rest():
    groups = LayerGroups(DigitsNet())
    groups.freeze_to(-2)
    assert [group.frozen for group in groups] == [True, False, False]
    groups.freeze_to(0)
    assert not any(group.frozen for group in groups)
    for wrong in (3, -4):
        with pytest.raises(ValueError, match=r"freeze_to\(-?\d\): this model has 3 layer groups"):
            groups.freeze_to(wrong)


def test_freezing_a_single_group_is_an_error():
    with pytest.raises(ValueError, match="single layer group"):
        LayerGroups(nn.Linear(2, 1)).freeze()


def test_frozen_groups_keep_weights_and_running_statistics_and_get_no_decay():
    learn = digits_learner(wd=0.5)
    learn.freeze()
    before = weights(learn.model)
    learn.fit(0.01, 1)
    after = weights(learn.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}
    learn.unfreeze()
    learn.fit(0.01, 1)
    assert not torch.equal(after["body.1.running_mean"], learn.model.body[1].running_mean)


def test_bn_freeze_keeps_statistics_after_unfreezing():
    learn = digits_learner()
    learn.bn_freeze(True)
    before = weights(learn.model)
    learn.fit(0.01, 1)
    after = weights(learn.model)
    assert torch.equal(before["body.1.running_mean"], after["body.1.running_mean"])
    assert torch.equal(before["middle.1.running_var"], after["middle.1.running_var"])
    assert not torch.equal(before["body.0.weight"], after["body.0.weight"])


def test_graded_rates_reach_the_optimizer_at_every_step():
    seen = []

    class Watch(Callback):
        def after_step(self, state):
            seen.append(state.opt.lrs)

    learn = digits_learner()
    learn.fit(slice(1e-4, 1e-2), 1, cycle_len=1, callbacks=[Watch()])
    steps = len(learn.data.train_dl)
    factors = [(1 + np.cos(np.pi * t / steps)) / 2 for t in range(steps)]
    assert np.array(seen) == pytest.approx(np.outer(factors, [1e-4, 1e-3, 1e-2]))


@pytest.mark.parametrize(
    "opt_class", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop]
)
def test_weight_decay_is_decoupled_for_every_optimizer(opt_class):
    net = nn.Linear(2, 1, bias=False)
    nn.init.ones_(net.weight)
    opt = LayerOptimizer(opt_class, [net], lrs=0.1, wds=0.5)
    net.weight.grad = torch.zeros_like(net.weight)
    opt.step()
    assert net.weight.tolist() == [pytest.approx([0.95, 0.95])]


def test_decoupled_decay_equals_adamw_exactly():
    def run(opt_class):
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        opt = LayerOptimizer(partial(opt_class, fused=False, foreach=False), [net], lrs=0.01, wds=0.1)
        x = torch.randn(16, 4)
        for _ in range(20):
            opt.zero_grad()
            (net(x) - 1).square().mean().backward()
            opt.step()
        return net.weight

    assert torch.allclose(run(torch.optim.Adam), run(torch.optim.AdamW), atol=1e-7)


def test_biases_and_norms_can_be_left_out_of_the_decay():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    opt = LayerOptimizer(torch.optim.AdamW, [net], 0.1, 0.3, decay_bias_and_norm=False)
    decays = {id(p): group["weight_decay"] for group in opt.param_groups for p in group["params"]}
    assert decays[id(net[0].weight)] == 0.3
    assert [decays[id(p)] for p in (net[0].bias, net[1].weight, net[1].bias)] == [0, 0, 0]


def test_fused_kernel_is_used_unless_the_user_chose_otherwise():
    net = nn.Linear(2, 1)
    assert LayerOptimizer(torch.optim.AdamW, [net], 0.1).param_groups[0]["fused"] is True
    chosen = LayerOptimizer(partial(torch.optim.AdamW, foreach=True), [net], 0.1)
    assert chosen.param_groups[0]["foreach"] is True
    assert not chosen.param_groups[0]["fused"]


def test_set_lrs_works_on_plain_torch_optimizers_too():
    a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    opt = torch.optim.SGD([{"params": a.parameters()}, {"params": b.parameters()}], lr=0.1)
    set_lrs(opt, [0.2, 0.3])
    assert [group["lr"] for group in opt.param_groups] == [0.2, 0.3]
    with pytest.raises(ValueError, match="3 rates for an optimizer with 2"):
        set_lrs(opt, [1, 2, 3])


def test_shared_parameters_belong_to_the_first_group():
    a, b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    b.weight = a.weight
    groups = LayerGroups(nn.Sequential(a, b), [[a], [b]])
    assert [group.n_params for group in groups] == [9, 0]
    assert len(LayerOptimizer(torch.optim.SGD, groups, [0.1, 0.2]).param_groups) == 1


def test_shared_parameters_train_when_either_group_does():
    a, b, c = (nn.Linear(3, 3) for _ in range(3))
    c.weight = a.weight
    groups = LayerGroups(nn.Sequential(a, b, c), [[a], [b], [c]])
    groups.freeze()
    trained = [name for name, one in nn.Sequential(a, b, c).named_parameters() if one.requires_grad]
    assert trained == ["0.weight", "2.bias"]
    assert [group.trainable for group in groups] == ["partly", "no", "yes"]
    groups.freeze_to(0)
    assert all(group.trainable == "yes" for group in groups)


def test_printing_the_groups_tells_sizes_what_trains_and_at_which_rates():
    learn = digits_learner(wd=slice(0.01, 0.1))
    learn.freeze()
    assert repr(learn.groups).splitlines() == [
        "group     layers  parameters  trainable  batch norm",
        "0 body         2       2,144  no         fixed",
        "1 middle       2       1,120  no         fixed",
        "2 head         1         330  yes        -",
    ]
    learn.unfreeze()
    learn.model.middle[0].requires_grad_(False)
    learn.bn_freeze(True)
    learn.fit(slice(1e-4, 1e-2), 1)
    learn.bn_freeze(False)
    assert repr(learn.groups).splitlines() == [
        "group     layers  parameters  trainable  batch norm      lr      wd",
        "0 body         2       2,144  yes        moves       0.0001    0.01",
        "1 middle       2       1,120  partly     moves        0.001  0.0316",
        "2 head         1         330  yes        -             0.01     0.1",
    ]
    learn.bn_freeze(True)
    assert repr(learn.groups).count("fixed") == 2
    assert repr(learn.groups) in repr(learn)
    plain = LayerGroups(nn.Linear(2, 1))
    lines = ["group    layers  parameters  trainable", "0 model       1           3  yes"]
    assert repr(plain).splitlines() == lines


def test_patterns_over_layer_names_make_groups():
    net = DigitsNet()
    groups = LayerGroups(net, {"body": "body|middle", "head": "head"})
    assert [group.n_params for group in groups] == [2144 + 1120, 330]
    groups.freeze()
    groups.train_mode(net)
    assert not net.body[1].training
    with pytest.raises(ValueError, match=r"no layer with parameters has a name that matches 'tail'"):
        LayerGroups(net, {"body": "body", "tail": "tail"})


def test_patterns_hold_norms_without_weights_too():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 1))
    groups = LayerGroups(net, {"body": "0|1", "head": "2"})
    groups.freeze()
    groups.train_mode(net)
    assert not net[1].training


@pytest.mark.parametrize(
    "rates", ["1e-3", True, [0.1, "x", 0.1], [[0.1, 0.1, 0.1]], slice("fast"), [True, 0.1, 0.1], None]
)
def test_what_is_no_number_is_no_rate(rates):
    with pytest.raises(TypeError, match="rates: a number, a sequence or a slice was expected"):
        LayerGroups(DigitsNet()).spread(rates)


@pytest.mark.parametrize("n", [1.5, "head", True, None])
def test_groups_are_numbered_with_whole_numbers(n):
    groups = LayerGroups(DigitsNet())
    with pytest.raises(TypeError, match="whole number"):
        groups.freeze_to(n)
    assert [group.trainable for group in groups] == ["yes"] * 3


@pytest.mark.parametrize("spec", ["head", 3, nn.Linear(2, 2)])
def test_a_wrong_kind_of_groups_says_what_is_right(spec):
    with pytest.raises(TypeError, match="layer_groups must be"):
        LayerGroups(DigitsNet(), spec)


def test_a_pattern_that_is_no_regular_expression_is_named():
    with pytest.raises(ValueError, match=r"layer group 'head': '\(' is no regular expression"):
        LayerGroups(DigitsNet(), {"head": "("})


def test_a_group_prints_in_one_line_without_its_weights():
    assert repr(LayerGroups(DigitsNet())[-1]) == "LayerGroup('head', layers=1, parameters=330, trainable=yes)"
