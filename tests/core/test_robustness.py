"""Odd but reasonable uses, one test each."""

import json
import os
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.core.helpers import DigitsNet, digits, digits_data, digits_learner, same, weights
from zoo import (
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelFit,
    DatasetLoader,
    Learner,
    ModelData,
    NonFiniteLossError,
    TensorLoader,
    fit,
    load_learner,
)
from zoo.callbacks import CSVLogger
from zoo.metrics import accuracy
from zoo.storage.archive import ArchiveError


def small(model, x, y, *, bs=4, valid=True, **options):
    loader = TensorLoader(x, y, bs=bs)
    data = ModelData(loader, TensorLoader(x, y, bs=bs) if valid else None)
    return Learner(data, model, device="cpu", progress=False, **options)


# -- files


def test_export_never_replaces_what_is_not_an_archive(tmp_path):
    learn = digits_learner()
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="not an exported learner"):
        learn.export(tmp_path / "proj")
    learn.export(tmp_path / "mixed")
    (tmp_path / "mixed" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an exported learner"):
        learn.export(tmp_path / "mixed")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.writestr("a.jpg", "x")
    with pytest.raises(FileExistsError, match="not an exported learner"):
        learn.export(tmp_path / "photos.zip")
    assert (tmp_path / "mixed" / "notes.txt").read_text() == "mine"
    assert zipfile.ZipFile(tmp_path / "photos.zip").namelist() == ["a.jpg"]


def test_export_through_a_link_and_to_an_upper_case_zip(tmp_path):
    learn = digits_learner()
    learn.export(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    learn.export(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    learn.export(tmp_path / "x.ZIP")
    assert zipfile.is_zipfile(tmp_path / "x.ZIP")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "real", "x.ZIP"]


def test_a_failed_swap_puts_the_old_archive_back(tmp_path, monkeypatch):
    learn = digits_learner()
    learn.export(tmp_path / "model")
    old = weights(load_learner(tmp_path / "model", device="cpu").model)
    replace = type(tmp_path).replace

    def fail(self, target):
        if self.suffix == ".tmp":
            raise OSError("disk trouble")
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", fail)
    learn.fit(0.1, 1)
    with pytest.raises(OSError, match="disk trouble"):
        learn.export(tmp_path / "model")
    monkeypatch.undo()
    assert same(old, weights(load_learner(tmp_path / "model", device="cpu").model))
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_hostile_archives_raise_archive_errors(tmp_path):
    digits_learner().export(tmp_path / "model")
    members = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}

    def refuse(message, **changed):
        path = tmp_path / "bad.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in {**members, **{f"{k}.json": v for k, v in changed.items()}}.items():
                file.writestr(name, data)
        with pytest.raises(ArchiveError, match=message):
            load_learner(path)

    refuse("not valid JSON", preprocess=b"[" * 200_000)
    refuse("far more than it takes", preprocess=b'{"a": "' + b" " * 100_000_000 + b'"}')
    refuse("must hold a JSON object", config=b"[1]")
    good = json.loads(members["config.json"])
    refuse("format True", config=json.dumps({**good, "format": True}).encode())
    huge = {"name": "test.digits_net", "args": {"width": -5}}
    refuse("incomplete or damaged", config=json.dumps({**good, "model": huge}).encode())


def test_models_are_recorded_as_they_were_asked_for():
    from zoo.storage.registry import register_model

    @register_model("test.mutating")
    class Mutating(nn.Module):
        def __init__(this, sizes, *, flag=False):
            super().__init__()
            this.layers = nn.ModuleList(nn.Linear(sizes.pop(), 1) for _ in range(len(sizes)))

    assert Mutating([1, 2]).model_spec.args == {"sizes": [1, 2], "flag": False}


# -- the loop


def test_a_finite_loss_with_an_infinite_gradient_is_told_truthfully():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x * self.w.abs().sqrt()

    learn = small(Root(), torch.ones(8, 1), torch.ones(8))
    with pytest.raises(
        NonFiniteLossError, match=r"batch 1, because an earlier update already made .* non-finite"
    ):
        learn.fit(0.1, 1)


def test_bad_input_leaves_running_statistics_usable():
    x, y = digits()
    x = x[:128].clone()
    x[100] = float("nan")
    learn = small(DigitsNet(), x, y[:128], bs=32)
    with pytest.raises(NonFiniteLossError, match="epoch 0, batch 3"):
        learn.fit(0.01, 1)
    assert np.isfinite(learn.predict_array(x[:4])).all()


def test_deferred_guard_also_stops_decoupled_decay():
    from zoo import LayerOptimizer

    net = nn.Linear(2, 1)
    opt = LayerOptimizer(partial(torch.optim.SGD, fused=True), [net], 0.1, 0.5)
    opt.opt.found_inf = torch.ones(())
    before = net.weight.detach().clone()
    net(torch.ones(1, 2)).sum().backward()
    opt.step()
    assert torch.equal(before, net.weight)


def test_validation_loss_is_exact_in_bf16():
    learn = small(
        nn.Linear(4, 1), torch.randn(20000, 4), torch.ones(20000), loss_fn=lambda p, t: p.mean() * 0 + 1
    )
    assert learn.to_bf16().evaluate()["valid_loss"] == pytest.approx(1.0)
    half, full = learn.predict(), learn.to_fp32().predict()
    assert not np.array_equal(half, full)
    learn.model.eval()
    assert full[:4] == pytest.approx(
        learn.model(learn.data.valid_dl.tensors[0][:4]).detach().numpy(), abs=1e-6
    )


def test_unknown_losses_give_values_as_they_are():
    counts = torch.poisson(torch.full((16,), 3.0)).long()
    learn = small(nn.Linear(4, 1), torch.randn(16, 4), counts, loss_fn=nn.PoissonNLLLoss())
    assert len(np.unique(learn.predict())) == 16
    own = small(nn.Linear(4, 1), torch.randn(16, 4), counts, loss_fn=lambda p, t: (p[:, 0] - t).abs().mean())
    assert len(np.unique(own.predict())) == 16


def test_repeated_bare_fits_go_on_to_new_orders():
    seen = []

    class Watch(Callback):
        def before_batch(self, state):
            seen.append(tuple(state.target.tolist()))

    data = ModelData(TensorLoader(torch.randn(8, 2), torch.arange(8.0), bs=8, shuffle=True, seed=1))
    net = nn.Linear(2, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.0)
    rows = [fit(net, data, 1, opt, lambda p, t: p.mean(), callbacks=[Watch()])[0] for _ in range(3)]
    assert len(set(seen)) == 3
    assert [row["epoch"] for row in rows] == [0, 1, 2]


def test_evaluating_in_a_callback_leaves_training_as_it_was():
    class Look(Callback):
        def __init__(self):
            self.modes = []

        def before_batch(self, state):
            if state.training:
                self.modes.append(state.model.training)

        def after_step(self, state):
            state.learner.predict()

    look = Look()
    plain = digits_learner()
    plain.fit(0.01, 1)
    watched = digits_learner()
    watched.fit(0.01, 1, callbacks=[look])
    assert all(look.modes)
    assert same(weights(plain.model), weights(watched.model))
    assert not watched.model.training


def test_leftover_gradients_are_not_used():
    x, y = digits()
    net = DigitsNet()
    before = weights(net)
    for param in net.parameters():
        param.grad = torch.full_like(param, 100.0)
    opt = torch.optim.SGD(net.parameters(), lr=1e-9)
    fit(net, ModelData(TensorLoader(x[:64], y[:64])), 1, opt, F.cross_entropy)
    assert torch.allclose(before["head.weight"], net.head.weight, atol=1e-6)


@pytest.mark.parametrize("error", [CancelBatch, CancelEpoch])
def test_gradients_of_a_cancelled_batch_are_dropped(error):
    class Cancel(Callback):
        def after_backward(self, state):
            if state.epoch == 0:
                raise error

    class Skip(Callback):
        def before_batch(self, state):
            if state.training and state.epoch == 0:
                raise error

    a, b = digits_learner(opt_fn=torch.optim.SGD), digits_learner(opt_fn=torch.optim.SGD)
    for learn, callback in ((a, Cancel()), (b, Skip())):
        for module in learn.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 0.0
        learn.fit(0.1, 2, callbacks=[callback])
    assert torch.equal(a.model.head.weight, b.model.head.weight)


@pytest.mark.parametrize("event", ["before_fit", "before_epoch", "after_train", "after_epoch", "after_fit"])
@pytest.mark.parametrize("error", [CancelEpoch, CancelFit])
def test_cancelling_works_from_every_outer_event(event, error):
    if error is CancelEpoch and event in ("before_fit", "after_fit"):
        pytest.skip("there is no epoch to leave")

    def cancel(self, state):
        raise error

    learn = digits_learner()
    learn.fit(0.01, 2, callbacks=[type("Canceller", (Callback,), {event: cancel})()])
    assert learn.fit(0.01, 1)


def test_skipped_batches_do_not_shift_the_schedule(tmp_path):
    class SkipThird(Callback):
        order = 10

        def before_batch(self, state):
            if state.training and state.batch_index == 2:
                raise CancelBatch

    learn = small(nn.Linear(2, 1), torch.randn(16, 2), torch.randn(16), path=tmp_path)
    learn.fit(0.1, 2, cycle_len=1, cycle_save_name="c", callbacks=[SkipThird()])
    assert np.array(learn.sched.lrs) == pytest.approx(
        [0.1, 0.08535, 0.01464, 0.1, 0.08535, 0.01464], abs=1e-4
    )
    assert sorted(file.stem for file in (tmp_path / "models").iterdir()) == ["c_cyc_0", "c_cyc_1"]


def test_an_interrupt_while_validating_keeps_the_trained_epoch():
    class Interrupt(Callback):
        def before_validate(self, state):
            raise KeyboardInterrupt

    learn = digits_learner()
    rows = learn.fit(0.01, 2, callbacks=[Interrupt()])
    assert [row["epoch"] for row in rows] == [0]
    assert "train_loss" in rows[0]
    assert learn.fit(0.01, 1)[0]["epoch"] == 1


def test_errors_name_the_batch_and_the_metric():
    x, y = digits()
    learn = small(DigitsNet(), x[:65], y[:65], bs=64)
    with pytest.raises(ValueError) as caught:
        learn.fit(0.01, 1)
    assert "batch 1: inputs [(1, 64)]" in caught.value.__notes__[0]
    assert "drop_last=True" in caught.value.__notes__[0]
    with pytest.raises(KeyError) as caught:
        digits_learner().fit(0.01, 1, metrics=[lambda preds, targets: {}["missing"]])
    assert "in the metric '<lambda>'" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match=r"must return a tensor with one value, got shape \(64, 10\)"):
        digits_learner(loss_fn=lambda preds, targets: preds).fit(0.01, 1)
    with pytest.raises(TypeError, match="got float"):
        digits_learner(loss_fn=lambda preds, targets: 1.0).fit(0.01, 1)


