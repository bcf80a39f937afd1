"""AdamW in steps of a share of each tensor's size."""

import copy
import pickle

import pytest
import torch
from torch import nn

from zoo import LayerOptimizer, Learner, ModelData, TensorLoader
from zoo.engine.layer_groups import LayerGroups
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
    before = [(1 - 0.01 * 0.1) * param for param in before]  # the decay is whole
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


@pytest.mark.parametrize(
    ("share", "kind"),
    [(0, ValueError), (-1, ValueError), (5, ValueError), (float("nan"), ValueError), ("a", TypeError),
     (True, TypeError)],
)  # fmt: skip
def test_what_is_no_share_is_refused_wherever_it_is_given(share, kind):
    param = nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    with pytest.raises(kind, match=r"share .* above 0 and at most 1"):
        RelativeAdamW([param], share=share)
    with pytest.raises(kind, match=r"share .* above 0 and at most 1"):
        RelativeAdamW([{"params": [param], "share": share}])
    opt = RelativeAdamW([param])
    with pytest.raises(kind, match=r"share .* above 0 and at most 1"):
        opt.add_param_group({"params": [nn.Parameter(torch.ones(1))], "share": share})
    opt.param_groups[0]["share"] = share
    with pytest.raises(kind, match=r"share .* above 0 and at most 1"):
        opt.step()
    assert param.tolist() == [1, 1]


def test_no_share_means_the_steps_of_adamw():
    plain, relative = params_and_opt(torch.optim.AdamW), params_and_opt(share=None)
    step(*plain), step(*relative)
    assert all(map(torch.equal, plain[0], relative[0]))


@pytest.mark.parametrize("fused", [True, False])
def test_decay_is_that_of_adamw_whatever_the_share(fused):
    (params, opt), (others, plain) = (
        params_and_opt(kind, weight_decay=0.1, fused=fused) for kind in (RelativeAdamW, torch.optim.AdamW)
    )
    for _ in range(100):
        for param in (*params, *others):
            param.grad = torch.zeros_like(param)
        opt.step(), plain.step()
    assert all(torch.allclose(one, other, rtol=1e-5) for one, other in zip(params, others, strict=True))
    skipped = [param.detach().clone() for param in params]
    opt.found_inf = torch.tensor(1.0)
    if fused:  # whose kernel leaves the weights alone
        opt.step()
        assert all(map(torch.equal, params, skipped))


def test_a_failed_step_leaves_nothing_behind():
    params, opt = params_and_opt()
    step(params, opt)
    twins, twin = params_and_opt()
    twin.load_state_dict(copy.deepcopy(opt.state_dict()))
    params[0].grad = torch.ones_like(params[0]).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        opt.step()
    with torch.no_grad():
        for one, other in zip(params, twins, strict=True):
            other.copy_(one.add_(1))  # time goes by
    step(params, opt), step(twins, twin)
    assert all(map(torch.equal, params, twins))


class TestClosures:
    def closure(self, params, opt, calls):
        def evaluate():
            opt.zero_grad()
            loss = sum((param**2).sum() for param in params)
            loss.backward()
            calls.append(loss.item())
            return loss

        return evaluate

    @pytest.mark.parametrize("keyword", [True, False])
    def test_the_first_step_is_a_share_too(self, keyword):
        (params, opt), (others, plain) = params_and_opt(), params_and_opt()
        calls = []
        for number in range(2):
            evaluate = self.closure(params, opt, calls)
            loss = opt.step(closure=evaluate) if keyword else opt.step(evaluate)
            assert loss.item() == calls[-1]
            assert len(calls) == number + 1
            self.closure(others, plain, [])()
            plain.step()
            assert all(map(torch.equal, params, others))

    @pytest.mark.parametrize("inside", [True, False])
    @pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, RelativeAdamW])
    def test_layers_decay_in_the_first_step_too(self, kind, inside):
        nets = [nn.Linear(3, 3), nn.Linear(3, 3)]
        nets[1].load_state_dict(nets[0].state_dict())
        calls = []
        opts = [LayerOptimizer(kind, net, 0.1, wds=0.5) for net in nets]
        for _ in range(2):
            evaluate = self.closure(list(nets[0].parameters()), opts[0], calls)
            (opts[0].opt if inside else opts[0]).step(evaluate)
            self.closure(list(nets[1].parameters()), opts[1], [])()
            opts[1].step()
        assert len(calls) == 2
        assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))


def test_goes_on_from_the_averages_of_adamw():
    (params, plain), (others, relative) = params_and_opt(torch.optim.AdamW), params_and_opt()
    step(params, plain)
    relative.load_state_dict(plain.state_dict())
    before = [param.detach().clone() for param in others]
    step(others, relative)
    assert relative.param_groups[0]["share"] == SHARE
    assert all(0 < (one - old).abs().max() < 0.01 for one, old in zip(others, before, strict=True))


def test_shares_of_groups_outlive_a_state_of_adamw():
    params, _ = params_and_opt()
    opt = RelativeAdamW(
        [{"params": params[:1], "share": None}, {"params": params[1:], "share": 0.9}], share=0.5
    )
    plain = torch.optim.AdamW([{"params": params[:1]}, {"params": params[1:]}])
    for state in (plain.state_dict(), copy.deepcopy(opt).state_dict()):
        opt.load_state_dict(state)
        assert [group["share"] for group in opt.param_groups] == [None, 0.9]
        assert all(map(opt.has_own_share, opt.param_groups))


@pytest.mark.parametrize("share", [0.9, SHARE, "later"])
def test_a_share_that_the_user_gave_the_head_stays(share):
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))

    def opt_fn(params):
        if share == "later":
            opt = RelativeAdamW([{"params": params[:2]}, {"params": params[2:]}])
            opt.param_groups[1]["share"] = 0.9
            return opt
        return RelativeAdamW([{"params": params[:2]}, {"params": params[2:], "share": share}])

    groups = LayerGroups(net, [net[0], net[1]])
    groups[-1].fresh = True
    opt = LayerOptimizer(opt_fn, groups, 0.01)
    wanted = [SHARE, 0.9 if share == "later" else share]
    assert [group["share"] for group in opt.param_groups] == wanted
    opt.load_state_dict(LayerOptimizer(torch.optim.AdamW, groups, 0.01).state_dict())
    assert [group["share"] for group in opt.param_groups] == wanted


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
