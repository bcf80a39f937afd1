"""AdamW in steps of a share of each tensor's size."""

import copy
import pickle

import pytest
import torch
from torch import nn

from zoo import LayerOptimizer, Learner, ModelData, TensorLoader
from zoo.engine.relative_adamw import SHARE, RelativeAdamW


def params_and_opt(kind=RelativeAdamW, **options):
    torch.manual_seed(0)
    sizes = [(0.02, 8, 4), (3.0, 4, 4), (0.0, 4, 4), (0.5, 6)]
    params = [nn.Parameter(size * torch.randn(*shape)) for size, *shape in sizes]
    return params, kind(params, lr=0.01, **options)


def step(params, opt):
    for param in params:
        param.grad = torch.sin(param.detach() * 3 + 1)
    opt.step()


@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_those_of_adamw_times_the_size(fused):
    options = {"weight_decay": 0.1, "fused": fused}
    plain, relative = params_and_opt(torch.optim.AdamW, **options), params_and_opt(**options, share=0.5)
    before = [param.detach().clone() for param in plain[0]]
    step(*plain), step(*relative)
    sizes = [param.pow(2).mean().sqrt().item() for param in before]
    assert sizes[1] > 2
    shares = [0.5 * sizes[0], 1.0, 0.5e-2, 0.5 * sizes[3]]
    for old, one, other, share in zip(before, plain[0], relative[0], shares, strict=True):
        assert torch.allclose(other - old, share * (one - old), rtol=1e-3, atol=1e-7)


def test_groups_that_step_as_usual():
    plain, relative = params_and_opt(torch.optim.AdamW), params_and_opt()
    relative[1].param_groups[0]["share"] = None
    step(*plain), step(*relative)
    assert all(map(torch.equal, plain[0], relative[0]))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))])
def test_copies_step_alike(copied):
    params, opt = params_and_opt()
    step(params, opt)
    twin = copied(opt)
    step(params, opt)
    step(twin.param_groups[0]["params"], twin)
    assert all(map(torch.equal, params, twin.param_groups[0]["params"]))


def test_a_share_that_is_none():
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        params_and_opt(share=0)


def test_goes_on_from_the_averages_of_adamw():
    (params, plain), (others, relative) = params_and_opt(torch.optim.AdamW), params_and_opt()
    step(params, plain)
    relative.load_state_dict(plain.state_dict())
    before = [param.detach().clone() for param in others]
    step(others, relative)
    assert relative.param_groups[0]["share"] == SHARE
    assert all(0 < (one - old).abs().max() < 0.01 for one, old in zip(others, before, strict=True))


def test_what_has_no_gradient_stays():
    params, opt = params_and_opt()
    params[0].grad = torch.ones_like(params[0])
    kept = [param.detach().clone() for param in params]
    opt.step()
    assert [torch.equal(one, old) for one, old in zip(params, kept, strict=True)] == [False, True, True, True]


def test_fresh_groups_of_a_learner_take_full_steps():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.copy_(0.01 * net[0].weight.sign())
    before = [net[i].weight.detach().clone() for i in (0, 1)]
    loader = TensorLoader(torch.randn(32, 4), torch.arange(32) % 2, bs=32)
    learn = Learner(
        ModelData(loader, loader), net, layer_groups=[net[0], net[1]], opt_fn=RelativeAdamW, wd=0.0,
        device="cpu", progress=False,
    )  # fmt: skip
    learn.groups[-1].fresh = True
    learn.fit(0.01, 1)
    assert isinstance(learn.opt, LayerOptimizer)
    assert learn.opt.param_groups[0]["fused"]
    moved = [(net[i].weight - before[i]).abs().max().item() for i in (0, 1)]
    assert moved[0] == pytest.approx(SHARE * 1e-4, rel=0.01)
    assert moved[1] == pytest.approx(0.01, rel=0.01)
    state = LayerOptimizer(torch.optim.AdamW, learn.groups, 0.01).state_dict()
    learn.opt.load_state_dict(state)
    assert [group["share"] for group in learn.opt.param_groups] == [SHARE, None]