def test_metrics_of_one_name_get_numbers_and_reserved_names_are_refused():
    learn = digits_learner(metrics=[lambda p, t: 1.0, lambda p, t: 2.0])
    row = learn.fit(0.01, 1)[0]
    assert (row["<lambda>"], row["<lambda>_2"]) == (1.0, 2.0)

    def epoch(preds, targets):
        return 77.0

    with pytest.raises(ValueError, match="cannot be called 'epoch'"):
        learn.fit(0.01, 1, metrics=[epoch])


def test_notes_in_the_row_are_printed_and_logged(capsys, tmp_path):
    class Note(Callback):
        def after_validate(self, state):
            state.row["note"] = None

    learn = digits_learner(progress=True, callbacks=[Note(), CSVLogger(tmp_path / "log.csv")])
    learn.fit(0.01, 1)
    learn.fit(0.01, 1)
    assert "None" in capsys.readouterr().out
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    learn.fit(0.01, 1, metrics=[accuracy])
    assert (tmp_path / "log.csv").read_text().splitlines()[0].endswith(",accuracy")


# -- optimizers, groups


def test_lbfgs_gets_its_closure():
    x = torch.randn(64, 3)
    net = nn.Linear(3, 1)
    y = x @ torch.tensor([[1.0], [-2.0], [3.0]]) + 0.5
    rows = fit(net, ModelData(TensorLoader(x, y, bs=64)), 8, torch.optim.LBFGS(net.parameters()), F.mse_loss)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert net.weight.detach().numpy() == pytest.approx(np.array([[1.0, -2.0, 3.0]]), abs=1e-2)
    learn = small(nn.Linear(3, 1), x, y, bs=64, opt_fn=torch.optim.LBFGS)
    learn.fit(1.0, 5)
    assert learn.history[-1]["valid_loss"] < 1e-3


