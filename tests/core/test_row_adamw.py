"""AdamW that updates the rows of a batch, next to what it stands for, written out over whole tables."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.core.row_adamw_parts import Whole
from zoo import LayerOptimizer, RowAdamW
from zoo.storage.checkpoint import read_tree, write_tree


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
