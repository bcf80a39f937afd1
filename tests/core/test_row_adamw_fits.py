"""Fits of tables by rows: whoever looks at the weights sees those that are due."""

import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

import zoo
from tests.core.processes import equal, ranks
from tests.core.row_adamw_parts import ROWS, Pairs, Whole, data, learner, made
from zoo import LayerOptimizer, ModelData, RowAdamW
from zoo.callbacks import EMA, SWA, Accumulate, Callback
from zoo.callbacks.distributed import average_gradients
from zoo.distributed.rows import average_rows
from zoo.engine.cuda_graphs import CudaGraphs
from zoo.engine.loop import Loop
from zoo.engine.named_optimizers import name_of_optimizer, optimizer_of_name
from zoo.engine.state import State
from zoo.storage.checkpoint import read_tree, write_tree


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