@pytest.mark.parametrize(
    "opt_fn",
    [
        partial(torch.optim.SGD, momentum=0.7),
        torch.optim.SGD,
        torch.optim.RMSprop,
        torch.optim.AdamW,
        torch.optim.Adagrad,
    ],
)
def test_momentum_is_given_back_after_one_cycle(opt_fn):
    learn = digits_learner(opt_fn=opt_fn)
    learn.fit(0.001, 1)
    before = [(g.get("momentum"), g.get("betas")) for g in learn.opt.param_groups]
    learn.fit_one_cycle(1, 0.001)
    assert [(g.get("momentum"), g.get("betas")) for g in learn.opt.param_groups] == before


def test_weight_decay_given_to_the_optimizer_is_respected():
    def decay(**options):
        learn = digits_learner(**options)
        learn.fit(0.0, 1)
        return learn.opt.wds[0]

    assert decay() == 0.01
    assert decay(opt_fn=partial(torch.optim.AdamW, weight_decay=0.3)) == 0.3
    assert decay(opt_fn=lambda params: torch.optim.SGD(params, lr=0.1, weight_decay=0.5)) == 0.5
    assert decay(opt_fn=torch.optim.SGD) == 0.0
    assert decay(opt_fn=torch.optim.SGD, wd=0.2) == 0.2


