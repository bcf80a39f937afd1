"""AdamW that updates the rows of a batch, next to what it stands for, written out over whole tables."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

import zoo
from tests.core.processes import equal, ranks
from zoo import LayerOptimizer, Learner, ModelData, RowAdamW, TensorLoader
from zoo.callbacks import EMA, SWA, Accumulate, Callback
from zoo.callbacks.distributed import average_gradients
from zoo.distributed.rows import average_rows
from zoo.engine.cuda_graphs import CudaGraphs
from zoo.engine.loop import Loop
from zoo.engine.named_optimizers import name_of_optimizer, optimizer_of_name
from zoo.engine.state import State
from zoo.storage.checkpoint import read_tree, write_tree

ROWS, WIDTH = 40, 3


class Pairs(nn.Module):
    """Two tables and a layer above them."""

    def __init__(self, sparse: bool = True) -> None:
        super().__init__()
        self.left, self.right = (nn.Embedding(ROWS, WIDTH, sparse=sparse) for _ in range(2))
        self.top = nn.Linear(WIDTH, 1)

    def forward(self, left, right):
        return self.top(self.left(left) * self.right(right)).squeeze(-1)


def made(sparse=True, seed=0) -> Pairs:
    torch.manual_seed(seed)
    return Pairs(sparse)


def data(n=256, bs=16, seed=1, rows=ROWS) -> ModelData:
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.randint(0, rows, (n,), generator=draw) for _ in range(2))
    y = torch.sin(left * 0.7) * torch.cos(right * 0.3) + 0.1 * torch.randn(n, generator=draw)
    loader = TensorLoader(left, right, y, bs=bs, shuffle=True, seed=3)
    return ModelData(loader, TensorLoader(left, right, y, bs=64))


def learner(model, tmp_path=".", opt_fn=RowAdamW, **options) -> Learner:
    found = options.pop("data", None) or data()
    options = {"wd": 0.3, "progress": False, "device": "cpu", "seed": 5, "path": tmp_path, **options}
    return Learner(found, model, opt_fn=opt_fn, loss_fn=nn.MSELoss(), **options)


class Whole:
    """What `RowAdamW` stands for, over whole tables: in every step all rows decay and all second averages
    fade, first averages and rows move where there is a gradient."""

    def __init__(self, table, lr, wd, betas=(0.9, 0.999), eps=1e-8):
        self.table, self.lr, self.wd, self.betas, self.eps = table, lr, wd, betas, eps
        self.average, self.square = torch.zeros_like(table), torch.zeros_like(table)
        self.counts, self.steps = torch.zeros(len(table), 1, dtype=table.dtype), 0

    def step(self, rows, grad):
        self.table *= 1 - self.lr * self.wd
        b1, b2 = self.betas
        self.counts[rows] += 1
        self.steps += 1
        self.average[rows] = b1 * self.average[rows] + (1 - b1) * grad
        self.square *= b2
        self.square[rows] += (1 - b2) * grad**2
        size = (self.square[rows] / (1 - b2**self.steps)).sqrt() + self.eps
        self.table[rows] -= self.lr * self.average[rows] / (1 - b1 ** self.counts[rows]) / size


def feed(table, rows, grad):
    """A gradient of some rows, as a lookup makes it: one row in two parts."""
    looked = table(torch.cat([rows, rows[:1]]))
    weights = torch.cat([grad, grad[:1]])
    weights[0], weights[-1] = 0.25 * grad[0], 0.75 * grad[0]
    (looked * weights).sum().backward()


@pytest.mark.parametrize("rates", [[0.1] * 30, [0.01 * (1 + k % 7) for k in range(30)], [0.0, 0.2] * 15])
def test_rows_move_as_in_the_rule_over_whole_tables(rates):
    torch.manual_seed(0)
    table = nn.Embedding(7, 2, sparse=True).double()
    reference = Whole(table.weight.detach().clone(), 0.1, 0.5)
    opt = RowAdamW(table.parameters(), weight_decay=0.5)
    handles = opt.watch(table)
    for number, rate in enumerate(rates):
        opt.param_groups[0]["lr"] = reference.lr = rate
        opt.param_groups[0]["betas"] = reference.betas = (0.9 - 0.01 * (number % 3), 0.999)
        rows = torch.randperm(5)[: 1 + number % 3]  # rows 5 and 6 have no gradient ever
        assert torch.allclose(table(rows), reference.table[rows])  # what a forward pass reads is up to date
        grad = torch.randn(len(rows), 2, dtype=torch.float64)
        opt.zero_grad()
        feed(table, rows, grad)
        opt.step()
        reference.step(rows, grad)
    late = table.weight.detach()[5] / reference.table[5]
    assert (late > 1.5).all()  # put off until now
    opt.settle()
    assert torch.allclose(table.weight, reference.table, rtol=1e-12)
    assert table._forward_pre_hooks
    for handle in handles:
        handle.remove()
    assert not table._forward_pre_hooks
    assert not table._state_dict_pre_hooks


@pytest.mark.parametrize("options", [{}, {"maximize": True}, {"betas": (0.8, 0.95), "eps": 1e-3}])
def test_it_is_adamw_where_every_row_is_in_every_batch(options):
    torch.manual_seed(0)
    tables = [nn.Embedding(6, 4, sparse=sparse) for sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    kinds = (RowAdamW, torch.optim.AdamW)
    opts = [
        k(t.parameters(), lr=0.05, weight_decay=0.2, **options) for k, t in zip(kinds, tables, strict=True)
    ]
    for _ in range(20):
        grad = torch.randn(6, 4)
        for table, opt in zip(tables, opts, strict=True):
            opt.zero_grad()
            (table(torch.arange(6)) * grad).sum().backward()
            opt.step()
    opts[0].settle()
    assert tables[0].weight.grad.is_sparse
    torch.testing.assert_close(tables[0].weight, tables[1].weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fused", [True, False, None])
def test_parameters_with_ordinary_gradients_take_the_steps_of_adamw(fused):
    nets = []
    for kind in (RowAdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        net = nn.Linear(4, 4)
        opt = kind(net.parameters(), lr=0.1, weight_decay=0.3, fused=fused)
        calls = []
        opt.register_step_pre_hook(lambda *_, calls=calls: calls.append(1))
        for _ in range(3):
            opt.step(lambda net=net, opt=opt: (opt.zero_grad(), net(torch.ones(2, 4)).sum().backward())[1])
        assert len(calls) == 3
        nets.append(net)
    assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))


def moved_by_one_gradient(kind, sparse, gaps):
    """How far a row has moved long after its only gradients, in units of the rate."""
    table = nn.Embedding(3, 1, sparse=sparse)
    opt = kind(table.parameters(), lr=0.01, weight_decay=0.0)
    before = table.weight.detach().clone()
    for gap in gaps:
        for row in [0] * gap + [1]:
            opt.zero_grad()
            (5 * table(torch.tensor([row]))).sum().backward()
            opt.step()
    for _ in range(150):
        opt.zero_grad()
        (5 * table(torch.tensor([0]))).sum().backward()
        opt.step()
    assert torch.equal(before[2], table.weight[2].detach())
    return (before - table.weight)[1].item() / 0.01


@pytest.mark.parametrize("gaps", [[500], [2000], [300, 700]])
def test_a_gradient_of_a_rare_row_moves_it_as_far_as_adamw_does_in_the_end(gaps):
    own, whole = (
        moved_by_one_gradient(k, s, gaps) for k, s in ((RowAdamW, True), (torch.optim.AdamW, False))
    )
    assert own == pytest.approx(whole, rel=0.05)
    steps = sum(gaps) + len(gaps)
    if len(gaps) == 1:
        assert own == pytest.approx(((1 - 0.999**steps) / 0.001) ** 0.5, rel=1e-3)


def test_a_step_writes_the_rows_of_its_batch_and_no_others():
    table = nn.Embedding(1000, 2, sparse=True)
    opt = RowAdamW(table.parameters(), lr=0.1, weight_decay=0.1)
    opt.watch(table)
    for rows in ([1, 2], [2, 3], [900]):
        before = table.weight.detach().clone()
        opt.zero_grad()
        table(torch.tensor(rows)).sum().backward()
        opt.step()
        changed = (table.weight != before).any(1).nonzero().flatten().tolist()
        assert changed == rows


def test_a_decay_that_turns_the_weights_around_does_so_in_all_rows():
    whole = nn.Embedding(4, 2, sparse=True).double()
    reference = Whole(whole.weight.detach().clone(), 0.1, 3.0)
    opt = RowAdamW(whole.parameters(), weight_decay=3.0)
    for rate in (0.1, 0.7, 0.2, 1 / 3, 0.1):
        opt.param_groups[0]["lr"] = reference.lr = rate
        opt.zero_grad()
        feed(whole, torch.tensor([1]), grad := torch.ones(1, 2, dtype=torch.float64))
        opt.step()
        reference.step(torch.tensor([1]), grad)
    opt.settle()
    assert torch.allclose(whole.weight, reference.table, rtol=1e-12)


@pytest.mark.parametrize("first", ["sparse", "dense"])
def test_a_table_may_have_both_kinds_of_gradients(first):
    table = nn.Embedding(4, 2, sparse=True).double()
    reference = Whole(table.weight.detach().clone(), 0.1, 0.5)
    opt = RowAdamW(table.parameters(), lr=0.1, weight_decay=0.5)
    everything = torch.arange(4)
    for step in range(6):
        rows = torch.tensor([1, 3]) if (step % 2 == 0) == (first == "sparse") else everything
        grad = torch.randn(len(rows), 2, dtype=torch.float64)
        opt.zero_grad()
        if len(rows) == 4:
            (table.weight * grad).sum().backward()
        else:
            feed(table, rows, grad)
        opt.step()
        reference.step(rows, grad)
    opt.settle()
    assert torch.allclose(table.weight, reference.table, rtol=1e-12)


def test_bags_and_tables_of_three_dimensions_and_padding():
    torch.manual_seed(0)
    bag = nn.EmbeddingBag(5, 2, mode="sum", sparse=True, padding_idx=0)
    opt = RowAdamW(bag.parameters(), lr=0.1, weight_decay=0.1)
    before = bag.weight.detach().clone()
    opt.watch(bag)
    bag(torch.tensor([[0, 2, 2]])).sum().backward()
    opt.step()
    assert (bag.weight != before).any(1).tolist() == [False, False, True, False, False]
    cube = nn.Parameter(torch.ones(3, 2, 2))
    cube.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2, 2), cube.shape, check_invariants=True)
    RowAdamW([cube], lr=0.1, weight_decay=0.0).step()
    assert cube[1].tolist() == [[pytest.approx(0.9, abs=1e-6)] * 2] * 2
    assert torch.equal(cube[0], torch.ones(2, 2))


def test_what_it_refuses():
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(ValueError, match=r"sparse in 2 dimensions.*nn.Embedding"):
        RowAdamW([weight]).step()
    for name in ("amsgrad", "capturable", "differentiable"):
        with pytest.raises(ValueError, match=f"no {name} for rows"):
            RowAdamW([{"params": [weight], name: True}])
    table = nn.Embedding(3, 2, sparse=True)
    opt = LayerOptimizer(torch.optim.AdamW, table, 0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError) as caught:
        opt.step()
    assert "zoo.RowAdamW" in caught.value.__notes__[0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))])
def test_copies_step_alike(copied):
    table = nn.Embedding(5, 2, sparse=True)
    opt = RowAdamW(table.parameters(), lr=0.1, weight_decay=0.1)
    twin = None
    for step, row in enumerate([1, 2, 3, 1, 1]):
        for one in [opt] if twin is None else [opt, twin]:
            (weight,) = one.param_groups[0]["params"]
            weight.grad = None
            F.embedding(torch.tensor([row, 4]), weight, sparse=True).sum().backward()
            one.step()
        twin = copied(opt) if step == 1 else twin
    opt.settle()
    twin.settle()
    assert torch.equal(table.weight, twin.param_groups[0]["params"][0])


def test_a_state_goes_on_bit_for_bit_also_through_a_file(tmp_path):
    def steps(table, opt, rows):
        for row in rows:
            opt.zero_grad()
            (table(torch.tensor([row, 4])) * 0.3).sum().backward()
            opt.step()

    tables = [nn.Embedding(5, 2, sparse=True) for _ in range(3)]
    opts = [RowAdamW(t.parameters(), lr=0.037, weight_decay=0.31) for t in tables]
    for table in tables[1:]:
        table.load_state_dict(tables[0].state_dict())
    steps(tables[0], opts[0], [1, 2, 3, 2, 1, 0])
    steps(tables[1], opts[1], [1, 2, 3])
    write_tree(tmp_path / "state.safetensors", opts[1].state_dict())
    buffer = io.BytesIO()
    torch.save(opts[1].state_dict(), buffer)
    buffer.seek(0)
    states = [read_tree(tmp_path / "state.safetensors"), torch.load(buffer, weights_only=True)]
    with torch.no_grad():
        tables[2].weight.copy_(tables[1].weight)
    for table, state in zip(tables[1:], states, strict=True):
        opt = RowAdamW(table.parameters())
        opt.load_state_dict(copy.deepcopy(state))
        for name in ("decayed", "seen"):
            assert torch.equal(opt.state[table.weight][name], opts[1].state[tables[1].weight][name])
            assert opt.state[table.weight][name].dtype == opts[1].state[tables[1].weight][name].dtype
        steps(table, opt, [2, 1, 0])
        opt.settle()
    opts[0].settle()
    assert torch.equal(tables[0].weight, tables[1].weight)
    assert torch.equal(tables[0].weight, tables[2].weight)


# -- in a learner


def dense_twin(model: Pairs, found: ModelData, lrs: list[float], wd: float) -> Pairs:
    """What a fit gives by the rule over whole tables; `lrs` of each step."""
    twin = Pairs(sparse=False)
    twin.load_state_dict(model.state_dict())
    twin.double()
    tables = [Whole(t.weight.data, 0.0, wd) for t in (twin.left, twin.right)]
    top = torch.optim.AdamW(twin.top.parameters(), weight_decay=wd)
    steps = iter(lrs)
    for epoch in range(len(lrs) // len(found.train_dl)):
        found.train_dl.set_epoch(epoch)
        for left, right, y in found.train_dl:
            rate = next(steps)
            twin.zero_grad()
            F.mse_loss(twin(left, right), y.double()).backward()
            top.param_groups[0]["lr"] = rate
            top.step()
            for table, rows, weight in zip(tables, (left, right), (twin.left, twin.right), strict=True):
                table.lr, unique = rate, rows.unique()
                table.step(unique, weight.weight.grad[unique])
    return twin


class Rates(Callback):
    def __init__(self):
        self.found = []

    def before_step(self, state):
        self.found.append(state.opt.param_groups[0]["lr"])


def test_a_fit_gives_what_the_rule_over_whole_tables_gives():
    model, rates = made(), Rates()
    start = copy.deepcopy(model)
    learn = learner(model, callbacks=[rates])
    learn.fit(0.03, 2, cycle_len=1)
    twin = dense_twin(start, learn.data, rates.found, 0.3)
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(own.double(), other, rtol=1e-3, atol=1e-5)
    assert not model.left._forward_pre_hooks
    assert learn.history[-1]["valid_loss"] < 0.8 * learn.history[0]["train_loss"]


class Looks(Callback):
    """Evaluates in the middle of an epoch."""

    def __init__(self, learn):
        self.learn, self.losses = learn, []

    def after_batch(self, state):
        if state.training and state.batch_index == 5:
            self.losses.append(self.learn.evaluate()["valid_loss"])


def test_looking_in_the_middle_sees_what_is_due_and_leaves_no_trace(tmp_path):
    runs = []
    for looks in (False, True):
        model = made()
        learn = learner(model, tmp_path, data=data(rows=ROWS), wd=8.0)
        looking = Looks(learn)
        learn.fit(0.03, 2, callbacks=[looking] if looks else [])
        runs.append((model, looking))
    for one, other in zip(runs[0][0].parameters(), runs[1][0].parameters(), strict=True):
        assert torch.equal(one, other)
    # the loss in the middle is that of settled weights: of a fit that ends there
    model = made()
    short = learner(model, tmp_path, data=data(), wd=8.0)

    class Ends(Callback):
        order = 500

        def after_batch(self, state):
            if state.training and state.batch_index == 5:
                raise zoo.CancelFit

    short.fit(0.03, 1, callbacks=[Ends()])
    assert short.evaluate()["valid_loss"] == pytest.approx(runs[1][1].losses[0], rel=1e-5)


def test_saved_weights_in_the_middle_of_an_epoch_are_settled(tmp_path):
    model = made()
    learn = learner(model, tmp_path, wd=8.0)
    found = []

    class Saves(Callback):
        def after_batch(self, state):
            if state.training and state.batch_index == 5:
                before = model.left.weight.detach().clone()
                learn.save("middle")
                saved = load_file(tmp_path / "models" / "middle.safetensors")
                state.opt.opt.settle()
                found.append(torch.equal(saved["left.weight"], model.left.weight))
                found.append(not torch.equal(saved["left.weight"], before))

    learn.fit(0.03, 1, callbacks=[Saves()])
    assert found == [True, True]


@pytest.mark.parametrize("every", [3, 7])
def test_resuming_is_bit_for_bit(tmp_path, every):
    class Stops(Callback):
        def after_batch(self, state):
            if state.training and state.epoch == 1 and state.batch_index == 9:
                raise KeyboardInterrupt

    whole = made()
    learner(whole, tmp_path / "whole").fit_one_cycle(
        2, 0.05, callbacks=[Accumulate(2)], checkpoint_every=every
    )
    part = made()
    learner(part, tmp_path / "part").fit_one_cycle(
        2, 0.05, callbacks=[Accumulate(2), Stops()], checkpoint_every=every
    )
    again = made(seed=9)
    learner(again, tmp_path / "part").fit_one_cycle(
        2, 0.05, callbacks=[Accumulate(2)], checkpoint_every=every, resume=True
    )
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    assert not torch.equal(whole.left.weight, part.left.weight)


def test_accumulation_is_the_larger_batch():
    found = []
    for bs, parts in ((32, []), (8, [Accumulate(4)])):
        model = made()
        learner(model, data=data(n=250, bs=bs), wd=0.2).fit(0.03, 2, callbacks=parts)
        found.append(model)
    for one, other in zip(found[0].parameters(), found[1].parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("clip", [0.05, 1e3])
def test_clipping_is_that_of_dense_gradients(clip):
    found = []
    for sparse in (True, False):
        model = made(sparse)
        learner(model, opt_fn=torch.optim.SGD, clip=clip, wd=0.0).fit(0.5, 1)
        found.append(model)
    for one, other in zip(found[0].parameters(), found[1].parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    free = made()
    learner(free, opt_fn=torch.optim.SGD, wd=0.0).fit(0.5, 1)
    assert torch.allclose(free.left.weight, found[0].left.weight) == (clip > 1)


def test_averages_are_of_settled_weights():
    class Follows(Callback):
        """The same average, of weights that are asked for by `state_dict`."""

        order = 60

        def before_fit(self, state):
            self.count, self.mean = 0, {n: v.clone() for n, v in state.model.state_dict().items()}

        def after_step(self, state):
            self.count += 1
            keep = min(0.9, (1 + self.count) / (10 + self.count))
            for name, value in state.model.state_dict().items():
                self.mean[name].lerp_(value, 1 - keep)

    model, follows = made(), Follows()
    learner(model, wd=8.0).fit(0.03, 2, callbacks=[EMA(0.9), follows])
    for name, value in model.state_dict().items():
        assert torch.allclose(value, follows.mean[name], rtol=1e-4, atol=1e-6)


class Validates(Callback):
    """Asks the loop itself for an evaluation in the middle of an epoch."""

    loop: Loop

    def after_batch(self, state):
        if state.training and state.batch_index == 5:
            self.loop.validate(state.data.valid_dl)
            state.loader, state.training = state.data.train_dl, True


def test_averages_that_are_looked_at_in_the_middle_leave_no_trace():
    found = []
    for looks in ([], [Validates()]):
        model = made()
        opt = LayerOptimizer(RowAdamW, model, 0.03, 8.0)
        loop = Loop(State(model, data(), opt, nn.MSELoss(), torch.device("cpu")), [SWA(0.0), *looks])
        for callback in looks:
            callback.loop = loop
        loop.fit(3)
        found.append(model)
    assert all(map(torch.equal, found[0].parameters(), found[1].parameters()))


def test_the_finder_works_and_leaves_no_trace():
    model = made()
    learn = learner(model, wd=0.5)
    learn.fit(0.01, 1)
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(learn.opt.opt.state_dict())
    learn.lr_find(1e-4, 10, num_it=40)  # beyond a decay of 1
    equal(dict(before), dict(model.state_dict()), 0.0)
    equal(state, learn.opt.opt.state_dict(), 0.0)


def test_a_compiled_model_is_refused():
    model = made()
    learn = learner(model)
    learn.compile(backend="eager")
    with pytest.raises(ValueError, match=r"torch\.compile knows no sparse gradients"):
        learn.fit(0.01, 1)
    learn.compile(False)
    learn.fit(0.01, 1)


def test_fp16_and_bf16():
    for switch in ("to_fp16", "to_bf16"):
        model = made()
        learn = learner(model)
        getattr(learn, switch)()
        learn.fit(0.03, 3)
        assert learn.history[-1]["train_loss"] < learn.history[0]["train_loss"]


def test_a_step_that_must_not_be_made_is_left_out():
    model = made()
    opt = RowAdamW(model.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    before = copy.deepcopy(model.state_dict())
    model(torch.tensor([1, 2]), torch.tensor([3, 4])).sum().backward()
    opt.found_inf = torch.ones(())  # as the guard against losses that are no numbers sets it on a GPU
    opt.step()
    opt.settle()
    equal(dict(before), dict(model.state_dict()), 0.0)
    opt.found_inf = torch.zeros(())
    opt.step()
    assert not torch.equal(before["left.weight"], model.left.weight)
    assert not torch.equal(before["top.weight"], model.top.weight)


def test_a_loss_that_is_no_number_leaves_the_weights_alone():
    model, source = made(), data()
    source.train_dl.tensors[2][:] = torch.nan
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(zoo.NonFiniteLossError):
        learner(model, data=source).fit(0.1, 1)
    equal(dict(before), dict(model.state_dict()), 0.0)


@pytest.mark.parametrize("sparse", [True, False])
def test_steps_with_tables_are_not_recorded_as_cuda_graphs(sparse):
    model = made(sparse)
    loop = Loop(State(model, data(), LayerOptimizer(RowAdamW, model, 0.1), nn.MSELoss(), torch.device("cpu")))
    assert ("tables with sparse gradients" in CudaGraphs()._hindered(loop)) == sparse


def test_it_has_a_name_and_is_public():
    told = name_of_optimizer(RowAdamW)
    assert told == {"name": "RowAdamW", "options": {}}
    assert optimizer_of_name(told) is zoo.RowAdamW


def test_the_fused_kernel_of_other_parameters_is_kept():
    model = made()
    learn = learner(model)
    learn.fit(0.01, 1)
    assert learn.opt.param_groups[0]["fused"] is True


# -- several processes


def two_processes(folder, kind):
    rank = zoo.distributed.rank()
    if kind == "gradients":
        tables = [
            nn.Parameter(torch.zeros(6, 2)),
            nn.Parameter(torch.zeros(6, 1)),
            nn.Parameter(torch.zeros(6, 1)),
        ]
        rows = [[1, 3, 3], [5, 1]][rank]
        tables[0].grad = _of_rows(rows, 6, 2, 1.0 + rank)
        if rank:
            tables[1].grad = _of_rows([0], 6, 1, 4.0)
        average_rows(tables)
        result = {
            "first": tables[0].grad.to_dense(),
            "second": tables[1].grad.to_dense(),
            "third": tables[2].grad is None,
        }
        bare = nn.Parameter(torch.zeros(2, 2))
        bare.grad = torch.eye(2).to_sparse()
        try:
            average_gradients([bare])
        except ValueError as error:
            result["error"] = str(error)
    else:
        model = made()
        learn = learner(model, folder, data=data(n=250))
        learn.fit(0.03, 2, cycle_len=1, clip=0.5, callbacks=[Accumulate(2)])
        result = {"weights": dict(model.state_dict()), "losses": [row["train_loss"] for row in learn.history]}
    write_tree(folder / f"{kind}{rank}.safetensors", result)


def _of_rows(rows, n, width, value):
    values = torch.full((len(rows), width), value)
    return torch.sparse_coo_tensor([rows], values, (n, width), check_invariants=True)


def test_processes_exchange_rows(tmp_path):
    assert ranks(two_processes, tmp_path, "gradients") == [0, 0]
    first, second = (read_tree(tmp_path / f"gradients{rank}.safetensors") for rank in (0, 1))
    equal(first, second, 0.0)
    assert first["first"][:, 0].tolist() == [0.0, 1.5, 0.0, 1.0, 0.0, 1.0]
    assert first["second"][:, 0].tolist() == [2.0, 0, 0, 0, 0, 0]
    assert first["third"]
    assert "something else" in first["error"]


def test_two_processes_train_as_one(tmp_path):
    assert ranks(two_processes, tmp_path, "fit") == [0, 0]
    first, second = (read_tree(tmp_path / f"fit{rank}.safetensors") for rank in (0, 1))
    equal(first, second, 0.0)
    model = made()
    learn = learner(model, tmp_path, data=data(n=250))
    learn.fit(0.03, 2, cycle_len=1, clip=0.5, callbacks=[Accumulate(2)])
    equal(first["weights"], dict(model.state_dict()), 1e-4)
