"""Compiled models and the channels-last layout: the same training, whatever else is used."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.core.helpers import digits, digits_learner, same, weights
from zoo import Callback, LayerOptimizer, Learner, ModelData, TensorLoader, load_learner
from zoo.callbacks import ActivationStats
from zoo.engine.speed import find_compiler, is_compiled
from zoo.storage.registry import register_model


@register_model("test.small_conv")
class SmallConv(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        first = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.body = nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU())
        self.deep = nn.Conv2d(width, 2 * width, 3, stride=2)
        self.head = nn.Linear(2 * width, 10)
        self.layouts: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(self.body(x))
        self.layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        return self.head(x.mean((2, 3)))

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        return {"body": [self.body], "deep": [self.deep], "head": [self.head]}


def pictures(**options) -> Learner:
    torch.manual_seed(0)
    x, y = digits()
    x = x.reshape(-1, 1, 8, 8)
    train = TensorLoader(x[:400], y[:400], bs=64, shuffle=True, seed=1)
    data = ModelData(train, TensorLoader(x[1400:], y[1400:], bs=256))
    data.task, data.classes = "classification", [str(i) for i in range(10)]
    return Learner(data, SmallConv(), seed=3, device="cpu", progress=False, **options)


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Each test compiles by itself, and leaves the settings of the compiler as they were."""
    config = torch._dynamo.config
    kept = config.recompile_limit, config.skip_nnmodule_hook_guards
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    config.recompile_limit, config.skip_nnmodule_hook_guards = kept


class Calls:
    """A backend of `torch.compile` that runs graphs as they are and counts them."""

    def __init__(self) -> None:
        self.graphs = self.calls = 0

    def __call__(self, graph, example_inputs):
        self.graphs += 1

        def run(*args):
            self.calls += 1
            return graph(*args)

        return run


def test_a_compiled_learner_trains_the_same_through_every_switch():
    """Freezing, a last smaller batch, bfloat16, evaluation, the finder: always compiled, never different."""
    results = []
    backend = Calls()
    for compiled in (False, True):
        learn = digits_learner(seed=0)
        learn.seed = 7
        if compiled:
            assert learn.compile(backend=backend) is learn
        learn.fit(0.01, 1)
        learn.freeze()
        learn.fit(0.01, 1, cycle_len=1)
        learn.freeze_to(1)
        learn.lr_find(num_it=5)
        learn.fit_one_cycle(1, 0.01)
        learn.unfreeze()
        learn.bn_freeze(True)
        learn.to_bf16().fit(0.01, 1)
        learn.to_fp32()
        learn.find_batch_size(max_bs=128)
        results.append((weights(learn.model), [row["valid_loss"] for row in learn.history], learn.predict()))
        calls, graphs = backend.calls, backend.graphs
        learn.predict()
        assert (backend.calls > calls, backend.graphs) == (compiled, graphs)
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert (results[0][2] == results[1][2]).all()


def test_saving_loading_exporting_and_undoing(tmp_path):
    learn = digits_learner(path=tmp_path).compile(backend="eager")
    names = list(learn.model.state_dict())
    learn.fit(0.01, 1)
    assert list(learn.model.state_dict()) == names
    assert learn.groups.names == ["body", "middle", "head"]
    learn.save("half")
    answer = learn.predict()
    plain = digits_learner(path=tmp_path, seed=5).load("half")
    assert plain.predict() == pytest.approx(answer, abs=1e-6)
    loaded = load_learner(learn.export(tmp_path / "model.zip"), device="cpu")
    assert not is_compiled(loaded.model)
    row = learn.data.valid_dl.tensors[0][:3]
    assert loaded.predict_array(row) == pytest.approx(answer[:3], abs=1e-6)
    assert is_compiled(learn.model)
    assert learn.compile(False) is learn
    assert not is_compiled(learn.model)
    assert learn.predict() == pytest.approx(answer, abs=1e-6)
    with pytest.raises(ValueError, match="takes no options, got mode"):
        learn.compile(False, mode="default")


def test_layers_of_a_compiled_model_can_be_looked_at():
    learn = digits_learner().compile(backend="eager")
    learn.fit(0.01, 1)
    shapes = {row.name: row.shape for row in learn.summary().rows}
    assert shapes["middle.0"] == (-1, 32)
    tables = []
    for compiled in (False, True):
        one = digits_learner(seed=2)
        if compiled:
            one.compile(backend="eager").fit(0.0, 1)
        else:
            one.fit(0.0, 1)
        stats = ActivationStats()
        one.fit(0.0, 1, callbacks=[stats])
        tables.append(stats.table())
    assert len(tables[0]) > 3
    assert tables[0].equals(tables[1])