def test_layers_replaced_after_the_learner_was_made_are_named():
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    learn = small(net, torch.randn(8, 4), torch.arange(8) % 2)
    net[1] = nn.Linear(8, 2)
    with pytest.raises(ValueError, match=r"do not know: 1\.weight, 1\.bias"):
        learn.fit(0.1, 1)


def test_layers_frozen_by_hand_keep_their_statistics_and_are_shown():
    learn = digits_learner()
    learn.model.body.requires_grad_(False)
    before = weights(learn.model)
    learn.fit(0.01, 1)
    assert torch.equal(before["body.1.running_mean"], learn.model.body[1].running_mean)
    assert "0 body         2       2,144  no         fixed" in repr(learn.groups)
    learn.model.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        learn.fit(0.01, 1)


def test_losses_with_parameters_are_refused():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, preds, targets):
            return F.cross_entropy(preds * self.scale, targets)

    with pytest.raises(ValueError, match="make it part of the model"):
        digits_learner(loss_fn=Weighted())


# -- data


def test_the_finder_leaves_no_trace_in_buffers_losses_and_generators():
    class Counting(DigitsNet):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros(()), persistent=False)

        def forward(self, x):
            self.n += self.training
            return super().forward(x)

    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("ema", torch.zeros(()))

        def forward(self, preds, targets):
            loss = F.cross_entropy(preds, targets)
            self.ema.lerp_(loss.detach(), 0.1)
            return loss

    class Noise(Dataset):
        def __len__(self):
            return 200

        def __getitem__(self, index):
            return digits()[0][index] + torch.rand(64), digits()[1][index]

    x, y = digits()
    makers = [
        lambda: DataLoader(
            TensorDataset(x, y), batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(1)
        ),
        lambda: DatasetLoader(Noise(), bs=50, shuffle=True, seed=1, num_workers=2),
    ]
    for make in makers:

        def run(find, make=make):
            torch.manual_seed(0)
            learn = Learner(
                ModelData(make()), Counting(), device="cpu", progress=False, loss_fn=Remembering()
            )
            learn.fit(0.01, 1)
            if find:
                modes = [module.training for module in learn.model.modules()]
                learn.summary()
                learn.lr_find(num_it=5)
                assert [module.training for module in learn.model.modules()] == modes
                assert all(param.grad is None for param in learn.model.parameters())
            learn.fit(0.01, 1)
            return weights(learn.model), learn.model.n.item(), learn.loss_fn.ema.item()

        plain, found = run(False), run(True)
        assert same(plain[0], found[0])
        assert plain[1:] == found[1:]


def test_the_finder_stops_when_a_bounded_loss_explodes():
    learn = small(nn.Linear(2, 1), torch.randn(64, 2), torch.zeros(64), opt_fn=torch.optim.SGD)
    learn.loss_fn = lambda preds, targets: 1e-3 + preds.square().mean().clamp(max=1e6)
    result = learn.lr_find(1e-3, 1e8, num_it=100)
    assert len(result.lrs) < 80
    assert np.isfinite(result.losses).all()


