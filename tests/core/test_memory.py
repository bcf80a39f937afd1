"""Out of memory, the search for the largest batch size, and what outlives a fit: nothing."""

from __future__ import annotations

import contextlib
import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

from tests.core.helpers import DigitsNet, digits, digits_learner, same, weights
from zoo import Callback, DatasetLoader, Learner, ModelData, TensorLoader
from zoo.engine.loop import Loop
from zoo.engine.memory import HostMemory, advise, is_out_of_memory
from zoo.engine.state import State
from zoo.training.batch_size import BatchSizeResult, Trial, find_batch_size, with_bs


class Limited(DigitsNet):
    """Raises what a full GPU raises when a batch has more than `limit` rows."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.seen: list[weakref.ref] = []

    def forward(self, x):
        h = self.middle(self.body(x))
        self.seen.append(weakref.ref(h))
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.head(h)


def limited_learner(limit: int, rows: int = 1200, valid_bs: int = 256, **options) -> Learner:
    torch.manual_seed(0)
    x, y = digits()
    train = TensorLoader(x[:rows], y[:rows], bs=64, shuffle=True, seed=1)
    data = ModelData(train, TensorLoader(x[1200:], y[1200:], bs=valid_bs))
    return Learner(data, Limited(limit), device="cpu", progress=False, **options)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def running() -> list[object]:
    return [thing for thing in gc.get_objects() if type(thing) in (State, Loop)]


# -- out of memory


def test_the_error_names_rows_and_the_next_size_and_the_learner_goes_on():
    learn = limited_learner(100, valid_bs=64)
    learn.fit(0.01, 1)
    learn.data.train_dl.bs = 128
    before = weights(learn.model)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        learn.fit(0.01, 1)
    notes = "\n".join(caught.value.__notes__)
    assert "out of memory with 128 rows a batch: try bs=64, or let learn.find_batch_size()" in notes
    assert "inputs [(128, 64)]" in notes
    assert [row["epoch"] for row in learn.history] == [0]
    after = weights(learn.model)
    assert same({k: v for k, v in before.items() if "running" not in k and "num_" not in k},
                {k: v for k, v in after.items() if "running" not in k and "num_" not in k})  # fmt: skip
    assert all(param.grad is None for param in learn.model.parameters())
    learn.data.train_dl.bs = 64
    learn.model.limit = 1000
    rows = learn.fit(0.01, 1)
    assert rows[-1]["epoch"] == 1
    assert rows[-1]["valid_loss"] < learn.history[0]["valid_loss"]
    assert learn.predict().shape == (597, 10)


def test_no_activation_lives_while_the_error_does(no_collector):
    learn = limited_learner(32)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        learn.fit(0.01, 1)
    assert caught.value.__traceback__ is not None
    assert learn.model.seen
    assert all(ref() is None for ref in learn.model.seen)


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_evaluation_gives_the_same_advice_and_lets_go(call, no_collector):
    learn = limited_learner(100)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        getattr(learn, call)()
    assert "out of memory with 256 rows a batch: try bs=128" in caught.value.__notes__
    assert all(ref() is None for ref in learn.model.seen)
    learn.data.valid_dl = TensorLoader(*learn.data.valid_dl.tensors, bs=64)
    assert len(learn.predict()) == 597


def test_a_lack_of_memory_in_validation_keeps_the_epoch_and_tells_the_rows():
    learn = limited_learner(100)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        learn.fit(0.01, 1)
    assert "out of memory with 256 rows a batch: try bs=128" in caught.value.__notes__
    assert len(learn.history) == 1
    assert not learn.model.training


def test_what_counts_as_out_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert "smaller model" in advise(1, training=True)


# -- find_batch_size


@pytest.mark.parametrize(("limit", "expected"), [(3, 2), (5, 4), (64, 64), (100, 96), (1023, 1016)])
def test_the_largest_size_that_fits_is_found(limit, expected):
    found = limited_learner(limit).find_batch_size()
    assert (found.bs, found.limit) == (expected, "memory")
    for trial in found.tried:
        assert trial.ok == (trial.bs <= limit)
    assert found.suggested <= found.bs


def test_rows_and_max_bs_limit_the_search():
    found = limited_learner(10**6, rows=1199).find_batch_size()
    assert (found.bs, found.limit, found.suggested) == (1192, "rows", 1192)
    found = limited_learner(10**6).find_batch_size(start=8, max_bs=100)
    assert (found.bs, found.limit) == (96, "max_bs")
    assert [trial.bs for trial in found.tried] == [8, 16, 32, 64, 96]


def test_the_search_leaves_no_trace():
    learners, rows = [], []
    for search in (False, True):
        learn = limited_learner(500, clip=1.0)
        learners.append(learn)
        learn.fit(0.01, 1)
        if search:
            state = torch.get_rng_state()
            before, data, epoch = weights(learn.model), learn.data.train_dl, learn.data.train_dl.epoch
            averages = {k: v.clone() for k, v in learn.opt.opt.state[learn.model.head.weight].items()}
            learn.find_batch_size()
            assert same(before, weights(learn.model))
            assert learn.data.train_dl is data
            assert (data.bs, data.epoch) == (64, epoch)
            assert torch.equal(state, torch.get_rng_state())
            assert same(averages, learn.opt.opt.state[learn.model.head.weight])
            assert len(learn.history) == 1
        rows.append(learn.fit(0.01, 2, cycle_len=1))
    assert same(*(weights(learn.model) for learn in learners))
    assert [r["valid_loss"] for r in rows[0]] == [r["valid_loss"] for r in rows[1]]
    assert limited_learner(500).find_batch_size().bs == 496


def test_apply_changes_the_training_loader_only():
    learn = limited_learner(500)
    valid = learn.data.valid_dl
    assert learn.find_batch_size(apply=True).bs == learn.data.train_dl.bs == 496
    assert learn.data.valid_dl is valid
    learn.model.limit = 10**6
    assert len(learn.fit(0.01, 1)) == 1


def test_the_optimizer_and_callbacks_take_part():
    """An optimizer whose second step does not fit, a callback of the training step, short numbers."""

    class Hungry(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            for state in (self.state[p] for p in self.param_groups[0]["params"]):
                state["n"] = state.get("n", 0) + 1
                if state["n"] > 1 and rows[-1] > 40:
                    raise torch.OutOfMemoryError("no room for the averages")
            super().step(closure)

    class Rows(Callback):
        in_finder = True

        def before_batch(self, state):
            rows.append(state.rows)

    seen: list[float] = []
    rows: list[int] = []
    learn = digits_learner(opt_fn=Hungry, callbacks=[Rows()]).to_bf16()
    assert learn.find_batch_size().bs == 40
    assert set(seen) == {0.0}
    assert learn.opt is None


def test_other_errors_come_through_with_the_size():
    class Broken(Callback):
        in_finder = True

        def after_predict(self, state):
            raise RuntimeError("shapes differ")

    learn = digits_learner(callbacks=[Broken()])
    before = weights(learn.model)
    with pytest.raises(RuntimeError, match="shapes differ") as caught:
        learn.find_batch_size()
    assert "while find_batch_size tried bs=64" in caught.value.__notes__
    assert same(before, weights(learn.model))


def test_ctrl_c_ends_the_search_without_a_trace():
    class Impatient(Callback):
        in_finder = True

        def after_step(self, state):
            if state.rows > 100:
                raise KeyboardInterrupt

    learn = digits_learner(callbacks=[Impatient()])
    before = weights(learn.model)
    with pytest.raises(KeyboardInterrupt):
        learn.find_batch_size()
    assert same(before, weights(learn.model))


def test_nothing_fits():
    with pytest.raises(torch.OutOfMemoryError, match="bs=2 does not fit, less does not train"):
        limited_learner(1).find_batch_size()
    learn = digits_learner()
    learn.data = ModelData(TensorLoader(torch.randn(9, 3), torch.randn(9, 1), bs=4))
    learn.model = Hopeless()
    learn = Learner(learn.data, Hopeless(), device="cpu", progress=False)
    with pytest.raises(torch.OutOfMemoryError, match="not even a single row"):
        learn.find_batch_size()
    with pytest.raises(ValueError, match="start must be a whole number of at least 1, got 0"):
        learn.find_batch_size(start=0)


class Hopeless(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 1)

    def forward(self, x):
        raise torch.OutOfMemoryError


def test_plain_data_loaders_are_rebuilt():
    x, y = digits()
    rows = TensorDataset(x[:300], y[:300])
    generator = torch.Generator().manual_seed(3)
    shuffled = DataLoader(rows, batch_size=16, shuffle=True, generator=generator, drop_last=True)
    for loader in (shuffled, DataLoader(rows, 16), DataLoader(rows, 16, sampler=RandomSampler(rows))):
        learn = Learner(ModelData(loader), Limited(100), device="cpu", progress=False)
        state = generator.get_state()
        assert learn.find_batch_size().bs == 96
        assert torch.equal(state, generator.get_state())
        assert loader.batch_size == 16
    bigger = with_bs(shuffled, 100)
    assert (bigger.batch_size, bigger.drop_last, bigger.sampler) == (100, True, shuffled.sampler)


class Counted(IterableDataset):
    def __len__(self):
        return 40

    def __iter__(self):
        return ((torch.randn(64), 1) for _ in range(40))


def test_loaders_of_iterable_datasets_and_with_workers():
    learn = Learner(ModelData(DataLoader(Counted(), 4)), Limited(20), device="cpu", progress=False)
    assert learn.find_batch_size().bs == 16
    with_workers = DataLoader(TensorDataset(*digits()), 8, num_workers=1, persistent_workers=True)
    assert with_bs(with_workers, 16).num_workers == 1
    assert with_bs(with_workers, 16, workers=False).num_workers == 0


def test_loaders_that_cannot_be_rebuilt_say_what_to_do():
    rows = TensorDataset(*digits())
    own = DataLoader(rows, batch_sampler=BatchSampler(RandomSampler(rows), 8, False))
    with pytest.raises(TypeError, match="batch_sampler of its own"):
        with_bs(own, 16)
    with pytest.raises(TypeError, match=r"list cannot be changed: give it a method with_bs\(bs\)"):
        with_bs([1, 2], 16)

    class Special(DataLoader):
        pass

    with pytest.raises(TypeError, match="Special cannot be changed"):
        with_bs(Special(rows), 16)

    class Plan:
        def __len__(self):
            return 1

        def batches(self, epoch, seed):
            return [[0, 1]]

    with pytest.raises(TypeError, match="the plan decides"):
        with_bs(DatasetLoader(rows, plan=Plan()), 16)


def test_rebuilt_loaders_give_the_same_rows():
    x = torch.arange(21.0)
    plain = TensorLoader(x, x, bs=4, shuffle=True, seed=5)
    rows = DatasetLoader(TensorDataset(x, x), 4, True, seed=5)
    for loader in (plain, rows):
        other = with_bs(loader, 8)
        assert (loader.bs, other.bs, len(other)) == (4, 8, 3)
        seen = [torch.cat([batch[0] for batch in each]) for each in (loader, other)]
        assert torch.equal(*seen)
        assert len(with_bs(loader, 10)) == 2  # the single row left over is left out
        with pytest.raises(ValueError, match="bs must be at least 1"):
            with_bs(loader, 0)


def test_on_the_cpu_sizes_beyond_the_free_memory_are_not_tried(monkeypatch):
    monkeypatch.setattr(HostMemory, "free", staticmethod(lambda: 1000))
    monkeypatch.setattr(HostMemory, "note", lambda self, rows: setattr(self, "last", rows))
    monkeypatch.setattr(
        HostMemory, "expected", lambda self, rows: 0 if not hasattr(self, "last") else 7 * rows
    )
    found = limited_learner(10**6).find_batch_size()
    assert (found.bs, found.limit) == (136, "memory")


def test_the_machines_memory_is_foreseen():
    host = HostMemory()
    assert host.expected(10) == 0
    block = np.ones(300_000_000, dtype=np.uint8)  # far more than the system takes back meanwhile
    host.note(100)
    del block
    assert HostMemory.free() > 0
    if host.before:  # systems that tell
        assert 2e9 < host.expected(1000) < 4e9


def test_the_result_reads_well():
    found = BatchSizeResult(8, "memory", [Trial(8, True, 3 << 20), Trial(16, False)])
    assert repr(found).splitlines() == [
        "largest batch size: 8 (limit: memory); with some to spare: 4",
        "   bs  fits  peak MiB",
        "    8  yes          3",
        "   16  no",
    ]
    assert "spare" not in repr(BatchSizeResult(8, "rows", [Trial(8, True)]))


@pytest.mark.gpu
def test_a_full_gpu():
    width = 1 << 14
    x = torch.randn(4096, width)

    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(width, 1)

        def forward(self, x):
            return self.layer(torch.cat([(x * i).exp().tanh() for i in range(16)]).view(16, *x.shape).mean(0))

    free = torch.cuda.mem_get_info()[0]
    share = min(1.0, (8 << 30) / torch.cuda.mem_get_info()[1])
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        learn = Learner(ModelData(TensorLoader(x, x[:, :1], bs=64)), Hungry(), device="cuda", progress=False)
        found = learn.find_batch_size()
        assert found.limit == "memory"
        assert all(trial.peak for trial in found.tried if trial.ok)
        learn.data.train_dl = with_bs(learn.data.train_dl, 2 * found.bs)
        with pytest.raises(torch.OutOfMemoryError) as caught:
            learn.fit(1e-3, 1)
        assert any("try bs=" in note for note in caught.value.__notes__)
        assert torch.cuda.memory_allocated() < (1 << 30)
        # a fit holds the batch that comes next as well
        learn.data.train_dl = with_bs(learn.data.train_dl, found.suggested)
        learn.fit(1e-3, 1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert free > 0


# -- nothing outlives a fit


class Watch(Callback):
    """Weak references to all that a batch makes."""

    def __init__(self, stop: type[BaseException] | None = None) -> None:
        self.refs: list[weakref.ref] = []
        self.stop = stop

    def after_backward(self, state):
        grads = [param.grad for param in state.model.parameters() if param.grad is not None]
        tensors = [state.inputs[0], state.target, state.preds, state.loss, *grads]
        self.refs += [weakref.ref(tensor) for tensor in tensors]
        if self.stop is not None and state.batch_index == 2:
            raise self.stop("stop")

    @property
    def alive(self) -> int:
        return sum(ref() is not None for ref in self.refs)


def test_nothing_of_a_fit_lives_on(no_collector):
    learn = digits_learner()
    watch = Watch()
    gone = weakref.ref(watch)
    learn.fit(0.01, 1, cycle_len=1, callbacks=[watch])
    learn.fit_one_cycle(1, 0.01, callbacks=[watch])
    assert len(watch.refs) > 38
    assert watch.alive == 0
    del watch
    assert gone() is None
    assert not running()


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_nothing_lives_on_after_a_fit_that_failed(stop, no_collector):
    learn = digits_learner()
    watch = Watch(stop)
    if stop is KeyboardInterrupt:
        learn.fit(0.01, 1, callbacks=[watch])
    else:
        with contextlib.suppress(stop):
            learn.fit(0.01, 1, callbacks=[watch])
    assert len(watch.refs) > 10
    assert watch.alive == 0
    assert not running()


def test_nothing_lives_on_after_an_error_in_a_cleanup(no_collector):
    class Bad(Callback):
        def cleanup_fit(self, state):
            raise ValueError("late")

    learn = digits_learner()
    watch, bad = Watch(), Bad()
    gone = weakref.ref(bad)
    with contextlib.suppress(ValueError):
        learn.fit(0.01, 1, callbacks=[watch, bad])
    del bad
    assert gone() is None
    assert watch.alive == 0
    assert not running()


@pytest.mark.parametrize("call", ["lr_find", "predict", "evaluate", "find_batch_size"])
def test_nothing_lives_on_after_the_other_passes(call, no_collector):
    class Peek(Callback):
        in_finder = True

        def after_predict(self, state):
            refs.extend(weakref.ref(tensor) for tensor in (state.inputs[0], state.target, state.preds))

    refs: list[weakref.ref] = []
    learn = digits_learner(callbacks=[Peek()])
    answer = getattr(learn, call)()
    assert answer is not None
    assert refs
    assert all(ref() is None for ref in refs)
    assert not running()
    assert all(param.grad is None for param in learn.model.parameters())


def test_the_learner_goes_with_its_last_reference(no_collector):
    learn = digits_learner(seed=3)
    learn.fit(0.01, 1, cycle_len=1)
    learn.lr_find(num_it=5)
    learn.predict()
    refs = [weakref.ref(thing) for thing in (learn, learn.model, learn.opt, learn.data, learn.sched)]
    refs += [weakref.ref(param) for param in learn.model.parameters()]
    refs += [weakref.ref(tensor) for values in learn.opt.opt.state.values() for tensor in values.values()]
    del learn
    assert [ref() for ref in refs if ref() is not None] == []


def test_the_bare_fit_lets_go(no_collector):
    from zoo import fit

    x, y = digits()
    net = DigitsNet()
    watch = Watch()
    fit(net, ModelData(TensorLoader(x, y)), 1, torch.optim.SGD(net.parameters(), lr=0.1), F.cross_entropy,
        callbacks=[watch])  # fmt: skip
    assert watch.alive == 0
    assert not running()


def test_the_function_and_the_method_are_one():
    learn = limited_learner(100)
    assert repr(find_batch_size(learn)) == repr(learn.find_batch_size())


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 80 bytes.",
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried",
    ],
)
def test_all_ways_in_which_torch_says_that_memory_is_full(message) -> None:
    assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(ValueError(message))


@pytest.mark.parametrize("value", [1.5, "64", True, 0])
@pytest.mark.parametrize("name", ["start", "max_bs"])
def test_sizes_to_try_are_whole_numbers(name, value) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {value!r}"):
        digits_learner().find_batch_size(**{name: value})


def test_the_search_ends_when_a_size_takes_too_long():
    found = digits_learner().find_batch_size(start=8, seconds=0.0)
    assert (found.bs, found.limit, [trial.bs for trial in found.tried]) == (8, "time", [8])
    assert digits_learner().find_batch_size(start=8, max_bs=32).limit == "max_bs"