def test_what_cannot_be_compiled_is_told_at_once(monkeypatch):
    learn = digits_learner()
    with pytest.raises(ValueError, match="records CUDA graphs, but this learner is on cpu"):
        learn.compile(mode="reduce-overhead")
    monkeypatch.setattr("zoo.engine.speed.find_compiler", lambda: None)
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler, and none was found: install g\+\+"):
        learn.compile()
    assert not is_compiled(learn.model)
    learn.compile(backend="aot_eager")
    learn.fit(0.01, 1)
    monkeypatch.undo()
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_compiler() is None


@pytest.mark.skipif(find_compiler() is None, reason="torch's own backend needs a C++ compiler")
def test_the_real_compiler_gives_the_same_within_rounding(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    x, y = digits()
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        data = ModelData(TensorLoader(x[:256], y[:256], bs=64), TensorLoader(x[256:512], y[256:512], bs=64))
        net = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
        learn = Learner(data, net, device="cpu", progress=False)
        if compiled:
            learn.compile()
        losses.append([row["valid_loss"] for row in learn.fit(0.01, 2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_channels_last_changes_layouts_not_results(tmp_path):
    plain, last = pictures(path=tmp_path), pictures(path=tmp_path)
    plain.fit(0.01, 1)
    last.fit(0.01, 1)
    assert last.channels_last() is last
    assert last.model.deep.weight.is_contiguous(memory_format=torch.channels_last)
    last.model.layouts.clear()
    for learn in (plain, last):
        learn.fit(0.01, 2)
    assert all(last.model.layouts)
    assert not any(plain.model.layouts)
    for name, value in weights(plain.model).items():
        assert torch.allclose(value, last.model.state_dict()[name], atol=2e-4), name
    assert last.history[-1]["valid_loss"] == pytest.approx(plain.history[-1]["valid_loss"], rel=1e-3)
    answer = last.predict()
    last.save("last")
    assert pictures(path=tmp_path).load("last").predict() == pytest.approx(answer, abs=1e-4)
    loaded = load_learner(last.export(tmp_path / "out"), device="cpu")
    assert loaded.predict_array(last.data.valid_dl.tensors[0][:9]) == pytest.approx(answer[:9], abs=1e-4)
    before = weights(last.model)
    last.lr_find(num_it=5)
    assert same(before, weights(last.model))
    last.load("last").channels_last(False)
    assert last.model.deep.weight.is_contiguous()
    last.model.layouts.clear()
    last.fit(0.01, 1)
    assert not any(last.model.layouts)


def test_channels_last_needs_convolutions():
    with pytest.raises(ValueError, match="this DigitsNet has none"):
        digits_learner().channels_last()


@pytest.mark.parametrize("fused", [True, False])
def test_averages_from_a_file_follow_the_layout_of_their_weights(fused):
    """Fused kernels go through weights and averages in the order of memory."""
    results = []
    for through_file in (False, True):
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        opt = LayerOptimizer(torch.optim.AdamW, [net], 0.1)
        opt.opt.defaults["fused"] = fused
        x = torch.randn(2, 3, 8, 8)
        for step in range(4):
            if through_file and step == 2:
                state = copy.deepcopy(opt.state_dict())
                for values in state["opt"]["state"].values():
                    values.update({name: value.contiguous() for name, value in values.items()})
                opt.load_state_dict(state)
            net(x).square().sum().backward()
            opt.step()
            opt.zero_grad()
        results.append(net.weight.detach().clone())
    assert torch.allclose(*results, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_on_a_gpu(mode):
    losses = []

    class Keep(Callback):
        def __init__(self):
            self.preds = []

        def after_predict(self, state):
            self.preds.append(state.preds.detach())

    for compiled in (False, True):
        learn = pictures()
        learn = Learner(learn.data, learn.model, seed=3, device="cuda", progress=False)
        if compiled:
            learn.compile(mode=mode)
        keep = Keep()
        losses.append([row["valid_loss"] for row in learn.fit(0.01, 2, callbacks=[keep])])
        assert len({preds.sum().item() for preds in keep.preds}) > 3
        assert len(learn.predict()) == 397
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
