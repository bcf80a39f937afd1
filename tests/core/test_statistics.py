import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.core.helpers import DigitsNet, digits_data, digits_learner, same, weights
from zoo import Callback, Learner, fit
from zoo.callbacks import ActivationStats, GradientStats
from zoo.callbacks.layer_statistics import bin_edges, log_histogram
from zoo.inspect.hooks import SaveFeatures


def n_hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def deep(scale=None, bias=None):
    """Eight layers without normalisation, with weights of a given scale and biases of a given value."""
    torch.manual_seed(0)
    layers = []
    for width in [64] + [50] * 7:
        layers += [nn.Linear(width, 50), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(50, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            with torch.no_grad():
                layer.weight.mul_(1.0 if scale is None else scale)
                layer.bias.fill_(bias or 0.0)
    return net


def recorded(net, *callbacks, lr=1e-4, epochs=1):
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    fit(net, digits_data(), epochs, opt, nn.functional.cross_entropy, callbacks=callbacks)
    return [callback.table() for callback in callbacks]


def test_a_badly_scaled_start_shows():
    def stds(scale):
        (table,) = recorded(deep(scale), ActivationStats(1, layers=r"\d+"))
        return table[table.batch == 0].set_index("layer")["std"]

    good, small, large = stds(None), stds(0.1), stds(3.0)
    assert 0.3 < good["14"] / good["0"] < 3
    assert small["14"] / small["0"] < 1e-5
    assert large["14"] / large["0"] > 500
    assert small["14"] / small["0"] == pytest.approx(good["14"] / good["0"] * 1e-7, rel=1e-3)


def test_dead_units_show():
    alive, dead = (recorded(deep(bias=bias), ActivationStats(1)) for bias in (0.0, -3.0))

    def near_zero(tables, layer):
        table = tables[0]
        return table[table.layer == layer]["near_zero"].to_numpy()

    assert (near_zero(alive, "1") < 0.7).all()
    assert (near_zero(dead, "1") > 0.9).all()
    assert (near_zero(dead, "15") == 1.0).all()
    assert (near_zero(dead, "14") == 0.0).all()  # what goes into it is far from zero


def test_vanishing_gradients_show_and_a_dead_net_has_none():
    def first_to_last(**start):
        (table,) = recorded(deep(**start), GradientStats(1))
        norms = table[table["update"] == 0].set_index("layer")["norm"]
        return norms["0"] / norms["16"], norms["0"]

    assert first_to_last()[0] > 0.1
    assert 0 < first_to_last(scale=0.3)[0] < 1e-2
    assert first_to_last(bias=-3.0)[1] == 0.0


def test_the_numbers_are_those_of_the_layer():
    class Check(Callback):
        order = 46  # after the statistics

        def before_fit(self, state):
            self.expected = []

        def before_batch(self, state):
            self.weight = state.model.head.weight.detach().clone()
            self.bias = state.model.head.bias.detach().clone()

        def after_predict(self, state):
            if state.training:
                self.preds = state.preds.detach()

        def before_step(self, state):
            self.grad = torch.cat(
                [state.model.head.weight.grad.flatten(), state.model.head.bias.grad]
            ).clone()

        def after_step(self, state):
            now, before = state.model.head, torch.cat([self.weight.flatten(), self.bias])
            moved = torch.cat([now.weight.flatten(), now.bias]).detach() - before
            self.expected.append(
                (
                    [
                        self.preds.mean(),
                        self.preds.std(correction=0),
                        (self.preds.abs() <= 0.01).float().mean(),
                    ],
                    [
                        self.grad.norm(),
                        self.grad.mean(),
                        self.grad.std(correction=0),
                        moved.norm() / before.norm(),
                    ],
                )
            )

    activations, gradients, check = (
        ActivationStats(3, "head", near_zero=0.01),
        GradientStats(3, "head"),
        Check(),
    )
    digits_learner().fit(0.1, 2, callbacks=[activations, gradients, check])
    assert activations.batches == gradients.batches == [*range(0, 38, 3)]
    for index, batch in enumerate(activations.batches):
        expected = torch.tensor(check.expected[batch][0])
        torch.testing.assert_close(activations.values[index, 0], expected)
        torch.testing.assert_close(gradients.values[index, 0], torch.tensor(check.expected[batch][1]))
    assert activations.counts.sum(-1).unique().tolist() == [48 * 10, 64 * 10]
    assert gradients.counts.sum(-1).unique().tolist() == [330]


def test_watching_changes_nothing_and_leaves_nothing():
    plain = digits_learner()
    plain.fit(0.01, 2)
    watched = digits_learner()
    watched.fit(0.01, 2, callbacks=[ActivationStats(3), GradientStats(2)])
    assert same(weights(plain.model), weights(watched.model))
    assert n_hooks(watched.model) == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("event", ["after_predict", "after_loss", "before_step", "after_batch"])
def test_no_hooks_remain_after_an_error_or_an_interrupt(error, event):
    class Break(Callback):
        order = 40

    def stop(self, state):
        if state.epoch == 1 and state.training:
            self.before = n_hooks(state.model)
            raise error

    setattr(Break, event, stop)
    learn = digits_learner()
    stats, gradients, broken = ActivationStats(1), GradientStats(1), Break()
    if error is RuntimeError:
        with pytest.raises(RuntimeError):
            learn.fit(0.01, 2, callbacks=[stats, gradients, broken])
    else:
        learn.fit(0.01, 2, callbacks=[stats, gradients, broken])
    assert broken.before == (7 if event == "after_predict" else 0)
    assert n_hooks(learn.model) == 0
    assert len(stats.table()) >= 7 * 19
    learn.fit(0.01, 1, callbacks=[stats])
    assert stats.batches == [*range(19)]


def test_validation_is_not_recorded_and_sees_no_hooks():
    class Look(Callback):
        seen = 0

        def after_predict(self, state):
            if not state.training:
                self.seen = max(self.seen, n_hooks(state.model))

    look = Look()
    stats = ActivationStats(1)
    digits_learner().fit(0.01, 1, callbacks=[stats, look])
    assert look.seen == 0
    assert stats.counts.sum((1, 2)).max() == 64 * (32 * 6 + 10)


def test_frozen_layers_have_no_gradients_and_bf16_is_measured_in_float32():
    learn = digits_learner().to_bf16()
    learn.freeze()
    activations, gradients = ActivationStats(5), GradientStats(5)
    learn.fit(0.01, 1, callbacks=[activations, gradients])
    assert gradients.table()["layer"].unique().tolist() == ["head"]
    assert len(gradients.plot().axes) == 4
    assert activations.values.dtype == torch.float32
    assert activations.table()["layer"].nunique() == 7


def test_a_long_fit_needs_bounded_memory_and_is_seen_whole():
    stats, gradients = ActivationStats(1, most=10), GradientStats(1, most=10)
    digits_learner().fit(0.01, 5, callbacks=[stats, gradients])
    assert stats.batches == gradients.batches == [*range(0, 95, 16)]
    assert stats.values.shape == (6, 7, 3)
    assert stats.values.isfinite().all()


def test_statistics_go_on_after_a_restart():
    class Stop(Callback):
        order = 60

        def after_batch(self, state):
            if state.training and state.batches_before + state.batch_index == 22:
                self.kept = [callback.state_dict() for callback in self.watched]

    stop = Stop()
    stop.watched = ActivationStats(1, most=10), GradientStats(3)
    digits_learner().fit(0.01, 3, callbacks=[*stop.watched, stop])

    class Go(Callback):
        """Stands for the resuming of a fit: the same batches, the state put back before the 24th."""

        order = -200

        def before_batch(self, state):
            if state.training and state.batches_before + state.batch_index == 23:
                for callback, kept in zip(self.watched, stop.kept, strict=True):
                    callback._reset(callback.layers)
                    callback.load_state_dict(kept)

    go = Go()
    go.watched = ActivationStats(1, most=10), GradientStats(3)
    digits_learner().fit(0.01, 3, callbacks=[*go.watched, go])
    for first, second in zip(stop.watched, go.watched, strict=True):
        assert first.batches == second.batches
        assert torch.equal(first.values, second.values)
        assert torch.equal(first.counts, second.counts)
    assert all(
        isinstance(value, str | int | list | torch.Tensor) for kept in stop.kept for value in kept.values()
    )
    with pytest.raises(ValueError, match="resume with the same layers"):
        ActivationStats().load_state_dict(stop.kept[0])


def test_figures_name_the_layers_and_label_the_axes():
    activations, gradients = ActivationStats(4), GradientStats(4)
    learn = digits_learner()
    with pytest.raises(ValueError, match="give this callback to"):
        activations.plot()
    learn.fit(0.05, 1, callbacks=[activations, gradients])
    figure = activations.plot()
    assert [axis.get_ylabel() for axis in figure.axes] == ["mean", "std", "near zero"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"batch"}
    names = ["body.0", "body.1", "body.2", "middle.0", "middle.1", "middle.2", "head"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 4, 8, 12, 16]
    maps = activations.plot_histograms()
    assert [axis.get_title() for axis in maps.axes[:-1]] == names
    drawn = gradients.plot_histograms()
    assert [axis.get_title() for axis in drawn.axes[:-1]] == [n for n in names if n[-1] != "2"]
    assert drawn.axes[0].get_xlabel() == "update"
    shares = drawn.axes[0].collections[0].get_array()
    torch.testing.assert_close(torch.tensor(shares.sum(0)), torch.ones(5, dtype=torch.float64))
    for figure in (maps, drawn, gradients.plot()):
        figure.canvas.draw()


def test_a_deep_model_is_drawn_by_some_of_its_layers():
    stats = ActivationStats(10)
    recorded(deep(), stats)
    titles = [axis.get_title() for axis in stats.plot_histograms(panels=5).axes[:-1]]
    assert titles == ["0", "4", "8", "12", "16"]
    assert len(stats.plot_histograms().axes) == 17 + 1
    assert len(stats.plot_histograms(panels=1).axes) == 1 + 1


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait: reading values, and shapes that depend on values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [ActivationStats, GradientStats])
def test_recording_never_waits_for_the_device(kind):
    class Watched(kind):
        recorded = 0

        def _flush(self):
            assert not _in_batch[0]

        def _record(self, found):
            super()._record(found)
            self.recorded += 1

    _in_batch = [False]
    for event in ("before_batch", "_look", "after_predict", "before_step", "after_step", "cleanup_batch"):
        if hasattr(kind, event):
            setattr(Watched, event, without_waiting(getattr(kind, event), _in_batch))
    stats = Watched(1)
    digits_learner().fit(0.01, 1, callbacks=[stats])
    assert stats.recorded == 19
    assert len(stats._waiting) == 19
    with pytest.raises(AssertionError), NoWaiting():
        torch.ones(1).item()


def without_waiting(method, in_batch):
    def call(self, *given):
        in_batch[0] = True
        try:
            with NoWaiting():
                return method(self, *given)
        finally:
            in_batch[0] = False

    return call


def test_histograms_count_every_value_in_its_bin():
    values = torch.cat([torch.randn(1000) * 10.0**power for power in range(-7, 6)])
    values = torch.cat([values, torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan])])
    counts = log_histogram(values, (-4, 3))
    edges = torch.tensor(bin_edges((-4, 3)), dtype=torch.float64)
    assert len(edges) == len(counts) + 1
    inside = values.nan_to_num(0).double().clamp(float(edges[0]), float(edges[-1]))
    expected = torch.histogram(inside, edges).hist
    assert counts.sum() == len(values)
    assert (counts - expected).abs().max() <= 2  # at the edges, by rounding