def test_the_finder_says_so_when_the_first_loss_is_nan():
    learn = small(nn.Linear(2, 1), torch.full((8, 2), float("nan")), torch.zeros(8))
    with pytest.raises(ValueError, match="the very first loss is nan"):
        learn.lr_find()


def test_dataset_loaders_seed_unkeyed_randomness_too():
    class Noise(Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            return torch.rand(1) + np.random.rand(), index

    def values(workers, epoch=0):
        torch.manual_seed(os.getpid() + workers)
        loader = DatasetLoader(Noise(), bs=4, seed=3, num_workers=workers)
        loader.set_epoch(epoch)
        return torch.cat([x for x, _ in loader])

    assert torch.equal(values(0), values(2))
    assert not torch.equal(values(0), values(0, epoch=1))


def test_test_sets_may_lack_targets():
    x, _ = digits()
    data = digits_data()
    data.test_dl = TensorLoader(x[:10], bs=4)
    learn = Learner(data, DigitsNet(), device="cpu", progress=False)
    assert learn.predict(is_test=True) == pytest.approx(learn.predict_array(x[:10]), abs=1e-6)
    with pytest.raises(ValueError, match="these rows have no targets"):
        learn.predict_with_targs(is_test=True)


def test_predictions_of_shuffling_loaders_come_in_order_or_with_a_warning():
    x, y = digits()
    learn = digits_learner()
    expected = learn.predict()
    learn.data = ModelData(None, TensorLoader(x[1200:], y[1200:], bs=50, shuffle=True))
    assert learn.predict() == pytest.approx(expected, abs=1e-6)
    learn.data = ModelData(None, DataLoader(TensorDataset(x[:20], y[:20]), batch_size=8, shuffle=True))
    with pytest.warns(UserWarning, match="this loader shuffles"):
        learn.predict()
    learn.data = ModelData(None, TensorLoader(x[:20], y[:20], bs=8, drop_last=True))
    with pytest.warns(UserWarning, match="drops its last rows"):
        learn.predict()


def test_a_model_that_works_in_place_does_not_reach_the_users_tensors():
    x = torch.randn(8, 4)
    kept = x.clone()
    learn = small(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2)), x, torch.arange(8) % 2)
    learn.predict()
    learn.fit(0.1, 1)
    assert torch.equal(x, kept)


def test_numpy_doubles_just_work():
    x = np.random.default_rng(0).normal(size=(32, 4))
    learn = small(nn.Linear(4, 1), x, x.sum(1))
    learn.fit(0.01, 1)
    assert learn.predict_array(x[:2]).shape == (2, 1)


def test_first_day_mistakes_are_explained():
    loader = TensorLoader(torch.zeros(4, 2), torch.zeros(4))
    with pytest.raises(TypeError, match=r"use ModelData\(train_dl, valid_dl\)"):
        Learner(loader, nn.Linear(2, 1))
    with pytest.raises(TypeError, match=r"metrics must be a list, such as \[accuracy\]"):
        Learner(ModelData(loader), nn.Linear(2, 1), metrics=accuracy)
    with pytest.raises(ValueError, match="give cycle_len as well"):
        digits_learner().fit(0.1, 3, cycle_mult=2)
    with pytest.raises(ValueError, match="whole number"):
        digits_learner().fit(0.1, True)
    assert digits_learner().groups.spread(torch.tensor(0.1)) == pytest.approx([0.1] * 3)


def test_fits_with_a_seed_differ_from_each_other():
    class Draws(Callback):
        def __init__(self):
            self.seen = []

        def before_train(self, state):
            self.seen.append(torch.initial_seed())

    draws = Draws()
    learn = digits_learner(callbacks=[draws])
    learn.seed = 5
    learn.fit(0.01, 1)
    learn.fit(0.01, 1)
    assert draws.seen[0] != draws.seen[1]


def test_batch_norm_of_a_single_group_stays_fixed_on_request():
    net = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    x, y = digits()
    learn = small(net, x[:128], y[:128], bs=32)
    learn.bn_freeze(True)
    learn.fit(0.01, 1)
    assert torch.equal(net[1].running_mean, torch.zeros(8))
