"""Any optimizer: its own decay, its own groups, its own modes; and what is refused in one line."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import schedulefree
import torch
from torch import Tensor, nn

import zoo
from tests.core.helpers import weights

mse = nn.functional.mse_loss


def data(n: int = 256) -> zoo.ModelData:
    torch.manual_seed(0)
    x = torch.randn(n, 4)
    y = x.sum(1, keepdim=True)
    train = zoo.TensorLoader(x, y, bs=32, shuffle=True, seed=0)
    return zoo.ModelData(train, zoo.TensorLoader(x[:64], y[:64], bs=32))


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))


def learner(model: nn.Module, **options: object) -> zoo.Learner:
    options = {"device": "cpu", "progress": False, "loss_fn": nn.MSELoss(), **options}
    return zoo.Learner(data(), model, **options)  # type: ignore[arg-type]


def in_a_plain_loop(make: object, epochs: int) -> tuple[dict[str, Tensor], float]:
    model, rows = net(), data()
    opt = make(list(model.parameters()))
    for epoch in range(epochs):
        rows.train_dl.set_epoch(epoch)
        if hasattr(opt, "train"):
            opt.train()
        for x, y in rows.train_dl:
            mse(model(x), y).backward()
            opt.step()
            opt.zero_grad()
        if hasattr(opt, "eval"):
            opt.eval()
    with torch.no_grad():
        x, y = rows.valid_dl.tensors
        return weights(model), float(mse(model(x), y))


@pytest.mark.parametrize("kind", [schedulefree.AdamWScheduleFree, schedulefree.SGDScheduleFree])
def test_schedule_free_optimizers_train_and_answer_at_their_own_weights(kind: type) -> None:
    learn = learner(net(), opt_fn=partial(kind, weight_decay=0.1))
    learn.lr_find(num_it=5)
    row = learn.fit(0.05, 3)[-1]
    expected, loss = in_a_plain_loop(lambda params: kind(params, lr=0.05, weight_decay=0.1), 3)
    assert row["valid_loss"] == pytest.approx(loss, rel=1e-5)
    for name, value in weights(learn.model).items():
        torch.testing.assert_close(value, expected[name])
    assert learn.evaluate()["valid_loss"] == pytest.approx(loss, rel=1e-5)


def test_schedule_free_weights_are_looked_at_within_an_epoch_and_after_an_error() -> None:
    seen: list[float] = []

    class Look(zoo.Callback):
        def after_batch(self, state: object) -> None:
            if state.training and state.batch_index == 3:
                before = weights(state.model)
                seen.append(state.learner.evaluate()["valid_loss"])
                assert all(torch.equal(before[name], value) for name, value in weights(state.model).items())
                raise RuntimeError("enough")

    learn = learner(net(), opt_fn=schedulefree.AdamWScheduleFree)
    with pytest.raises(RuntimeError, match="enough"):
        learn.fit(0.05, 1, callbacks=[Look()])
    assert learn.evaluate()["valid_loss"] == pytest.approx(seen[0])  # the averaged weights, both times


def test_a_schedule_free_wrapper_and_the_bare_fit() -> None:
    def wrapped(params: object) -> object:
        return schedulefree.ScheduleFreeWrapper(torch.optim.SGD(params, lr=0.05), momentum=0.9)

    expected, loss = in_a_plain_loop(wrapped, 2)
    assert learner(net(), opt_fn=wrapped).fit(0.05, 2)[-1]["valid_loss"] == pytest.approx(loss, rel=1e-5)
    model = net()
    rows = zoo.fit(model, data(), 2, wrapped(list(model.parameters())), mse)
    assert rows[-1]["valid_loss"] == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(weights(model), expected)


def test_the_decay_of_a_learned_rate_is_left_to_the_optimizer() -> None:
    from pytorch_optimizer import Prodigy

    make = partial(Prodigy, lr=1.0, weight_decay=0.05)
    _, loss = in_a_plain_loop(make, 10)
    learn = learner(net(), opt_fn=partial(Prodigy, weight_decay=0.05))
    assert learn.fit(1.0, 10)[-1]["valid_loss"] == pytest.approx(loss, rel=1e-3)
    assert learn.opt.wds == [0.05]
    other = learner(net(), opt_fn=Prodigy, wd=0.2)
    other.fit(1.0, 1)
    assert other.opt.param_groups[0]["weight_decay"] == 0.2


def test_a_function_may_make_groups_of_its_own() -> None:
    def no_decay_for_vectors(params: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            [
                {"params": [p for p in params if p.ndim > 1], "weight_decay": 0.5},
                {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=0.01,
        )

    expected, _ = in_a_plain_loop(no_decay_for_vectors, 2)
    for groups in (None, lambda m: {"body": [m[0], m[1]], "head": [m[2]]}):
        learn = learner(net(), opt_fn=no_decay_for_vectors, layer_groups=groups)
        learn.lr_find(num_it=3)
        learn.fit(0.01, 2)
        torch.testing.assert_close(weights(learn.model), expected)
        assert learn.opt.wds == [0.5] * len(learn.groups)
    learn.fit([0.0, 0.01], 1, wds=[0.1, 0.2])
    decays = [
        (group["lr"], group["weight_decay"], group["params"][0].ndim) for group in learn.opt.param_groups
    ]
    assert sorted(decays) == [(0.0, 0.0, 1), (0.0, 0.1, 2), (0.01, 0.0, 1), (0.01, 0.2, 2)]


def test_the_rates_of_own_groups_keep_their_ratio_and_what_is_left_out_is_told() -> None:
    def two_rates(params: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": params[:2], "lr": 0.01}, {"params": params[2:], "lr": 0.1}])

    opt = zoo.LayerOptimizer(two_rates, [net()], 0.5)
    assert [group["lr"] for group in opt.param_groups] == pytest.approx([0.05, 0.5])
    assert opt.lrs == pytest.approx([0.5])

    def one_stands_still(params: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": params[:2], "lr": 0.0}, {"params": params[2:], "lr": 0.1}])

    with pytest.warns(UserWarning, match="2 parameters with a rate of 0"):
        zoo.LayerOptimizer(one_stands_still, [net()], 0.5)
    with pytest.warns(UserWarning, match="leaves out 2 parameters"):
        zoo.LayerOptimizer(lambda params: torch.optim.SGD(params[2:], lr=0.1), [net()], 0.1)
    with pytest.raises(ValueError, match="does not have"):
        zoo.LayerOptimizer(lambda params: torch.optim.SGD(net().parameters(), lr=0.1), [net()], 0.1)
    parts = net()
    with pytest.raises(ValueError, match=r"one group|per-parameter options"):
        zoo.LayerOptimizer(lambda params: torch.optim.LBFGS(params), [parts[0], parts[1:]], 0.1)


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.EmbeddingBag(50, 1, sparse=True, mode="sum")

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adagrad, torch.optim.SparseAdam])
@pytest.mark.parametrize("extra", [{}, {"clip": 1.0}, {"callbacks": [zoo.callbacks.Accumulate(2)]}])
def test_sparse_gradients_train_as_without_a_learner(kind: type, extra: dict) -> None:
    torch.manual_seed(0)
    x, y = torch.randint(0, 50, (64, 2)), torch.randn(64, 1)
    loader = zoo.TensorLoader(x, y, bs=32)
    learn = zoo.Learner(
        zoo.ModelData(loader, loader), Bag(), opt_fn=kind, loss_fn=nn.MSELoss(), progress=False
    )
    learn.lr_find(num_it=3)
    assert learn.fit(0.1, 2, **extra)[-1]["valid_loss"] < mse(Bag()(x), y)
    if not extra:
        model = Bag()
        opt = kind(model.parameters(), lr=0.1)
        for _ in range(2):
            for xb, yb in loader:
                mse(model(xb), yb).backward()
                opt.step()
                opt.zero_grad()
        torch.testing.assert_close(weights(learn.model), weights(model))


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_the_fused_kernel_is_chosen_for_dense_gradients_and_given_up_for_sparse_ones() -> None:
    dense = zoo.LayerOptimizer(torch.optim.Adagrad, [net()], 0.1)
    assert dense.param_groups[0]["fused"] is True
    model = Bag()
    sparse = zoo.LayerOptimizer(torch.optim.Adagrad, [model], 0.1)
    model(torch.tensor([[1, 2]])).sum().backward()
    sparse.step()
    assert sparse.param_groups[0]["fused"] is False


def test_the_decay_is_part_of_the_torch_optimizer_and_of_its_copies() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    opt = zoo.LayerOptimizer(torch.optim.Adam, model, 1e-2, 0.1)  # a module as the only group
    model.weight.grad = torch.zeros_like(model.weight)
    opt.opt.step()
    torch.testing.assert_close(model.weight.data, torch.full((1, 2), 1 - 1e-3))
    opt.step()
    torch.testing.assert_close(model.weight.data, torch.full((1, 2), (1 - 1e-3) ** 2))
    twin = copy.deepcopy(opt)
    weight = twin.param_groups[0]["params"][0]
    weight.grad = torch.zeros_like(weight)
    twin.opt.step()
    torch.testing.assert_close(weight.data, torch.full((1, 2), (1 - 1e-3) ** 3))


@pytest.mark.parametrize("opt_fn", [torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), "adam", 3])
def test_what_makes_no_optimizer_is_refused_in_one_line(opt_fn: object) -> None:
    with pytest.raises(TypeError, match="opt_fn"):
        learner(net(), opt_fn=opt_fn)
    with pytest.raises(TypeError, match="opt_fn"):
        zoo.LayerOptimizer(opt_fn, net(), 0.1)
    learn = learner(net())
    with pytest.raises(TypeError, match="opt_fn"):
        learn.opt_fn = opt_fn
    with pytest.raises(TypeError, match="must give an optimizer"):
        learner(net(), opt_fn=lambda params: None).fit(0.1, 1)


def test_another_optimizer_between_fits_is_used() -> None:
    learn = learner(net())
    learn.fit(0.01, 1)
    assert isinstance(learn.opt.opt, torch.optim.AdamW)
    learn.opt_fn = torch.optim.SGD
    learn.lr_find(num_it=3)
    learn.fit(0.01, 1)
    assert isinstance(learn.opt.opt, torch.optim.SGD)
    with pytest.raises(TypeError, match="set opt_fn, for example to Adam"):
        learn.opt = torch.optim.Adam(learn.model.parameters())


def test_what_is_unfrozen_trains_with_a_function_that_took_only_what_trained() -> None:
    def only_trainable(params: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD([param for param in params if param.requires_grad], lr=0.1)

    learn = learner(
        net(), opt_fn=only_trainable, layer_groups=lambda m: {"body": [m[0], m[1]], "head": [m[2]]}
    )
    learn.freeze()
    learn.fit(0.1, 1)
    before = learn.model[0].weight.clone()
    learn.unfreeze()
    learn.fit(0.1, 1)
    assert not torch.equal(before, learn.model[0].weight)


def test_lbfgs_is_told_apart() -> None:
    learn = learner(net(), opt_fn=torch.optim.LBFGS)
    with pytest.raises(ValueError, match="clip: LBFGS"):
        learn.fit(0.1, 1, clip=1e-3)
    with pytest.raises(ValueError, match="give the learner one group"):
        learner(net(), opt_fn=torch.optim.LBFGS, layer_groups=lambda m: [[m[0], m[1]], [m[2]]]).fit(0.1, 1)

    class Sam(torch.optim.SGD):
        def step(self, closure: object = None) -> None:
            closure()

    with pytest.raises(TypeError) as told:
        learner(net(), opt_fn=Sam).fit(0.1, 1)
    assert any("needs a closure" in note or "need a closure" in note for note in told.value.__notes__)


class Wrapper:
    """Looks like an optimizer, without a state that could be kept."""

    def __init__(self, params: object, lr: float = 0.1) -> None:
        self.inner = torch.optim.SGD(params, lr=lr)

    @property
    def param_groups(self) -> list[dict]:
        return self.inner.param_groups

    def step(self) -> None:
        self.inner.step()


def test_a_wrapper_without_a_state_trains_and_says_that_it_cannot_be_kept(tmp_path: object) -> None:
    learn = learner(net(), opt_fn=Wrapper, path=tmp_path)
    learn.lr_find(num_it=3)
    learn.fit(0.05, 2)
    expected, _ = in_a_plain_loop(lambda params: torch.optim.SGD(params, lr=0.05), 2)
    torch.testing.assert_close(weights(learn.model), expected)
    learn.lr_find(num_it=3)
    with pytest.raises(TypeError, match="Wrapper has no state_dict"):
        learn.fit(0.1, 1, checkpoint_every=1)


def test_a_trained_learner_can_be_copied_and_pickled() -> None:
    import pickle

    learn = learner(net())
    learn.fit(0.1, 1)
    twin = copy.deepcopy(learn)
    twin.fit(0.5, 1)
    assert "0.5" in repr(twin.groups)
    assert "0.1" in repr(learn.groups)
    again = pickle.loads(pickle.dumps(learn))
    torch.testing.assert_close(weights(again.model), weights(learn.model))
    again.fit(0.1, 1)