@pytest.mark.parametrize("kind", [ActivationStats, GradientStats])
def test_bad_arguments_are_named(kind):
    with pytest.raises(ValueError, match="every must be a whole number"):
        kind(0)
    with pytest.raises(ValueError, match="most must be a whole number of at least 2"):
        kind(most=1.5)
    with pytest.raises(ValueError, match="no layer of the DigitsNet has the name 'boddy'"):
        recorded(DigitsNet(), kind(layers="boddy"))


def test_layers_that_never_run_shared_ones_and_sparse_gradients():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(17, 6, sparse=True)
            self.twice = nn.Linear(6, 6)
            self.idle = nn.Linear(3, 3)
            self.out = nn.Linear(6, 10)

        def forward(self, x):
            return self.out(self.twice(self.twice(self.emb((x * 16).long()).mean(1))))

    activations, gradients = ActivationStats(5), GradientStats(5)
    recorded(Bag(), activations, gradients, lr=0.1)
    assert activations.table()["layer"].unique().tolist() == ["emb", "twice", "out"]
    assert gradients.table()["layer"].unique().tolist() == ["emb", "twice", "out"]
    assert gradients.values[:, 0].isfinite().all()


def test_a_compiled_model_is_recorded_without_being_compiled_again():
    learn = digits_learner().compile(backend="aot_eager")
    stats, gradients = ActivationStats(4), GradientStats(4)
    learn.fit(0.01, 1)
    torch._dynamo.utils.counters.clear()
    learn.fit(0.01, 2, callbacks=[stats, gradients])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
    assert stats.values.shape == (10, 7, 3)
    assert stats.values.isfinite().all()
    assert gradients.values.isfinite().all()
    assert learn.model._compiled_call_impl is not None
    with SaveFeatures(learn, "middle") as saved:
        learn.predict()
    assert saved.features.shape == (85, 32)
    torch._dynamo.reset()


@pytest.mark.gpu
def test_statistics_on_an_accelerator_equal_those_on_the_cpu():
    def taken(device):
        activations, gradients = ActivationStats(5), GradientStats(5)
        torch.manual_seed(0)
        learn = Learner(digits_data(), DigitsNet(dropout=0.0), device=device, progress=False)
        learn.fit(0.01, 1, callbacks=[activations, gradients])
        return activations, gradients

    for there, here in zip(taken("cuda"), taken("cpu"), strict=True):
        assert there.batches == here.batches
        torch.testing.assert_close(there.values[0], here.values[0], rtol=1e-3, atol=1e-4)
        assert (there.counts.sum(-1) == here.counts.sum(-1)).all()
